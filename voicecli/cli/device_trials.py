"""What ``voicecli devices test`` does and says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import isinf
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from voicecli.audio.devices import open_loudspeaker, open_microphone
from voicecli.audio.devices.errors import silent
from voicecli.audio.devices.selftest import (
    Level,
    Running,
    try_both,
    try_loudspeaker,
    try_microphone,
)
from voicecli.audio.pcm import AUDIBLE_DBFS

Result = tuple[dict[str, Any], list[str]]
"""For JSON, and in lines of text."""

_RATE = 48_000
"""That of most hardware, so that nothing is resampled here."""

_METER = 40
_LOWEST = -60.0
"""Cells of the level meter, and the dBFS where it begins."""


async def loudspeaker(name: str | None) -> Result:
    """Play four notes; raises DeviceError."""
    async with open_loudspeaker(name, _RATE) as loudspeaker:
        played = await try_loudspeaker(loudspeaker)
    result = {**asdict(played.running), "delay_ms": milliseconds(played.delay)}
    sentence = f"  the first sample sounded {result['delay_ms']:g} ms after it was written"
    return result, [*_running("loudspeaker", played.running), sentence]


async def microphone(name: str | None, seconds: float) -> Result:
    """Listen for so many seconds; raises DeviceError, also when there is nothing but zeros."""
    async with open_microphone(name, _RATE) as microphone:
        with _meter() as show:
            heard = await try_microphone(microphone, seconds, show)
        level = heard.level
        if isinf(level.peak):
            raise silent(microphone.name)
    result = {
        **asdict(heard.running),
        "rms_dbfs": round(level.rms, 1),
        "peak_dbfs": round(level.peak, 1),
        "clipped": level.clipped,
    }
    clipped = f"{level.clipped} samples clipped: turn it down" if level.clipped else "none clipped"
    sentence = f"  level {level.rms:.1f} dBFS, peak {level.peak:.1f} dBFS, {clipped}"
    return result, [*_running("microphone", heard.running), sentence]


async def both(microphone_name: str | None, loudspeaker_name: str | None) -> Result:
    """Play chirps and listen for them; raises DeviceError."""
    async with (
        open_microphone(microphone_name, _RATE) as microphone,
        open_loudspeaker(loudspeaker_name, _RATE) as loudspeaker,
    ):
        looped = await try_both(microphone, loudspeaker)
        if looped.silent:
            raise silent(microphone.name)
    result = {
        "found": looped.found,
        "played": looped.played,
        "path_ms": None if looped.path is None else milliseconds(looped.path),
        "round_trip_ms": None if looped.round_trip is None else milliseconds(looped.round_trip),
        "attenuation_db": None if looped.attenuation is None else round(looped.attenuation, 1),
    }
    sentences = [f"loopback: {looped.found} of {looped.played} chirps heard"]
    if looped.found:
        sentences += [
            f"  from loudspeaker to microphone {result['path_ms']:g} ms, "
            f"from write to read {result['round_trip_ms']:g} ms",
            f"  the echo is {result['attenuation_db']:g} dB softer than what is played",
        ]
    return result, [*sentences, f"  {_advice(looped.attenuation)}"]


def _advice(attenuation: float | None) -> str:
    """What the echo means for the profile's ``interrupt.policy``.

    A voice peaks at full scale: softened by 45 dB it is below what counts as audible here.
    """
    if attenuation is None or attenuation >= -AUDIBLE_DBFS:
        return "interrupt.policy: headphones will do, the microphone does not hear the agent"
    return (
        "interrupt.policy: speakers (cancels the echo) or off; with headphones the agent would "
        "interrupt itself"
    )


def _running(what: str, running: Running) -> list[str]:
    lines = [
        f"{what} {running.device!r} ({running.host_api}): {running.rate} Hz, "
        f"{running.channels} channel{'s' if running.channels > 1 else ''}"
    ]
    if running.measured_rate is not None:
        error = 100 * (running.measured_rate / running.rate - 1)
        lines.append(
            f"  runs at {running.measured_rate:.0f} Hz by this machine's clock ({error:+.2f} %)"
        )
    if running.xruns:
        lines.append(f"  lost samples {running.xruns} times: is the machine busy?")
    if running.estimated:
        lines.append("  tells no times: latencies are estimates")
    return lines


@contextmanager
def _meter() -> Iterator[Callable[[Level], None]]:
    """A level meter on standard error, where that is a terminal."""

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with Live(console=console, transient=True, refresh_per_second=20) as live:
        yield lambda level: live.update(_bar(level))


def _bar(level: Level) -> Text:

    cells = [
        max(0, round(_METER * (1 - dbfs / _LOWEST))) if dbfs > _LOWEST else 0
        for dbfs in (level.rms, level.peak)
    ]
    bar = "█" * cells[0] + "░" * (cells[1] - cells[0])
    style = "red" if level.clipped else "green"
    return Text.assemble((f"{bar:{_METER}}", style), f" {level.peak:6.1f} dBFS")


def milliseconds(seconds: float) -> float:
    """``seconds`` as they are shown."""
    return round(1000 * seconds, 1)
