"""Choosing a sound device, and the errors that devices cause."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from voicecli.errors import DeviceError, suggest
from voicecli.sanitize import sanitize_short
from voicecli.units import Seconds

Direction = Literal["input", "output"]

NOUNS: Mapping[Direction, str] = {"input": "microphone", "output": "loudspeaker"}

_LIST_HINT = "voicecli devices lists them"


@dataclass(frozen=True, slots=True)
class Device:
    """A sound device, as PortAudio describes it.

    index: PortAudio's; changes when devices come and go.
    name: sanitized for the terminal.
    host_api: the system's interface to it: ALSA, Core Audio, Windows WASAPI …
    rate: its default, in hertz.
    channels: 0 where it has no such direction.
    latency: the lowest that PortAudio promises; not measured.
    default: whether it is used unless another is named.
    """

    index: int
    name: str
    host_api: str
    rate: int
    channels: Mapping[Direction, int]
    latency: Mapping[Direction, Seconds]
    default: Mapping[Direction, bool]


def parse_device(
    info: Mapping[str, Any], host_api: str, defaults: Mapping[Direction, int | None]
) -> Device:
    """Build a Device from one of PyAudio's dictionaries and the indices of the defaults."""
    name = info["name"]  # bytes where it is not UTF-8
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    return Device(
        index=info["index"],
        name=sanitize_short(text),
        host_api=sanitize_short(host_api),
        rate=round(info["defaultSampleRate"]),
        channels={"input": info["maxInputChannels"], "output": info["maxOutputChannels"]},
        latency={
            "input": info["defaultLowInputLatency"],
            "output": info["defaultLowOutputLatency"],
        },
        default={direction: info["index"] == index for direction, index in defaults.items()},
    )


def choose_device(
    devices: Sequence[Device], direction: Direction, wanted: str | None = None
) -> Device:
    """Find the device that ``wanted`` means: a name, a part of one, or an index; None: the default.

    An exact name wins, regardless of case; of several devices with one name (one per host API) the
    default wins, then the first.  Raises DeviceError.
    """
    noun = NOUNS[direction]
    able = [device for device in devices if device.channels[direction]]
    defaults = [device for device in able if device.default[direction]]
    if not able:
        raise DeviceError(
            f"there is no {noun}", hint="Connect one, or check the system's sound settings."
        )
    if wanted is None:
        if defaults:
            return defaults[0]
        hint = f"Name one of: {', '.join(_list_names(able))}."
        raise DeviceError(f"there is no default {noun}", hint=hint)
    exact = [device for device in able if device.name.casefold() == wanted.casefold()]
    if not exact and wanted.isdecimal():
        return _find_index(devices, direction, int(wanted))
    partial = [device for device in able if wanted.casefold() in device.name.casefold()]
    found = exact or partial
    names = _list_names(found or able)
    if found and len(names) > 1:
        raise DeviceError(
            f"{sanitize_short(wanted)!r} matches several {noun}s: {', '.join(names)}",
            hint="Give more of the name, or the index.",
        )
    if found:
        return next((device for device in found if device in defaults), found[0])
    hint = suggest(wanted, names, limit=3, cutoff=0.4) or f"Available: {', '.join(names)}."
    raise DeviceError(f"there is no {noun} {sanitize_short(wanted)!r}", hint=hint)


def _find_index(devices: Sequence[Device], direction: Direction, index: int) -> Device:
    """Check the index: PortAudio crashes on a wrong one."""
    device = next((device for device in devices if device.index == index), None)
    if device is None:
        hint = f"There are {len(devices)}; {_LIST_HINT}."
        raise DeviceError(f"there is no device {index}", hint=hint)
    if not device.channels[direction]:
        cause = f"device {index}, {device.name}, is not a {NOUNS[direction]}"
        raise DeviceError(cause, hint=f"{_LIST_HINT}.")
    return device


def _list_names(devices: Iterable[Device]) -> list[str]:
    return list(dict.fromkeys(device.name for device in devices))


# ── errors ───────────────────────────────────────────────────────────────────

_INVALID_RATE, _INVALID_CHANNELS = -9997, -9998
_UNAVAILABLE, _TIMED_OUT = -9985, -9987

