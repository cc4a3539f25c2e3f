"""Which words of a reply were heard, derived from flushes and played samples."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.pipeline.heard import HeardText
from voicecli.text.pacing import Pacing
from voicecli.units import AudioFormat

FORMAT = AudioFormat(1000)
SECONDS_PER_CHARACTER = 0.06
"""A sample is a millisecond."""


def spoken(*texts: str) -> HeardText:
    reply = HeardText(FORMAT, Pacing(SECONDS_PER_CHARACTER))
    for text in texts:
        reply.send(text, flush=True)
    return reply


def heard(reply: HeardText, samples: int) -> str:
    return reply.heard(samples).text


def deliver(reply: HeardText, samples: int) -> None:
    """Deliver all audio of the next flush."""
    reply.receive(samples, written=samples)
    reply.flushed()


def test_nothing_was_heard_of_what_was_not_delivered():
    assert heard(spoken("It is noon."), 0) == ""
    assert heard(spoken("It is noon."), 9999) == ""


def test_each_flush_ends_where_its_audio_does():
    reply = spoken("It is noon. ", "Time for lunch.")
    deliver(reply, 900)
    deliver(reply, 1100)
    assert heard(reply, 899) == "It is"
    assert heard(reply, 900) == "It is noon."
    assert heard(reply, 1999) == "It is noon. Time for"
    assert heard(reply, 2000) == "It is noon. Time for lunch."


def test_between_two_ends_the_characters_are_spoken_evenly():
    reply = spoken("one two three four")
    deliver(reply, 1000)
    assert [heard(reply, at) for at in (0, 166, 167, 389, 722, 723, 999, 1000)] == [
        "",
        "",
        "one",
        "one two",
        "one two",
        "one two three",
        "one two three",
        "one two three four",
    ]


def test_a_flush_still_under_way_is_taken_to_be_as_long_as_usual():
    reply = spoken("one two three four")
    reply.receive(300, written=300)
    assert heard(reply, 60 * len("one")) == "one"
    assert heard(reply, 60 * len("one") - 1) == ""


def test_or_as_long_as_what_has_come_of_it():
    reply = spoken("one two three four")
    reply.receive(8000, written=8000)
    assert heard(reply, 8000 * 7 // 18) == "one"
    assert heard(reply, 8000 * 7 // 18 + 1) == "one two"


def test_silence_that_was_not_played_is_no_part_of_what_was_heard():
    reply = spoken("one two")
    reply.receive(500, written=0)
    reply.receive(1000, written=1000)
    reply.flushed()
    assert heard(reply, 500) == "one"


def test_pieces_that_are_flushed_together_are_one():
    reply = HeardText(FORMAT, Pacing(SECONDS_PER_CHARACTER))
    reply.send("It is ", flush=False)
    reply.send("noon.", flush=False)
    assert reply.outstanding == 0
    reply.send("", flush=True)
    assert reply.outstanding == 1
    deliver(reply, 900)
    assert reply.outstanding == 0
    assert heard(reply, 900) == "It is noon."


def test_a_flush_without_audio_is_heard_with_what_comes_after_it():
    reply = spoken("It is noon. ", "🙂 ", "Lunch.")
    for samples in (900, 0, 500):
        deliver(reply, samples)
    assert heard(reply, 900) == "It is noon."
    assert heard(reply, 1400) == "It is noon. 🙂 Lunch."


def test_what_is_lost_is_taken_back_with_what_had_come_of_it():
    reply = spoken("It is noon. ", "Time for lunch. ", "And then?")
    deliver(reply, 900)
    reply.receive(400, written=400)
    reply.send("And", flush=False)
    assert reply.take_back() == (len("Time for lunch. And then?And"), 400)
    assert reply.outstanding == 0
    assert heard(reply, 1300) == "It is noon."


def test_what_is_spoken_again_begins_where_it_first_did():
    reply = spoken("one two three four")
    reply.receive(600, written=600)
    reply.take_back()
    reply.take_back()
    reply.send("one two three four", flush=True)
    reply.receive(1000, written=400)
    reply.flushed()
    assert [heard(reply, at) for at in (250, 600, 1000)] == ["one", "one two", "one two three four"]
    reply.send(" five", flush=True)
    deliver(reply, 300)
    assert heard(reply, 1299) == "one two three four"


def test_nothing_outstanding_is_nothing_lost():
    reply = spoken("It is noon.")
    deliver(reply, 900)
    assert reply.take_back() == (0, 0)


def test_a_flushed_that_nobody_asked_for_is_ignored():
    reply = spoken()
    reply.flushed()
    reply.receive(100, written=100)
    assert (reply.outstanding, reply.delivered, reply.written) == (0, 0, 100)


def test_half_of_what_the_last_flush_should_sound_like_is_plausible():
    reply = spoken("ten chars.", "ten chars.")
    half = round(1000 * SECONDS_PER_CHARACTER * 5)
    reply.receive(2 * half, written=2 * half)
    assert not reply.is_plausible
    reply.flushed()
    reply.receive(half - 1, written=half - 1)
    assert not reply.is_plausible
    reply.receive(1, written=1)
    assert reply.is_plausible
    reply.flushed()
    assert not reply.is_plausible


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3000)), min_size=1, max_size=5),
    st.data(),
)
def test_the_more_was_played_the_more_was_heard_up_to_all(flushes, data):
    texts = [" ".join(["word"] * words) + " " for words, _ in flushes]
    reply = spoken(*texts)
    undelivered = data.draw(st.integers(0, 1))
    for _, samples in flushes[: len(flushes) - undelivered]:
        deliver(reply, samples)
    if undelivered:
        reply.receive(flushes[-1][1], written=flushes[-1][1])
    words = [heard(reply, at).split() for at in range(0, reply.written + 2, 50)]
    assert all(len(less) <= len(more) for less, more in pairwise(words))
    everything = len("".join(texts).split())
    assert all(len(some) <= everything for some in words)
    if not undelivered and flushes[-1][1]:
        assert len(heard(reply, reply.written).split()) == everything


def test_words_are_estimated_only_within_a_flush():
    reply = spoken("It is noon. ", "Time for lunch.")
    deliver(reply, 900)
    assert [reply.heard(at).estimated for at in (0, 1, 899, 900)] == [False, True, True, False]
    reply.receive(500, written=500)
    assert [reply.heard(at).estimated for at in (900, 901, 1400)] == [False, True, True]
    reply.flushed()
    assert [reply.heard(at).estimated for at in (1399, 1400, 9999)] == [True, False, False]


@pytest.mark.parametrize("samples", [-5, 0])
def test_before_the_first_sample_nothing_was_heard(samples):
    reply = spoken("It is noon.")
    deliver(reply, 900)
    assert heard(reply, samples) == ""
