"""What the commands that hold a conversation have in common: options, models, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from voicecli.cli.result import SessionResult
    from voicecli.metrics.turns import Turn
    from voicecli.profile import Profile
    from voicecli.timeline import Header, Timeline

TIMELINE = "timeline.jsonl"
RESULT = "result.json"

# what the pipeline needs takes 0.5 s to import: the commands do, --help does not

ProfileName = Annotated[
    str, typer.Option("--profile", "-p", metavar="NAME", help="Name or file of a profile.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be repeated."),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep the recording, the timeline and the result there."),
]

PredictedBy = Annotated[
    Path | None,
    typer.Option(
        "--predicted", metavar="FILE", help="A saved probe: tell what it predicted beside it."
    ),
]


def prediction(file: Path | None) -> Mapping[str, Any] | None:
    """What the probe saved in ``file`` predicts; raises InputError where it is none."""
    if file is None:
        return None
    from voicecli.errors import InputError
    from voicecli.probe.json_result import load_result

    found: Mapping[str, Any] | None = load_result(file)["prediction"]
    if found is None:
        raise InputError(
            f"{file} predicts nothing", hint="Save a probe of all three services that succeeded."
        )
    return found


def header(profile: Profile) -> Header:
    """Of the timeline that begins now."""
    from voicecli import clock
    from voicecli.timeline import Header

    return Header(
        profile=profile.resolved(),
        clock_origin=clock.monotonic_origin(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def measured(timeline: Timeline, folder: Path | None) -> Sequence[Turn]:
    """The turns, measured, and checked against the recording in ``folder``, if there is one."""
    from voicecli.metrics.turns import measure_turns

    if folder is None:
        return measure_turns(timeline)
    from voicecli.audio.crosscheck import check_recording
    from voicecli.audio.recorder import CONVERSATION

    return check_recording(measure_turns(timeline), folder / CONVERSATION)


def tell(outcome: SessionResult, out: Path | None) -> None:
    """The closing lines, and what is kept in ``out``."""
    from voicecli.audio.recorder import CONVERSATION, REPLY

    typer.echo()
    for line in outcome.lines():
        typer.echo(line)
    if out is not None:
        typer.echo(f"\nkept in {out}: {CONVERSATION}, {REPLY}, {TIMELINE}, {RESULT}")
