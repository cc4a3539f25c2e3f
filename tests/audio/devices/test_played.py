"""What was played: for recordings by its times, for the echo canceller without gaps."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.audio.devices.played import EchoReference, PlayedAudio

RATE = 16_000
BLOCK = 160
"""10 ms."""


def steady(count: int = BLOCK, value: int = 1000) -> np.ndarray:
    return np.full(count, value, np.int16)


def test_blocks_lie_where_they_sound():
    played = PlayedAudio(RATE)
    played.add(1.0, steady(), RATE)
    played.add(2.0, steady(value=-5), RATE)
    taken = played.take(0.5, 2 * RATE)
    assert np.array_equal(np.flatnonzero(taken == 1000), np.arange(8000, 8000 + BLOCK))
    assert np.array_equal(np.flatnonzero(taken == -5), np.arange(24_000, 24_000 + BLOCK))
    assert np.count_nonzero(taken) == 2 * BLOCK


def test_taken_in_pieces_is_the_same():
    pieces, whole = PlayedAudio(RATE), PlayedAudio(RATE)
    for played in (pieces, whole):
        for index in range(20):
            played.add(1 + index * BLOCK / RATE, steady(value=index + 1), RATE)
    expected = whole.take(0.9, 6000)
    got = np.concatenate([pieces.take(0.9 + at / RATE, 60) for at in range(0, 6000, 60)])
    assert np.array_equal(got, expected)


def test_scattered_times_tear_no_holes():
    chance = random.Random(1)
    played = PlayedAudio(RATE)
    for index in range(50):
        played.add(1 + index * BLOCK / RATE + chance.uniform(-0.005, 0.005), steady(), RATE)
    loud = np.flatnonzero(played.take(0.9, RATE))
    assert len(loud) == loud[-1] - loud[0] + 1 == 50 * BLOCK


def test_a_jump_is_kept():
    played = PlayedAudio(RATE)
    played.add(1.0, steady(), RATE)
    played.add(1.2, steady(), RATE)
    loud = np.flatnonzero(played.take(1.0, RATE))
    assert loud[BLOCK] == pytest.approx(0.2 * RATE, abs=1)


def test_the_cards_rate_is_converted_to_the_last_sample():
    played = PlayedAudio(RATE)
    for index in range(30):
        at = 1 + index * 0.01
        played.add(at, steady(480) if index < 20 else np.zeros(480, np.int16), 48_000)
    loud = np.flatnonzero(np.abs(played.take(0.9, RATE)) > 500)
    assert loud[0] == pytest.approx(0.1 * RATE, abs=1)
    assert loud[-1] - loud[0] + 1 == pytest.approx(0.2 * RATE, abs=2)


def test_silence_takes_no_room_and_what_nobody_takes_is_forgotten():
    played = PlayedAudio(RATE)
    for index in range(10_000):
        played.add(index * 0.01, np.zeros(BLOCK, np.int16), RATE)
    assert len(played) == 0
    for index in range(10_000):
        played.add(index * 0.01, steady(), RATE)
    assert len(played) <= 3001


# ── for the echo canceller ───────────────────────────────────────────────────

OPENED = 10
"""Blocks after which times are no longer followed blindly."""


def opened(at: float = 0.0, early: float = 0.0) -> EchoReference:
    """0.1 s of silence from ``at`` on, the first 30 ms of which are reported to be ``early``."""
    reference = EchoReference(RATE)
    for block in range(OPENED):
        said = at + 0.01 * block - early * (block < 3)
        reference.add(said, np.zeros(BLOCK, np.int16), RATE)
    return reference


def numbers(blocks: int) -> np.ndarray:
    """Samples from 1 on."""
    return np.arange(1, blocks * BLOCK + 1).astype(np.int16)


@given(st.lists(st.floats(-0.045, 0.045), min_size=1, max_size=30))
def test_sound_goes_on_whatever_the_times_say(errors):
    reference = opened()
    sound = numbers(len(errors))
    for index, (error, block) in enumerate(zip(errors, np.split(sound, len(errors)), strict=True)):
        reference.add(0.1 + 0.01 * index + error, block, RATE)
    reference.add(0.1 + 0.01 * len(errors), np.zeros(BLOCK, np.int16), RATE)
    assert np.array_equal(reference.take(0.1, len(sound)), sound)


def test_the_first_times_after_the_opening_do_not_stay():
    reference = opened(early=0.024)
    reference.add(0.1, numbers(1), RATE)
    reference.add(0.11, np.zeros(BLOCK, np.int16), RATE)
    assert np.array_equal(reference.take(0.1, BLOCK), numbers(1))


def test_silence_that_scatters_is_averaged():
    reference = opened()
    scatter = np.random.default_rng(1).normal(0.008, 0.004, 100)
    for index, error in enumerate(scatter):
        reference.add(0.1 + 0.01 * index + error, np.zeros(BLOCK, np.int16), RATE)
    reference.add(1.1, numbers(1), RATE)
    reference.add(1.11, np.zeros(BLOCK, np.int16), RATE)
    (first, *_) = np.flatnonzero(reference.take(1.1, 2 * BLOCK - 32))
    assert first / RATE == pytest.approx(0.008, abs=0.001)


def test_later_silence_moves_by_a_millisecond_a_second():
    reference = opened()
    for index in range(300):
        off = 0.010 if index >= 200 else 0.0  # the last second of three
        reference.add(0.1 + 0.01 * index + off, np.zeros(BLOCK, np.int16), RATE)
    reference.add(3.1, numbers(1), RATE)
    reference.add(3.11, np.zeros(BLOCK, np.int16), RATE)
    (first, *_) = np.flatnonzero(reference.take(3.1, BLOCK))
    assert first / RATE == pytest.approx(0.001, abs=0.0001)


def test_a_device_that_takes_over_is_believed():
    reference = opened()
    reference.add(0.7, numbers(1), RATE)
    reference.add(0.71, np.zeros(BLOCK, np.int16), RATE)
    assert np.array_equal(reference.take(0.7, BLOCK), numbers(1))


def test_what_is_not_known_yet_is_not_told():
    reference = opened()
    assert len(reference.take(0.05, BLOCK)) == BLOCK
    assert len(reference.take(0.0949, BLOCK)) == 49  # 2 ms are held back in the resampler
    assert len(reference.take(0.2, BLOCK)) == 0
    assert len(EchoReference(RATE).take(0.0, BLOCK)) == 0
