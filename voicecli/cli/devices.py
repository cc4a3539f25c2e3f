"""``voicecli devices``: list microphones and loudspeakers, and test them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voicecli import clock
from voicecli.cli.output import print_text
from voicecli.errors import DeviceError, UsageError
from voicecli.units import ms

if TYPE_CHECKING:
    from voicecli.audio.devices.select import Direction
    from voicecli.audio.devices.selftest import Level
    from voicecli.audio.devices.stream import Stream
    from voicecli.metrics.accuracy import Calibration

# audio brings numpy, profile takes 0.1 s and rich takes 40 ms: imported by the commands only

devices_app = typer.Typer(name="devices", help="Microphones and loudspeakers: list and test them.")

AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
ProfileName = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="Profile whose sample rates are checked.")
]
DeviceName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Its name, a part of it, or its index.")
]


class Tested(StrEnum):
    """A device that ``devices test --only`` names."""

    MIC = "mic"
    SPEAKER = "speaker"


TestResult = tuple[dict[str, Any], list[str]]  # for JSON, and as lines of text
_RATE, _BLOCK = 48_000, 0.02  # most hardware's own rate, so that nothing is resampled here
_HANGOVER = 0.2  # seconds
_LARGEST_RATE_ERROR = 2.0  # percent; converters are within 0.1
_METER_WIDTH, _METER_FLOOR = 40, -60.0  # cells of the level meter, and the dBFS where it begins


@devices_app.callback(invoke_without_command=True)
def print_devices(
    context: typer.Context, as_json: AsJson = False, profile: ProfileName = "default"
) -> None:
    """List microphones and loudspeakers, and whether they support the profile's sample rates.

    Audio is resampled for a device that does not support a rate.
    """
    if context.invoked_subcommand is None:
        rows = _list_rows(profile)
        if as_json:
            print_text(json.dumps(rows, indent=2))
        elif rows:
            print_table(rows)
        else:
            hint = "Connect one, or start the system's sound service."
            raise DeviceError("there is no sound device", hint=hint)


@devices_app.command("test")
def run_tests(
    mic: DeviceName = None,
    speaker: DeviceName = None,
    only: Annotated[
        list[Tested] | None,
        typer.Option(metavar="mic|speaker", help="Test only this; may be repeated."),
    ] = None,
    loopback: Annotated[
        bool,
        typer.Option("--loopback", help="Play chirps and find them in the microphone's sound."),
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Measure how exact mouth-to-ear is: play voices of known length."
        ),
    ] = False,
    virtual: Annotated[
        bool, typer.Option("--virtual", help="Calibrate replay, which uses no devices.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long to listen.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Test the loudspeaker (four notes) and the microphone (speak!): level, rate and latency.

    With --loopback, test only the way from the loudspeaker to the microphone, unless --only is
    given, too.  So with --calibrate, which keeps the result: talk with these devices prints it.
    """
    if virtual and (loopback or only or not calibrate):
        raise UsageError("--virtual goes with --calibrate alone", hint="Leave the rest out.")
    tests: dict[str, Callable[[], Coroutine[Any, Any, TestResult]]] = {
        "loudspeaker": partial(_test_loudspeaker, speaker),
        "microphone": partial(_test_microphone, mic, seconds),
        "loopback": partial(_test_loopback, mic, speaker),
        "calibration": _calibrate_virtual if virtual else partial(_calibrate, mic, speaker),
    }
    only = only or ([] if loopback or calibrate else [*Tested])
    wanted = (Tested.SPEAKER in only, Tested.MIC in only, loopback, calibrate)
    results = {}
    for name in compress(tests, wanted):
        results[name], lines = clock.run(tests[name](), virtual=virtual)
        if not as_json:
            print_text("\n".join(lines))
    if as_json:
        print_text(json.dumps(results, indent=2))


