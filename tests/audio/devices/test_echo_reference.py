"""The echo canceller's tape: sample by sample, whatever the times say, and near them after all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.audio.devices.played import EchoReference

RATE = 16_000
BLOCK = 160
"""10 ms."""

OPENED = 10
"""Blocks after which times are no longer followed blindly."""


def opened(at: float = 0.0, early: float = 0.0) -> EchoReference:
    """A tape after 0.1 s of silence from ``at`` on, the first 30 ms of it said to be ``early``."""
    tape = EchoReference(RATE)
    for block in range(OPENED):
        said = at + 0.01 * block - early * (block < 3)
        tape.add(said, np.zeros(BLOCK, np.int16), RATE)
    return tape


def numbers(blocks: int) -> np.ndarray:
    """Samples from 1 on."""
    return np.arange(1, blocks * BLOCK + 1).astype(np.int16)


@given(st.lists(st.floats(-0.045, 0.045), min_size=1, max_size=30))
def test_sound_goes_on_whatever_the_times_say(errors):
    tape = opened()
    sound = numbers(len(errors))
    for index, (error, block) in enumerate(zip(errors, np.split(sound, len(errors)), strict=True)):
        tape.add(0.1 + 0.01 * index + error, block, RATE)
    tape.add(0.1 + 0.01 * len(errors), np.zeros(BLOCK, np.int16), RATE)
    assert np.array_equal(tape.take(0.1, len(sound)), sound)


def test_the_first_times_after_the_opening_do_not_stay():
    tape = opened(early=0.024)
    tape.add(0.1, numbers(1), RATE)
    tape.add(0.11, np.zeros(BLOCK, np.int16), RATE)
    assert np.array_equal(tape.take(0.1, BLOCK), numbers(1))


def test_silence_that_scatters_is_averaged():
    tape = opened()
    scatter = np.random.default_rng(1).normal(0.008, 0.004, 100)
    for index, error in enumerate(scatter):
        tape.add(0.1 + 0.01 * index + error, np.zeros(BLOCK, np.int16), RATE)
    tape.add(1.1, numbers(1), RATE)
    tape.add(1.11, np.zeros(BLOCK, np.int16), RATE)
    (first, *_) = np.flatnonzero(tape.take(1.1, 2 * BLOCK - 32))
    assert first / RATE == pytest.approx(0.008, abs=0.001)


def test_later_silence_moves_by_a_millisecond_a_second():
    tape = opened()
    for index in range(300):
        off = 0.010 if index >= 200 else 0.0  # the last second of three
        tape.add(0.1 + 0.01 * index + off, np.zeros(BLOCK, np.int16), RATE)
    tape.add(3.1, numbers(1), RATE)
    tape.add(3.11, np.zeros(BLOCK, np.int16), RATE)
    (first, *_) = np.flatnonzero(tape.take(3.1, BLOCK))
    assert first / RATE == pytest.approx(0.001, abs=0.0001)


def test_a_device_that_takes_over_is_believed():
    tape = opened()
    tape.add(0.7, numbers(1), RATE)
    tape.add(0.71, np.zeros(BLOCK, np.int16), RATE)
    assert np.array_equal(tape.take(0.7, BLOCK), numbers(1))


def test_what_is_not_known_yet_is_not_told():
    tape = opened()
    assert len(tape.take(0.05, BLOCK)) == BLOCK
    assert len(tape.take(0.0949, BLOCK)) == 49  # 2 ms are held back in the resampler
    assert len(tape.take(0.2, BLOCK)) == 0
    assert len(EchoReference(RATE).take(0.0, BLOCK)) == 0
