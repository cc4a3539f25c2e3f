"""``voicecli replay``: the pipeline of ``talk``, with a recording for a microphone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.errors import UsageError

if TYPE_CHECKING:
    from voicecli.cli.outcome import Outcome
    from voicecli.metrics import Turn
    from voicecli.profile import Profile
    from voicecli.timeline import Header, Timeline

CONVERSATION = "conversation.wav"

# what the pipeline needs takes 0.5 s to import: the command does, --help does not

File = Annotated[Path, typer.Argument(help="A recording: WAV, FLAC, OGG; any rate and channels.")]
ProfileName = Annotated[
    str, typer.Option("--profile", "-p", metavar="NAME", help="Name or file of a profile.")
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep the recording, the timeline and the result there."),
]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON, nothing else.")]
Fast = Annotated[
    bool, typer.Option("--fast", help="Virtual time: as fast as it can be computed (scripted).")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be repeated."),
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
) -> None:
    """Play a recording to the agent, as if spoken into the microphone; measure what it answers.

    Streams at the pace of real time, answers into a virtual loudspeaker, and ends when the last
    reply was heard.
    """
    from voicecli import clock, expectation
    from voicecli.cli.outcome import Asked, Outcome
    from voicecli.profile import load_profile

    expectations = [expectation.parsed(text) for text in expect or ()]
    settings = load_profile(profile, overrides=overrides or ())
    _check(settings, fast)
    _fetch_models(settings)
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(TemporaryDirectory(prefix="voicecli-")))
        say: Callable[[str], None] = (lambda _: None) if as_json else typer.echo
        timeline = clock.run(_replay(file, settings, folder, say), virtual=fast)
        outcome = Outcome(
            timeline,
            _turns(timeline, folder),
            settings,
            Asked(profile_name=profile, expectations=expectations, strict=strict),
        )
        _tell(outcome, out, as_json)
    outcome.judge()


def _check(profile: Profile, fast: bool) -> None:
    if fast and (profile.standin is None or profile.standin.engine != "scripted"):
        raise UsageError(
            "--fast is virtual time, in which no real service can keep up",
            mend="Take a profile with scripted stand-ins: --profile scripted.",
        )


def _fetch_models(profile: Profile) -> None:
    if profile.standin is not None and profile.standin.engine == "local":
        from voicecli.cli.models import fetch_missing
        from voicecli.standin.local import require_packages

        require_packages()
        model = profile.local.llm.model
        fetch_missing(Path(model) if model else None)


async def _replay(
    file: Path, profile: Profile, folder: Path, say: Callable[[str], None]
) -> Timeline:
    """Hold the conversation; all of it is in ``folder`` then."""
    from voicecli.assemble import open_services, open_session
    from voicecli.cli.outcome import budgets_of
    from voicecli.recorder import Recorder
    from voicecli.report.lines import TurnLines
    from voicecli.timeline import Timeline, writing
    from voicecli.wav import VirtualSpeaker, open_wav

    audio, timeline = profile.audio, Timeline()
    timeline.follow(TurnLines(say, budgets_of(profile)))
    speaker = VirtualSpeaker(profile.tts.sample_rate, prebuffer=audio.prebuffer_ms / 1000)
    with (
        open_wav(file, audio.sample_rate, audio.block_ms / 1000) as source,
        Recorder(
            folder, profile.tts.sample_rate, agent=speaker.take, user_rate=audio.sample_rate
        ) as recorder,
        writing(folder / "timeline.jsonl", _header(profile)) as writer,
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
        say(f"! {warning}")
    return timeline


def _turns(timeline: Timeline, folder: Path) -> Sequence[Turn]:
    """The turns, measured, and checked against the recording."""
    from voicecli.crosscheck import checked
    from voicecli.metrics import turns

    return checked(turns(timeline), folder / CONVERSATION)


def _header(profile: Profile) -> Header:
    from voicecli import clock
    from voicecli.timeline import Header

    return Header(
        profile=profile.resolved(),
        clock_origin=clock.monotonic_origin(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _tell(outcome: Outcome, out: Path | None, as_json: bool) -> None:
    if out is not None:
        outcome.write(out / "result.json")
    if as_json:
        typer.echo(outcome.as_json())
        return
    typer.echo()
    for line in outcome.lines():
        typer.echo(line)
    if out is not None:
        typer.echo(f"\nkept in {out}: conversation.wav, reply.wav, timeline.jsonl, result.json")
