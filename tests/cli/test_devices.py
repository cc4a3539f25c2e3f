"""``voicecli devices``: the list, and the tests of microphone and loudspeaker."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from tests.support import ROOT
from tests.support.sound_cards import running_virtual_audio, tone  # noqa: F401
from tests.support.virtual_audio import VirtualAudio
from voicecli.cli.devices import devices_app
from voicecli.errors import DeviceError, UsageError


def test_without_pyaudio_every_command_of_it_says_so():
    code = (
        "import sys; sys.modules['pyaudio'] = None\n"
        "from voicecli.cli.devices import devices_app\n"
        "from voicecli.errors import DeviceError, UsageError\n"
        "try: devices_app([], standalone_mode=False)\n"
        "except DeviceError as error: print(error)"
    )
    root = ROOT
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith(
        "PyAudio, which microphone and loudspeaker need, is not installed. "
    )
    assert ran.stderr == ""


def test_help_needs_neither_numpy_nor_pydantic():
    code = (
        "import sys, voicecli.cli.devices\n"
        "sys.exit(bool({'pydantic_core', 'pyaudio', 'rich.table'} & set(sys.modules)))"
    )
    root = ROOT
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# ── the command ──────────────────────────────────────────────────────────────


def devices(*arguments: str) -> Result:
    return CliRunner().invoke(devices_app, arguments)


@pytest.mark.soundcard
def test_the_list_marks_the_default_and_the_rates_of_the_profile(virtual_audio: VirtualAudio):
    result = devices("--profile", "local")
    assert result.exit_code == 0
    assert "16000 Hz" in result.stdout
    assert any(
        line.startswith("*") and "default" in line and line.rstrip().endswith("yes")
        for line in result.stdout.splitlines()
    )


@pytest.mark.soundcard
def test_the_list_as_json(virtual_audio: VirtualAudio):
    rows = {row["name"]: row for row in json.loads(devices("--json").stdout)}
    assert set(rows) == {"default", "virtual_mic", "virtual_speaker"}
    assert rows["default"]["default_input"] is rows["default"]["default_output"] is True
    assert rows["virtual_mic"]["input_rates"] == {"48000": True}
    assert rows["virtual_mic"]["output_rates"] == {"48000": False}
    assert rows["default"]["host_api"] == "ALSA"


@pytest.mark.soundcard
def test_loopback_finds_delay_and_attenuation(virtual_audio: VirtualAudio):
    with virtual_audio.echoing(-20, 80):
        result = devices("test", "--loopback", "--json")
    found = json.loads(result.stdout)["loopback"]
    assert (found["found"], found["played"]) == (5, 5)
    assert found["attenuation_db"] == pytest.approx(20, abs=0.3)
    assert found["path_ms"] == pytest.approx(70, abs=3)  # 80, less the 10 of a null sink
    assert 80 < found["round_trip_ms"] < 180


@pytest.mark.soundcard
def test_the_microphone_is_tried(virtual_audio: VirtualAudio):
    virtual_audio.speak(tone(10, 48_000), 48_000)
    result = devices("test", "--only", "mic", "--mic", "default", "--seconds", "4")
    virtual_audio.hush()
    assert "microphone 'default' (ALSA): 48000 Hz, 1 channel\n" in result.stdout
    assert "level -13.3 dBFS, peak -10.3 dBFS, none clipped" in result.stdout
    assert re.search(
        r"runs at 4[78]\d{3} Hz by this machine's clock \([+-]0\.0\d %\)", result.stdout
    )


@pytest.mark.soundcard
def test_a_microphone_that_delivers_zeros_fails_its_trial(virtual_audio: VirtualAudio):
    result = devices("test", "--only", "mic", "--seconds", "1")
    assert isinstance(result.exception, DeviceError)
    assert "delivers only digital silence" in str(result.exception)


@pytest.mark.soundcard
def test_the_loudspeaker_is_tried(virtual_audio: VirtualAudio):
    found = json.loads(
        devices("test", "--only", "speaker", "--speaker", "virtual_speaker", "--json").stdout
    )["loudspeaker"]
    assert found["device"] == "virtual_speaker"
    assert found["rate"] == 48_000
    assert found["measured_rate"] == pytest.approx(48_000, rel=0.002)
    assert 0 < found["delay_ms"] < 100


@pytest.mark.soundcard
def test_both_are_tested_unless_one_is_asked_for(virtual_audio: VirtualAudio):
    virtual_audio.speak(tone(10, 48_000), 48_000)
    both = devices("test", "--mic", "virtual_mic", "--seconds", "1", "--json")
    all_three = devices(
        *("test", "--only", "mic", "--only", "speaker", "--loopback", "--seconds", "1", "--json")
    )
    virtual_audio.hush()
    assert list(json.loads(both.stdout)) == ["loudspeaker", "microphone"]
    assert json.loads(both.stdout)["microphone"]["device"] == "virtual_mic"
    assert list(json.loads(all_three.stdout)) == ["loudspeaker", "microphone", "loopback"]


def test_only_takes_mic_or_speaker():
    result = devices("test", "--only", "camera")
    assert result.exit_code == 2


def test_what_is_calibrated_without_devices_is_said_alone():
    for more in ((), ("--calibrate", "--loopback"), ("--calibrate", "--only", "mic")):
        result = devices("test", "--virtual", *more)
        assert isinstance(result.exception, UsageError)
        assert "--virtual goes with --calibrate alone" in str(result.exception)
