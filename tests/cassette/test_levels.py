"""Audio as levels: as long, as loud and audible from the same moment as what it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.speech_like import voice
from voicecli.audio.pcm import find_audible, samples_of
from voicecli.cassette.levels import (
    FRAME,
    LEVEL_WINDOW,
    STEP,
    LevelMeter,
    WholeSamples,
    encode_levels,
    make_tone,
)

RATES = (8000, 16_000, 24_000, 32_000, 48_000)


@pytest.mark.parametrize("rate", RATES)
@given(st.lists(st.integers(-32_768, 32_767), max_size=400))
def test_a_tone_has_the_length_and_the_peaks(rate: int, values: list[int]) -> None:
    samples = np.array(values, np.int16)
    tone = make_tone(encode_levels(samples, rate), len(samples), rate)
    assert len(tone) == len(samples)
    length = round(FRAME * rate)
    for start in range(0, len(samples) - length + 1, length):
        peak, found = (
            int(np.abs(one[start : start + length].astype(np.int32)).max())
            for one in (samples, tone)
        )
        if peak <= 1:
            assert found == 0
        else:
            assert abs(20 * np.log10(max(found, 1) / peak)) < STEP or peak < 10  # of 16 bits


@pytest.mark.parametrize("rate", RATES)
def test_it_is_audible_from_the_same_frame(rate: int) -> None:
    silence = np.zeros(round(0.1234 * rate), np.int16)
    samples = np.concatenate([silence, samples_of(voice(0.3, rate=rate))])
    tone = make_tone(encode_levels(samples, rate), len(samples), rate)
    first, found = find_audible(samples), find_audible(tone)
    assert first is not None
    assert found is not None
    assert abs(found - first) <= FRAME * rate


@pytest.mark.parametrize("levels", ["", "aaaa", "a!", "é"])
def test_levels_that_do_not_fit_are_refused(levels: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        make_tone(levels, 48, 24_000)


@given(st.lists(st.binary(max_size=5)))
def test_messages_are_cut_into_whole_samples(messages: list[bytes]) -> None:
    cut, whole = WholeSamples(), b""
    for message in messages:
        piece = cut.feed(message)
        assert len(piece) % 2 == 0
        whole += piece
    everything = b"".join(messages)
    assert whole == everything[: len(everything) // 2 * 2]


@given(st.integers(1, 4000))
def test_windows_do_not_depend_on_messages(size: int) -> None:
    pcm = voice(1.7, rate=8000)
    in_one = list(LevelMeter(8000).feed(pcm))
    meter = LevelMeter(8000)
    cut = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    assert [one for piece in cut for one in meter.feed(piece)] == in_one
    assert [end for _, end in in_one] == [LEVEL_WINDOW * one for one in (1, 2, 3)]
