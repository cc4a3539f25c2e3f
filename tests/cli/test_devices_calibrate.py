"""``devices test --calibrate`` as a command on a virtual pair of devices, and ``talk`` after it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.live_talk import QUESTIONS, Talk, speak, write_profile
from tests.support.sound_cards import running_virtual_audio  # noqa: F401
from tests.support.virtual_audio import VirtualAudio
from voicecli.audio.devices.calibrations import FILE
from voicecli.audio.devices.selftest import CALIBRATION_VOICES
from voicecli.errors import DeviceError

pytestmark = pytest.mark.soundcard

COMMAND = [sys.executable, "-m", "voicecli", "devices", "test", "--calibrate"]

GAIN, DELAY_MS = -6, 80
"""Of the loudspeaker's sound at the microphone."""

JITTER = 10
"""Milliseconds by which a null sink's latency changes as a stream opens."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "voicecli"


def calibrate(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)


def test_talk_prints_what_was_calibrated(
    virtual_audio: VirtualAudio, cache: Path, tmp_path: Path
) -> None:
    """The pair's only error is the way from loudspeaker to microphone, which chirps find, too."""
    with virtual_audio.echoing(GAIN, DELAY_MS):
        done = calibrate("--loopback", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    found: dict[str, Any] = result["calibration"]
    assert CALIBRATION_VOICES / 2 <= found["signals"] <= CALIBRATION_VOICES
    assert found["bias_ms"] == pytest.approx(-result["loopback"]["path_ms"], abs=JITTER)
    assert abs(found["bias_ms"]) <= found["error_ms"] <= abs(found["bias_ms"]) + JITTER
    assert found["kept_in"] == str(cache / FILE)

    profile = write_profile(tmp_path, "questions", **QUESTIONS)
    with Talk("--out", str(tmp_path / "kept"), profile=profile) as talk:
        talk.until("you can speak now")
        speak(virtual_audio)
        line = talk.until("mouth-to-ear")
        talk.quit()
    assert f"ms ± {round(found['error_ms'])} = " in line
    (turn,) = json.loads((tmp_path / "kept" / "result.json").read_text())["turns"]
    assert turn["error_ms"] == found["error_ms"]


def test_a_microphone_that_does_not_hear_the_loudspeaker(
    virtual_audio: VirtualAudio, cache: Path
) -> None:
    done = calibrate()
    assert done.returncode == DeviceError.exit_code
    assert f"the microphone heard 0 of {CALIBRATION_VOICES} voices" in done.stderr
    assert "headphones cannot be calibrated" in done.stderr
    assert not (cache / FILE).exists()
