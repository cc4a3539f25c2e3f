"""Linear16: lengths, the first audible sample, and conversion of the rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voicecli.audio.pcm import (
    AUDIBLE_DBFS,
    SILENT_DBFS,
    Resampler,
    find_audible,
    samples_of,
    to_dbfs,
    to_power,
)
from voicecli.units import AudioFormat

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000])
SOFT = 184
"""-45 dBFS of 32768 are 184.27: the next sample up is audible."""


@settings(deadline=None)
@given(RATES, st.integers(0, 10**9))
def test_samples_and_seconds_are_each_others_inverse(rate: int, count: int) -> None:
    format = AudioFormat(rate)
    assert format.samples(format.seconds(2 * count)) == count


@settings(deadline=None)
@given(RATES, st.floats(0, 10))
def test_silence_is_as_long_as_asked_to_the_nearest_sample(rate: int, duration: float) -> None:
    silence = AudioFormat(rate).silence(duration)
    assert not any(silence)
    assert abs(AudioFormat(rate).seconds(len(silence)) - duration) <= 0.5 / rate + 1e-12


@settings(deadline=None)
@given(st.lists(st.integers(-32768, 32767), max_size=200))
def test_the_first_audible_sample_is_the_first_of_45_dbfs(values: list[int]) -> None:
    loud = [i for i, value in enumerate(values) if abs(value) / 32768 >= 10 ** (AUDIBLE_DBFS / 20)]
    assert find_audible(np.array(values, "<i2")) == (loud[0] if loud else None)


@pytest.mark.parametrize(
    ("value", "audible"),
    [
        (SOFT, False),
        (SOFT + 1, True),
        (-SOFT, False),
        (-SOFT - 1, True),
        (-32768, True),
        (0, False),
    ],
)
def test_where_audible_begins(value: int, audible: bool) -> None:
    assert find_audible(np.array([0, value], "<i2")) == (1 if audible else None)


def test_samples_are_a_view_of_little_endian_pairs() -> None:
    assert samples_of(b"\x01\x00\xff\xff\x00\x80").tolist() == [1, -1, -32768]
    assert samples_of(b"").size == 0
    with pytest.raises(ValueError, match="multiple of element size"):
        samples_of(b"\x01\x00\xff")


@given(st.floats(SILENT_DBFS, 0))
def test_a_level_is_a_power_and_back(dbfs):
    assert to_dbfs(to_power(dbfs)) == pytest.approx(dbfs, abs=1e-9)


def test_no_level_is_below_silence():
    assert to_dbfs(0.0) == SILENT_DBFS


# ── the resampler: pieces do not show, tones stay, and little is held back ────

CONVERSIONS = [
    (48_000, 16_000),
    (44_100, 16_000),
    (24_000, 48_000),
    (16_000, 44_100),
    (48_000, 24_000),
    (48_000, 8_000),
    (8_000, 48_000),
]


def sine(hertz: float, rate: int, seconds: float = 0.5) -> NDArray[np.float64]:
    return 12_000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def decibels(signal: NDArray[np.float64]) -> float:
    return float(20 * np.log10(np.std(signal) / np.std(sine(1000, 48_000)) + 1e-9))


@given(rates=st.sampled_from(CONVERSIONS), pieces=st.lists(st.integers(0, 999), max_size=9))
@settings(deadline=None)
def test_pieces_do_not_show(rates, pieces):
    sound = np.random.default_rng(1).integers(-20_000, 20_000, sum(pieces)).astype(np.int16)
    whole, parts = Resampler(*rates), Resampler(*rates)
    expected = np.concatenate([whole.feed(sound), whole.flush()])
    cuts = np.split(sound, np.cumsum(pieces)[:-1]) if pieces else [sound]
    got = np.concatenate([*map(parts.feed, cuts), parts.flush()])
    assert np.array_equal(got, expected)
    assert abs(len(got) - len(sound) * rates[1] / rates[0]) < 1


@pytest.mark.parametrize(("source", "rate"), CONVERSIONS)
@pytest.mark.parametrize("share", [0.02, 0.4])
def test_a_tone_is_the_same_tone_at_the_same_time(source, rate, share):
    hertz = share * min(source, rate)
    got = Resampler(source, rate).feed(sine(hertz, source).astype(np.int16))
    inner = slice(rate // 50, len(got))
    error = got[inner] - sine(hertz, rate)[: len(got)][inner]
    assert decibels(error) < -78  # the rounding to 16 bits is at -85


@pytest.mark.parametrize(("source", "rate"), [(48_000, 16_000), (44_100, 16_000), (48_000, 8_000)])
def test_what_the_lower_rate_cannot_hold_is_gone(source, rate):
    got = Resampler(source, rate).feed(sine(0.56 * rate, source).astype(np.int16))
    assert decibels(got[rate // 50 :].astype(np.float64)) < -75


@pytest.mark.parametrize(("source", "rate"), [(8_000, 48_000), (24_000, 48_000)])
def test_a_higher_rate_holds_no_images(source, rate):
    got = Resampler(source, rate).feed(sine(0.44 * source, source).astype(np.int16))
    spectrum = np.abs(np.fft.rfft(got[rate // 50 :] * np.hanning(len(got) - rate // 50)))
    hertz = np.fft.rfftfreq(len(got) - rate // 50, 1 / rate)
    assert spectrum[hertz > 0.54 * source].max() < 1e-4 * spectrum.max()


@pytest.mark.parametrize(("source", "rate"), CONVERSIONS)
def test_little_is_held_back(source, rate):
    made = len(Resampler(source, rate).feed(np.zeros(source // 50, np.int16)))
    assert 0.02 - made / rate <= 24.5 / min(source, rate)


def test_loud_sounds_are_clipped_not_wrapped():
    square = np.where(np.arange(9600) // 50 % 2, 32_767, -32_768).astype(np.int16)
    got = Resampler(48_000, 16_000).feed(square)
    assert got.max() == 32_767
    assert got.min() == -32_768
    assert (np.sign(got[100:-100][8::17]) != 0).all()


def test_the_same_rate_is_the_same_sound():
    sound = np.arange(500, dtype=np.int16)
    assert np.array_equal(Resampler(16_000, 16_000).feed(sound), sound)
