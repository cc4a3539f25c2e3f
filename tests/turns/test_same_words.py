"""Whether two transcripts say the same: what the STT writes differently, and what differs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.numbers import SMALL, TENS, spell
from voicecli.turns.same_words import count_restated, says_same

SAME = [
    ("what is the time", "What is the time?"),
    ("okay", "OK."),
    ("well known e mail", "Well-known e-mail"),
    ("email", "e-mail"),
    ("it is all right", "It is alright."),
    ("we don't", "We don’t."),
    ("twenty five dollars", "$25."),
    ("twenty five dollars and fifty cents", "$25.50"),
    ("five million dollars", "$5 million"),
    ("a hundred euros", "€100"),
    ("one thousand thirty", "1,030"),
    ("two thousand and six", "2006"),
    ("nineteen eighty four", "1984"),
    ("twenty twenty six", "2026"),
    ("one hundred and five", "105"),
    ("ten percent", "10%"),
    ("three point five", "3.5"),
    ("minus five degrees", "-5°"),
    ("ten thirty", "10:30"),
    ("ten thirty a m", "10:30 AM"),
    ("ten am", "10:00 a.m."),
    ("ten o'clock", "10:00"),
    ("five five five", "555"),
    ("five five five", "5 5 5"),
    ("5 5 5", "555"),
    ("two oh five", "205"),
    ("double five five", "555"),
    ("my number is five five five one two one two", "My number is 555-1212."),
    ("twenty first", "21st"),
    ("forty second street", "42nd Street"),
    ("the first of may", "May 1st"),
    ("may the first", "May 1st"),
    ("no one was first", "No one was first."),
    ("john at example dot com", "john@example.com"),
    ("R and D", "R&D"),
    ("", "…"),
]

DIFFERENT = [
    ("fifteen", "fifty"),
    ("it costs fifteen", "It costs $50."),
    ("no", "know"),
    ("no", "now"),
    ("I can", "I can't."),
    ("we're there", "were there"),
    ("do it", "don't do it"),
    ("", "no"),
    ("now here", "nowhere"),
    ("one thousand thirty", "10:30"),
    ("one thousand thirty", "ten thirty"),
    ("twenty five", "20 5"),
    ("two hundred five", "20 5"),
    ("3.5", "35"),
    ("3.5", "3 5"),
    ("5", "-5"),
    ("1/2", "1 2"),
    ("five", "fifth"),
    ("5", "$5"),
    ("five", "5%"),
    ("C", "C++"),
    ("I would say", "I would say so"),
    ("ten oh five", "ten five"),
    ("कि", "की"),
]


@pytest.mark.parametrize(("text", "other"), SAME)
def test_the_same_words_may_be_written_differently(text, other):
    assert says_same(text, other)
    assert says_same(other, text)
    assert says_same(f"yes, {text} please", f"Yes {other}, please.")


@pytest.mark.parametrize(("text", "other"), DIFFERENT)
def test_other_words_are_not_the_same(text, other):
    assert not says_same(text, other)
    assert not says_same(other, text)


@pytest.mark.parametrize(
    ("text", "said", "restated"),
    [
        ("Hello there. How are you?", "hello there", 2),
        ("Call 555-1212, please.", "call five five five one two one two", 2),
        ("call five five five one two", "Call 555", 4),
        ("Hello there.", "hello there", 2),
        ("Hello there.", "", 0),
        ("Hello, Bert. How are you?", "hello bird", 2),
        ("Hello", "hello there", 1),
        ("the time in Rome", "What is the time?", 2),
        ("How are you?", "Hello there.", 0),
    ],
)
def test_what_was_said_is_restated_by_the_first_words(text, said, restated):
    words = said.split()
    assert count_restated(text.split(), words, len(words)) == restated


def test_the_match_nearest_to_what_the_times_say_counts():
    for expected in (1, 2, 3):
        assert count_restated(["no", "no", "no", "no"], ["no", "no", "no"], expected) == expected


# ── numbers of any size ──────────────────────────────────────────────────────

NUMBERS = st.integers(0, 10**9 - 1)
DIGITS = st.lists(st.integers(0, 9), min_size=1, max_size=10)
WORDS = st.lists(
    st.sampled_from(
        f"{SMALL} {TENS} hundred thousand million and a oh double point no know not can can't to "
        "first second third the of may dollars percent am e-mail 10:30 555-1212 $25.50 3.5 1,000 "
        "21st 10% U.S. okay".split()
    ),
    max_size=8,
).map(" ".join)


@given(NUMBERS)
def test_a_number_in_words_is_that_in_digits(number):
    assert says_same(spell(number), str(number))
    assert says_same(spell(number).replace(" ", "-"), f"{number:,}")
    assert says_same(f"{spell(number)} dollars", f"${number:,}")


@given(NUMBERS, NUMBERS)
def test_two_numbers_are_not_the_same(one, other):
    written = (spell, str, "{:,}".format)
    for write in written:
        for write_other in written:
            assert says_same(write(one), write_other(other)) == (one == other)


@given(DIGITS, DIGITS)
def test_digits_that_are_said_one_by_one_may_be_written_together(one, other):
    said, written = " ".join(map(spell, one)), "".join(map(str, other))
    assert says_same(said, written) == (one == other)


# ── what holds for all texts ─────────────────────────────────────────────────


@given(st.text() | WORDS)
def test_case_spacing_and_punctuation_do_not_count(text):
    assert says_same(text, text)
    assert says_same(text, f"  {text} ")
    assert says_same(text.lower(), text)
    assert says_same(f"{text}.", text)


@given(st.text() | WORDS, st.text() | WORDS)
def test_it_is_symmetric(text, other):
    assert says_same(text, other) == says_same(other, text)


@given(WORDS, st.sampled_from(["no", "not", "never", "don't"]), WORDS)
def test_a_negation_counts(before, negation, after):
    assert not says_same(f"{before} {after}", f"{before} {negation} {after}")


@given(WORDS, WORDS)
def test_no_word_is_lost_or_doubled_by_a_restatement(said, rest):
    words = f"{said} {rest}".split()
    left = words[count_restated(words, said.split(), len(said.split())) :]
    assert says_same(f"{said} {' '.join(left)}", f"{said} {rest}")


def test_a_number_in_digits_restates_its_words_at_the_end():
    said = ["we", "paid", "three", "dollars"]
    assert count_restated(["$3", "again"], said, 1) == 1
    assert count_restated(["three", "dollars", "again"], ["we", "paid", "$3"], 2) == 2
    assert count_restated(["$4", "again"], said, 1) == 0
