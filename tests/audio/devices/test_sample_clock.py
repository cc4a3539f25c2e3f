"""PortAudio's times, believed as far as they can be true."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from voicecli.audio.devices.sample_clock import (
    BlockTime,
    CaptureClock,
    PlaybackClock,
    RateMeter,
    captured_at,
    played_at,
)

Floats = NDArray[np.float64]

RATE = 16_000
BLOCK = 320
LENGTH = BLOCK / RATE


def times(current: float, adc: float = 0.0, dac: float = 0.0) -> dict[str, float]:
    return {
        "current_time": current,
        "input_buffer_adc_time": adc,
        "output_buffer_dac_time": dac,
    }


@pytest.mark.parametrize("epoch", [3.0, 1.7e9], ids=["stream time", "wall clock"])
def test_times_are_mapped_by_their_distance_from_now(epoch):
    captured = captured_at(times(epoch, adc=epoch - 0.025), now=7.0, length=0.02)
    played = played_at(times(epoch, dac=epoch + 0.03), now=7.0, latency=0.5)
    assert captured == (pytest.approx(6.975), 7.0, False, False)
    assert played == (pytest.approx(7.03), 7.0, False, False)


@pytest.mark.parametrize(
    ("current", "adc"), [(0.0, 0.0), (1.7e9, 0.0), (5.0, 5.1), (5.0, 3.0), (5.0, -1.0)]
)
def test_an_impossible_adc_time_is_replaced_by_the_block_length(current, adc):
    assert captured_at(times(current, adc=adc), 7.0, 0.02) == BlockTime(6.98, 7.0, estimated=True)


@pytest.mark.parametrize(("current", "dac"), [(0.0, 0.0), (1.7e9, 0.0), (5.0, 4.9), (5.0, 6.5)])
def test_an_impossible_dac_time_is_replaced_by_the_latency(current, dac):
    assert played_at(times(current, dac=dac), 7.0, 0.04) == BlockTime(7.04, 7.0, estimated=True)


def test_a_dac_time_of_now_counts():
    assert not played_at(times(5.0, dac=5.0), 7.0, 0.04).estimated


def test_late_callbacks_and_scattered_adc_times_do_not_move_a_block():
    chance = random.Random(1)
    clock = CaptureClock(RATE)
    errors = []
    for index in range(200):
        true = 10 + index * LENGTH
        called = true + LENGTH + chance.choice([0.0, 0.0, 0.004, 0.012])
        said = true + chance.gauss(0, 0.005)
        errors.append(clock.place(BLOCK, BlockTime(said, called)) - true)
    assert max(map(abs, errors[10:])) < 5e-5


def test_a_constant_latency_that_the_adc_tells_of_counts():
    clock = CaptureClock(RATE)
    for index in range(100):
        true = 10 + index * LENGTH
        placed = clock.place(BLOCK, BlockTime(true, called=true + LENGTH + 0.15))
    assert placed == pytest.approx(true)


def test_a_drifting_device_is_followed():
    clock = CaptureClock(RATE)
    for index in range(3000):
        true = 10 + index * LENGTH * 1.0001  # 100 ppm slow: 6 ms in a minute
        placed = clock.place(BLOCK, BlockTime(true, called=true + LENGTH))
    assert placed == pytest.approx(true, abs=0.0003)


def test_lost_samples_are_no_drift():
    clock = CaptureClock(RATE)
    clock.place(BLOCK, BlockTime(10.0, 10.02))
    assert clock.place(BLOCK, BlockTime(10.5, 10.52, broken=True)) == pytest.approx(10.5)


def test_buffers_that_fill_as_a_stream_opens_are_allowed_for():
    clock = CaptureClock(RATE)
    for index in range(500):
        true = 10 + index * LENGTH
        buffered = 0.009 if index > 40 else 0.0
        placed = clock.place(BLOCK, BlockTime(true + buffered, called=true + LENGTH + buffered))
        if index > 153:
            assert placed == pytest.approx(true + buffered, abs=0.0001), index


def test_buffers_that_fill_later_move_nothing():
    clock = CaptureClock(RATE)
    for index in range(800):
        true = 10 + index * LENGTH
        buffered = 0.009 if index > 300 else 0.0
        placed = clock.place(BLOCK, BlockTime(true, called=true + LENGTH + buffered))
        assert placed == pytest.approx(true, abs=0.0003), index


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_device_that_drifts_after_its_buffers_have_filled_is_followed(ppm):
    clock = CaptureClock(RATE)
    for index in range(3000):
        true = 10 + index * LENGTH * (1 + ppm * 1e-6)
        buffered = 0.009 if index > 300 else 0.0
        placed = clock.place(BLOCK, BlockTime(true, called=true + LENGTH + buffered))
        assert placed == pytest.approx(true, abs=0.0015), index


def test_a_busy_machine_moves_nothing():
    chance = random.Random(1)
    clock = CaptureClock(RATE)
    for index in range(15_000):
        true = 10 + index * LENGTH
        # whole windows in which no callback is on time: up in one step, and down in two
        busy = (0.0, 0.0005, 0.00025)[index // 51 % 3]
        called = true + LENGTH + busy + chance.choice([0.0, 0.004])
        placed = clock.place(BLOCK, BlockTime(true, called=called))
        assert placed == pytest.approx(true, abs=0.001), index


def test_samples_lost_without_a_word_are_noticed_in_two_seconds():
    clock = CaptureClock(RATE)
    for index in range(200):
        true = 10 + index * LENGTH + (0.06 if index >= 100 else 0.0)
        placed = clock.place(BLOCK, BlockTime(true, called=true + LENGTH))
        if index >= 200:
            assert placed == pytest.approx(true, abs=0.0001), index


def test_adc_times_that_wander_do_not_count():
    clock = CaptureClock(RATE)
    for index in range(500):
        true = 10 + index * LENGTH
        said = true - 0.009 * min(index, 250) * LENGTH  # as PulseAudio's do in the first seconds
        placed = clock.place(BLOCK, BlockTime(said, called=true + LENGTH))
        if index <= 250:
            assert placed == pytest.approx(true), index


def test_a_known_latency_counts_while_the_times_wander():
    clock = CaptureClock(RATE)
    for index in range(200):
        true = 10 + index * LENGTH
        wanders = 0.009 * max(0, index - 100) * LENGTH
        placed = clock.place(BLOCK, BlockTime(true - wanders, called=true + LENGTH + 0.004))
        if index > 50:
            assert placed == pytest.approx(true, abs=0.0005), index


AHEAD = 0.03


def test_late_callbacks_and_scattered_dac_times_do_not_move_a_block():
    chance = random.Random(1)
    clock = PlaybackClock(RATE)
    for index in range(300):
        true = 10 + index * LENGTH
        late = chance.choice([0.0, 0.0, 0.0, 0.0, 0.005])
        # The DAC time is told by its distance from the callback, which was called late.
        placed = clock.place(BLOCK, BlockTime(true + late, called=true - AHEAD + late))
        if index > 60:
            assert placed == pytest.approx(true, abs=5e-5), index


def test_after_an_underrun_the_times_are_those_before_it_but_later():
    clock = PlaybackClock(RATE)
    for index in range(100):
        true = 10 + index * LENGTH
        clock.place(BLOCK, BlockTime(true, called=true - AHEAD))
    true += LENGTH + 0.1
    called = true - AHEAD + 2 * LENGTH  # three blocks at once, and their times are 8 ms early
    for index in range(3):
        clock.place(BLOCK, BlockTime(true - 0.008, called=called, broken=not index))
        true += LENGTH
    for index in range(3, 40):
        placed = clock.place(BLOCK, BlockTime(true, called=true - AHEAD))
        assert placed == pytest.approx(true), index
        true += LENGTH


def test_before_anything_is_known_of_a_loudspeaker_its_own_times_count():
    clock = PlaybackClock(RATE)
    assert clock.place(BLOCK, BlockTime(10.0, called=9.98)) == 10.0


def test_the_rate_is_measured_against_the_clock():
    chance = random.Random(2)
    meter = RateMeter(RATE)
    for index in range(300):
        meter.add(5 + index * LENGTH * 1.01 + chance.uniform(0, 0.01), BLOCK)
    assert meter.measured == pytest.approx(RATE / 1.01, rel=1e-3)


def test_the_rate_is_not_known_at_once():
    meter = RateMeter(RATE)
    for index in range(140):
        meter.add(index * LENGTH, BLOCK)
    assert meter.measured is None


def test_what_the_device_had_in_store_does_not_count():
    meter = RateMeter(RATE)
    meter.add(0.0, 10 * BLOCK)
    for index in range(1, 300):
        meter.add(index * LENGTH, BLOCK)
    assert meter.measured == pytest.approx(RATE, rel=1e-6)


# ── recorded behind PulseAudio ───────────────────────────────────────────────

CALLBACKS = json.loads((Path(__file__).parent / "callbacks.json").read_text())
"""Callbacks of ``devices test --loopback`` at 48 kHz, whose echo was 70 ms late all the time.

