"""Sound as numbers: lengths, and the first audible sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicecli.audio.pcm import AUDIBLE_DBFS, first_audible, samples_of
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
    assert first_audible(np.array(values, "<i2").tobytes()) == (loud[0] if loud else None)


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
    assert first_audible(np.array([0, value], "<i2").tobytes()) == (1 if audible else None)


def test_samples_are_a_view_of_little_endian_pairs() -> None:
    assert samples_of(b"\x01\x00\xff\xff\x00\x80").tolist() == [1, -1, -32768]
    assert samples_of(b"").size == 0
    with pytest.raises(ValueError, match="multiple of element size"):
        samples_of(b"\x01\x00\xff")
