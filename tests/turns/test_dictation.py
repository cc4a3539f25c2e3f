"""Dictation of addresses, letters and digits: whether more is to come."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.material import FIXED_SAYS, PAUSED, SAYS, WHOLE
from voicecli.turns.dictation import classify_dictation


@pytest.mark.parametrize(
    "text",
    [
        "john dot smith",
        "john dot smith at gmail",
        "John dot smith at Gmail.",
        "john.smith@",
        "john.smith@gmail",
        "My email is john.smith",
        "My e-mail address is John Smith.",
        "my email is j smith at yahoo",
        "It's john underscore smith",
        "It's john underscore",
        "jane@example dot",
        "www dot example",
        "www.example",
        "www",
        "https://",
        "example dot com slash",
        "J. O. H. N.",
        "j o h n",
        "J-O-H-N",
        "My name is J. O.",
        "It is spelled S",
        "B as in boy",
        "B as in",
        "It's D for David",
        "M as in Mike, A",
        "capital A",
        "Romeo Sierra",
        "K L 4 7",
        "My postcode is SW1A",
        "The postcode is S W 1",
        "My postal code is K1A",
        "My number is 555 123",
        "555 123 4",
        "(555) 123",
        "+1 555 123",
        "1 800 555",
        "1 800 555 123",
        "My number is five five five",
        "My number is 555.",
        "My card number is 4242 4242 4242",
        "4242 4242",
        "The zip code is 902",
        "my pin is 1 2",
        "double five three",
        "My account number is 12 34",
        "double O seven 3 4",
    ],
)
def test_within_dictation(text: str):
    assert classify_dictation(text) == "within"
    assert classify_dictation(f"{text}.") == "within"


@pytest.mark.parametrize(
    "text",
    [
        "john dot smith at gmail dot com",
        "John.smith@gmail.com.",
        "www.example.com",
        "www dot example dot org",
        "My name is John, J. O. H. N.",
        "My postcode is SW1A 1AA.",
        "S W 1 A 1 A A",
        "K 1 A 0 B 1",
        "My number is 555 123 4567.",
        "(555) 123-4567",
        "1 800 555 1234",
        "My card number is 4242 4242 4242 4242",
        "4242 4242 4242 4242.",
        "The zip code is 90210",
        "my pin is 1 2 3 4",
        "My number is 030 555 1234.",
    ],
)
def test_whole_dictation(text: str):
    assert classify_dictation(text) == "whole"
    assert classify_dictation(f"{text}.") == "whole"


@pytest.mark.parametrize(
    "text",
    [
        "It is ten thirty",
        "It is 10 30.",
        "Plan B.",
        "Take plan A.",
        "I have two",
        "I am 25.",
        "Call me at 10:30.",
        "It was on May 5, 2024.",
        "May 5 2024",
        "It costs 1,000.",
        "I was born on 05 12 1980",
        "See you at 5 p.m.",
        "She lives in the U.S.",
        "at 5 p.m. at school",
        "I live in the U S A",
        "Vitamin B12",
        "Gate B 12",
        "Terminal A 5",
        "My email is broken",
        "My email is not working.",
        "Send me an email",
        "What is your email",
        "Please connect the dot",
        "I like the letter B.",
        "I work at Yahoo.",
        "Meet me at home",
        "Am I",
        "I got an A.",
        "You and I",
        "number one",
        "Turn it on",
        "My number is five five five one two three four.",
        "She has a PhD",
        "We talked on the phone at two",
        "one or two",
        "Washington, D.C.",
        "So do I",
        "Do you know what I",
        "I want a",
        "an e-mail",
        "My postcode is wrong",
        "A for effort",
        "I, for one",
        "I for one",
        "The hotel in November",
        "hotel",
        "Go to www.example.com and",
        "slash",
        "Is it 3.5",
        "5 to 10",
        "twenty five",
        "a hundred and two",
        "My phone is a Pixel 7.",
        "My phone is on the table at 7",
        "Version 2.0",
        "It's 7",
        "it's that one",
    ],
)
def test_no_dictation(text: str):
    assert classify_dictation(text) is None


def test_ordinary_sentences_are_no_dictation():
    pauses = (" ".join(parts[:count]) for parts in PAUSED for count in range(1, len(parts) + 1))
    dictated = [text for text in [*WHOLE, *SAYS, *FIXED_SAYS, *pauses] if classify_dictation(text)]
    assert dictated == ["My number is five five five"]


@settings(deadline=None)
@given(st.lists(st.sampled_from("0123456789"), min_size=1, max_size=9))
def test_a_telephone_number_is_whole_with_ten_digits(digits: list[str]):
    spoken = "My number is " + " ".join(["5", *digits])
    assert (classify_dictation(spoken) == "whole") == (len(digits) == 9)


@settings(deadline=None)
@given(st.lists(st.sampled_from("bcdefghjkm"), min_size=4, max_size=12))
def test_letters_are_within_until_they_spell_a_word_that_was_said(letters: list[str]):
    spelled = " ".join(letters)
    assert classify_dictation(f"It is {spelled}") == "within"
    assert classify_dictation(f"I am {''.join(letters)}, {spelled}") == "whole"
