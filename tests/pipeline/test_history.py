"""The chat history: what the user said, and what was played of the replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise, takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.conversations import converse, profile
from tests.support.speech_like import alternate_speech
from voicecli.events import (
    CancelReply,
    CommitReply,
    DraftReply,
    HeardReported,
    ReplyCancelled,
    ReplyFailed,
    ReplyFinished,
)
from voicecli.pipeline.history import ChatHistory
from voicecli.services.interfaces import HistorySettings, Message
from voicecli.standin.script import Script, SttScript
from voicecli.timeline import Entry

SYSTEM = Message("system", "Be brief.")


def user(text: str) -> Message:
    return Message("user", text)


def agent(text: str) -> Message:
    return Message("assistant", text)


def committed(turn: int, text: str) -> list[Entry]:
    return [
        DraftReply(at=turn, turn=turn, user_text=text),
        CommitReply(at=turn, turn=turn, user_text=text, speech_end=turn, reason="default"),
    ]


def answered(turn: int, text: str, said: str) -> list[Entry]:
    return [*committed(turn, text), ReplyFinished(at=turn, turn=turn, said=said, heard=1)]


def interrupted(turn: int, text: str, said: str, *, heard_nothing: bool = False) -> list[Entry]:
    return [
        *committed(turn, text),
        CancelReply(at=turn, turn=turn, heard_nothing=heard_nothing),
        ReplyCancelled(at=turn, turn=turn, said=said, heard=len(said) / 10),
    ]


def stalled(turn: int, text: str) -> list[Entry]:
    late = "LLM: no word within 4 s"
    failed = ReplyFailed(at=turn, turn=turn, service="llm", reason=late, stalled=True)
    return [*committed(turn, text), failed]


def messages(timeline: list[Entry], text: str, **limits: int) -> list[Message]:
    return collect(timeline, **limits).messages(text)


def collect(timeline: list[Entry], **limits: int) -> ChatHistory:
    history = ChatHistory("Be brief.", HistorySettings(**limits))
    for entry in timeline:
        history(entry)
    return history


def test_at_first_there_is_only_the_question():
    assert messages([], "Hello?") == [SYSTEM, user("Hello?")]
    assert ChatHistory("", HistorySettings()).messages("Hello?") == [user("Hello?")]


def test_what_was_said_comes_in_order():
    timeline = [*answered(1, "Hello?", "Hi."), *answered(2, "Who are you?", "An agent.")]
    assert messages(timeline, "Really?") == [
        SYSTEM,
        user("Hello?"),
        agent("Hi."),
        user("Who are you?"),
        agent("An agent."),
        user("Really?"),
    ]


def test_an_interrupted_reply_is_kept_as_far_as_it_was_heard():
    timeline = interrupted(1, "Tell me a story.", "Once upon a time")
    assert messages(timeline, "Stop.") == [
        SYSTEM,
        user("Tell me a story."),
        agent("Once upon a time …"),
        user("Stop."),
    ]


def test_a_failed_reply_is_kept_as_far_as_it_was_heard():
    timeline = [
        *committed(1, "Hello?"),
        ReplyFailed(at=1, turn=1, service="llm", reason="late", said="Sorry.", heard=1),
    ]
    assert messages(timeline, "Again?") == [SYSTEM, user("Hello?"), agent("Sorry."), user("Again?")]


def test_unanswered_words_join_the_next_turn():
    timeline = [
        *committed(1, "Hello?"),
        ReplyFailed(at=1, turn=1, service="tts", reason="gone"),
    ]
    assert messages(timeline, "Are you there?") == [SYSTEM, user("Hello?\nAre you there?")]


def test_a_reopened_turn_appears_once():
    timeline = interrupted(1, "What is", "", heard_nothing=True)
    assert messages(timeline, "What is the time?") == [SYSTEM, user("What is the time?")]
    timeline += answered(2, "What is the time?", "Noon.")
    assert messages(timeline, "Thanks.") == [
        SYSTEM,
        user("What is the time?"),
        agent("Noon."),
        user("Thanks."),
    ]


def test_a_turn_silenced_by_a_key_before_it_was_heard_stays():
    timeline = interrupted(1, "Hello?", "", heard_nothing=False)
    assert messages(timeline, "Later.") == [SYSTEM, user("Hello?\nLater.")]


def test_what_was_heard_of_a_revoked_reply_is_kept():
    timeline = interrupted(1, "What is", "It is", heard_nothing=True)
    assert messages(timeline, "What is the time?") == [
        SYSTEM,
        agent("It is …"),
        user("What is the time?"),
    ]


def test_a_dropped_draft_is_left_out():
    timeline: list[Entry] = [
        DraftReply(at=1, turn=1, user_text="What is"),
        CancelReply(at=2, turn=1, heard_nothing=True, committed=False),
        ReplyCancelled(at=2, turn=1, said="", heard=0),
    ]
    assert messages(timeline, "What is the time?") == [SYSTEM, user("What is the time?")]


@pytest.mark.parametrize(
    ("reported", "told"), [("It is", [agent("It is …")]), ("", []), (" \n", [])]
)
def test_what_the_service_says_was_heard_replaces_the_estimate(reported: str, told: list[Message]):
    timeline = [
        *interrupted(1, "What is the time?", "It is noon.", heard_nothing=False),
        HeardReported(at=2, turn=1, said=reported),
    ]
    asked = [SYSTEM, user("What is the time?"), *told, user("And now?")]
    expected = asked if told else [SYSTEM, user("What is the time?\nAnd now?")]
    assert messages(timeline, "And now?") == expected


def test_a_greeting_is_kept():
    timeline: list[Entry] = [ReplyFinished(at=1, turn=0, said="Good morning.", heard=1)]
    assert messages(timeline, "Hello.") == [SYSTEM, agent("Good morning."), user("Hello.")]


def test_the_turn_to_answer_may_be_committed_already():
    history = collect([*answered(1, "Hello?", "Hi."), *committed(2, "Who?")])
    assert history.messages("Who?", turn=2) == [SYSTEM, user("Hello?"), agent("Hi."), user("Who?")]


def numbered(*turns: int) -> list[Message]:
    return [message for n in turns for message in (user(f"q{n}"), agent(f"a{n}"))]


@pytest.mark.parametrize(
    ("past", "kept"),
    [(4, (1, 2, 3, 4)), (5, (4, 5)), (6, (4, 5, 6)), (7, (4, 5, 6, 7)), (8, (7, 8))],
)
def test_the_turn_beyond_the_limit_drops_the_older_half(past: int, kept: tuple[int, ...]):
    timeline = [entry for n in range(1, past + 1) for entry in answered(n, f"q{n}", f"a{n}")]
    assert messages(timeline, "Well?", max_turns=4) == [SYSTEM, *numbered(*kept), user("Well?")]


@pytest.mark.parametrize(
    ("characters", "kept"), [(16, (1, 2, 3, 4)), (15, (4,)), (8, (3, 4)), (7, (4,)), (3, ())]
)
def test_characters_are_limited_as_well(characters: int, kept: tuple[int, ...]):
    timeline = [entry for n in range(1, 5) for entry in answered(n, f"q{n}", f"a{n}")]
    limited = messages(timeline, "Well?", max_chars=characters)
    assert limited == [SYSTEM, *numbered(*kept), user("Well?")]


def test_no_history_can_be_wanted():
    assert messages(answered(1, "q", "a"), "Well?", max_turns=0) == [SYSTEM, user("Well?")]


def test_the_words_to_answer_shift_nothing():
    history = collect([entry for n in range(1, 9) for entry in answered(n, f"q{n}", f"a{n}")])
    short = history.messages("Well?", turn=9)
    assert history.messages("Well? " * 5000, turn=9)[:-1] == short[:-1]
    assert len(short) == 2 + 2 * 8


def test_an_llm_that_stalled_is_told_half_as_much_and_again_half():
    timeline = [entry for n in range(1, 9) for entry in answered(n, f"q{n}", f"a{n}")]
    timeline += stalled(9, "Well?")
    assert messages(timeline, "Hello?") == [SYSTEM, *numbered(5, 6, 7, 8), user("Well?\nHello?")]
    timeline += stalled(10, "Hello?")
    kept = [*numbered(8), user("Well?\nHello?\nAgain?")]
    assert messages(timeline, "Again?") == [SYSTEM, *kept]
    timeline += answered(11, "Again?", "Here.")
    kept[-1:] = [user("Well?\nHello?\nAgain?"), agent("Here."), user("Good.")]
    assert messages(timeline, "Good.") == [SYSTEM, *kept]


def test_the_question_is_kept_however_long_it_is():
    assert messages([], "long" * 10, max_chars=5) == [SYSTEM, user("long" * 10)]


WORDS = st.text("ab \n", max_size=5)
TURNS = st.lists(
    st.tuples(st.sampled_from([answered, interrupted, lambda turn, text, said: []]), WORDS, WORDS),
    max_size=12,
)


@given(TURNS, WORDS.filter(bool), st.integers(0, 8))
def test_roles_alternate_and_the_question_comes_last(turns, text, limit):
    history = ChatHistory("Be brief.", HistorySettings(max_turns=limit))
    for number, (kind, asked, said) in enumerate(turns, 1):
        for record in kind(number, asked, said):
            history(record)
    result = history.messages(text, turn=len(turns) + 1)
    roles = [message.role for message in result]
    assert roles[0] == "system"
    assert all(here != after for here, after in pairwise(roles))
    assert result[-1].role == "user"
    assert result[-1].content.endswith(text)
    assert len(result) <= 2 + 2 * limit


SENTENCES = st.text("ab ", min_size=1, max_size=20).map(lambda text: f"x{text}y")


@given(
    st.lists(st.tuples(SENTENCES, SENTENCES), min_size=20, max_size=60),
    st.integers(2, 12),
    st.integers(100, 400),
)
def test_the_prompt_only_grows_but_for_steps_far_apart(turns, limit, characters):
    history = ChatHistory("Be brief.", HistorySettings(max_turns=limit, max_chars=characters))
    before = history.messages("?", turn=1)[:-1]
    used, dropped = 0, None  # since the last step
    for number, (asked, said) in enumerate(turns, 1):
        for record in answered(number, asked, said):
            history(record)
        after = history.messages("?", turn=number + 1)[:-1]
        assert history.messages(asked, turn=number + 1)[:-1] == after  # a draft shifts nothing
        assert len(after) - 1 <= 2 * limit
        assert sum(len(message.content) for message in after[1:]) <= characters
        used += len(asked) + len(said)
        if after[: len(before)] != before:  # a step
            assert len(after) - 1 <= 2 * (limit // 2)
            assert dropped is None or number - dropped > limit - limit // 2 or used > characters / 2
            used, dropped = 0, number
        before = after


class SlowLlm:
    """Takes 20 ms for each character of the prompt that differs from the last prompt's beginning.

    A request that is given up leaves nothing behind.
    """

    def __init__(self) -> None:
        self.processed = ""

    async def reply(
        self, messages: list[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[str, None]:
        prompt = "\n".join(message["content"] for message in messages)
        pairs = zip(prompt, self.processed, strict=False)
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        await asyncio.sleep(0.02 * (len(prompt) - known))
        self.processed = prompt
        yield "That is what I have been told."


def test_a_conversation_outlives_prompts_that_take_too_long():
    speech, _ = alternate_speech(*[9.0, 1.0] * 14, 9.0)
    brief = ("llm.system_prompt=Be brief.", "llm.hedge_ms=null")
    questions = [f"What is at number {n}, Harbour Street?" for n in range(11, 25)]
    settings = profile(*brief, "llm.history.max_chars=600")
    talk = converse(settings, Script(stt=SttScript(hears=questions)), speech, llm=SlowLlm())

    assert talk.error is None
    # After a step, 300 characters take 6 s, and 4 s are allowed.  Half of them take 3 s.
    failed = [failure.turn for failure in talk.all(ReplyFailed)]
    assert [turn.turn for turn in talk.turns] == list(range(1, 15))
    assert failed == [10]
