"""Endings of transcripts, back-channels and echoes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicecli.turns.end_of_turn import (
    ASSENTING_HUMS,
    FINISHED,
    GOES_ON,
    classify_ending,
    is_backchannel,
    is_echo,
    split_words,
    weigh_sound,
)
from voicecli.turns.policy import BACKCHANNELS

UNHURRIED = settings(deadline=None)  # the machine may be busy

COMMANDS = (
    "stop", "wait", "no", "nope", "nah", "don't", "hold on", "hang on", "pause", "cancel", "quiet",
    "shut up", "enough", "never mind", "one moment", "but", "actually", "what", "why", "huh", "um",
    "go back", "again", "next", "help", "hello", "mm-mm", "uh-uh", "nuh-uh",
)  # fmt: skip
"""Words with which a user interrupts; none of them is a back-channel."""

KNOWN = frozenset({"uh-huh", "mhm", "mm-hmm", "yeah", "right", "okay", "I see", "got it"})

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "seven"]), max_size=12)


@pytest.mark.parametrize(
    "text",
    [
        "What is the weather in Berlin?",
        "Tell me a joke.",
        "Stop!",
        "yes",
        "No thanks",
        "Okay",
        "yeah okay",
        "uh-huh",
        "Mm-hmm.",
        "I think so",
        "I hope so.",
        "Yes, it is.",
        "I am 25.",
        "Call me at 10:30.",
        "It was on May 5, 2024.",
        "It costs 1,000.",
        "My number is 030 555 1234.",
        "My number is five five five one two three four.",
        "my e-mail is john dot smith at gmail dot com",
        "My number is 555 123 4567",
        "Where are you from?",
        "Do you know?",
        "What are you looking for?",
        "Take plan A.",
        'He said "stop."',
        "你好。",
    ],
)
def test_complete_endings(text: str):
    assert classify_ending(text) == "complete"


@pytest.mark.parametrize(
    "text",
    [
        "I was thinking and",
        "I was thinking and.",
        "I would like to",
        "I would like to.",
        "Give me the",
        "Give me a.",
        "Well, um",
        "Uh.",
        "It was raining, so.",
        "Hmm.",
        "My name is",
        "My name is.",
        "I'm.",
        "I live in",
        "I do not know how",
        "If it rains,",
        "Let me think.",
        "It is, you know",
        "I mean,",
        "Let me think -",
        "Let me think…",
        "Let me think...",
        "my number is five five",
        "My number is 5 5.",
        "My number is 555.",
        "My phone number is five",
        "five, five, three",
        "It's 555-0",
        "four one …",
        "My e-mail is john dot smith at.",
        "J. O. H. N.",
        "I’m",
    ],
)
def test_incomplete_endings(text: str):
    assert classify_ending(text) == "incomplete"


@pytest.mark.parametrize(
    "text",
    ["", "…!", "Turn it on.", "I live in.", "what is the weather", "I have seven", "number one"],
)
def test_unclear_endings(text: str):
    assert classify_ending(text) == "default"


@UNHURRIED
@given(WORDS)
def test_a_full_stop_does_not_end_what_hangs(spoken: list[str]):
    text = " ".join([*spoken, "and"])
    assert (
        classify_ending(text)
        == classify_ending(text + ".")
        == classify_ending(text.upper() + " .")
        == "incomplete"
    )


@UNHURRIED
@given(st.text(max_size=40))
def test_every_text_has_an_ending(text: str):
    assert classify_ending(text) in ("complete", "default", "incomplete")


def test_the_sound_shortens_the_wait_of_unclear_words_only():
    found = [weigh_sound(one, FINISHED) for one in ("complete", "default", "incomplete")]
    assert found == ["complete", "complete", "incomplete"]


def test_a_sound_that_goes_on_lengthens_every_wait():
    found = [weigh_sound(one, GOES_ON) for one in ("complete", "default", "incomplete")]
    assert found == ["incomplete", "incomplete", "incomplete"]


@pytest.mark.parametrize("end_score", [None, 0.11, 0.5, 0.89])
def test_a_sound_that_is_not_sure_corrects_nothing(end_score: float | None):
    found = [weigh_sound(one, end_score) for one in ("complete", "default", "incomplete")]
    assert found == ["complete", "default", "incomplete"]


@pytest.mark.parametrize(
    "text", ["Uh-huh.", "uh huh", "Mhm, yeah.", "I see!", "Okay. Got it, right.", "MM-HMM"]
)
def test_backchannels(text: str):
    assert is_backchannel(text, KNOWN)


@pytest.mark.parametrize("text", ["", " … ", "yeah but", "I", "see", "right now", "no", "uh"])
def test_no_backchannels(text: str):
    assert not is_backchannel(text, KNOWN)


def test_a_backchannel_may_be_incomplete():
    assert is_backchannel("I", ["i see", "yeah"], begun=True)
    assert is_backchannel("Yeah, I", ["i see", "yeah"], begun=True)
    assert not is_backchannel("I", ["i see", "yeah"])
    assert not is_backchannel("I want", ["i see", "yeah"], begun=True)
    assert not is_backchannel("see", ["i see", "yeah"], begun=True)
    assert not is_backchannel("stop", ["", "-"], begun=True)


def test_without_a_list_nothing_is_a_backchannel():
    assert not is_backchannel("yeah", ())
    assert not is_backchannel("yeah", ["", "-"])


@UNHURRIED
@given(st.lists(st.sampled_from(sorted(KNOWN)), min_size=1))
def test_any_row_of_backchannels_is_one_and_no_other_word_is(spoken: list[str]):
    assert is_backchannel(", ".join(spoken), KNOWN)
    assert not is_backchannel(", ".join([*spoken, "stop"]), KNOWN)


@pytest.mark.parametrize(
    "text",
    [
        # as Deepgram, AssemblyAI, Whisper and Moonshine write them
        *("mhmm", "uh-huh", "mhm", "hmm", "ah", "hm", "mm", "Aha.", "Yup.", "Mm-hmm.", "Mmhmm"),
        *("Uhhuh.", "Ah-ha!", "Mm, mm-hmm.", "Hmmmm.", "Yeahhh.", "Okayyy, yup.", "Ohh. Right."),
    ],
)
def test_the_usual_backchannels_in_the_spellings_of_stts(text: str):
    assert is_backchannel(text, BACKCHANNELS)


@pytest.mark.parametrize("text", ["Uh-uh.", "mm mm", "Mm-mm.", "Nuh-uh", "nah-ah", "Yeah, uh-uh."])
def test_a_hum_that_means_no_is_none(text: str):
    assert not is_backchannel(text, BACKCHANNELS)


@UNHURRIED
@given(
    st.lists(st.sampled_from(BACKCHANNELS), max_size=4),
    st.sampled_from(COMMANDS),
    st.lists(st.sampled_from(BACKCHANNELS), max_size=4),
    st.booleans(),
    st.integers(0, 4),
)
def test_no_command_is_a_backchannel(
    before: list[str], command: str, after: list[str], begun: bool, drawl: int
):
    """Alone, among back-channels, drawn out, and as an interim."""
    drawn = command + command[-1] * drawl
    assert not is_backchannel(", ".join([*before, drawn, *after]), BACKCHANNELS, begun=begun)


@UNHURRIED
@given(st.lists(st.sampled_from(BACKCHANNELS), min_size=1, max_size=5), st.integers(0, 4))
def test_every_usual_backchannel_is_one_however_it_is_said(spoken: list[str], drawl: int):
    for text in (", ".join(spoken), ", ".join(spoken).upper(), ". ".join(spoken)):
        assert is_backchannel(text, BACKCHANNELS)
        assert is_backchannel(text + text[-1] * drawl, BACKCHANNELS)


def test_an_assenting_hum_is_a_complete_answer():
    assert {classify_ending(hum) for hum in ASSENTING_HUMS} == {"complete"}


SAID = "Sure, I can stop the music. Tomorrow it's sunny, with a high of twenty-two degrees."


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        "I can.",
        "Tomorrow it’s sunny",
        "sunny with a hive of twenty two",  # one word wrong
        "sunny with high of twenty-two",  # one word missing
        "with a a high of",  # one word added
        "tomorrow its sunny with a high of twenty to degrees",  # two of nine wrong
    ],
)
def test_an_echo(text: str):
    assert is_echo(text, SAID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "…",
        "wait",
        "stop it",
        "can I",  # not in order
        "stop tomorrow",  # not together
        "stop the radio",
        "no stop the radio please",
        "sure tomorrow sunny degrees",
        "what about the day after tomorrow",
    ],
)
def test_no_echo(text: str):
    assert not is_echo(text, SAID)


def test_nothing_is_an_echo_of_silence():
    assert not is_echo("hello", "")
    assert not is_echo("", "")


@UNHURRIED
@given(WORDS, WORDS, WORDS)
def test_every_part_of_what_is_said_may_be_an_echo(
    before: list[str], part: list[str], after: list[str]
):
    assert is_echo(" ".join(part), " ".join([*before, *part, *after])) == bool(part)


@UNHURRIED
@given(WORDS)
def test_an_echo_has_three_words_in_four_in_common(said: list[str]):
    assert not is_echo("please be quiet now", " ".join(said))
    assert not is_echo(" ".join([*said[:2], "please", "stop"]), " ".join(said))


def test_words():
    assert split_words("Uh-huh, it’s 5 p.m.! E\u0301") == ["uh", "huh", "it's", "5", "p.m", "e"]
    assert split_words(" … — ") == []
