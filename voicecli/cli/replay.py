"""``voicecli replay``: the pipeline of ``talk``, with a recording for a microphone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.cli.models import fetch_models_of
from voicecli.cli.options import (
    RESULT,
    TIMELINE,
    Out,
    PredictedBy,
    ProfileName,
    Sets,
    header,
    measured,
    prediction,
    tell,
)
from voicecli.errors import UsageError
from voicecli.sanitize import sanitize_message

if TYPE_CHECKING:
    from voicecli.cli.result import SessionResult
    from voicecli.profile import Profile
    from voicecli.timeline import Timeline

# what the pipeline needs takes 0.5 s to import: the command does, --help does not

File = Annotated[Path, typer.Argument(help="A recording: WAV, FLAC, OGG; any rate and channels.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON, nothing else.")]
Fast = Annotated[
    bool, typer.Option("--fast", help="Virtual time: as fast as it can be computed (scripted).")
]
Expects = Annotated[
    list[str] | None,
    typer.Option(
        "--expect",
        metavar="EXPR",
        help="End with 1 unless it holds: mouth_to_ear.p95<3000; may be repeated.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="End with 6 where a measurement cannot be relied on.")
]


def replay_command(
    file: File,
    profile: ProfileName = "default",
    out: Out = None,
    as_json: AsJson = False,
    fast: Fast = False,
    overrides: Sets = None,
    expect: Expects = None,
    strict: Strict = False,
    predicted: PredictedBy = None,
) -> None:
    """Play a recording to the agent, as if spoken into the microphone; measure what it answers.

    Streams at the pace of real time, answers into a virtual loudspeaker, and ends when the last
    reply was heard.
    """
    from voicecli import clock
    from voicecli.cli.result import ResultOptions, SessionResult
    from voicecli.metrics import thresholds as expectation
    from voicecli.profile import load_profile

    expectations = [expectation.parse_threshold(text) for text in expect or ()]
    settings = load_profile(profile, overrides=overrides or ())
    foreseen = prediction(predicted)
    _check(settings, fast)
    fetch_models_of(settings)
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(TemporaryDirectory(prefix="voicecli-")))
        say: Callable[[str], None] = (lambda _: None) if as_json else typer.echo
        timeline = clock.run(_replay(file, settings, folder, say), virtual=fast)
        outcome = SessionResult(
            timeline,
            measured(timeline, folder),
            settings,
            ResultOptions(
                profile_name=profile,
                expectations=expectations,
                strict=strict,
                predicted=foreseen,
            ),
        )
        _tell(outcome, out, as_json)
    outcome.judge()


def _check(profile: Profile, fast: bool) -> None:
    if fast and (profile.standin is None or profile.standin.engine != "scripted"):
        raise UsageError(
            "--fast is virtual time, in which no real service can keep up",
            hint="Take a profile with scripted stand-ins: --profile scripted.",
        )


def _channel(file: Path) -> int | None:
    """Of a conversation that was kept, the user: left.  Of other recordings all."""
    from voicecli.audio.recorder import CONVERSATION

    kept = file.name == CONVERSATION and (file.parent / TIMELINE).exists()
    return 0 if kept else None


async def _replay(
    file: Path, profile: Profile, folder: Path, say: Callable[[str], None]
) -> Timeline:
    """Hold the conversation; all of it is in ``folder`` then."""
    from voicecli.audio.recorder import Recorder
    from voicecli.audio.virtual import VirtualSpeaker
    from voicecli.audio.wav import open_wav
    from voicecli.cli.result import budgets_of
    from voicecli.pipeline.wiring import open_services, open_session
    from voicecli.report.turn_lines import TurnLines
    from voicecli.timeline import Timeline, open_writer

    audio, timeline = profile.audio, Timeline()
    timeline.follow(TurnLines(say, budgets_of(profile)))
    speaker = VirtualSpeaker(profile.tts.sample_rate, prebuffer=audio.prebuffer_ms / 1000)
    with (
        open_wav(file, audio.sample_rate, audio.block_ms / 1000, _channel(file)) as source,
        Recorder(
            folder, profile.tts.sample_rate, agent=speaker.take, user_rate=audio.sample_rate
        ) as recorder,
        open_writer(folder / TIMELINE, header(profile)) as writer,
    ):
        timeline.follow(writer)
        async with (
            open_services(profile) as services,
            open_session(
                profile,
                services,
                source,
                speaker,
                timeline=timeline,
                tap=recorder.user,
                recorded=True,
            ) as session,
        ):
            await session.run()
    for warning in source.warnings:
        typer.echo(sanitize_message(f"! {warning}"), err=True)
    return timeline


def _tell(outcome: SessionResult, out: Path | None, as_json: bool) -> None:
    if out is not None:
        outcome.write(out / RESULT)
    if as_json:
        typer.echo(outcome.as_json())
    else:
        tell(outcome, out)
