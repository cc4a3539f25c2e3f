"""``voicecli report``: the numbers of a kept session, computed again from its timeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.cli.judging import BaselineFile, Junit, Markdown, SaveBaseline, prepare_judging
from voicecli.cli.options import (
    Html,
    Predicted,
    check_html,
    find_columns,
    load_prediction,
)
from voicecli.cli.output import print_text
from voicecli.cli.replay import AsJson, Expect, Strict
from voicecli.errors import InputError, UsageError
from voicecli.sanitize import sanitize_message
from voicecli.timeline import LABELS, TIMELINE

if TYPE_CHECKING:
    from voicecli.timeline import SavedTimeline

Kept = Annotated[
    list[str],
    typer.Argument(metavar="PLACE…", help=f"A {TIMELINE}, its folder, or the --out of a corpus."),
]
Merge = Annotated[bool, typer.Option("--merge", help="Join the shards of a run: a PLACE for each.")]

KeptLabels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="FILE", help=f"Of the recording; default: {LABELS} beside."),
]


def report(
    places: Kept,
    merge: Merge = False,
    labels: KeptLabels = None,
    as_json: AsJson = False,
    expect: Expect = None,
    strict: Strict = False,
    predicted: Predicted = None,
    html: Html = None,
    save_baseline: SaveBaseline = None,
    baseline: BaselineFile = None,
    junit: Junit = None,
    markdown: Markdown = None,
) -> None:
    """Print turns, summary and result of what talk or replay kept with --out.

    Of a corpus, the tables; with --merge, those of all its shards.
    Everything is computed from the timeline, with the budgets of the profile in its header.  If
    conversation.wav lies beside it, the turns are checked against the recording.  The exit code is
    that of the session.  The JSON is that of result.json, but for the name of the profile and the
    environment, which a timeline does not hold.
    """
    from voicecli.audio.recorder import CONVERSATION
    from voicecli.cli.result import SessionResult
    from voicecli.corpus.label_file import load_labels
    from voicecli.corpus.store import is_store
    from voicecli.events import InputEnded
    from voicecli.metrics.thresholds import parse_threshold
    from voicecli.profile import restore_profile
    from voicecli.report.turn_lines import TurnLines

    thresholds = [parse_threshold(text) for text in expect or ()]
    prediction = load_prediction(predicted)
    check_html(html)
    judging = prepare_judging(save_baseline, baseline, junit, markdown)
    if len(places) > 1 and not merge:
        raise UsageError(
            "report prints one place at a time", hint="Join the shards of a run with --merge."
        )
    if merge or is_store(places[0]):
        from voicecli.cli.corpus import Judgement, report_corpus

        judgement = Judgement(thresholds, strict, prediction, as_json, judging, html)
        report_corpus(places, judgement, merge=merge)
        return
    kept = Path(places[0])
    if judging.wanted:
        raise UsageError(
            "--baseline, --save-baseline, --junit and --markdown are for the folder of a corpus",
            hint="Give them to replay.",
        )
    file = kept / TIMELINE if kept.is_dir() else kept
    saved = _load(file)
    timeline, folder = saved.timeline, file.parent
    profile = restore_profile(saved.header.profile, f"{file}:1")
    kept_labels = folder / LABELS
    file_of_labels = labels or (kept_labels if kept_labels.exists() else None)
    result = SessionResult(
        timeline,
        folder if (folder / CONVERSATION).exists() else None,
        profile,
        labels=load_labels(file_of_labels) if file_of_labels is not None else None,
        expectations=thresholds,
        strict=strict,
        predicted=prediction,
        environment={},
    )
    if as_json:
        print_text(result.as_json())
    else:
        write_lines = TurnLines(print_text, profile.budgets, find_columns())
        for entry in timeline:
            write_lines(entry)
        result.print_lines()
    if html is not None:
        pace = "virtual time" if saved.header.clock_origin is None else "real time"
        result.write_page(html, folder.resolve().name, [pace, saved.header.started])
    if any(isinstance(entry, InputEnded) for entry in timeline):
        result.judge()
    else:
        result.judge_live()


def _load(file: Path) -> SavedTimeline:
    """Load a timeline; warn if its last line is torn."""
    from voicecli.timeline import load

    if file.name == TIMELINE and file.parent.is_dir() and not file.exists():
        raise InputError(
            f"there is no {TIMELINE} in {file.parent}",
            hint="Name the --out folder of talk or replay.",
        )
    saved = load(file)
    if saved.torn:
        warning = f"! the last line of {file} is incomplete and left out: the session was cut off"
        print_text(sanitize_message(warning), err=True)
    return saved
