"""Devices: which one is meant, what is said when it fails, and the ``devices`` command."""

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
from voicecli.audio.devices import errors as failures
from voicecli.audio.devices.select import Device, Direction, choose, described
from voicecli.cli.devices import devices_app
from voicecli.errors import DeviceError


def device(
    index: int,
    name: str,
    *,
    inputs: int = 1,
    outputs: int = 2,
    host_api: str = "ALSA",
    default: bool = False,
) -> Device:
    return Device(
        index=index,
        name=name,
        host_api=host_api,
        inputs=inputs,
        outputs=outputs,
        rate=48_000,
        input_latency=0.01,
        output_latency=0.01,
        default_input=default and inputs > 0,
        default_output=default and outputs > 0,
    )


BUILT_IN = device(0, "Built-in Audio", default=True)
WEBCAM = device(1, "USB Webcam", outputs=0)
HEADSET = device(2, "USB Headset")
SHORT = device(3, "usb")
SPEAKER = device(4, "HDMI", inputs=0)
ALL = [BUILT_IN, WEBCAM, HEADSET, SHORT, SPEAKER]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, BUILT_IN),
        ("headset", HEADSET),
        ("USB", SHORT),  # as a whole, though it is a part of others
        ("webc", WEBCAM),
        ("2", HEADSET),
        ("0", BUILT_IN),
    ],
)
def test_a_microphone_is_meant_by_name_part_or_index(wanted, found):
    assert choose(ALL, "input", wanted) == found


def test_a_name_that_is_a_number_wins_over_an_index():
    assert choose([*ALL, device(5, "2")], "input", "2").index == 5


def test_of_one_name_in_several_host_apis_the_default_wins():
    twins = [device(0, "Mic", host_api="MME"), device(1, "Mic", host_api="WASAPI", default=True)]
    assert choose(twins, "input", "mic") == twins[1]
    assert choose(twins[:1], "input", "mic") == twins[0]


@pytest.mark.parametrize(
    ("wanted", "direction", "message"),
    [
        (
            "us",
            "input",
            "'us' may be any of several microphones: USB Webcam, USB Headset, usb. "
            "Write more of the name, or the index.",
        ),
        (
            "Headsit",
            "output",
            "there is no loudspeaker 'Headsit'. Did you mean USB Headset or HDMI?",
        ),
        (
            "zzz",
            "output",
            "there is no loudspeaker 'zzz'. There is: Built-in Audio, USB Headset, usb, HDMI.",
        ),
        ("webcam", "output", "there is no loudspeaker 'webcam'. There is: "),
        ("1", "output", "device 1, USB Webcam, is no loudspeaker. "),
        (
            "99",
            "input",
            "there is no device 99. There are 5; voicecli devices lists what there is.",
        ),
        ("\x1b[31mred", "input", "there is no microphone 'red'. "),
    ],
)
def test_what_is_not_there_is_told_with_what_is(wanted, direction, message):
    with pytest.raises(DeviceError) as caught:
        choose(ALL, direction, wanted)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("direction", ["input", "output"])
def test_no_device_at_all(direction: Direction):
    with pytest.raises(DeviceError, match=f"there is no {failures.NOUNS[direction]}"):
        choose([], direction)


def test_no_default_names_those_that_could_be():
    with pytest.raises(DeviceError, match=r"no microphone is the default. Name one of: USB Webcam"):
        choose([WEBCAM, SPEAKER], "input")


