"""``voicecli talk``: a live conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.cli.models import fetch_models_of
from voicecli.cli.options import (
    RESULT,
    Force,
    Out,
    Predicted,
    ProfileName,
    Sets,
    check_out,
    load_prediction,
)

if TYPE_CHECKING:
    from voicecli.cli.conversation import TalkOptions
    from voicecli.cli.output import DisplayKind
    from voicecli.cli.result import SessionResult
    from voicecli.profile import Profile
    from voicecli.timeline import Timeline

# Importing what the pipeline needs takes 0.5 s: the command does so, --help does not.

Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A device's name, a part of it, or its index."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print every event as a line of JSON, the result last.")
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Print lines with the time of day; nothing moves.")
]
Typed = Annotated[
    bool, typer.Option("--text", help="Type instead of speaking; lines may be piped in.")
]
Minutes = Annotated[
    float | None, typer.Option(metavar="N", help="End after N minutes (limits.minutes).")
]


def talk_command(
    profile: ProfileName = "default",
    mic: Device = None,
    speaker: Device = None,
    text: Typed = False,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
    plain: Plain = False,
    max_minutes: Minutes = None,
    overrides: Sets = None,
    predicted: Predicted = None,
) -> None:
    """Talk with the agent; see what you wait for.

    Keys: m mutes the microphone, Enter ends your turn, Esc stops the agent, q quits.  Ctrl-C quits
    and prints the numbers, too; a second Ctrl-C exits at once.

    The exit code is 0 unless a service failed and nothing was answered, or a connection was lost.
    """
    from voicecli.cli.conversation import TalkOptions
    from voicecli.cli.result import SessionResult, find_columns
    from voicecli.timeline import Timeline

    options = [*(overrides or ()), *_list_settings(mic, speaker, max_minutes, text)]
    settings, warnings = _load_profile(profile, options, typed=text)
    prediction = load_prediction(predicted)
    check_out(out, force)
    fetch_models_of(settings)
    display: DisplayKind = (
        "json" if as_json else "screen" if find_columns() is not None and not plain else "plain"
    )
    talk_options = TalkOptions(typed=text, display=display, out=out, warnings=warnings)
    timeline = Timeline()
    failure = _hold(settings, talk_options, timeline)
    if len(timeline):
        result = SessionResult(timeline, out, settings, profile_name=profile, predicted=prediction)
        _print_result(result, out, as_json)
    if failure is not None:
        raise failure
    result.judge_live()


def _load_profile(
    name: str, overrides: Sequence[str], *, typed: bool
) -> tuple[Profile, Sequence[str]]:
    """Return the profile, changed to what is possible here, and warnings about the changes."""
    from voicecli.audio.echo import is_installed
    from voicecli.profile import load_profile

    profile = load_profile(name, overrides=overrides)
    warning = None if typed else explain_half_duplex(profile, has_canceller=is_installed())
    if warning is None:
        return profile, []
    return load_profile(name, overrides=[*overrides, HALF_DUPLEX]), [warning]


HALF_DUPLEX = "interrupt.policy=off"


def explain_half_duplex(profile: Profile, *, has_canceller: bool) -> str | None:
    """Return why the conversation has to be half duplex against the profile's wish, or None.

    A profile that turns echo cancellation on or off explicitly is left alone.
    """
    from voicecli.audio.echo import MISSING

    audio, interrupt = profile.audio, profile.interrupt
    if interrupt.policy != "speakers" or audio.echo_cancellation != "auto" or has_canceller:
        return None
    return (
        f"{MISSING}. Half duplex until then; or wear headphones, with "
        "--set interrupt.policy=headphones."
    )


def _hold(profile: Profile, options: TalkOptions, timeline: Timeline) -> Exception | None:
    """Hold the conversation; return what ended it, to be raised after the numbers are printed."""
    from voicecli import clock
    from voicecli.cli.conversation import run_conversation

    try:
        clock.run(run_conversation(profile, options, timeline))
    except BrokenPipeError:  # nobody would read the numbers
        raise
    except Exception as error:
        return error
    return None


def _list_settings(
    mic: str | None, speaker: str | None, minutes: float | None, text: bool
) -> Sequence[str]:
    """Return the options as settings; JSON keeps a name that YAML would read as a number."""
    settings = {
        "audio.microphone": mic,
        "audio.speaker": speaker,
        "limits.minutes": minutes,
        "audio.vad": "energy" if text else None,  # there is no voice to load a network for
        "turn.settle_ms": 0 if text else None,  # a typed turn is complete at once
    }
    return [f"{key}={json.dumps(value)}" for key, value in settings.items() if value is not None]


def _print_result(result: SessionResult, out: Path | None, as_json: bool) -> None:
    if out is not None:
        result.write(out / RESULT)
    if as_json:
        from voicecli.report.json_result import encode_result_line

        typer.echo(encode_result_line(result.as_json()))
    else:
        result.print_lines(out)
