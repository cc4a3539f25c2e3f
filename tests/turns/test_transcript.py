"""Interims and finals become the words of a turn, each of them once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicecli.events import FinalTranscript, InterimTranscript
from voicecli.turns.transcript import SAME_WORD, TurnTranscript


def interim(text: str, end: float, start: float = 0.0) -> InterimTranscript:
    return InterimTranscript(at=end, text=text, speech_start=start, speech_end=end)


def final(text: str, end: float, start: float = 0.0) -> FinalTranscript:
    return FinalTranscript(at=end, text=text, speech_start=start, speech_end=end)


def utterance(*events: InterimTranscript | FinalTranscript) -> TurnTranscript:
    heard = TurnTranscript()
    for event in events:
        heard.hear(event)
    return heard


def test_an_interim_replaces_the_one_before_and_may_shrink():
    assert utterance(interim("I was thirty years of", 2), interim("Was thirty", 2.5)).text == (
        "Was thirty"
    )


def test_finals_are_joined_and_the_open_segment_follows():
    heard = utterance(final("my number is", 1), interim("two two", 2))
    assert heard.text == "my number is two two"
    assert heard.open
    heard.hear(final("two too", 2))
    assert heard.text == "my number is two too"
    assert not heard.open


def test_an_empty_final_closes_the_segment_and_takes_its_words_away():
    heard = utterance(final("Hello", 1), interim("um", 2), final("", 2.1))
    assert heard.text == "Hello"
    assert heard.speech_end == 2


def test_it_tells_whether_the_words_have_changed():
    heard = TurnTranscript()
    assert not heard.hear(interim("", 0.5))
    assert heard.hear(interim("Hello", 1))
    assert not heard.hear(interim("Hello", 1.1))
    assert not heard.hear(final(" Hello ", 1.2))
    assert heard.hear(final("you", 2))
    assert not heard.hear(final("", 3))


def test_it_spans_its_words_and_no_silence():
    heard = utterance(
        interim("", 1), interim("well", 2.2, start=2), final("well then", 2.6, start=1.9)
    )
    heard.hear(final("", 9, start=3))
    assert (heard.speech_start, heard.speech_end) == (2, 2.6)


def test_the_end_never_goes_back():
    """A final may cover less than the last interim did."""
    assert utterance(interim("one two three", 3), final("one two", 2)).speech_end == 3


def test_taken_words_are_gone():
    heard = utterance(final("Hello", 1))
    assert heard.take() == "Hello"
    assert heard.text == ""
    assert heard.speech_start is heard.speech_end is None
    assert heard.take() == ""


def test_what_a_segment_restates_of_a_taken_turn_is_not_said_twice():
    heard = utterance(interim("What is", 1))
    heard.take()
    assert not heard.hear(interim("What is,", 1 + SAME_WORD))
    assert not heard.hear(final("What's it?", 1 + SAME_WORD))
    heard.hear(final("And now?", 3, start=2))
    assert heard.text == "And now?"


def test_what_a_segment_adds_to_a_taken_turn_is_new():
    heard = utterance(interim("What is", 1))
    heard.take()
    assert heard.hear(interim("What is the", 1.5))
    assert heard.hear(final("What is the time?", 2))
    assert heard.text == "the time?"


def test_a_segment_may_be_taken_in_parts():
    heard = utterance(interim("What is", 1))
    assert heard.take() == "What is"
    heard.hear(interim("What is the time", 2))
    assert heard.take() == "the time"
    assert heard.take() == ""
    heard.hear(final("What is the time in Rome?", 3))
    assert heard.take() == "in Rome?"


def test_a_taken_segment_may_be_closed_early():
    """The final covers less than the interim that was taken; the next segment restates the rest."""
    heard = utterance(interim("two two three three", 2))
    heard.take()
    assert not heard.hear(final("two two", 1))
    assert not heard.hear(interim("three three", 2.1))
    assert heard.hear(final("three three four", 2.8))
    assert heard.text == "four"


def test_what_is_put_back_comes_first():
    heard = utterance(interim("What is", 1))
    taken = heard.take()
    heard.hear(interim("What is the time", 2, start=0.5))
    heard.put_back(taken, 1)
    assert heard.text == "What is the time"
    assert (heard.speech_start, heard.speech_end) == (0.5, 2)


def test_what_is_put_back_alone_ends_when_it_did():
    heard = utterance(final("What is", 1))
    heard.put_back(heard.take(), 1)
    assert (heard.text, heard.speech_start, heard.speech_end) == ("What is", 1, 1)
    heard.put_back("Well.", None)
    assert (heard.text, heard.speech_end) == ("Well. What is", 1)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["", "close", "take", "back"]))))
def test_every_word_is_had_once_and_in_order(steps):
    """Segments of words that are restated, closed, taken and put back at any time."""
    heard, segment, taken = TurnTranscript(), [], ""
    words, had = 0, []
    for count, then in steps:
        segment += [f"w{words + index}" for index in range(count)]
        words += count
        heard.hear(interim(" ".join(segment), 0.3 * words))
        if then == "close":
            heard.hear(final(" ".join(segment), 0.3 * words))
            segment = []
        elif then:
            taken = heard.take()
            if then == "back":
                heard.put_back(taken, 0.3 * words)
            else:
                had += taken.split()
    assert [*had, *heard.text.split()] == [f"w{index}" for index in range(words)]