def test_a_name_is_fit_for_the_terminal():
    info = {
        "index": 3,
        "name": b"Caf\xe9 \x1b[2J mic",
        "maxInputChannels": 1,
        "maxOutputChannels": 0,
        "defaultSampleRate": 44_100.0,
        "defaultLowInputLatency": 0.01,
        "defaultLowOutputLatency": -1.0,
    }
    found = described(info, "ALSA", 3, None)
    assert found.name == "Caf\ufffd mic"
    assert (found.default_input, found.default_output, found.rate) == (True, False, 44_100)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(-9997, "Invalid sample rate"),
            "refuses every sample rate tried (48000, 44100 Hz)",
        ),
        (OSError(-9998, "Invalid number of channels"), "refuses mono and stereo"),
        (OSError(-9985, "Device unavailable"), "is busy. Close the program that uses it"),
        (OSError("Device unavailable", -9985), "is busy"),  # as PyAudio has it elsewhere
        (OSError(-9999, "Unanticipated \x1b[1mhost error"), "Unanticipated host error (-9999)."),
        (ValueError("what"), "cannot be opened: what."),
    ],
)
def test_a_refusal_is_one_sentence_and_a_hint(error, message):
    told = failures.unopened(error, HEADSET, "input", [48_000, 44_100])
    assert str(told).startswith("the microphone 'USB Headset' ")
    assert message in str(told)
    assert told.hint
    assert told.exit_code == 4


@pytest.mark.parametrize(
    ("error", "platform", "commands"),
    [
        (
            ModuleNotFoundError("No module named 'pyaudio'"),
            "linux",
            ["apt install portaudio19-dev", "dnf", "pacman", "pip install 'voicecli[mic]'"],
        ),
        (
            ModuleNotFoundError("No module named 'pyaudio'"),
            "darwin",
            ["brew install portaudio", "pip install 'voicecli[mic]'"],
        ),
        (ModuleNotFoundError("No module named 'pyaudio'"), "win32", ["pip install"]),
        (
            ImportError("libportaudio.so.2: cannot open shared object file"),
            "linux",
            ["apt install libportaudio2", "dnf install portaudio", "pacman -S portaudio"],
        ),
    ],
)
def test_what_is_missing_is_told_with_the_command_that_brings_it(error, platform, commands):
    hint = failures.missing(error, platform).hint
    assert [command for command in commands if command not in hint] == []


@pytest.mark.parametrize(
    ("platform", "hint"), [("linux", "wpctl"), ("darwin", "Privacy"), ("win32", "Privacy")]
)
def test_digital_silence_has_a_hint_for_each_system(platform, hint):
    assert hint in failures.silent("Mic", platform).hint


def test_without_pyaudio_every_command_of_it_says_so():
    code = (
        "import sys; sys.modules['pyaudio'] = None\n"
        "from voicecli.cli.devices import devices_app\n"
        "from voicecli.errors import DeviceError\n"
        "try: devices_app([], standalone_mode=False)\n"
        "except DeviceError as error: print(error)"
    )
    root = ROOT
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("PyAudio, which reaches microphone and loudspeaker, is missing. ")
    assert ran.stderr == ""


def test_help_needs_neither_numpy_nor_pydantic():
    code = (
        "import sys, voicecli.cli.devices\n"
        "sys.exit(bool({'pydantic', 'pyaudio', 'rich.table'} & set(sys.modules)))"
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
    result = devices("test", "--mic", "--seconds", "4")
    virtual_audio.hush()
    assert "microphone 'default' (ALSA): 48000 Hz, 1 channel\n" in result.stdout
    assert "level -13.3 dBFS, peak -10.3 dBFS, none clipped" in result.stdout
    assert re.search(
        r"runs at 4[78]\d{3} Hz by this machine's clock \([+-]0\.0\d %\)", result.stdout
    )


@pytest.mark.soundcard
def test_a_microphone_that_delivers_zeros_fails_its_trial(virtual_audio: VirtualAudio):
    result = devices("test", "--mic", "--seconds", "1")
    assert isinstance(result.exception, DeviceError)
    assert "delivers digital silence" in str(result.exception)


@pytest.mark.soundcard
def test_the_loudspeaker_is_tried(virtual_audio: VirtualAudio):
    found = json.loads(devices("test", "--speaker", "--json").stdout)["loudspeaker"]
    assert found["device"] == "default"
    assert found["rate"] == 48_000
    assert found["measured_rate"] == pytest.approx(48_000, rel=0.002)
    assert 0 < found["delay_ms"] < 100