def _list_rows(profile_name: str) -> list[dict[str, Any]]:
    from voicecli.audio.devices.host import list_devices, open_portaudio, supports_rate
    from voicecli.profile import load_profile

    profile = load_profile(profile_name)
    audio, tts = profile.audio, profile.tts
    rates: dict[Direction, int] = {"input": audio.sample_rate, "output": tts.sample_rate}
    rows = []
    with open_portaudio() as library:
        for device in list_devices(library):
            row: dict[str, Any] = {"index": device.index, "name": device.name}
            row |= {"host_api": device.host_api, "default_rate": device.rate}
            for direction, rate in rates.items():
                usable = device.channels[direction] > 0
                latency = _round_ms(device.latency[direction]) if usable else None
                row[f"{direction}_channels"] = device.channels[direction]
                row[f"{direction}_latency_ms"] = latency
                row[f"default_{direction}"] = device.default[direction]
                if usable:
                    supported = supports_rate(library, device, direction, rate)
                    row[f"{direction}_rates"] = {rate: supported}
            rows.append(row)
    return rows


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print what ``_list_rows`` found."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for direction, title in (("input", "Microphones"), ("output", "Loudspeakers")):
        able = [row for row in rows if row[f"{direction}_channels"]]
        table = Table(box=None, pad_edge=False, title=title, title_justify="left")
        for heading in ("", "#", "name", "host API", "channels", "rate", "latency"):
            right = heading in ("#", "channels", "rate", "latency")
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
        for rate in able[0][f"{direction}_rates"] if able else ():
            table.add_column(f"{rate} Hz")
        for row in able:
            table.add_row(
                "*" if row[f"default_{direction}"] else "",
                str(row["index"]),
                Text(row["name"]),
                row["host_api"],
                str(row[f"{direction}_channels"]),
                f"{row['default_rate']} Hz",
                f"{row[f'{direction}_latency_ms']:g} ms",
                *("yes" if usable else "no" for usable in row[f"{direction}_rates"].values()),
            )
        # rich takes 80 columns for what is no terminal, and folds the names.
        width = None if sys.stdout.isatty() else 10_000
        Console(width=width).print(table)


async def _test_loudspeaker(name: str | None) -> TestResult:
    from voicecli.audio.devices import open_loudspeaker, selftest

    async with open_loudspeaker(name, _RATE, prebuffer=0) as loudspeaker:
        delay = _round_ms(await selftest.run_loudspeaker_test(loudspeaker))
        result, lines = _describe("loudspeaker", loudspeaker.stream)
    lines.append(f"  the first sample was heard {delay:g} ms after it was written")
    return result | {"delay_ms": delay}, lines


async def _test_microphone(name: str | None, seconds: float) -> TestResult:
    from voicecli.audio.devices import open_microphone, select, selftest
    from voicecli.audio.faults import find_faults, measure_frames
    from voicecli.audio.pcm import SILENT_DBFS

    async with open_microphone(name, _RATE, _BLOCK) as microphone:
        with _open_meter() as show:
            samples = await selftest.run_microphone_test(microphone, seconds, show)
        level = selftest.measure_levels(samples)
        if level.peak <= SILENT_DBFS:
            raise select.make_silence_error(microphone.name)
        result, lines = _describe("microphone", microphone.stream)
    result |= {"rms_dbfs": round(level.rms, 1), "peak_dbfs": round(level.peak, 1)}
    result["clipped"] = level.clipped
    clipped = f"{level.clipped} samples clipped" if level.clipped else "none clipped"
    lines.append(f"  level {level.rms:.1f} dBFS, peak {level.peak:.1f} dBFS, {clipped}")
    faults = find_faults(measure_frames(samples, _RATE))
    result["faults"] = [fault.text for fault in faults]
    lines += [f"  ! {fault.text}" for fault in faults]
    return result, lines


async def _test_loopback(microphone_name: str | None, loudspeaker_name: str | None) -> TestResult:
    from voicecli.audio.devices import open_loudspeaker, open_microphone, select, selftest
    from voicecli.audio.pcm import AUDIBLE_DBFS

    async with (
        open_microphone(microphone_name, _RATE, _BLOCK) as microphone,
        open_loudspeaker(loudspeaker_name, _RATE, prebuffer=0) as loudspeaker,
    ):
        measured = await selftest.run_loopback_test(microphone, loudspeaker)
        if measured.silent:
            raise select.make_silence_error(microphone.name)
    result: dict[str, Any] = {"found": measured.found, "played": measured.played}
    result |= dict.fromkeys(("path_ms", "round_trip_ms", "attenuation_db"))
    lines = [f"loopback: {measured.found} of {measured.played} chirps found"]
    if measured.found:
        path, round_trip = _round_ms(measured.path), _round_ms(measured.round_trip)
        attenuation = round(measured.attenuation, 1)
        result |= {"path_ms": path, "round_trip_ms": round_trip, "attenuation_db": attenuation}
        lines += [
            f"  from loudspeaker to microphone {path:g} ms, from write to read {round_trip:g} ms",
            f"  the echo is {attenuation:g} dB softer than what is played",
        ]
    # A voice peaks at full scale: 45 dB softer, it is below what counts as audible here.
    if not measured.found or measured.attenuation >= -AUDIBLE_DBFS:
        advice = "headphones: the microphone does not pick up the agent"
    else:
        advice = "speakers (cancels the echo) or off; with headphones the agent interrupts itself"
    return result, [*lines, f"  use interrupt.policy={advice}"]


