"""Which part of an LLM's text is its answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voicecli.text.reasoning import ReasoningFilter, ReasoningHabit, find_clue

UNHURRIED = settings(deadline=None)  # the machine may be busy

WRITTEN = st.lists(
    st.sampled_from(
        [
            *"<>|[]/ \n.:`A",
            "<think>",
            "</think>",
            "<thinking>",
            "[THINK]",
            "[/THINK]",
            "<|channel|>",
            "final<|message|>",
            "<|start|>assistant",
            "analysis",
            "assistantfinal",
            "<|im_end|>",
            "User:",
            "Assistant:",
            "Okay, ",
            "the user ",
            "is ",
            "用户",
            "word ",
            "thought\n",
        ]
    ),
    max_size=25,
).map("".join)

HABITS = st.sampled_from([("auto", False), ("auto", True), ("unopened", True)])


class Answer:
    """What is passed on of ``tokens``, with what follows what was revoked."""

    def __init__(
        self, *tokens: str, habit: ReasoningHabit | None = None, cut: bool = False
    ) -> None:
        self.habit = habit or ReasoningHabit()
        self.filter = ReasoningFilter(self.habit)
        self.passed = ""
        self.early = ""
        for token in tokens:
            passed = self.filter.push(token)
            self.passed = passed if self.filter.revoked else self.passed + passed
        self.early = self.passed
        self.passed += self.filter.finish(cut=cut)


@UNHURRIED
@given(WRITTEN, st.data(), HABITS, st.booleans())
@example("<|channel|>final<|message|>Hi", None, ("auto", False), False)
@example("the user is at", None, ("auto", False), False)
def test_tokens_may_be_cut_anywhere(
    written: str, data: st.DataObject | None, habit: tuple[Any, bool], cut: bool
):
    limits = range(len(written) + 1)
    if data is not None:
        limits = sorted(data.draw(st.lists(st.integers(0, len(written)))))
    tokens = [
        written[start:end] for start, end in zip([0, *limits], [*limits, len(written)], strict=True)
    ]
    whole = Answer(written, habit=ReasoningHabit(*habit), cut=cut)
    pieces = Answer(*tokens, habit=ReasoningHabit(*habit), cut=cut)
    assert pieces.passed == whole.passed
    assert pieces.filter.begins == whole.filter.begins
    assert pieces.habit == whole.habit
    if pieces.filter.begins is not None:
        assert written[pieces.filter.begins :].startswith(pieces.passed.lstrip()[:1])


@UNHURRIED
@given(st.lists(st.from_regex(r"[a-z]{1,9}[,.!?;]?", fullmatch=True), max_size=20))
def test_plain_text_is_passed_on(words: list[str]):
    written = " ".join(words)
    assert Answer(written).passed == written


@pytest.mark.parametrize(
    "written",
    ["Sure", "It is", "Okay, I can", "So, the use of", "2 < 3 and", "A [small", "The us "],
)
def test_ordinary_words_are_not_held_back(written: str):
    assert Answer(written).early == written


def test_without_an_opening_tag_what_was_passed_on_is_revoked_once():
    first = Answer("I say ", "hi.", "</think>", "\nHello.")
    assert first.passed == "\nHello."
    assert first.habit.unopened
    second = Answer("I say ", "hi.", habit=first.habit)
    assert second.early == ""
    second = Answer("I say ", "hi.", "</think>", "\nHello.", habit=first.habit)
    assert second.passed == "\nHello."
    assert not second.filter.revoked


def test_a_whole_reply_without_reasoning_ends_the_habit():
    habit = ReasoningHabit(unopened=True)
    assert Answer("It is ", "noon.", habit=habit).passed == "It is noon."
    assert not habit.unopened


def test_a_reply_that_was_cut_off_may_be_reasoning_without_its_end():
    habit = ReasoningHabit(unopened=True)
    assert Answer("I say ", habit=habit, cut=True).passed == ""
    assert habit.unopened


def test_by_a_setting_only_what_follows_the_closing_tag_is_the_answer():
    habit = ReasoningHabit("unopened")
    assert Answer("I say hi.", habit=habit).passed == ""
    assert Answer("I say hi.</think>Hello.", habit=habit).passed == "Hello."
    assert habit.unopened


def test_a_habit_does_not_hide_tags():
    habit = ReasoningHabit(unopened=True)
    assert Answer("<think>I say hi.", habit=habit).passed == ""


@pytest.mark.parametrize(
    ("written", "begins"),
    [("\n Hi", 2), ("<think>a</think>\nHi", 17), ("<think>a", None), ("", None)],
)
def test_where_the_answer_begins(written: str, begins: int | None):
    assert Answer(written).filter.begins == begins


@pytest.mark.parametrize(
    ("start", "clue"),
    [
        ("The user asks for ", "yes"),
        ("Okay, so the user is ", "yes"),
        ("Hmm, the user's ", "yes"),
        ("User greets ", "yes"),
        ("嗯，用户问", "yes"),
        ("The user", "undecided"),
        ("Okay", "undecided"),
        ("好的，用", "undecided"),
        ("The user guide ", "no"),
        ("Okay, I ", "no"),
        ("Users are ", "no"),
        ("用户名", "no"),
    ],
)
def test_words_that_begin_no_answer(start: str, clue: str):
    assert find_clue(start) == clue
