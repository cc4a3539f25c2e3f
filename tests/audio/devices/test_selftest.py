"""The make_chirp is found where it is, as softly as it came, and nowhere else."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest

from tests.support.sound_cards import running_virtual_audio  # noqa: F401
from tests.support.virtual_audio import VirtualAudio
from voicecli import clock
from voicecli.audio.devices import open_loudspeaker, open_microphone
from voicecli.audio.devices.selftest import find_echo, make_chirp, run_calibration
from voicecli.audio.vad import create_detector


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("attenuation", [0, 20, 40])
@pytest.mark.parametrize("noise", [0, 3, 30])
def test_an_echo_is_found(rate, attenuation, noise):
    signal = make_chirp(rate)
    recorded = np.random.default_rng(1).normal(0, noise, rate)
    recorded[1234 : 1234 + len(signal)] += signal * 10 ** (-attenuation / 20)
    echo = find_echo(signal, recorded.round().clip(-32768, 32767).astype(np.int16), rate)
    assert echo is not None
    assert echo.position == 1234
    assert echo.attenuation == pytest.approx(attenuation, abs=0.1)


def test_a_room_adds_to_the_echo():
    signal = make_chirp(16_000)
    recorded = np.zeros(16_000)
    for delay, gain in ((100, 0.1), (500, 0.08)):
        recorded[delay : delay + len(signal)] += gain * signal
    echo = find_echo(signal, recorded.astype(np.int16), 16_000)
    assert echo is not None
    assert echo.position == 100
    assert echo.attenuation == pytest.approx(17.9, abs=0.3)  # of the power, 0.1² + 0.08²


@pytest.mark.parametrize("seed", range(20))
def test_there_is_no_echo_in_noise(seed):
    noise = np.random.default_rng(seed).normal(0, 300, 16_000).astype(np.int16)
    assert find_echo(make_chirp(16_000), noise, 16_000) is None


def test_there_is_no_echo_in_silence():
    assert find_echo(make_chirp(16_000), np.zeros(16_000, np.int16), 16_000) is None


@pytest.mark.soundcard
def test_calibration_finds_how_late_a_voice_is_heard(virtual_audio: VirtualAudio):
    async def main() -> list[float]:
        async with (
            open_microphone(None, 48_000, 0.02) as microphone,
            open_loudspeaker(None, 48_000, 0.0) as loudspeaker,
        ):
            detector = create_detector("silero", microphone.format, 0.2)
            return await run_calibration(microphone, loudspeaker, detector, 3)

    with virtual_audio.echoing(-20, 40):
        errors = clock.run(main())
    assert len(errors) == 3
    assert median(errors) == pytest.approx(-0.030, abs=0.015)  # a null sink is 10 ms early
