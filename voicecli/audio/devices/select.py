"""Which sound devices there are, and which one is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from voicecli.errors import DeviceError, suggest
from voicecli.sanitize import sanitize_short
from voicecli.units import Seconds

Direction = Literal["input", "output"]

NOUNS: Mapping[Direction, str] = {"input": "microphone", "output": "loudspeaker"}

LIST = "voicecli devices lists what there is"


@dataclass(frozen=True, slots=True)
class Device:
    """A sound device, as PortAudio describes it.

    index: PortAudio's; changes when devices come and go.
    name: fit for the terminal.
    host_api: the system's interface to it: ALSA, Core Audio, Windows WASAPI …
    inputs, outputs: channels; 0 where it has no such direction.
    rate: hertz, of its own choice.
    input_latency, output_latency: the least that PortAudio promises; no measurement.
    default_input, default_output: whether it is used unless another is named.
    """

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    rate: int
    input_latency: Seconds
    output_latency: Seconds
    default_input: bool
    default_output: bool

    def channels(self, direction: Direction) -> int:
        """How many it has in that direction."""
        return self.inputs if direction == "input" else self.outputs

    def is_default(self, direction: Direction) -> bool:
        """Whether it is used in that direction unless another is named."""
        return self.default_input if direction == "input" else self.default_output


def described(
    info: Mapping[str, Any], host_api: str, default_input: int | None, default_output: int | None
) -> Device:
    """The device of one of PyAudio's dictionaries."""
    name = info["name"]  # PyAudio leaves bytes that are not UTF-8 as they are
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    return Device(
        index=info["index"],
        name=sanitize_short(text),
        host_api=sanitize_short(host_api),
        inputs=info["maxInputChannels"],
        outputs=info["maxOutputChannels"],
        rate=round(info["defaultSampleRate"]),
        input_latency=info["defaultLowInputLatency"],
        output_latency=info["defaultLowOutputLatency"],
        default_input=info["index"] == default_input,
        default_output=info["index"] == default_output,
    )


def choose(devices: Sequence[Device], direction: Direction, wanted: str | None = None) -> Device:
    """The device that ``wanted`` means: a name, a part of one, or an index; None: the default.

    A name that matches as a whole wins, in any case; of several devices of one name (one in each
    host API) the default, or else the first.  Raises DeviceError.
    """
    noun = NOUNS[direction]
    able = [device for device in devices if device.channels(direction)]
    if not able:
        raise DeviceError(f"there is no {noun}", hint="Connect one, or see what the system finds.")
    if wanted is None:
        return _default(able, direction)
    same = [device for device in able if device.name.casefold() == wanted.casefold()]
    if not same and wanted.isdecimal():
        return _at_index(devices, direction, int(wanted))
    alike = [device for device in able if wanted.casefold() in device.name.casefold()]
    found = same or alike
    names = _names(found)
    if len(names) > 1:
        raise DeviceError(
            f"{sanitize_short(wanted)!r} may be any of several {noun}s: {', '.join(names)}",
            hint="Write more of the name, or the index.",
        )
    if found:
        return next((device for device in found if device.is_default(direction)), found[0])
    raise DeviceError(
        f"there is no {noun} {sanitize_short(wanted)!r}", hint=_suggestion(wanted, able)
    )


def _default(able: Sequence[Device], direction: Direction) -> Device:
    for device in able:
        if device.is_default(direction):
            return device
    raise DeviceError(
        f"no {NOUNS[direction]} is the default",
        hint=f"Name one of: {', '.join(_names(able))}.",
    )


def _at_index(devices: Sequence[Device], direction: Direction, index: int) -> Device:
    """The device of that index, which PortAudio must never see unchecked: it would crash."""
    noun = NOUNS[direction]
    for device in devices:
        if device.index == index:
            if device.channels(direction):
                return device
            raise DeviceError(f"device {index}, {device.name}, is no {noun}", hint=f"{LIST}.")
    raise DeviceError(f"there is no device {index}", hint=f"There are {len(devices)}; {LIST}.")


def _suggestion(wanted: str, able: Sequence[Device]) -> str:
    names = _names(able)
    return suggest(wanted, names, limit=3, cutoff=0.4) or f"There is: {', '.join(names)}."


def _names(devices: Iterable[Device]) -> list[str]:
    return list(dict.fromkeys(device.name for device in devices))
