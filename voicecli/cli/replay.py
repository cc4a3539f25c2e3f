"""``voicecli replay``: the pipeline of ``talk`` with a recording instead of a microphone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.cli import options
from voicecli.cli.models import fetch_models_of
from voicecli.cli.output import print_text
from voicecli.sanitize import sanitize_message

if TYPE_CHECKING:
    from voicecli.audio.channels import Channel
    from voicecli.profile import Profile
    from voicecli.timeline import Entry, Timeline

File = Annotated[
    Path, typer.Argument(help="A recording: WAV, FLAC or OGG, any rate, any channels.")
]
ChannelName = Annotated[
    str | None,
    typer.Option(
        "--channel", metavar="left|right|N|mix", help="The channel with the user's voice."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")]
Expect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EXPR", help="Exit with 1 unless it holds: mouth_to_ear.p95<3000; repeatable."
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 6 if a measurement is not reliable.")
]


def replay(
    file: File,
    channel: ChannelName = None,
    profile: options.ProfileName = "default",
    out: options.Out = None,
    force: options.Force = False,
    as_json: AsJson = False,
    fast: options.Fast = False,
    overrides: options.Sets = None,
    expect: Expect = None,
    strict: Strict = False,
    predicted: options.Predicted = None,
) -> None:
    """Play a recording to the agent as if spoken into the microphone, and measure its answers.

    Streams in real time, answers into a virtual loudspeaker, and ends when the last reply has been
    played.
    """
    from voicecli import clock
    from voicecli.audio.channels import parse_channel
    from voicecli.metrics.thresholds import parse_threshold
    from voicecli.profile import load_profile
    from voicecli.report.turn_lines import TurnLines
    from voicecli.timeline import Timeline

    thresholds = [parse_threshold(text) for text in expect or ()]
    played = parse_channel(channel)
    settings = load_profile(profile, overrides=overrides or ())
    prediction = options.load_prediction(predicted)
    options.check_fast(settings, fast)
    options.check_out(out, force, file)
    fetch_models_of(settings)
    timeline = Timeline()
    if as_json:
        timeline.follow(_print_warning)
    else:
        timeline.follow(TurnLines(print_text, settings.budgets, options.find_columns()))
    with ExitStack() as stack:
        folder = out or stack.enter_context(options.open_temporary_folder())
        clock.run(_play(file, played, settings, folder, timeline), virtual=fast)
        from voicecli.cli.result import SessionResult  # 0.1 s, not before the recording plays

        result = SessionResult(
            timeline,
            folder,
            settings,
            profile_name=profile,
            expectations=thresholds,
            strict=strict,
            predicted=prediction,
        )
        if out is not None:
            result.write(out / options.RESULT)
        if as_json:
            print_text(result.as_json())
        else:
            result.print_lines(out)
    result.judge()


def _print_warning(entry: Entry) -> None:
    """Print a warning on standard error: with ``--json``, output is the result alone."""
    from voicecli.events import Warned
    from voicecli.report.turn_lines import format_notice

    if isinstance(entry, Warned):
        print_text(format_notice(entry.service, entry.text), err=True)


async def _play(
    file: Path, channel: Channel, profile: Profile, folder: Path, timeline: Timeline
) -> None:
    """Play ``file`` to the agent until its last reply has been played; record into ``folder``."""
    from voicecli import clock
    from voicecli.audio.recorder import CONVERSATION
    from voicecli.audio.virtual import VirtualSpeaker
    from voicecli.audio.wav import open_wav
    from voicecli.events import Warned
    from voicecli.pipeline.wiring import open_services, open_session

    audio = profile.audio
    is_ours = file.name == CONVERSATION and (file.parent / options.TIMELINE).exists()
    if is_ours and channel == "auto":
        channel = 0  # the user is on the left of what we recorded
    speaker = VirtualSpeaker(profile.tts.sample_rate, prebuffer=audio.prebuffer)
    with open_wav(file, audio.sample_rate, audio.block, channel) as source:
        async with (
            open_services(profile) as services,
            open_session(
                profile, services, source, speaker, timeline=timeline, recorded=True
            ) as session,
        ):
            for note in source.notes:
                session.post(Warned(at=clock.now(), service="audio", text=note))
            with options.open_recording(folder, profile, speaker.take, session):
                await session.run()
    for warning in source.warnings:
        print_text(sanitize_message(f"! {warning}"), err=True)
