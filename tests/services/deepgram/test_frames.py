"""What Nova-3's frames become, and when the words were spoken.

Frames that are not as the service's reference says: ``tests.wild.test_frames``.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.deepgram_frames import results
from voicecli.events import Event, FinalTranscript, InterimTranscript, UtteranceEnded, Warned
from voicecli.services.deepgram.frames import SentAudio, decode
from voicecli.units import AudioBlock, AudioFormat

RATE = 16_000
FORMAT = AudioFormat(RATE)


def block(at: float, duration: float = 0.1) -> AudioBlock:
    return AudioBlock(FORMAT.silence(duration), at)


def sent(*pieces: tuple[float, float]) -> SentAudio:
    """Audio sent in blocks of 0.1 s: (start on the session's clock, duration)."""
    audio = SentAudio(RATE)
    for start, duration in pieces:
        for index in range(round(duration * 10)):
            audio.add(block(start + index / 10))
    return audio


def heard(frame: object, audio: SentAudio | None = None) -> Event | None:
    """The event that a frame stands for; it has no warning."""
    decoded = decode(json.dumps(frame), audio or sent((0.0, 10.0)), at=9.0)
    return decoded[0] if decoded else None


# ── the frames ───────────────────────────────────────────────────────────────


def test_an_interim_speaks_from_its_first_word_to_its_last() -> None:
    assert heard(results("Paris at a moment", (0.25, 0.39999998), (0.79999995, 0.96))) == (
        InterimTranscript(
            at=9.0, text="Paris at a moment", speech_start=0.25, speech_end=pytest.approx(0.96)
        )
    )


def test_a_final_carries_why_it_is_final() -> None:
    words = ((0.5, 0.75), (1.25, 1.5))
    assert heard(results("Yes.", *words, is_final=True)) == FinalTranscript(
        at=9.0, text="Yes.", speech_start=0.5, speech_end=1.5
    )
    assert heard(results("Yes.", *words, is_final=True, speech_final=True)) == FinalTranscript(
        at=9.0, text="Yes.", speech_start=0.5, speech_end=1.5, speech_final=True
    )
    finalized = results("Yes.", *words, is_final=True, speech_final=True, from_finalize=True)
    assert heard(finalized) == FinalTranscript(
        at=9.0,
        text="Yes.",
        speech_start=0.5,
        speech_end=1.5,
        speech_final=True,
        from_finalize=True,
    )


def test_speech_final_alone_is_final_too() -> None:
    assert isinstance(heard(results("Yes.", (0, 1), speech_final=True)), FinalTranscript)


def test_silence_has_the_times_of_its_segment() -> None:
    assert heard(results("", is_final=True, speech_final=True)) == FinalTranscript(
        at=9.0, text="", speech_start=0.5, speech_end=2.0, speech_final=True
    )


def test_the_end_of_an_utterance_may_have_no_word() -> None:
    end = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 8.5}
    assert heard(end) == UtteranceEnded(at=9.0, last_word_end=8.5)
    assert heard(end | {"last_word_end": -1}) == UtteranceEnded(at=9.0, last_word_end=None)


def test_an_error_frame_is_a_warning_fit_for_the_terminal() -> None:
    error = {
        "type": "Error",
        "variant": "SchemaError",
        "description": "unknown\x1b[31m variant",
        "message": '{"type":"Nonsense"}',
    }
    assert heard(error) == Warned(
        at=9.0, service="stt", text='SchemaError: unknown variant: {"type":"Nonsense"}'
    )
    assert heard({"type": "Error"}) == Warned(
        at=9.0, service="stt", text="an error it does not explain"
    )


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 9.54},
        {"type": "Metadata", "sha256": "incomplete", "duration": 4.08},
        {"type": "ConfigureSuccess", "keyterms": []},
        {"type": "SomethingOfNextYear"},
    ],
)
def test_what_tells_nothing_new_is_no_event(frame: dict[str, Any]) -> None:
    assert heard(frame) is None


def test_half_a_character_is_replaced() -> None:
    event = heard(results("a\ud83d"))
    assert isinstance(event, InterimTranscript)
    assert event.text == "a?"


# ── time ─────────────────────────────────────────────────────────────────────


def test_a_muted_microphone_moves_later_words_only() -> None:
    audio = sent((5.0, 2.0), (60.0, 2.0))
    assert audio.start(0.0) == 5.0
    assert audio.end(1.5) == 6.5
    assert audio.start(2.5) == 60.5
    assert audio.end(4.0) == 62.0


def test_words_at_the_edges_of_a_gap_stay_on_their_side() -> None:
    audio = sent((5.0, 2.0), (60.0, 2.0))
    for noise in (-2e-7, 0.0, 2e-7):  # 32-bit floats
        assert audio.end(2.0 + noise) == pytest.approx(7.0, abs=1e-6)
        assert audio.start(2.0 + noise) == pytest.approx(60.0, abs=1e-6)


def test_the_lag_of_an_interim_is_the_audio_sent_that_it_does_not_cover() -> None:
    audio = SentAudio(RATE)
    interim = results("Hello", (0.5, 1.2), start=0.5, duration=0.7)
    assert audio.interim_lag is None
    audio.add(AudioBlock(bytes(2 * round(1.5 * RATE)), 0.0))
    heard(interim, audio)
    assert audio.interim_lag == pytest.approx(0.3)
    audio.add(AudioBlock(bytes(2 * round(0.5 * RATE)), 1.5))
    heard(interim | {"is_final": True}, audio)
    assert audio.interim_lag == pytest.approx(0.3)
    heard(interim, audio)
    assert audio.interim_lag == pytest.approx(0.8)
    heard(interim | {"start": 1e3}, audio)
    assert audio.interim_lag == pytest.approx(0.8)


def test_a_drifting_microphone_is_followed_to_the_millisecond() -> None:
    audio = SentAudio(RATE)
    for index in range(1000):
        audio.add(block(index * 0.10001))  # 100 ppm
    assert audio.end(50.0) == pytest.approx(50.005, abs=0.001)
    assert audio.end(99.9) == pytest.approx(99.90999, abs=0.001)


def test_what_is_long_past_is_forgotten() -> None:
    audio = SentAudio(RATE)
    for index in range(4000):
        audio.add(block(index * 0.2))  # a gap after every block
    assert audio.anchors < 1300
    assert audio.start(390.02) == pytest.approx(780.02)
    assert audio.start(280.02) == pytest.approx(560.02)


def test_a_final_at_a_pause_settles_its_whole_segment() -> None:
    """The end of its last word is an estimate; otherwise the segment may end within a word."""
    for how, until in (({}, 1.2), ({"speech_final": True}, 2.0), ({"from_finalize": True}, 2.0)):
        audio = sent((0.0, 10.0))
        heard(results("Yes.", (0.5, 1.2), is_final=True, **how), audio)
        assert audio.final_until == pytest.approx(until)
