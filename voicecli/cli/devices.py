"""``voicecli devices``: which microphones and loudspeakers there are, and whether they work."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voicecli import clock
from voicecli.errors import DeviceError

if TYPE_CHECKING:
    from voicecli.audio.devices.select import Direction

# soundcard brings numpy and profile brings pydantic: the commands import them, not --help

devices_app = typer.Typer(
    name="devices", help="Microphones and loudspeakers: list them, and try them out."
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
ProfileName = Annotated[
    str,
    typer.Option("--profile", metavar="NAME", help="Whose sample rates to ask the devices for."),
]
InputDevice = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A microphone's name, a part of it, or its index."),
]
OutputDevice = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A loudspeaker's name, a part of it, or its index."),
]


@devices_app.callback(invoke_without_command=True)
def list_(
    context: typer.Context, as_json: AsJson = False, profile: ProfileName = "default"
) -> None:
    """List microphones and loudspeakers, and whether they do the profile's sample rates.

    A rate that a device does not do is resampled.
    """
    if context.invoked_subcommand is None:
        rows = _rows(profile)
        if as_json:
            typer.echo(json.dumps(rows, indent=2))
        elif rows:
            _print_table(rows)
        else:
            raise DeviceError(
                "there is no sound device", hint="Connect one, or start the sound system."
            )


@devices_app.command("test")
def try_command(
    mic: Annotated[bool, typer.Option("--mic", help="Listen, and show the level.")] = False,
    speaker: Annotated[bool, typer.Option("--speaker", help="Play four notes.")] = False,
    loopback: Annotated[
        bool,
        typer.Option("--loopback", help="Play chirps, and measure how the microphone hears them."),
    ] = False,
    input_device: InputDevice = None,
    output_device: OutputDevice = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long to listen.")] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Try out the microphone (speak!) and the loudspeaker; both, unless one is named."""
    if not (mic or speaker or loopback):
        mic = speaker = True
    from voicecli.cli import device_trials as trials

    chosen: dict[str, tuple[bool, Callable[[], Coroutine[Any, Any, trials.Result]]]] = {
        "loudspeaker": (speaker, partial(trials.loudspeaker, output_device)),
        "microphone": (mic, partial(trials.microphone, input_device, seconds)),
        "loopback": (loopback, partial(trials.both, input_device, output_device)),
    }
    results = {}
    for name, (wanted, trial) in chosen.items():
        if wanted:
            results[name], lines = clock.run(trial())
            if not as_json:
                typer.echo("\n".join(lines))
    if as_json:
        typer.echo(json.dumps(results, indent=2))


def _rows(profile_name: str) -> list[dict[str, Any]]:
    from voicecli.audio.devices import host as portaudio
    from voicecli.cli.device_trials import milliseconds
    from voicecli.profile import load_profile

    profile = load_profile(profile_name)
    rates: dict[Direction, int] = {
        "input": profile.audio.sample_rate,
        "output": profile.tts.sample_rate,
    }
    with portaudio.initialised() as library:
        return [
            {
                "index": device.index,
                "name": device.name,
                "host_api": device.host_api,
                "input_channels": device.inputs,
                "output_channels": device.outputs,
                "default_rate": device.rate,
                "input_latency_ms": milliseconds(device.input_latency) if device.inputs else None,
                "output_latency_ms": milliseconds(device.output_latency)
                if device.outputs
                else None,
                "default_input": device.default_input,
                "default_output": device.default_output,
                **{
                    f"{direction}_rates": {
                        rate: portaudio.supports(library, device, direction, rate)
                    }
                    for direction, rate in rates.items()
                    if device.channels(direction)
                },
            }
            for device in portaudio.devices(library)
        ]


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for direction, title in (("input", "Microphones"), ("output", "Loudspeakers")):
        able = [row for row in rows if row[f"{direction}_channels"]]
        table = Table(box=None, pad_edge=False, title=title, title_justify="left")
        for heading in ("", "#", "name", "host API", "channels", "rate", "latency"):
            right = heading in ("#", "channels", "rate", "latency")
            table.add_column(heading, justify="right" if right else "left", overflow="fold")
        rates = able[0][f"{direction}_rates"] if able else {}
        for rate in rates:
            table.add_column(f"{rate} Hz")
        for row in able:
            does = row[f"{direction}_rates"].values()
            table.add_row(
                "*" if row[f"default_{direction}"] else "",
                str(row["index"]),
                Text(row["name"]),
                row["host_api"],
                str(row[f"{direction}_channels"]),
                f"{row['default_rate']} Hz",
                f"{row[f'{direction}_latency_ms']:g} ms",
                *("yes" if done else "no" for done in does),
            )
        Console().print(table)
