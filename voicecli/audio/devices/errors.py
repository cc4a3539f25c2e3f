"""What goes wrong with a sound card, in sentences."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from voicecli.audio.devices.select import NOUNS, Device, Direction
from voicecli.errors import DeviceError
from voicecli.sanitize import sanitize_short

_INVALID_RATE, _INVALID_CHANNELS = -9997, -9998
_UNAVAILABLE, _TIMED_OUT = -9985, -9987

_INSTALL = {
    "linux": "Install it: apt install portaudio19-dev gcc python3-dev (Fedora: dnf install "
    "portaudio-devel gcc python3-devel; Arch: pacman -S portaudio gcc), then "
    "pip install 'voicecli[mic]'.",
    "darwin": "Install it: brew install portaudio, then pip install 'voicecli[mic]'.",
    "win32": "Install it: pip install 'voicecli[mic]'; there are wheels for Python 3.13 and older.",
}
"""PyAudio 0.2.14 has wheels for Windows only; elsewhere pip compiles it against PortAudio."""

_LIBRARY = {
    "linux": "Install it: apt install libportaudio2 (Fedora: dnf install portaudio; Arch: "
    "pacman -S portaudio).",
    "darwin": "Install it: brew install portaudio.",
}

_UNMUTE = {
    "linux": "See whether it is muted: wpctl set-mute @DEFAULT_AUDIO_SOURCE@ 0, or "
    "pactl set-source-mute @DEFAULT_SOURCE@ 0.",
    "darwin": "Allow the terminal to hear it: System Settings, Privacy & Security, Microphone; "
    "then restart the terminal.",
    "win32": "Allow desktop apps to hear it: Settings, Privacy & security, Microphone; "
    "see also the mute key.",
}


def _here(texts: dict[str, str], platform: str) -> str:
    return texts.get(platform, texts["linux"])


def missing(error: ImportError, platform: str = sys.platform) -> DeviceError:
    """PyAudio cannot be imported: there is none, or it does not find PortAudio."""
    if "portaudio" in str(error) and "No module" not in str(error):
        texts = _LIBRARY if platform in _LIBRARY else _INSTALL
        return DeviceError(
            "PortAudio, which PyAudio needs, is missing", hint=_here(texts, platform)
        )
    return DeviceError(
        "PyAudio, which reaches microphone and loudspeaker, is missing",
        hint=_here(_INSTALL, platform),
    )


def uninitialised(error: OSError) -> DeviceError:
    """PortAudio does not start."""
    return DeviceError(
        f"PortAudio does not start: {_said(error)}", hint="See whether the sound system runs."
    )


def unopened(
    error: Exception, device: Device, direction: Direction, rates: Sequence[int]
) -> DeviceError:
    """The device refused all that was tried; ``error`` is its last refusal."""
    which = f"the {NOUNS[direction]} {device.name!r}"
    match _code(error):
        case code if code == _INVALID_RATE:
            tried = ", ".join(map(str, rates))
            return DeviceError(
                f"{which} refuses every sample rate tried ({tried} Hz)",
                hint="Set one of them in the system's sound settings, or choose another device.",
            )
        case code if code == _INVALID_CHANNELS:
            return DeviceError(
                f"{which} refuses mono and stereo", hint="Choose another: voicecli devices."
            )
        case code if code in (_UNAVAILABLE, _TIMED_OUT):
            return DeviceError(
                f"{which} is busy", hint="Close the program that uses it, or choose another."
            )
    return DeviceError(
        f"{which} cannot be opened: {_said(error)}",
        hint="See whether it is connected and not in use, or choose another: voicecli devices.",
    )


def concerns_format(error: Exception) -> bool:
    """Whether the device may be opened at another rate, or with other channels."""
    return _code(error) in (_INVALID_RATE, _INVALID_CHANNELS)


def silent(name: str, platform: str = sys.platform) -> DeviceError:
    """The microphone delivers nothing but zeros: muted, or forbidden to listen to."""
    return DeviceError(
        f"the microphone {name!r} delivers digital silence", hint=_here(_UNMUTE, platform)
    )


def vanished(direction: Direction, name: str) -> DeviceError:
    """The device stopped calling."""
    return DeviceError(
        f"the {NOUNS[direction]} {name!r} has vanished", hint="Connect it again, or another one."
    )


def _code(error: Exception) -> int | None:
    """PortAudio's error code; PyAudio puts it behind the text, or in front of it."""
    return next((arg for arg in error.args if isinstance(arg, int)), None)


def _said(error: Exception) -> str:
    texts = [arg for arg in error.args if isinstance(arg, str)]
    code = _code(error)
    return sanitize_short(
        f"{' '.join(texts) or type(error).__name__}" + (f" ({code})" if code else "")
    )
