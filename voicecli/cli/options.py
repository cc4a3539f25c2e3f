"""What several commands share: options, the models they need, and the folder of a session."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voicecli.errors import InputError, UsageError

if TYPE_CHECKING:
    from voicecli.profile import Profile
    from voicecli.timeline import Header

TIMELINE = "timeline.jsonl"
RESULT = "result.json"

# The functions import what they need: the pipeline takes 0.5 s, which --help does not pay.

ProfileName = Annotated[
    str, typer.Option("--profile", "-p", metavar="NAME", help="Name or file of a profile.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be repeated."),
]
Fast = Annotated[
    bool, typer.Option("--fast", help="Run in virtual time, without waiting (scripted only).")
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep the recording, the timeline and the result in DIR."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier session in --out.")]
Predicted = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A saved probe: print its prediction beside the measurement."
    ),
]


def load_prediction(file: Path | None) -> Mapping[str, Any] | None:
    """Return the prediction of the saved probe ``file``; raises InputError if it has none."""
    if file is None:
        return None
    from voicecli.probe.json_result import load_result

    found: Mapping[str, Any] | None = load_result(file)["prediction"]
    if found is None:
        raise InputError(
            f"{file} holds no prediction", hint="Save a probe that measured all three services."
        )
    return found


def check_fast(profile: Profile, fast: bool) -> None:
    """Raise UsageError if ``--fast`` is given and ``profile`` needs real time."""
    if fast and (profile.standin is None or profile.standin.engine != "scripted"):
        raise UsageError(
            "--fast runs in virtual time, in which no real service can keep up",
            hint="Choose a profile with scripted stand-ins: --profile scripted.",
        )


def check_out(out: Path | None, force: bool, source: Path | None = None) -> None:
    """Raise UsageError if ``--force`` has nothing to replace, or would replace ``source``."""
    from voicecli.audio.recorder import CONVERSATION, REPLY

    if out is None:
        if force:
            raise UsageError("--force replaces a session in --out", hint="Add --out DIR.")
        return
    kept = [file.resolve() for file in (out / CONVERSATION, out / REPLY) if file.exists()]
    if source is not None and source.resolve() in kept:
        raise UsageError(
            f"{source} would be overwritten while it is played", hint="Name another --out."
        )


def create_header(profile: Profile) -> Header:
    """Return the header of a timeline that starts now."""
    from voicecli import clock
    from voicecli.timeline import Header

    return Header(
        profile=profile.resolved(),
        clock_origin=clock.monotonic_origin(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
