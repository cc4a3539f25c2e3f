"""Speech whose header has another sample rate; and everything that must not be taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.speech.signals import make_noise, make_slam
from tests.support import SPEECH
from tests.support.speech_like import voice
from voicecli.audio.pcm import Float32Array, samples_of
from voicecli.audio.sample_rate import USUAL_RATES, find_fitting_rates
from voicecli.standin.engines.scripted import make_tone

RATE = 16_000
RECORDINGS = sorted(
    [*SPEECH.glob("*.wav"), *SPEECH.glob("clips/*.flac"), *SPEECH.glob("scenes/*.flac")]
)
KEYS = {"1": (697, 1209), "5": (770, 1336), "9": (852, 1477), "0": (941, 1336)}


def load(path: Path) -> Float32Array:
    sound, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return np.asarray(sound)


def load_at(name: str, rate: int) -> Float32Array:
    """A recording as if it had been made at ``rate``."""
    return np.asarray(soxr.resample(load(SPEECH / name), RATE, rate))


def sine(hertz: float, seconds: float) -> Float32Array:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def melody(base: float, notes: int, seconds: float) -> Float32Array:
    """Plucked strings: harmonics that die away."""
    rng = np.random.default_rng(1)
    fade = np.exp(-3 * np.arange(round(seconds * RATE)) / (seconds * RATE))
    pitches = base * 2 ** (rng.integers(0, 13, notes) / 12)
    played = [sum(sine(n * one, seconds) / n for n in range(1, 9)) * fade for one in pitches]
    return (0.1 * np.concatenate(played)).astype(np.float32)


def dial(digits: str) -> Float32Array:
    gap = np.zeros(RATE // 10, np.float32)
    sounds = [[0.2 * (sine(KEYS[d][0], 0.1) + sine(KEYS[d][1], 0.1)), gap] for d in digits]
    return np.concatenate([part for pair in sounds for part in pair])


OTHER_SOUNDS = {
    "silence": np.zeros(5 * RATE, np.float32),
    "noise": (0.1 * make_noise(10 * RATE, 1)).astype(np.float32),
    "a tone": 0.3 * sine(440, 5),
    "a low tone": 0.3 * sine(110, 5),
    "slow music": melody(220, 20, 0.5),
    "fast music": melody(330, 80, 0.125),
    "low music": melody(82, 40, 0.25),
    "dialled digits": dial("15590" * 8),
    "a stand-in's voice": samples_of(make_tone(0, 8 * RATE, RATE)).astype(np.float32) / 32768,
    "syllables of noise": samples_of(voice(8, RATE)).astype(np.float32) / 32768,
    "slamming doors": np.concatenate([make_slam(n) for n in range(20)]).astype(np.float32),
}


# ── false alarms ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_speech_with_the_right_rate_is_left_alone(path: Path) -> None:
    assert find_fitting_rates(load(path), RATE) == []


@pytest.mark.parametrize("rate", USUAL_RATES)
def test_so_is_speech_recorded_at_any_rate(rate: int) -> None:
    for name in ("librivox-0880.wav", "clips/rome.flac"):
        assert find_fitting_rates(load_at(name, rate), rate) == []


@pytest.mark.parametrize("snr_db", [10, 0, -6])
def test_so_is_speech_in_noise(snr_db: float) -> None:
    for name in ("librivox-0870.wav", "clips/rome.flac", "clips/train.flac"):
        sound = load(SPEECH / name)
        level = np.sqrt(np.mean(sound**2)) / 10 ** (snr_db / 20)
        noisy = sound + level * make_noise(len(sound), 2)
        assert find_fitting_rates(noisy.astype(np.float32), RATE) == []


@pytest.mark.parametrize("rate", USUAL_RATES)
@pytest.mark.parametrize("name", OTHER_SOUNDS)
def test_so_is_what_is_no_speech(name: str, rate: int) -> None:
    assert find_fitting_rates(OTHER_SOUNDS[name], rate) == []


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000),
    pitch=st.floats(50, 2000),
    beat=st.floats(0.5, 12),
    share=st.floats(0, 1),
    rate=st.sampled_from(USUAL_RATES),
)
def test_so_are_tones_and_noise_that_swell(
    seed: int, pitch: float, beat: float, share: float, rate: int
) -> None:
    mixed = share * sine(pitch, 6) + (1 - share) * make_noise(6 * RATE, seed)
    swelling = mixed * (1 + sine(beat, 6)) / 4
    assert find_fitting_rates(swelling.astype(np.float32), rate) == []


@pytest.mark.parametrize("count", [0, 1, 511, 512, 3000])
def test_next_to_nothing_is_no_speech(count: int) -> None:
    assert find_fitting_rates(load(SPEECH / "clips/rome.flac")[:count], 48_000) == []


# ── wrong headers ────────────────────────────────────────────────────────────

LONG_CLIPS = ("rome", "table-1", "sunday", "instead", "meant", "number-1", "remind-2", "train")


@pytest.mark.parametrize("name", LONG_CLIPS)
@pytest.mark.parametrize("header", [44_100, 48_000])
def test_speech_that_plays_too_fast_is_recognised(name: str, header: int) -> None:
    fitting = find_fitting_rates(load(SPEECH / f"clips/{name}.flac"), header)
    assert RATE in fitting
    assert header not in fitting


@pytest.mark.parametrize("name", ["0870", "0880", "0890", "0920", "0930"])
@pytest.mark.parametrize(
    ("recorded", "header"), [(48_000, 16_000), (44_100, 16_000), (48_000, 8_000)]
)
def test_speech_that_plays_too_slowly_is_recognised(name: str, recorded: int, header: int) -> None:
    fitting = find_fitting_rates(load_at(f"librivox-{name}.wav", recorded), header)
    assert recorded in fitting
    assert header not in fitting


def test_level_and_a_pause_before_it_make_no_difference() -> None:
    sound = load(SPEECH / "clips/rome.flac")
    later = np.concatenate([np.zeros(3 * RATE, np.float32), 0.05 * sound, sound * 0.05])
    assert RATE in find_fitting_rates(later, 48_000)
