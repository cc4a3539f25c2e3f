"""Interims and finals become the words of a turn, each word once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicecli.events import FinalTranscript, InterimTranscript
from voicecli.turns.transcript import SAME_WORD, TurnTranscript


def interim(text: str, end: float, start: float = 0.0) -> InterimTranscript:
    return InterimTranscript(at=end, text=text, speech_start=start, speech_end=end)


def final(text: str, end: float, start: float = 0.0) -> FinalTranscript:
    return FinalTranscript(at=end, text=text, speech_start=start, speech_end=end)


def transcribe(*events: InterimTranscript | FinalTranscript) -> TurnTranscript:
    transcript = TurnTranscript()
    for event in events:
        transcript.update(event)
    return transcript


def test_an_interim_replaces_the_one_before_and_may_shrink():
    assert transcribe(interim("I was thirty years of", 2), interim("Was thirty", 2.5)).text == (
        "Was thirty"
    )


def test_finals_are_joined_and_the_open_segment_follows():
    transcript = transcribe(final("my number is", 1), interim("two two", 2))
    assert transcript.text == "my number is two two"
    assert transcript.is_open
    transcript.update(final("two too", 2))
    assert transcript.text == "my number is two too"
    assert not transcript.is_open


def test_an_interim_that_comes_after_its_final_is_ignored():
    transcript = transcribe(final("It is noon.", 1.5))
    assert not transcript.update(interim("It is new", 1.6))
    assert (transcript.text, transcript.is_open) == ("It is noon.", False)
    assert transcript.update(interim("already", 2.1, start=1.7))
    assert transcript.text == "It is noon. already"


def test_an_empty_final_closes_the_segment_and_removes_its_words():
    transcript = transcribe(final("Hello", 1), interim("um", 2), final("", 2.1))
    assert transcript.text == "Hello"
    assert transcript.speech_end == 2


def test_update_returns_whether_the_words_changed():
    transcript = TurnTranscript()
    assert not transcript.update(interim("", 0.5))
    assert transcript.update(interim("Hello", 1))
    assert not transcript.update(interim("Hello", 1.1))
    assert not transcript.update(final(" Hello ", 1.2))
    assert transcript.update(final("you", 2))
    assert not transcript.update(final("", 3))


def test_it_ends_with_its_last_word():
    transcript = transcribe(
        interim("", 1), interim("well", 2.2, start=2), final("well then", 2.6, start=1.9)
    )
    transcript.update(final("", 9, start=3))
    assert transcript.speech_end == 2.6


def test_the_end_never_goes_back():
    """A final may cover less than the last interim did."""
    assert transcribe(interim("one two three", 3), final("one two", 2)).speech_end == 3


def test_taken_words_are_gone():
    transcript = transcribe(final("Hello", 1))
    assert transcript.take() == "Hello"
    assert transcript.text == ""
    assert transcript.speech_end is None
    assert transcript.take() == ""


def test_what_a_segment_restates_of_a_taken_turn_is_not_said_twice():
    transcript = transcribe(interim("What is", 1))
    transcript.take()
    assert not transcript.update(interim("What is,", 1 + SAME_WORD))
    assert not transcript.update(final("What's it?", 1 + SAME_WORD))
    transcript.update(final("And now?", 3, start=2))
    assert transcript.text == "And now?"


def test_what_a_segment_adds_to_a_taken_turn_is_new():
    transcript = transcribe(interim("What is", 1))
    transcript.take()
    assert transcript.update(interim("What is the", 1.5))
    assert transcript.update(final("What is the time?", 2))
    assert transcript.text == "the time?"


def test_a_segment_may_be_taken_in_parts():
    transcript = transcribe(interim("What is", 1))
    assert transcript.take() == "What is"
    transcript.update(interim("What is the time", 2))
    assert transcript.take() == "the time"
    assert transcript.take() == ""
    transcript.update(final("What is the time in Rome?", 3))
    assert transcript.take() == "in Rome?"


def test_a_taken_segment_may_be_closed_early():
    """The final covers less than the interim that was taken; the next segment restates the rest."""
    transcript = transcribe(interim("two two three three", 2))
    transcript.take()
    assert not transcript.update(final("two two", 1))
    assert not transcript.update(interim("three three", 2.1))
    assert transcript.update(final("three three four", 2.8))
    assert transcript.text == "four"


def test_what_is_put_back_comes_first():
    transcript = transcribe(final("What is", 1))
    transcript.put_back("Well.", None)
    assert (transcript.text, transcript.speech_end) == ("Well. What is", 1)


def test_a_restored_turn_goes_on():
    transcript = transcribe(interim("What is", 1))
    transcript.take()
    transcript.update(interim("What is the time", 2, start=0.5))
    transcript.restore(1)
    assert transcript.text == "What is the time"
    assert transcript.speech_end == 2


def test_a_turn_that_is_restored_alone_ends_when_it_did():
    transcript = transcribe(final("What is", 1))
    transcript.take()
    transcript.restore(1.1)
    assert (transcript.text, transcript.speech_end) == ("What is", 1.1)


def test_late_words_stand_before_those_of_the_restored_turn():
    transcript = transcribe(final("the time?", 2, start=1))
    transcript.take()
    assert transcript.update(final("What is", 1))
    transcript.restore(2)
    assert (transcript.text, transcript.speech_end) == ("What is the time?", 2)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["", "close", "take", "back"]))))
def test_every_word_appears_once_and_in_order(steps):
    """Segments of words that are restated, closed, taken and put back at any time."""
    transcript, segment = TurnTranscript(), []
    words, had = 0, []
    start = 0.0
    for count, then in steps:
        segment += [f"w{words + index}" for index in range(count)]
        words += count
        transcript.update(interim(" ".join(segment), 0.3 * words, start))
        if then == "close":
            transcript.update(final(" ".join(segment), 0.3 * words, start))
            segment, start = [], 0.3 * words
        elif then:
            taken = transcript.take()
            if then == "back":
                transcript.restore(0.3 * words)
            else:
                had += taken.split()
    assert [*had, *transcript.text.split()] == [f"w{index}" for index in range(words)]


# ── finals that repeat ───────────────────────────────────────────────────────

WORD = 0.3


def spoken(words, first, end):
    """A final of these words, each of which takes WORD; some STTs round to a hundredth."""
    return final(" ".join(words[first:end]), round(WORD * end, 2), round(WORD * first, 2))


VOCABULARY = st.sampled_from(["no", "very", "what", "is", "the", "time"])
WINDOWS = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 6)), max_size=12)


@given(st.lists(VOCABULARY, min_size=1, max_size=12), WINDOWS)
def test_finals_that_overlap_in_any_order_say_each_word_once(words, windows):
    """Duplicates, cumulative, overlapping and late finals of words that may repeat themselves."""
    transcript = TurnTranscript()
    heard = set()
    for first, count in windows:
        first, end = min(first, len(words) - 1), min(first + count, len(words))
        transcript.update(spoken(words, first, end))
        heard |= set(range(first, end))
    assert transcript.text.split() == [words[index] for index in sorted(heard)]


@given(st.lists(VOCABULARY, min_size=1), st.lists(st.integers(1, 4)), st.data())
def test_finals_restate_what_earlier_turns_had(words, lengths, data):
    transcript, end = TurnTranscript(), 0
    for length in lengths:
        had, end = end, min(end + length, len(words))
        event = spoken(words, data.draw(st.integers(0, had)), end)
        assert transcript.update(event) == (end > had)
        assert not transcript.update(event)
        assert transcript.take().split() == words[had:end]
        assert not transcript.update(event)


def test_words_that_are_said_twice_stay():
    assert transcribe(final("very", 1.0, 0.7), final("very", 1.3, 1.0)).text == "very very"
    assert transcribe(final("no no no", 1, 0), final("no no no", 1, 0)).text == "no no no"
    assert transcribe(final("Yes.", 1.0, 0.6), final("Yes.", 2.0, 1.6)).text == "Yes. Yes."


def test_a_final_that_restates_others_replaces_them():
    segments = final("my order number", 1, 0), final("is four two one.", 2.5, 1)
    whole = final("My order number is 421.", 2.5, 0)
    assert transcribe(*segments, whole).text == "My order number is 421."
    assert transcribe(whole, *segments).text == "My order number is 421."


def test_other_words_at_the_same_time_are_kept():
    """Some servers' start is always 0."""
    assert transcribe(final("what is", 1, 0), final("the time", 2, 0)).text == "what is the time"


def test_a_late_final_leaves_the_open_segment_alone():
    transcript = transcribe(interim("the time", 2, start=1), final("What is", 1, start=0))
    assert transcript.text == "What is the time"
    assert transcript.is_open


def test_a_late_interim_of_a_closed_segment_is_ignored():
    transcript = transcribe(final("What is", 1, 0), interim("the time", 2, 1))
    assert not transcript.update(interim("What", 0.5, 0))
    assert transcript.text == "What is the time"
    assert transcript.is_open


def test_dropped_words_come_back_with_the_transcript_that_restates_them():
    transcript = transcribe(interim("What", 1))
    transcript.drop()
    transcript.update(interim("What is", 1.5))
    assert transcript.text == "What is"