By run and stream: when each callback came and the ADC or DAC time it told, in milliseconds.  The
microphone's first came before the loudspeaker opened, 11 ms early.  In "wandering" the DAC times
move by 8 ms, in "late" some are 10 ms late.
"""


def place_recorded(run: str, kind: type[CaptureClock | PlaybackClock]) -> tuple[Floats, Floats]:
    """When the callbacks came, and where the first sample of all is by each, in milliseconds."""
    name, block = ("capture", 960) if kind is CaptureClock else ("playback", 480)
    clock = kind(48_000)
    called, told = np.array(CALLBACKS[run][name]).T
    placed = [
        clock.place(block, BlockTime(at / 1000, when / 1000))
        for when, at in zip(called, told, strict=True)
    ]
    return called, 1000 * (np.array(placed) - np.arange(len(placed)) * block / 48_000)


@pytest.mark.parametrize("run", CALLBACKS)
def test_an_early_callback_is_outweighed_in_half_a_second(run: str):
    called, placed = place_recorded(run, CaptureClock)
    settled = placed[called > 600]
    assert np.ptp(settled) < 1.2
    assert settled[0] - placed[0] > 9


@pytest.mark.parametrize("run", CALLBACKS)
def test_dac_times_that_wander_or_come_late_move_nothing(run: str):
    called, placed = place_recorded(run, PlaybackClock)
    assert np.ptp(placed[called > 200]) < 1.2


@pytest.mark.parametrize("run", CALLBACKS)
def test_the_delay_of_an_echo_stays_the_same(run: str):
    captured, played = place_recorded(run, CaptureClock), place_recorded(run, PlaybackClock)
    times = np.arange(600, 3200, 10)
    apart = np.interp(times, *captured) - np.interp(times, *played)
    assert np.ptp(apart) < 1.2


def test_a_loudspeaker_whose_first_callbacks_are_early_does_not_jump_when_they_are_outweighed():
    clock = PlaybackClock(RATE)
    for index in range(200):
        true = 10 + index * LENGTH
        early = 0.008 if index < 3 else 0.0
        placed = clock.place(BLOCK, BlockTime(true, called=true - AHEAD - early))
        assert placed == pytest.approx(true, abs=0.0001), index


def test_after_an_underrun_early_callbacks_spoil_no_distance():
    chance = random.Random(1)
    clock = PlaybackClock(RATE)
    true = 10.0
    for index in range(200):
        underrun = index == 100
        true += LENGTH + 0.1 * underrun
        early = 0.008 if 100 <= index < 103 else 0.0
        wrong = chance.uniform(-0.01, 0.01) if index >= 100 else 0.0
        time = BlockTime(true + wrong, called=true - AHEAD - early, broken=underrun)
        placed = clock.place(BLOCK, time)
        if index < 100 or index > 130:
            assert placed == pytest.approx(true, abs=0.0001), index


@pytest.mark.parametrize("kind", [CaptureClock, PlaybackClock])
def test_a_busy_machine_makes_nothing_early_while_a_stream_settles(
    kind: type[CaptureClock | PlaybackClock],
):
    clock = kind(RATE)
    ahead = AHEAD if kind is PlaybackClock else -LENGTH
    for index in range(400):
        true = 10 + index * LENGTH
        late = 0.004 if index // 26 % 2 else 0.0  # in half of the time, no callback is on time
        placed = clock.place(BLOCK, BlockTime(true, called=true - ahead + late))
        assert -0.0005 < placed - true < 0.0045, index
