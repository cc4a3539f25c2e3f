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
    measure_session,
    print_result,
)
from voicecli.errors import ServiceError

if TYPE_CHECKING:
    from voicecli.cli.conversation import TalkOptions
    from voicecli.cli.output import Showing
    from voicecli.cli.result import SessionResult
    from voicecli.profile import Profile
    from voicecli.timeline import Timeline


from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicecli.profile import Profile

# what the pipeline needs takes 0.5 s to import: the command does, --help does not

Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A device's name, a part of it, or its index."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Every event as a line of JSON, the result at last.")
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Lines with the time of day, and nothing that moves.")
]
Typed = Annotated[
    bool, typer.Option("--text", help="Type instead of speaking; lines may be piped in.")
]
Minutes = Annotated[
    float | None, typer.Option(metavar="N", help="End after so long: limits.minutes.")
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
    as well, with the numbers told; the second Ctrl-C leaves at once.

    Ends with 0 unless a service failed and nothing was answered, or a connection was lost.
    """
    from voicecli.cli.conversation import TalkOptions
    from voicecli.cli.output import has_screen
    from voicecli.cli.result import ResultOptions, SessionResult
    from voicecli.timeline import Timeline

    options = [*(overrides or ()), *_options(mic, speaker, max_minutes, text)]
    settings, warnings = _settings(profile, options, typed=text)
    foreseen = load_prediction(predicted)
    check_out(out, force)
    fetch_models_of(settings)
    showing: Showing = "json" if as_json else "screen" if has_screen() and not plain else "plain"
    wishes = TalkOptions(typed=text, showing=showing, out=out, force=force, warnings=warnings)
    timeline = Timeline()
    failure = _held(settings, wishes, timeline)
    if len(timeline):
        asked = ResultOptions(profile_name=profile, predicted=foreseen)
        outcome = SessionResult(timeline, measure_session(timeline, out), settings, asked)
        _tell(outcome, out, as_json)
    if failure is not None:
        raise failure
    _judge(outcome, timeline)


def _settings(
    profile: str, options: Sequence[str], *, typed: bool
) -> tuple[Profile, Sequence[str]]:
    """What is possible of the profile, and what is not."""
    from voicecli.audio.echo import available
    from voicecli.cli import talk as duplex
    from voicecli.profile import load_profile

    settings = load_profile(profile, overrides=options)
    warning = None if typed else duplex.warning(settings, cancels=available())
    if warning is None:
        return settings, []
    return load_profile(profile, overrides=[*options, duplex.FALLBACK]), [warning]


def _held(profile: Profile, wishes: TalkOptions, timeline: Timeline) -> Exception | None:
    """Hold the conversation; why it did not end well, which is told after its numbers."""
    from voicecli import clock
    from voicecli.cli.conversation import run_conversation

    try:
        clock.run(run_conversation(profile, wishes, timeline))
    except BrokenPipeError:  # nobody reads any numbers
        raise
    except Exception as error:
        return error
    return None


def _options(
    mic: str | None, speaker: str | None, minutes: float | None, text: bool
) -> Sequence[str]:
    """The options as settings; a name that YAML takes for a number stays a name."""
    settings = {
        "audio.microphone": mic,
        "audio.speaker": speaker,
        "limits.minutes": minutes,
        "turn.settle_ms": 0 if text else None,  # no words are on their way when typing ends
    }
    return [f"{key}={json.dumps(value)}" for key, value in settings.items() if value is not None]


def _tell(outcome: SessionResult, out: Path | None, as_json: bool) -> None:
    if out is not None:
        outcome.write(out / RESULT)
    if as_json:
        from voicecli.report.json_lines import result_line

        typer.echo(result_line(outcome.as_json()))
    else:
        print_result(outcome, out)


def _judge(outcome: SessionResult, timeline: Timeline) -> None:
    """Raise the VoiceError that the conversation deserves, if any.

    A user who says nothing, or leaves before the answer, is no failure.
    """
    from voicecli.events import ConnectionLost, UserQuit

    for record in timeline:
        if isinstance(record, ConnectionLost):
            raise ServiceError(record.service, record.reason.removeprefix("STT: "))
    left = any(isinstance(record, UserQuit) for record in timeline)
    failed = any(turn.failure is not None for turn in outcome.turns)
    if outcome.turns and (failed or not left):
        outcome.judge()


FALLBACK = "interrupt.policy=off"
"""The setting that makes a conversation half duplex."""


def warning(profile: Profile, *, cancels: bool) -> str | None:
    """Why the conversation has to be half duplex against the profile's wish; None: it need not.

    Who turns the cancellation off, or insists on it, is not second-guessed.

    cancels: whether echo cancellation is installed.
    """
    from voicecli.audio.echo import MISSING

    audio, interrupt = profile.audio, profile.interrupt
    if interrupt.policy != "speakers" or audio.echo_cancellation != "auto" or cancels:
        return None
    return (
        f"{MISSING}. Half duplex until then; or wear headphones, with "
        "--set interrupt.policy=headphones."
    )
