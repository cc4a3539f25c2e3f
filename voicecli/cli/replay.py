"""``voicecli replay``: the pipeline of ``talk`` with a recording instead of a microphone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voicecli.cli import cassettes, judging, options
from voicecli.cli.models import fetch_models_of
from voicecli.cli.output import print_text
from voicecli.errors import UsageError
from voicecli.sanitize import sanitize_message

if TYPE_CHECKING:
    from voicecli.audio.channels import Channel
    from voicecli.metrics.labels import Labels
    from voicecli.profile import Profile
    from voicecli.timeline import Entry, Timeline

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE…",
        help="Recordings of any rate and channels; folders, globs, manifests (YAML, JSON lines).",
    ),
]
ChannelName = Annotated[
    str | None,
    typer.Option(
        "--channel", metavar="left|right|N|mix", help="The channel with the user's voice."
    ),
]
User = Annotated[
    Literal["polite", "oblivious"],
    typer.Option("--user", help="In half duplex, wait for each reply, or speak on as recorded."),
]
LabelFile = Annotated[
    Path | None,
    typer.Option(
        "--labels", metavar="FILE", help="What is said when; default: x.labels.yaml beside x.wav."
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
Repeat = Annotated[int, typer.Option(min=1, metavar="N", help="Replay each recording N times.")]
Sweep = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=A,B,C", help="Compare values of a setting; of several, the product."),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        metavar="K",
        show_default="as many as stay exact",
        help="Sessions side by side, in all.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, max=256, metavar="N", show_default="the cores", help="Processes on this machine."
    ),
]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine", metavar="dask[=URL]", help="Measure with Dask, here or at tcp://HOST:PORT."
    ),
]
LimitTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="NAME=N", help="Of the services: stt, tts, llm.requests, llm.tokens."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether a run may cost money.")]
ShardName = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Replay one of N parts; report --merge joins them."
    ),
]
Results = Annotated[
    str | None,
    typer.Option(
        "--out", metavar="DIR", help="Keep sessions in DIR, those of a corpus also at a URL."
    ),
]


def replay(
    files: Files,
    channel: ChannelName = None,
    user: User = "polite",
    labels: LabelFile = None,
    profiles: options.ProfileNames = None,
    out: Results = None,
    force: options.Force = False,
    as_json: AsJson = False,
    fast: options.Fast = False,
    overrides: options.Sets = None,
    expect: Expect = None,
    strict: Strict = False,
    predicted: options.Predicted = None,
    html: options.Html = None,
    record_services: cassettes.RecordServices = None,
    record_audio: cassettes.RecordAudio = False,
    services: cassettes.Services = None,
    repeat: Repeat = 1,
    sweep: Sweep = None,
    concurrency: Concurrency = None,
    workers: Workers = None,
    engine: EngineName = None,
    shard: ShardName = None,
    limit: LimitTexts = None,
    yes: Yes = False,
    save_baseline: judging.SaveBaseline = None,
    baseline: judging.BaselineFile = None,
    junit: judging.Junit = None,
    markdown: judging.Markdown = None,
) -> None:
    """Play recordings to the agent as if spoken into the microphone, and measure its answers.

    Streams in real time, answers into a virtual loudspeaker, and ends when the last reply has been
    played.  Several recordings, profiles or repeats give tables over all of them; with --out, the
    same command goes on where an earlier one ended.
    """
    from voicecli import clock
    from voicecli.audio.channels import parse_channel
    from voicecli.corpus.manifest import is_corpus
    from voicecli.corpus.plan import Conditions, Shard, parse_shard
    from voicecli.metrics.thresholds import parse_threshold
    from voicecli.profile import load_profile
    from voicecli.report.turn_lines import TurnLines
    from voicecli.timeline import Timeline

    thresholds = [parse_threshold(text) for text in expect or ()]
    prediction = options.load_prediction(predicted)
    options.check_html(html)
    outcome = judging.prepare_judging(save_baseline, baseline, junit, markdown)
    played = parse_channel(channel)
    conditions = Conditions(channel=played, user=user, fast=fast, repeats=repeat)
    names = profiles or [options.DEFAULT_PROFILE]
    several = len(files) > 1 or is_corpus(files[0]) or len(names) > 1 or repeat > 1
    if several or sweep or shard or engine:
        from voicecli.cli.corpus import Judgement, replay_corpus
        from voicecli.corpus.cluster import parse_engine
        from voicecli.corpus.limits import parse_limits
        from voicecli.corpus.run import Resources

        if labels is not None:
            raise UsageError("--labels is for one recording", hint="Name them in a manifest.")
        kept_services = cassettes.choose_cassette_folder(record_services, record_audio, services)
        conditions = replace(conditions, cassettes=kept_services)
        replay_corpus(
            files,
            profiles or (),
            overrides or (),
            sweep or (),
            conditions,
            Judgement(thresholds, strict, prediction, as_json, outcome, html),
            out=out,
            force=force,
            resources=Resources(
                workers=workers,
                concurrency=concurrency,
                scheduler=parse_engine(engine) if engine is not None else None,
                limits=parse_limits(limit or ()),
            ),
            yes=yes,
            shard=parse_shard(shard) if shard is not None else Shard(),
        )
        return
    file, profile, kept = Path(files[0]), names[0], _check_local(out)
    settings = load_profile(profile, overrides=overrides or ())
    use = cassettes.choose_cassette(record_services, record_audio, services, force)
    options.check_fast(settings, fast, use.cassette)
    options.check_out(kept, force and (kept is not None or record_services is None), file)
    if use.cassette is None:
        fetch_models_of(settings)
    truth = _find_labels(file, labels)
    timeline = Timeline()
    if as_json:
        timeline.follow(_print_warning)
    else:
        timeline.follow(TurnLines(print_text, settings.budgets, options.find_columns()))
    with ExitStack() as stack:
        folder = kept or stack.enter_context(options.open_temporary_folder())
        polite = user == "polite"
        play = _play(file, played, settings, folder, timeline, use, polite=polite, labels=truth)
        single = stack.enter_context(
            judging.follow_single(outcome, file, settings, profile, conditions)
        )
        clock.run(play, virtual=fast)
        from voicecli.cli.result import SessionResult  # 0.1 s, not before the recording plays

        result = SessionResult(
            timeline,
            folder,
            settings,
            labels=truth,
            profile_name=profile,
            expectations=thresholds,
            strict=strict,
            predicted=prediction,
        )
        if kept is not None:
            result.write(kept)
        if as_json:
            print_text(result.as_json())
        else:
            result.print_lines(kept)
        single.judge(result, quiet=as_json)
        if html is not None:
            pace = "virtual time" if fast else "real time"
            result.write_page(html, file.name, [pace], outcome.list_baseline())
    result.judge()
    single.check()


def _check_local(out: str | None) -> Path | None:
    """Return the folder for a session; raises UsageError for a URL."""
    if out is not None and "://" in out:
        raise UsageError(
            f"--out {out}: a URL is for several recordings", hint="Name a folder, or --shard 1/1."
        )
    return None if out is None else Path(out)


def _find_labels(recording: Path, named: Path | None) -> Labels | None:
    """Load the labels ``named``, else those beside the recording, if there are any."""
    from voicecli.audio.wav import open_wav
    from voicecli.corpus.label_file import find_labels, load_labels

    file = named or find_labels(recording)
    if file is None:
        return None
    duration = None
    if recording.is_file():  # a pipe can be read only once
        with open_wav(recording, 16_000, 0.02, 0) as source:
            duration = source.duration
    labels: Labels = load_labels(file, duration)
    return labels


def _print_warning(entry: Entry) -> None:
    """Print a warning on standard error: with ``--json``, output is the result alone."""
    from voicecli.events import Warned
    from voicecli.report.turn_lines import format_notice

    if isinstance(entry, Warned):
        print_text(format_notice(entry.service, entry.text), err=True)


async def _play(
    file: Path,
    channel: Channel,
    profile: Profile,
    folder: Path,
    timeline: Timeline,
    use: cassettes.CassetteUse,
    *,
    polite: bool,
    labels: Labels | None,
) -> None:
    """Play ``file`` to the agent, and print what is wrong with it."""
    from voicecli.pipeline.recording import play_recording

    async with use.open_services(profile) as services:
        warnings = await play_recording(
            file, channel, profile, services, folder, timeline, polite=polite, labels=labels
        )
    for warning in warnings:
        print_text(sanitize_message(f"! {warning}"), err=True)