async def _calibrate(microphone_name: str | None, loudspeaker_name: str | None) -> TestResult:
    from voicecli.audio.devices import open_loudspeaker, open_microphone, selftest
    from voicecli.audio.devices.calibrations import is_alias, save_calibration
    from voicecli.audio.devices.selftest import CALIBRATION_VOICES as VOICES
    from voicecli.audio.vad import create_detector
    from voicecli.metrics.accuracy import summarize_errors

    async with (
        open_microphone(microphone_name, _RATE, _BLOCK) as microphone,
        open_loudspeaker(loudspeaker_name, _RATE, prebuffer=0) as loudspeaker,
    ):
        detector = create_detector("silero", microphone.format, _HANGOVER)
        errors = await selftest.run_calibration(microphone, loudspeaker, detector, VOICES)
        names = microphone.name, loudspeaker.name
        losses = microphone.xruns + loudspeaker.xruns
    if len(errors) < VOICES / 2 and losses:
        raise DeviceError(
            f"samples were lost {losses} times; {len(errors)} of {VOICES} voices are left",
            hint="Calibrate again while the machine is idle.",
        )
    if len(errors) < VOICES / 2:
        raise DeviceError(
            f"the microphone heard {len(errors)} of {VOICES} voices from the loudspeaker",
            hint="Turn both up, and put them near each other; headphones cannot be calibrated.",
        )
    found = summarize_errors(errors)
    result, lines = _describe_calibration(found)
    file = save_calibration(*names, found)
    lines.append(f"  kept in {file}: talk prints it")
    if aliases := [repr(name) for name in dict.fromkeys(names) if is_alias(name)]:
        which = f"{' and '.join(aliases)}: whatever device the system chooses"
        lines.append(f"  ! it counts for {which}; calibrate again when that changes")
    return result | {"kept_in": str(file)}, lines


async def _calibrate_virtual() -> TestResult:
    from voicecli.metrics.accuracy import VIRTUAL
    from voicecli.pipeline.calibration import measure_virtual_error
    from voicecli.profile import load_profile

    found = await measure_virtual_error(load_profile("scripted"))
    result, lines = _describe_calibration(found)
    return result, [*lines, f"  replay prints ± {ms(VIRTUAL.error):.0f} ms"]


def _describe_calibration(found: Calibration) -> TestResult:
    error, bias = _round_ms(found.error), _round_ms(found.bias)
    lines = [
        f"calibration: mouth-to-ear is exact to ± {error:g} ms (95 of 100 measurements; "
        f"n = {found.signals}, median {bias:+g} ms)"
    ]
    return {"error_ms": error, "bias_ms": bias, "signals": found.signals}, lines


def _describe(noun: str, stream: Stream) -> TestResult:
    """Describe how an open device ran."""
    host_api = stream.device.host_api if stream.device else ""
    measured, xruns = stream.meter.measured, stream.events.xruns
    channels = f"{stream.channels} channel{'s' if stream.channels > 1 else ''}"
    lines = [f"{noun} {stream.name!r} ({host_api}): {stream.rate} Hz, {channels}"]
    if measured is not None:
        error = 100 * (measured / stream.rate - 1)
        lines.append(f"  runs at {measured:.0f} Hz by this machine's clock ({error:+.2f} %)")
        if abs(error) > _LARGEST_RATE_ERROR:
            lines.append(f"  ! wrong rate: speech has {stream.rate / measured:.2f} times its speed")
    if xruns:
        times = "once" if xruns == 1 else f"{xruns} times"
        lines.append(f"  lost samples {times}: the machine may be too busy")
    if stream.estimated:
        lines.append("  reports no times: latencies are estimates")
    result = {
        "device": stream.name,
        "host_api": host_api,
        "rate": stream.rate,
        "channels": stream.channels,
        "measured_rate": measured,
        "xruns": xruns,
        "estimated": stream.estimated,
    }
    return result, lines


@contextmanager
def _open_meter() -> Iterator[Callable[[Level], None]]:
    """A level meter on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def draw(level: Level) -> None:
        rms, peak = (max(0, round(_METER_WIDTH * (1 - dbfs / _METER_FLOOR))) for dbfs in level[:2])
        bar = "█" * rms + "░" * (peak - rms)
        style = "red" if level.clipped else "green"
        live.update(Text.assemble((f"{bar:{_METER_WIDTH}}", style), f" {level.peak:6.1f} dBFS"))

    if not (console := Console(stderr=True)).is_terminal:
        yield lambda _: None
        return
    with Live(console=console, transient=True, refresh_per_second=20) as live:
        yield draw


def _round_ms(seconds: float) -> float:
    return round(ms(seconds), 1)
