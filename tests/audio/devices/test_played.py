"""The tape: what was handed to the card, where it sounds."""

from __future__ import annotations

import random

import numpy as np
import pytest

from voicecli.audio.devices.played import PlayedAudio

RATE = 16_000
BLOCK = 160


def steady(count: int = BLOCK, value: int = 1000) -> np.ndarray:
    return np.full(count, value, np.int16)


def test_blocks_lie_where_they_sound():
    tape = PlayedAudio(RATE)
    tape.add(1.0, steady(), RATE)
    tape.add(2.0, steady(value=-5), RATE)
    taken = tape.take(0.5, 2 * RATE)
    assert np.array_equal(np.flatnonzero(taken == 1000), np.arange(8000, 8000 + BLOCK))
    assert np.array_equal(np.flatnonzero(taken == -5), np.arange(24_000, 24_000 + BLOCK))
    assert np.count_nonzero(taken) == 2 * BLOCK


def test_taken_in_pieces_is_the_same():
    pieces, whole = PlayedAudio(RATE), PlayedAudio(RATE)
    for tape in (pieces, whole):
        for index in range(20):
            tape.add(1 + index * BLOCK / RATE, steady(value=index + 1), RATE)
    expected = whole.take(0.9, 6000)
    got = np.concatenate([pieces.take(0.9 + at / RATE, 60) for at in range(0, 6000, 60)])
    assert np.array_equal(got, expected)


def test_scattered_times_tear_no_holes():
    chance = random.Random(1)
    tape = PlayedAudio(RATE)
    for index in range(50):
        tape.add(1 + index * BLOCK / RATE + chance.uniform(-0.005, 0.005), steady(), RATE)
    loud = np.flatnonzero(tape.take(0.9, RATE))
    assert len(loud) == loud[-1] - loud[0] + 1 == 50 * BLOCK


def test_a_jump_is_kept():
    tape = PlayedAudio(RATE)
    tape.add(1.0, steady(), RATE)
    tape.add(1.2, steady(), RATE)
    loud = np.flatnonzero(tape.take(1.0, RATE))
    assert loud[BLOCK] == pytest.approx(0.2 * RATE, abs=1)


def test_the_cards_rate_is_converted_to_the_last_sample():
    tape = PlayedAudio(RATE)
    for index in range(30):
        at = 1 + index * 0.01
        tape.add(at, steady(480) if index < 20 else np.zeros(480, np.int16), 48_000)
    loud = np.flatnonzero(np.abs(tape.take(0.9, RATE)) > 500)
    assert loud[0] == pytest.approx(0.1 * RATE, abs=1)
    assert loud[-1] - loud[0] + 1 == pytest.approx(0.2 * RATE, abs=2)


def test_silence_takes_no_room_and_what_nobody_takes_is_forgotten():
    tape = PlayedAudio(RATE)
    for index in range(10_000):
        tape.add(index * 0.01, np.zeros(BLOCK, np.int16), RATE)
    assert not tape._added
    for index in range(10_000):
        tape.add(index * 0.01, steady(), RATE)
    assert len(tape._added) <= 3001
