"""How a reply is cut into pieces for the TTS."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voicecli.text.chunker import (
    MAX_SENTENCE_CHARS,
    MIN_SENTENCE_CHARS,
    BatchChunker,
    Chunker,
    ClauseChunker,
    find_boundary,
)
from voicecli.text.markdown import MarkdownFilter

UNHURRIED = settings(deadline=None)  # the machine may be busy

WORDS = ["I", "a", "we", "do", "that", "for", "Dr.", "Smith", "3.5", "e.g.", "U.S.", "10:30", "5."]

REPLIES = st.lists(
    st.tuples(
        st.sampled_from([*WORDS, "**bold**", "https://a.com/x", "你好", "😀", "- x", "(so)"]),
        st.sampled_from(["", "", "", ",", ".", "!", "?", "…", "...", "。", ' "', "—"]),
        st.sampled_from([" ", " ", " ", "\n", "\n\n", ""]),
    ).map("".join),
    max_size=60,
).map("".join)

PIECES = st.sampled_from(
    [
        lambda: ClauseChunker(12),
        lambda: ClauseChunker(40),
        lambda: BatchChunker(180),
        lambda: BatchChunker(30),
    ]
)


def tokens_of(text: str) -> list[str]:
    """Split as GPT does: a word starts with its space, a mark stands alone."""
    return re.findall(r" ?\w+| ?[^\w\s]|\s", text)


def cut(text: str, pieces: Chunker | None = None) -> list[str]:
    pieces = pieces or ClauseChunker(12)
    return [
        *(piece for token in tokens_of(text) for piece in pieces.push(token)),
        *pieces.finish(),
    ]


def speakable(text: str) -> str:
    whole = MarkdownFilter()
    return whole.push(text) + whole.finish()


@pytest.mark.parametrize(
    ("reply", "first"),
    [
        ("Sure, I can do that, of course.", "Sure, I can do that, "),
        ("Well, let me see, it is two.", "Well, let me see, "),
        ("Yes. It is sunny today.", "Yes. "),
        ("Really? It is sunny today.", "Really? "),
        ("Dr. Smith is in. He waits.", "Dr. Smith is in. "),
        ("It is 3.5 degrees. Cold!", "It is 3.5 degrees. "),
        ("Take fruit, e.g. apples. Good.", "Take fruit, e.g. apples. "),
        ("The U.S. has many. See.", "The U.S. has many. "),
        ("J. S. Bach wrote it. See.", "J. S. Bach wrote it. "),
        ("At 10:30 a.m. it opens. See.", "At 10:30 a.m. it opens. "),
        ("On the 3. of May. See.", "On the 3. of May. "),
        ("It is 5. Anything else?", "It is 5. "),
        ("1. Open it now. Then", "1. Open it now. "),
        ("See example.com for it. Bye.", "See example.com for it. "),
        ("So do I. It is nice.", "So do I. "),
        ('"Stop." That is it.', '"Stop." '),
        ("Hmm... well, let me think.", "Hmm... well, let me think."),
        ("Let me think… It is two.", "Let me think… "),
        ("Let me think—it is two.", "Let me think—"),
        ("That costs 1,000 euros, I think.", "That costs 1,000 euros, "),
        ("你好。我是你的助手。", "你好。"),
        ("「你好。」我是你的助手。", "「你好。」"),
        (
            "one two three four five six seven eight nine ten",
            "one two three four five six seven eight ",
        ),
        (
            "one two three four five six seven the eight nine ten",
            "one two three four five six seven the eight ",
        ),
        (
            "I am not sure what you mean by that as it is vague",
            "I am not sure what you mean by that ",
        ),
        ("and " * 20, "and " * 12),
        ("**Sure!** It is *nice*.", "Sure! "),
        ("Okay", "Okay"),
    ],
)
def test_the_first_clause(reply: str, first: str):
    assert cut(reply)[0] == first


def test_the_minimum_of_the_first_clause_is_an_option():
    reply = "Sure, I can, if you like, do that for you."
    assert cut(reply, ClauseChunker(1))[0] == "Sure, I can, "
    assert cut(reply, ClauseChunker(20))[0] == "Sure, I can, if you like, "


def test_a_first_clause_is_out_with_the_token_after_its_mark():
    clauses = ClauseChunker(12)
    assert [clauses.push(token) for token in ("Sure", ".", " I")] == [[], [], ["Sure. "]]


def test_a_first_clause_is_out_with_the_white_space_after_its_mark():
    clauses = ClauseChunker(12)
    assert [clauses.push(token) for token in ("Sure", ".", "\n\n")] == [[], [], ["Sure. "]]


def test_later_clauses_are_sentences():
    assert cut(
        "Sure. The weather in Berlin is sunny, with a high of 22 degrees. "
        "Tomorrow it will rain in the morning, and clear up later. Bye."
    ) == [
        "Sure. ",
        "The weather in Berlin is sunny, with a high of 22 degrees. ",
        "Tomorrow it will rain in the morning, and clear up later. ",
        "Bye.",
    ]


def test_short_sentences_are_joined():
    assert cut("Sure. Yes. No. Maybe so. I do not know what to say. Bye now.") == [
        "Sure. ",
        "Yes. No. Maybe so. I do not know what to say. ",
        "Bye now.",
    ]


def test_long_sentences_are_cut_at_a_mark():
    half = "and then it went on and on " * 5
    assert cut(f"Sure. {half.strip()}, {half * 2}") == [
        "Sure. ",
        f"{half.strip()}, ",
        *cut(f"Sure. {half * 2}")[1:],
    ]


def test_long_sentences_without_a_mark_are_cut_at_a_space():
    pieces = cut("Sure. " + "and then it went on " * 30)
    assert all(len(piece) <= MAX_SENTENCE_CHARS for piece in pieces)
    assert all(len(piece) > MAX_SENTENCE_CHARS - 10 for piece in pieces[1:-1])
    assert all(piece.endswith(" ") for piece in pieces[:-1])


def test_batches():
    assert cut("one two three four five six", BatchChunker(8)) == [
        "one two three ",
        "four five ",
        "six",
    ]
    assert cut("one", BatchChunker(180)) == ["one"]
    assert cut("", BatchChunker(180)) == []


@UNHURRIED
@given(REPLIES, st.integers(1, 200))
def test_batches_have_the_minimum_length(reply: str, chars: int):
    pieces = cut(reply, BatchChunker(chars))
    assert all(chars <= len(piece.rstrip()) for piece in pieces[:-1])
    assert all(len(piece) <= chars + MAX_SENTENCE_CHARS for piece in pieces)


@UNHURRIED
@given(REPLIES, PIECES)
def test_nothing_is_lost_or_doubled(reply: str, make: Callable[[], Chunker]):
    pieces = cut(reply, make())
    assert "".join(pieces) == speakable(reply)
    assert all(pieces)


@UNHURRIED
@given(REPLIES, PIECES, st.data())
def test_tokens_may_be_cut_anywhere(reply: str, make: Callable[[], Chunker], data: st.DataObject):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(reply)))))
    pieces = make()
    found = [
        piece
        for start, end in zip([0, *cuts], [*cuts, len(reply)], strict=True)
        for piece in pieces.push(reply[start:end])
    ]
    assert found + pieces.finish() == cut(reply, make())


@UNHURRIED
@given(REPLIES)
@example("x" * 1000)
@example("你" * 500)
@example("word " * 500)
def test_at_most_a_long_sentence_is_held_back(reply: str):
    clauses = ClauseChunker(12)
    given_out = sum(len(piece) for token in tokens_of(reply) for piece in clauses.push(token))
    assert len(speakable(reply)) - given_out <= 2 * MAX_SENTENCE_CHARS
    assert all(len(piece) <= 2 * MAX_SENTENCE_CHARS for piece in cut(reply))


@UNHURRIED
@given(REPLIES)
def test_later_clauses_are_not_short(reply: str):
    weights = [len(piece) + 2 * len(re.findall("[你好]", piece)) for piece in cut(reply)]
    assert all(weight >= MIN_SENTENCE_CHARS for weight in weights[1:-1])


@UNHURRIED
@given(REPLIES)
def test_a_clause_ends_where_a_word_does(reply: str):
    pieces = cut(reply)
    for piece, following in pairwise(pieces):
        assert piece[-1].isspace() or piece[-1] in '。！？—…"”」)你好' or following[0] in "你好"


# ── a stalled LLM ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("there", "taken", "left"),
    [
        ("I think the weath", "I think the ", "weath"),
        ("I think so.", "I think so.", ""),
        ("Well,", "Well,", ""),
        ("It costs 3.", "It costs ", "3."),
        ("It costs 1,", "It costs ", "1,"),
        ("Ask Dr.", "Ask ", "Dr."),
        ("See example.co.", "See ", "example.co."),
        ("你好", "你好", ""),
        ("Sur", None, "Sur"),
        ("…", None, "…"),
        ("", None, ""),
    ],
)
def test_the_text_so_far_can_be_taken(there: str, taken: str | None, left: str):
    clauses = ClauseChunker(12)
    assert clauses.push(there) == []
    assert clauses.take() == taken
    assert "".join(clauses.finish()) == left


def test_after_a_taken_piece_come_whole_sentences():
    clauses = ClauseChunker(12)
    clauses.push("Well, I th")
    assert clauses.take() == "Well, I "
    assert clauses.push("ink so. It is ") == []
    assert clauses.finish() == ["think so. It is"]


def test_batches_can_be_taken():
    batches = BatchChunker(180)
    batches.push("I think the weath")
    assert batches.take() == "I think the "


@UNHURRIED
@given(
    st.lists(st.from_regex(r"[a-z]{1,8}(?:[,.!?]|\.[0-9])?", fullmatch=True), min_size=1),
    PIECES,
    st.data(),
)
def test_no_word_is_cut(said: list[str], make: Callable[[], Chunker], data: st.DataObject):
    reply = " ".join(said)
    stall = data.draw(st.integers(0, len(reply)))
    pieces = make()
    found = [*pieces.push(reply[:stall]), pieces.take() or "", *pieces.push(reply[stall:])]
    found += pieces.finish()
    assert "".join(found) == reply
    # "so." may become "so.5": the mark is given out with the word before it.
    assert [word for piece in found for word in re.findall("[a-z]+", piece)] == re.findall(
        "[a-z]+", reply
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Hello", "none"),
        ("Hello!", "sentence"),
        ("Hello?”", "sentence"),
        ("Hello (you).", "sentence"),
        ("the Ph.D.", "abbreviation"),
        ("(e.g.", "abbreviation"),
        ("at 5.", "number"),
        ("Then: 5.", "abbreviation"),
        ("in 2024.", "sentence"),
        ("wait...", "clause"),
        ("Here:", "clause"),
        ("", "none"),
        ('"', "none"),
    ],
)
def test_boundaries(text: str, kind: str):
    assert find_boundary(text) == kind