_INSTALL_PYAUDIO = {
    "linux": "Install it: apt install portaudio19-dev gcc python3-dev (Fedora: dnf install "
    "portaudio-devel gcc python3-devel; Arch: pacman -S portaudio gcc), then "
    "pip install 'voicecli[mic]'.",
    "darwin": "Install it: brew install portaudio, then pip install 'voicecli[mic]'.",
    "win32": "Install it: pip install 'voicecli[mic]'; there are wheels for Python 3.13 and older.",
}
"""PyAudio 0.2.14 has wheels for Windows only; elsewhere pip compiles it against PortAudio."""

_INSTALL_PORTAUDIO = {
    "linux": "Install it: apt install libportaudio2 (Fedora: dnf install portaudio; Arch: "
    "pacman -S portaudio).",
    "darwin": "Install it: brew install portaudio.",
}

_UNMUTE = {
    "linux": "Unmute it: wpctl set-mute @DEFAULT_AUDIO_SOURCE@ 0, or "
    "pactl set-source-mute @DEFAULT_SOURCE@ 0.",
    "darwin": "Allow the terminal to use it: System Settings, Privacy & Security, Microphone; "
    "then restart the terminal.",
    "win32": "Allow desktop apps to use it: Settings, Privacy & security, Microphone; "
    "also check the mute key.",
}


def make_import_error(error: ImportError, platform: str = sys.platform) -> DeviceError:
    """Explain why PyAudio cannot be imported: it, or the PortAudio it needs, is not installed."""
    if "portaudio" in str(error) and "No module" not in str(error):
        hints = _INSTALL_PORTAUDIO if platform in _INSTALL_PORTAUDIO else _INSTALL_PYAUDIO
        cause = "PortAudio, which PyAudio needs, is not installed"
    else:
        hints = _INSTALL_PYAUDIO
        cause = "PyAudio, which microphone and loudspeaker need, is not installed"
    return DeviceError(cause, hint=_pick(hints, platform))


def make_start_error(error: OSError) -> DeviceError:
    """Explain why PortAudio does not start."""
    return DeviceError(
        f"PortAudio does not start: {_describe(error)}",
        hint="Check that the system's sound service is running.",
    )


def make_open_error(
    error: Exception, device: Device, direction: Direction, rates: Sequence[int]
) -> DeviceError:
    """Explain why a device cannot be opened; ``error`` is the last of its refusals."""
    code = _get_code(error)
    if code == _INVALID_RATE:
        reason = f"refuses every sample rate tried ({', '.join(map(str, rates))} Hz)"
        hint = "Set one of them in the system's sound settings, or choose another device."
    elif code == _INVALID_CHANNELS:
        reason, hint = "refuses mono and stereo", f"Choose another device; {_LIST_HINT}."
    elif code in (_UNAVAILABLE, _TIMED_OUT):
        reason, hint = "is busy", "Close the program that uses it, or choose another."
    else:
        reason = f"cannot be opened: {_describe(error)}"
        hint = f"Check that it is connected and not in use, or choose another; {_LIST_HINT}."
    return DeviceError(f"the {NOUNS[direction]} {device.name!r} {reason}", hint=hint)


def is_format_refused(error: Exception) -> bool:
    """Whether the device may accept another rate or number of channels."""
    return _get_code(error) in (_INVALID_RATE, _INVALID_CHANNELS)


def make_silence_error(name: str, platform: str = sys.platform) -> DeviceError:
    """Explain that a microphone delivers only zeros: it is muted, or access is not allowed."""
    return DeviceError(
        f"the microphone {name!r} delivers only digital silence", hint=_pick(_UNMUTE, platform)
    )


def make_loss_error(direction: Direction, name: str) -> DeviceError:
    """Explain that a device stopped calling back."""
    return DeviceError(
        f"the {NOUNS[direction]} {name!r} stopped responding",
        hint="Connect it again, or connect another one.",
    )


def _pick(hints: dict[str, str], platform: str) -> str:
    return hints.get(platform, hints["linux"])


def _get_code(error: Exception) -> int | None:
    """PortAudio's error code; PyAudio puts it before or after the text."""
    return next((arg for arg in error.args if isinstance(arg, int)), None)


def _describe(error: Exception) -> str:
    texts = [arg for arg in error.args if isinstance(arg, str)]
    code = _get_code(error)
    cause = " ".join(texts) or type(error).__name__
    return sanitize_short(f"{cause} ({code})" if code else cause)
