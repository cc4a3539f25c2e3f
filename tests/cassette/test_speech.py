"""What the TTS of a cassette can speak, also where a reply is cut otherwise than it was."""

from __future__ import annotations

import pytest

from voicecli.cassette.speech import Close, Flush, SpeakTrack, Speech, Timed

FLUSHED = '{"type": "Flushed"}'
CHUNK = 100
"""Bytes of a letter: the audio of a word begins where its letters do."""


def flush(text: str, at: float) -> Flush:
    """Half a second to the first audio, a message for each word, then Flushed."""
    words = text.split()
    messages = [
        Timed(0.5 + 0.1 * index, word[:1].encode() * CHUNK * (len(word) + 1))
        for index, word in enumerate(words)
    ]
    messages.append(Timed(0.5 + 0.1 * len(words), FLUSHED))
    return Flush(text, at, f"tts-1.jsonl:{at:.0f}", messages, complete=True)


def spoken(found: Flush | None) -> str:
    """The first letters of the words whose audio was found, as often as there are letters."""
    assert found is not None
    assert found.messages[-1].message == FLUSHED
    audio = b"".join(one.message for one in found.messages if isinstance(one.message, bytes))
    return audio[::CHUNK].decode()


@pytest.fixture
def speech() -> Speech:
    flushes = [flush("Ab cd.", 1), flush(" Efg hi jk.", 2), flush("Lm no.", 9), flush("Ab cd.", 12)]
    return Speech([SpeakTrack(flushes=flushes[2:]), SpeakTrack(flushes=flushes[:2])])


def test_each_time_as_it_was(speech: Speech) -> None:
    found = [speech.find("Ab  cd. ") for _ in range(3)]
    assert [one and one.at for one in found] == [1, 12, 12]


def test_flushes_are_put_together(speech: Speech) -> None:
    found = speech.find("Ab cd. Efg hi jk.")
    assert spoken(found) == "AAAcccc" + "EEEEhhhjjjj"
    assert found is not None
    times = [one.after for one in found.messages]
    assert times[0] == 0.5
    assert times == sorted(times)


def test_a_flush_is_cut(speech: Speech) -> None:
    assert spoken(speech.find("Ab")) == "AAA"
    assert spoken(speech.find("cd. Efg")) == "ccccEEEE"
    assert spoken(speech.find("hi jk.")) == "hhhjjjj"


def test_the_audio_of_all_parts_is_all_the_audio(speech: Speech) -> None:
    whole = spoken(speech.find("Efg hi jk."))
    assert "".join(spoken(speech.find(word)) for word in ("Efg", "hi", "jk.")) == whole


@pytest.mark.parametrize("text", ["xyz", "Ab xd.", "jk. Xx", "", "  "])
def test_what_was_never_spoken_is_not_found(speech: Speech, text: str) -> None:
    assert speech.find(text) is None
    assert speech.find_nearest("Lm xx").text == "Lm no."  # type: ignore[union-attr]


def test_what_was_cleared_is_spoken_as_far_as_it_was() -> None:
    cut = flush("Ab cd.", 1)
    cut.complete, cut.cleared, cut.messages = False, 0.7, cut.messages[:1]
    speech = Speech([SpeakTrack(flushes=[cut])])
    assert speech.find("Ab cd.") is cut
    assert speech.find("cd.") is None


def test_a_connection_that_was_closed_is_closed_again() -> None:
    lost = flush("Ab cd.", 1)
    lost.complete, lost.messages = False, [Timed(0.6, Close(1011, "NET-0000"))]
    assert Speech([SpeakTrack(flushes=[lost])]).find("Ab cd.") is lost
