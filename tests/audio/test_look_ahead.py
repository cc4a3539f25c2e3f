"""Speech that is found before it is played; the recording's position."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from tests.support.speech_like import alternate_speech
from voicecli import clock
from voicecli.audio.gain import Amplifier
from voicecli.audio.look_ahead import LOOK_AHEAD, HeardSpeech
from voicecli.audio.pcm import samples_of
from voicecli.audio.vad import create_detector
from voicecli.audio.wav import WavSource, open_wav
from voicecli.events import (
    Event,
    RecordedSpeechStarted,
    RecordedSpeechStopped,
    RecordingPaused,
    RecordingResumed,
)
from voicecli.units import AudioFormat

RATE, BLOCK = 16_000, 0.02


def play(
    path: Path, *, pause_at: float | None = None, pause: float = 1.0, gain: float = 0.0
) -> list[tuple[float, Event]]:
    """Play a recording to 1 s after its end; the events, and when they were taken."""
    taken: list[tuple[float, Event]] = []

    async def read(source: WavSource) -> None:
        async for block in source.blocks():
            taken.extend((clock.now(), event) for event in source.take_events())
            if pause_at is not None:
                if block.at == pytest.approx(pause_at):
                    source.pause()
                elif block.at == pytest.approx(pause_at + pause):
                    source.resume()
            if block.at > source.duration + 1 + (pause if pause_at else 0):
                return

    with open_wav(path, RATE, BLOCK) as source:
        detector = create_detector("energy", AudioFormat(RATE), 0.2)
        source.look_ahead(HeardSpeech(detector, Amplifier(RATE, gain)))
        clock.run(read(source), virtual=True)
    return taken


def record(path: Path, *durations: float, level: float = 1.0) -> Path:
    pcm, _ = alternate_speech(*durations)
    soundfile.write(path, samples_of(pcm) * level / 32768, RATE, subtype="FLOAT")
    return path


def found(taken: list[tuple[float, Event]]) -> list[float]:
    kinds = RecordedSpeechStarted | RecordedSpeechStopped
    return [event.position for _, event in taken if isinstance(event, kinds)]


def test_speech_is_found_2_s_before_it_is_played(tmp_path: Path):
    taken = play(record(tmp_path / "in.wav", 0.5, 1.0, 4.0, 1.0, 0.1))
    assert found(taken) == pytest.approx([0.5, 1.5, 5.5, 6.5], abs=0.002)
    noticed = [at for at, event in taken if isinstance(event, RecordedSpeechStarted)]
    assert noticed[1] == pytest.approx(5.5 - LOOK_AHEAD, abs=0.1)


def test_a_voice_that_lasts_to_the_end_ends_there(tmp_path: Path):
    assert found(play(record(tmp_path / "in.wav", 0.5, 1.0))) == pytest.approx([0.5, 1.5], abs=0.01)


def test_it_hears_what_the_live_detector_hears(tmp_path: Path):
    """A voice too soft for the detector, but for the gain."""
    quiet = record(tmp_path / "in.wav", 0.5, 1.0, 0.5, level=0.005)
    assert found(play(quiet)) == []
    assert found(play(quiet, gain=30.0)) == pytest.approx([0.5, 1.5], abs=0.01)


def test_the_position_is_told_where_it_stops_and_goes_on(tmp_path: Path):
    path = record(tmp_path / "in.wav", 0.5, 1.0, 0.5)
    taken = play(path, pause_at=0.98, pause=3.0)
    told = [event for _, event in taken if isinstance(event, RecordingResumed | RecordingPaused)]
    assert [(type(event), event.since, event.position) for event in told] == [
        (RecordingResumed, 0.0, 0.0),
        (RecordingPaused, pytest.approx(1.0), pytest.approx(1.0)),
        (RecordingResumed, pytest.approx(4.0), pytest.approx(1.0)),
        (RecordingPaused, pytest.approx(5.0), pytest.approx(2.0)),
    ]
