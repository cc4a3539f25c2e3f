"""Inputs that are too quiet, clipped or off centre; and the gain that lifts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wild import Case
from tests.wild.recordings import RATE, Sound, delay, noise, read_user, replay, speech, write
from voicecli.audio.gain import LIMIT, Amplifier
from voicecli.audio.pcm import measure_level

KIND = "the level of the input"
FINE = "no notice"


@dataclass(frozen=True)
class LevelCase(Case):
    """sound: what is replayed, with ``options``; after: the notice."""

    sound: Sound = field(repr=False)
    options: Sequence[str] = ()


def gain(value: float | str) -> list[str]:
    return ["--set", f"audio.gain_db={value}"]


def quiet(level: int, missing: int) -> str:
    return (
        f"! AUDIO: speech is too quiet: {level} dBFS, {missing} dB below the usual; turn the input "
        f"up, or set audio.gain_db to {missing} or auto"
    )


def case(
    name: str, after: str, sound: Sound, *options: str, before: str = "no notice, wrong words"
) -> LevelCase:
    return LevelCase(KIND, name, before, after, sound, options)


SPEECH = speech()
SILENCE = np.zeros(RATE // 2, np.float32)

CASES = [
    case("the usual level", FINE, SPEECH, before=FINE),
    case("soft, and understood", FINE, speech(dbfs=-36), before=FINE),
    case("too quiet: -46 dBFS", quiet(-45, 19), speech(dbfs=-46)),
    case("too quiet: -56 dBFS", quiet(-55, 29), speech(dbfs=-56)),
    case("-46 dBFS and a gain of 19 dB", FINE, speech(dbfs=-46), *gain(19)),
    case("-46 dBFS and too little gain", quiet(-40, 14), speech(dbfs=-46), *gain(5)),
    case("-46 dBFS and gain auto", FINE, speech(dbfs=-46), *gain("auto")),
    case("-56 dBFS and gain auto", FINE, speech(dbfs=-56), *gain("auto")),
    case("the usual level made too quiet", quiet(-46, 20), SPEECH, *gain(-20)),
    case(
        "clipped",
        "! AUDIO: the input is clipped: 22.2% of its samples are at full scale; turn it down",
        (SPEECH * 20).clip(-1, 1),
    ),
    case(
        "clipped, and amplified",
        "! AUDIO: the input is clipped: 23.0% of its samples are at full scale; turn it down",
        (SPEECH * 20).clip(-1, 1),
        *gain(-6),
    ),
    case("peaks just at full scale", FINE, SPEECH / np.abs(SPEECH).max(), before=FINE),
    case("a gain that would clip", FINE, SPEECH, *gain(30), before="no such setting"),
    case(
        "a DC offset",
        "! AUDIO: the input has a DC offset of -4.2% of full scale; check the sound hardware",
        SPEECH - np.float32(0.05),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_with_the_level_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: LevelCase
) -> None:
    path = write(tmp_path / "a.wav", np.concatenate([SILENCE, case.sound, SILENCE]))
    code, notices = replay(path, capsys, case.options)
    assert code == 0
    assert (notices or [FINE]) == [case.after]


def test_speech_that_is_not_found_is_said_to_be_too_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.wav", speech(dbfs=-70))
    code, notices = replay(path, capsys, ["--set", "audio.vad=energy"])
    assert code == 7
    assert "! AUDIO: no speech was found: the loudest sound is too quiet: -6" in notices[0]


def test_noise_is_not_called_quiet_speech(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.wav", noise(12 * RATE, -60))
    code, notices = replay(path, capsys)
    assert code == 7
    assert len(notices) == 1
    assert notices[0].startswith("error: ")


# ── the gain ─────────────────────────────────────────────────────────────────


def amplify(sound: Sound, gain_db: float | str, block: int = 320) -> np.ndarray:
    samples = np.rint(sound * 32767).astype(np.int16)
    amplifier = Amplifier(RATE, gain_db)  # type: ignore[arg-type]
    parts = [amplifier.apply(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate(parts)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    level=st.floats(-90, 0),
    gain_db=st.one_of(st.just("auto"), st.floats(-40, 60)),
    block=st.sampled_from([80, 320, 4000]),
)
def test_no_gain_wraps(seed: int, level: float, gain_db: float | str, block: int) -> None:
    rng = np.random.default_rng(seed)
    sound = (rng.normal(0, 10 ** (level / 20), 4000) * (rng.random(4000) < 0.5)).clip(-1, 1)
    out = amplify(sound.astype(np.float32), gain_db, block).astype(int)
    loud = np.abs(sound) * 32767 > 50
    assert np.abs(out).max() <= max(LIMIT, np.abs(sound).max() * 32768)
    assert (np.sign(out[loud]) * np.sign(sound[loud]) >= 0).all()


def test_no_gain_changes_nothing() -> None:
    samples = np.rint(SPEECH * 32767).astype(np.int16)
    assert Amplifier(RATE, 0.0).apply(samples) is samples


@pytest.mark.parametrize("gain_db", [-12.0, 6.0])
def test_a_fixed_gain_is_exact(gain_db: float) -> None:
    wanted = SPEECH * 32767 * 10 ** (gain_db / 20)
    assert np.abs(amplify(SPEECH, gain_db) - wanted).max() <= 1.5


@pytest.mark.parametrize("dbfs", [-60, -46, -30])
def test_auto_brings_speech_to_the_usual_level(dbfs: float) -> None:
    out = amplify(np.concatenate([SILENCE, speech(dbfs=dbfs)]), "auto")
    assert measure_level(out[len(SILENCE) :]) == pytest.approx(-27, abs=3)


def test_auto_does_not_amplify_noise_or_loud_speech() -> None:
    hiss = noise(3 * RATE, -60)
    assert measure_level(amplify(hiss, "auto")) == pytest.approx(-60, abs=0.1)
    loud = speech(dbfs=-18)
    assert measure_level(amplify(loud, "auto")) == pytest.approx(-18, abs=1)


def test_the_gain_is_applied_before_the_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.wav", delay(SPEECH, 0.5))
    replay(path, capsys, [*gain(-6), "--out", str(tmp_path / "out")])
    kept = read_user(tmp_path / "out", 1.5)
    assert np.abs(kept - delay(SPEECH, 0.5)[: len(kept)] * 10 ** (-6 / 20)).max() < 0.02
