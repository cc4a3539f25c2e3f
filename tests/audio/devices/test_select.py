"""Which device is meant, and what is said when it fails."""

from __future__ import annotations

import pytest

from voicecli.audio.devices.select import (
    NOUNS,
    Device,
    Direction,
    choose_device,
    make_import_error,
    make_open_error,
    make_silence_error,
    parse_device,
)
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
        rate=48_000,
        channels={"input": inputs, "output": outputs},
        latency={"input": 0.01, "output": 0.01},
        default={"input": default and inputs > 0, "output": default and outputs > 0},
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
    assert choose_device(ALL, "input", wanted) == found


def test_a_name_that_is_a_number_wins_over_an_index():
    assert choose_device([*ALL, device(5, "2")], "input", "2").index == 5


def test_of_one_name_in_several_host_apis_the_default_wins():
    twins = [device(0, "Mic", host_api="MME"), device(1, "Mic", host_api="WASAPI", default=True)]
    assert choose_device(twins, "input", "mic") == twins[1]
    assert choose_device(twins[:1], "input", "mic") == twins[0]


@pytest.mark.parametrize(
    ("wanted", "direction", "message"),
    [
        (
            "us",
            "input",
            "'us' matches several microphones: USB Webcam, USB Headset, usb. "
            "Give more of the name, or the index.",
        ),
        (
            "Headsit",
            "output",
            "there is no loudspeaker 'Headsit'. Did you mean USB Headset or HDMI?",
        ),
        (
            "zzz",
            "output",
            "there is no loudspeaker 'zzz'. Available: Built-in Audio, USB Headset, usb, HDMI.",
        ),
        ("webcam", "output", "there is no loudspeaker 'webcam'. Available: "),
        ("1", "output", "device 1, USB Webcam, is not a loudspeaker. "),
        (
            "99",
            "input",
            "there is no device 99. There are 5; voicecli devices lists them.",
        ),
        ("\x1b[31mred", "input", "there is no microphone 'red'. "),
    ],
)
def test_what_is_not_there_is_told_with_what_is(wanted, direction, message):
    with pytest.raises(DeviceError) as caught:
        choose_device(ALL, direction, wanted)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("direction", ["input", "output"])
def test_no_device_at_all(direction: Direction):
    with pytest.raises(DeviceError, match=f"there is no {NOUNS[direction]}"):
        choose_device([], direction)


def test_no_default_names_those_that_could_be():
    with pytest.raises(DeviceError, match=r"no default microphone. Name one of: USB Webcam"):
        choose_device([WEBCAM, SPEAKER], "input")


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
    found = parse_device(info, "ALSA", {"input": 3, "output": None})
    assert found.name == "Caf\ufffd mic"
    assert (found.default, found.rate) == ({"input": True, "output": False}, 44_100)


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
    told = make_open_error(error, HEADSET, "input", [48_000, 44_100])
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
    hint = make_import_error(error, platform).hint
    assert [command for command in commands if command not in hint] == []


@pytest.mark.parametrize(
    ("platform", "hint"), [("linux", "wpctl"), ("darwin", "Privacy"), ("win32", "Privacy")]
)
def test_digital_silence_has_a_hint_for_each_system(platform, hint):
    assert hint in make_silence_error("Mic", platform).hint
