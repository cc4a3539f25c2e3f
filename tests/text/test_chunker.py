"""How a reply is cut into pieces for the TTS."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise, repeat
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voicecli.text.chunker import (
    LONGEST_BATCH_EXCESS,
    LONGEST_PIECE,
    BatchChunker,
    Chunker,
    ClauseChunker,
    find_boundary,
    find_cuts,
)
from voicecli.text.pacing import LONGEST_FIRST, Pacing

UNHURRIED = settings(deadline=None)  # the machine may be busy

WORDS = ["I", "a", "we", "do", "that", "for", "Dr.", "Smith", "3.5", "e.g.", "U.S.", "10:30", "5."]

REPLIES = st.lists(
    st.tuples(
        st.sampled_from([*WORDS, "bold", "and", "because", "你好", "- x", "(so)"]),
        st.sampled_from(["", "", "", ",", ".", "!", "?", "…", "...", "。", ' "', "—"]),
        st.sampled_from([" ", " ", " ", ""]),
    ).map("".join),
    max_size=60,
).map("".join)


def teach(*, token: float = 0.015, ttfb: float = 0.12, delivery: float = 0.25) -> Pacing:
    """Return what is known of an LLM with tokens of six characters, and of a TTS."""
    pacing = Pacing(0.06)
    pacing.add_writing("x" * 60, 10 * token)
    pacing.add_ttfb(ttfb)
    pacing.add_delivery(1.0, delivery)
    return pacing


FAST = teach()
"""Half a second of audio is enough: eight characters."""

PIECES = st.sampled_from(
    [
        lambda: ClauseChunker(FAST),
        lambda: ClauseChunker(teach(token=0.06, ttfb=0.3)),
        lambda: BatchChunker(180),
        lambda: BatchChunker(30),
    ]
)


def tokens_of(text: str) -> list[str]:
    """Split as GPT does: a word starts with its space, a mark stands alone."""
    return re.findall(r" ?\w+| ?[^\w\s]|\s", text)


def find_first(text: str, chunker: Chunker | None = None) -> tuple[str, str]:
    """Let ``text`` grow by tokens; return the first piece and what was written by then."""
    chunker = chunker or ClauseChunker(FAST)
    written = ""
    for token in tokens_of(text):
        written += token
        if end := chunker.find_first(written):
            return written[:end], written
    return text, text


def split(text: str, chunker: Chunker, needed: Iterator[bool]) -> list[str]:
    """Cut ``text`` while it grows, at moments of which ``needed`` says whether one is needed."""
    pieces: list[str] = []
    start = 0
    for written in accumulate(tokens_of(text)):
        if not pieces:
            end = chunker.find_first(written)
        else:
            end = chunker.find_next(written[start:]) if next(needed) else 0
        if end:
            pieces.append(written[start : start + end])
            start += end
    return [*pieces, text[start:]] if text[start:] else pieces


# ── the first piece ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reply", "first"),
    [
        # marks
        ("Sure, I can do that, of course.", "Sure, I can do that,"),
        ("Well, let me see, it is two.", "Well, let me see,"),
        ("Yes. It is sunny today. Good.", "Yes. It is sunny today. "),  # "Yes." is too short
        ("Of course! It is sunny today.", "Of course!"),
        ("Dr. Smith is in. He waits.", "Dr. Smith is in. "),
        ("It is 3.5 degrees. Cold!", "It is 3.5 degrees. "),
        ("Take fruit, e.g. apples. Good.", "Take fruit, e.g. apples. "),
        ("The U.S. has many. See.", "The U.S. has many. "),
        ("J. S. Bach wrote it. See.", "J. S. Bach wrote it. "),
        ("At 10:30 a.m. it opens. See.", "At 10:30 a.m. it opens. "),
        ("On the 3. of May. See.", "On the 3. of May. "),
        ("That is 5. Anything else?", "That is 5. "),
        ("1. Open it now. Then", "1. Open it now. "),
        ("See example.com for it. Bye.", "See example.com for it. "),
        ("So do I. It is nice.", "So do I. "),
        ('"Stop it now." That is it.', '"Stop it now." '),
        ("Hmm... well, let me think.", "Hmm... well, let me think."),
        ("Let me think… It is two.", "Let me think… "),
        ("Let me think—it is two.", "Let me think—"),
        ("Let me think - it is two.", "Let me think - "),
        ("That costs 1,000 euros, I think.", "That costs 1,000 euros,"),
        ("Here it is: the answer.", "Here it is: "),
        ("你好。我是你的助手。", "你好。"),
        ("「你好。」我是你的助手。", "「你好。」"),
        # before a word that begins a clause
        (
            "Your question number five is noted and I will gladly look into it now.",
            "Your question number five is noted ",
        ),
        ("I can do that for you because it is easy.", "I can do that for you "),
        ("The shop closes at eight but you can go tomorrow.", "The shop closes at eight "),
        ("You can call them today or you write a letter.", "You can call them today "),
        ("I will book the table so that you can sit.", "I will book the table "),
        ("There is a tall tower which was built in 1900.", "There is a tall tower "),
        ("I can start the timer when you are ready.", "I can start the timer "),
        # but not between two nouns, in a question, or after a word that needs the next
        ("I like black and white films. Good.", "I like black and white films. "),
        (
            "Please buy some bread and butter today. Good.",
            "Please buy some bread and butter today. ",
        ),
        ("We have a new restaurant and bar. Good.", "We have a new restaurant and bar. "),
        ("Let me ask you when it opens. Good.", "Let me ask you when it opens. "),
        ("It all depends on which one you take. Good.", "It all depends on which one you take. "),
        ("It is good even if it rains. Good.", "It is good even if it rains. "),
        ("I am happy to say that but no more. Good.", "I am happy to say that "),
        # no boundary
        ("Okay", "Okay"),
        (
            "one two three four five six seven eight nine ten eleven twelve thirteen. Good.",
            "one two three four five six seven eight nine ten eleven twelve thirteen. ",
        ),
    ],
)
def test_the_first_piece_ends_at_a_natural_boundary(reply: str, first: str):
    assert find_first(reply)[0] == first


@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        ("It is sunny today, and warm.", "It is sunny today,"),  # with the mark
        ("It is sunny. And warm.", "It is sunny. And"),  # not "sunny.com"
        ("It costs 1,000 euros, I think.", "It costs 1,000 euros,"),
        ("I will do it now because I can.", "I will do it now because"),
        ("Your question is noted and I will see.", "Your question is noted and I"),
    ],
)
def test_a_boundary_is_seen_as_soon_as_it_is_certain(reply: str, seen: str):
    assert find_first(reply)[1] == seen


def test_it_lasts_until_the_next_can_arrive():
    reply = "Of course. I will look it all up now, and tell you tomorrow."
    assert find_first(reply, ClauseChunker(teach()))[0] == "Of course. "
    slow_llm, slow_tts = teach(token=0.06, ttfb=0.3), teach(ttfb=0.6)
    assert find_first(reply, ClauseChunker(slow_llm))[0] == "Of course. I will look it all up now,"
    assert find_first(reply, ClauseChunker(slow_tts))[0] == "Of course. I will look it all up now,"
    slow_delivery = teach(ttfb=0.5, delivery=1 / 1.5)
    assert find_first(reply, ClauseChunker(slow_delivery))[0] == (
        "Of course. I will look it all up now,"
    )


def test_without_a_boundary_it_is_cut_before_a_phrase_rather_than_within():
    reply = (
        "We have checked your order and can now confirm the date of delivery to your home in Bern"
    )
    first, written = find_first(reply + " next week.")
    assert first + "in Bern next" == written
    assert len(written) > LONGEST_FIRST


def test_with_a_slow_llm_sooner():
    reply = "The weather in Berlin is sunny with a high of twenty two degrees. Good."
    assert (
        find_first(reply, ClauseChunker(teach(token=0.08)))[0] == "The weather in Berlin is sunny "
    )


def test_words_that_need_the_next_one_are_not_cut_off():
    assert find_first("and " * 40)[0] == "and " * 40
    assert find_first("one " * 18 + "the " * 30)[0] == "one " * 18


# ── later pieces ─────────────────────────────────────────────────────────────

SENTENCES = "I see it now. It is far, I think, but you can walk in an hour"


@pytest.mark.parametrize(
    ("there", "piece"),
    [
        (f"{SENTENCES}. Then", f"{SENTENCES}. "),
        (SENTENCES, "I see it now. "),
        ("It is far, I think, but you can walk in an", "It is far, I think,"),
        ("You can walk in an hour to the", "You can walk in an hour "),
        ("one two three four the", "one two three four "),
        ("Ok. I will", ""),  # too short to be worth a flush
        ("Ok", ""),
        ("", ""),
    ],
)
def test_a_later_piece_ends_at_the_last_of_the_best_places(there: str, piece: str):
    end = ClauseChunker(FAST).find_next(there)
    assert there[:end].strip() == piece.strip()


def test_a_very_long_text_is_cut():
    chunker = ClauseChunker(FAST)
    assert chunker.find_next("x" * 2000) == LONGEST_PIECE
    assert LONGEST_PIECE - 20 <= chunker.find_next("It is far. " * 100) <= LONGEST_PIECE


# ── an LLM that stalls ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ("I think the weath", "I think "),
        ("I think so.", "I think so."),
        ("Well,", "Well,"),
        ("Well, I be", "Well, "),
        ("The weather in Ber", "The weather "),
        ("It costs 3.", "It costs "),
        ("It costs 1,", "It costs "),
        ("Ask Dr.", "Ask "),
        ("See example.co.", "See "),
        ("the w", "the "),
        ("你好", "你好"),
        ("Sur", ""),
        ("…", ""),
        ("", ""),
    ],
)
def test_if_the_llm_stalls_what_is_there_is_cut_at_the_least_bad_place(there: str, taken: str):
    assert there[: ClauseChunker(FAST).find_next(there, stalled=True)] == taken


def test_batches_can_be_cut_where_the_llm_stalls():
    assert BatchChunker(180).find_next("I think the weath", stalled=True) == len("I think the ")


# ── always ───────────────────────────────────────────────────────────────────


def test_batches():
    text = "one two three four five six"
    assert split(text, BatchChunker(8), repeat(True)) == ["one two three ", "four five ", "six"]
    assert split("one", BatchChunker(180), repeat(True)) == ["one"]
    assert split("", BatchChunker(180), repeat(True)) == []


@UNHURRIED
@given(REPLIES, st.integers(1, 200))
def test_batches_have_the_minimum_length(reply: str, chars: int):
    pieces = split(reply, BatchChunker(chars), repeat(True))
    assert all(chars <= len(piece.rstrip()) for piece in pieces[:-1])
    assert all(len(piece) <= chars + LONGEST_BATCH_EXCESS for piece in pieces)


@UNHURRIED
@given(REPLIES, PIECES, st.randoms(use_true_random=False))
@example("x" * 3000, lambda: ClauseChunker(FAST), Random(1))
@example("你" * 1500, lambda: ClauseChunker(FAST), Random(1))
def test_every_piece_but_the_last_ends_where_a_word_does(
    reply: str, make: Callable[[], Chunker], rng: Random
):
    chunker = make()
    pieces = split(reply, chunker, iter(lambda: rng.random() < 0.5, None))
    assert "".join(pieces) == reply
    for piece, following in pairwise(pieces):
        whole = not (piece[-1].isalnum() and following[0].isalnum())
        assert (
            whole or piece[-1] in "你好" or following[0] in "你好" or len(piece) == chunker.longest
        )


@UNHURRIED
@given(REPLIES)
def test_every_clause_lasts_long_enough(reply: str):
    pacing = teach(token=0.06, ttfb=0.3)
    pieces = split(reply, ClauseChunker(pacing), repeat(True))
    assert all(pacing.covers(piece) for piece in pieces[:-1])


@UNHURRIED
@given(REPLIES)
def test_cuts_are_in_order_and_leave_something_to_say(reply: str):
    cuts = find_cuts(reply)
    assert all(one.end < other.end for one, other in pairwise(cuts))
    assert all(any(map(str.isalnum, reply[: cut.end])) for cut in cuts)


@UNHURRIED
@given(
    st.lists(st.from_regex(r"[a-z]{1,8}(?:[,.!?]|\.[0-9])?", fullmatch=True), min_size=1),
    PIECES,
    st.data(),
)
def test_where_the_llm_stalls_no_word_is_cut(
    said: list[str], make: Callable[[], Chunker], data: st.DataObject
):
    reply = " ".join(said)
    stall = data.draw(st.integers(0, len(reply)))
    end = make().find_next(reply[:stall], stalled=True)
    # "so." may become "so.5": the mark is given out with the word before it.
    words = re.findall("[a-z]+", reply[:end]) + re.findall("[a-z]+", reply[end:])
    assert words == re.findall("[a-z]+", reply)


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
        ("noon -", "clause"),
        ("half-", "none"),
        ("", "none"),
        ('"', "none"),
    ],
)
def test_boundaries(text: str, kind: str):
    assert find_boundary(text) == kind
