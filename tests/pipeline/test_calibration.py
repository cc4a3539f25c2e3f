"""The error of replay's own path, measured again: it must be what is declared."""

from __future__ import annotations

import numpy as np
import pytest

from voicecli import clock
from voicecli.audio.known_ends import find_signal_end, make_signals
from voicecli.metrics.accuracy import VIRTUAL
from voicecli.pipeline.calibration import measure_virtual_error
from voicecli.profile import load_profile

RATE = 16_000


@pytest.mark.parametrize("vad", ["silero", "energy"])
def test_replay_is_as_exact_as_declared(vad: str) -> None:
    profile = load_profile("scripted", overrides=[f"audio.vad={vad}"])
    found = clock.run(measure_virtual_error(profile, 6), virtual=True)
    assert found.signals == 6
    assert VIRTUAL.error / 2 <= found.error <= VIRTUAL.error


def test_a_signal_is_found_to_the_sample() -> None:
    signal = make_signals(RATE)[3]
    noise = np.random.default_rng(1).normal(0, 30, 3 * RATE)
    noise[5_000 : 5_000 + len(signal)] += signal
    assert find_signal_end(signal, noise.astype(np.int16), RATE) == 5_000 + len(signal)


def test_the_signals_are_the_same_each_time() -> None:
    first = [one.copy() for one in make_signals(RATE)]
    make_signals.cache_clear()
    assert all(np.array_equal(*pair) for pair in zip(first, make_signals(RATE), strict=True))
    assert len({one.tobytes() for one in first}) == len(first)
