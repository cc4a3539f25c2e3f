"""``voicecli talk``: a live conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.cli import cassettes, options
from voicecli.cli.models import fetch_models_of
from voicecli.cli.output import print_text

if TYPE_CHECKING:
    from voicecli.profile import Profile

# Importing what the pipeline needs takes 0.5 s: the command does so, --help does not.

HALF_DUPLEX = "interrupt.policy=off"

Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="A device's name, a part of it, or its index.")
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
    profile: options.ProfileName = "default",
    mic: Device = None,
    speaker: Device = None,
    text: Typed = False,
    out: options.Out = None,
    force: options.Force = False,
    as_json: AsJson = False,
    plain: Plain = False,
    max_minutes: Minutes = None,
    overrides: options.Sets = None,
    predicted: options.Predicted = None,
    record_services: cassettes.RecordServices = None,
    record_audio: cassettes.RecordAudio = False,
    services: cassettes.Services = None,
) -> None:
    """Talk with the agent; see what you wait for.

    Keys: m mutes the microphone, Enter ends your turn, Esc stops the agent, q quits.  Ctrl-C quits
    and prints the numbers, too; a second Ctrl-C exits at once.

    The exit code is 0 unless a service failed and nothing was answered, or a connection was lost.
    """
    from voicecli import clock
    from voicecli.audio import echo
    from voicecli.cli.conversation import DisplayKind, run_conversation
    from voicecli.events import ConnectionOpened
    from voicecli.profile import load_profile
    from voicecli.timeline import Timeline

    sets = [*(overrides or ()), *_list_settings(mic, speaker, max_minutes, text)]
    settings = load_profile(profile, overrides=sets)
    if text:
        warning = None
    elif warning := explain_half_duplex(settings, has_canceller=echo.is_installed()):
        settings = load_profile(profile, overrides=[*sets, HALF_DUPLEX])
    prediction = options.load_prediction(predicted)
    use = cassettes.choose_cassette(record_services, record_audio, services, force)
    options.check_out(out, force and (out is not None or record_services is None))
    if use.cassette is None:
        fetch_models_of(settings)
    moves = options.find_columns() is not None and not plain
    kind: DisplayKind = "json" if as_json else "screen" if moves else "plain"
    timeline, failure = Timeline(), None
    talk = run_conversation(
        settings, timeline, use, typed=text, kind=kind, out=out, warning=warning
    )
    try:
        clock.run(talk)
    except BrokenPipeError:  # nobody would read the numbers
        raise
    except Exception as error:  # raised after the numbers are printed
        failure = error
    # What computes the numbers is loaded after the conversation: it would delay its start by 0.1 s.
    from voicecli.cli.result import SessionResult
    from voicecli.report.json_result import encode_result_line

    if any(isinstance(entry, ConnectionOpened) for entry in timeline):  # the session has begun
        result = SessionResult(timeline, out, settings, profile_name=profile, predicted=prediction)
        if out is not None:
            result.write(out)
        if as_json:
            print_text(encode_result_line(result.as_json()))
        else:
            result.print_lines(out)
    if failure is not None:
        raise failure
    result.judge_live()


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


def explain_half_duplex(profile: Profile, *, has_canceller: bool) -> str | None:
    """Return why the conversation has to be half duplex against the profile's wish, or None.

    A profile that turns echo cancellation on or off explicitly is left alone.
    """
    from voicecli.audio.echo import MISSING

    automatic = profile.audio.echo_cancellation == "auto"
    if profile.interrupt.policy != "speakers" or not automatic or has_canceller:
        return None
    return (
        f"{MISSING}. Half duplex until then; or wear headphones, with "
        "--set interrupt.policy=headphones."
    )
