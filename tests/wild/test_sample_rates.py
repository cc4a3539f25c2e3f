"""Recordings whose header has another sample rate than they were made with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from tests.support import SPEECH
from tests.wild import Case
from tests.wild.recordings import RATE, Sound, noise, replay, speech, write

KIND = "the sample rate in the header"
FINE = "no notice"
BEFORE = "no notice, no words"


@dataclass(frozen=True)
class RateCase(Case):
    """sound: what is replayed, as if made at ``header``; after: the notice."""

    sound: Sound = field(repr=False)
    header: int


def case(name: str, after: str, sound: Sound, header: int, before: str = BEFORE) -> RateCase:
    return RateCase(KIND, name, before, after, sound, header)


def wrong(header: int, rates: str) -> str:
    return (
        f"! AUDIO: FILE: no speech is found at {header} Hz, the sample rate of its header, but at "
        f"{rates} Hz; a wrong header is corrected by sox -r HZ OLD NEW"
    )


def clip(name: str) -> Sound:
    sound, _ = soundfile.read(SPEECH / f"clips/{name}.flac", dtype="float32")
    return np.asarray(sound)


def resampled(sound: Sound, rate: int) -> Sound:
    return np.asarray(soxr.resample(sound, RATE, rate))


CASES = [
    case("16 kHz, said to be 48", wrong(48_000, "8000 or 16000"), clip("table-1"), 48_000),
    case("16 kHz, said to be 44.1", wrong(44_100, "8000 or 16000"), clip("meant"), 44_100),
    case(
        "48 kHz, said to be 16",
        wrong(16_000, "44100 or 48000"),
        resampled(speech(), 48_000),
        16_000,
    ),
    case(
        "48 kHz, said to be 8", wrong(8_000, "44100 or 48000"), resampled(speech(), 48_000), 8_000
    ),
    case("16 kHz, said to be 24: half as fast again", FINE, clip("table-1"), 24_000, FINE),
    case("48 kHz, as it says", FINE, resampled(clip("table-1"), 48_000), 48_000, FINE),
    case("8 kHz, as it says", FINE, resampled(speech("0930"), 8_000), 8_000, FINE),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_sample_rate_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: RateCase
) -> None:
    silence = np.zeros(case.header // 2, np.float32)
    path = write(tmp_path / "a.wav", np.concatenate([silence, case.sound]), rate=case.header)
    _, notices = replay(path, capsys, ["--set", "audio.vad=energy"])
    assert (notices or [FINE])[0] == case.after


def test_of_two_channels_the_one_that_is_played_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = clip("table-1")
    path = write(tmp_path / "a.wav", sound, noise(len(sound), -30), rate=48_000)
    for channel, told in (("left", True), ("right", False)):
        _, notices = replay(path, capsys, ["--channel", channel])
        assert any("no speech is found at 48000 Hz" in one for one in notices) is told
