"""``voicecli replay`` of a corpus: many recordings, profiles and repeats; and its report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import typer

from voicecli import __version__
from voicecli.audio.recorder import CONVERSATION
from voicecli.cli import options
from voicecli.cli.judging import Judging
from voicecli.cli.models import fetch_models_of
from voicecli.cli.output import print_text
from voicecli.cli.progress import Progress
from voicecli.corpus.cassettes import check_cassettes
from voicecli.corpus.forecast import Forecaster
from voicecli.corpus.limits import choose_limits
from voicecli.corpus.manifest import Recording, find_recordings
from voicecli.corpus.merge import Results, merge_stores
from voicecli.corpus.plan import Conditions, Shard, load_variants, plan_units
from voicecli.corpus.run import Resources, run_units
from voicecli.corpus.storage import is_url, open_storage
from voicecli.corpus.store import Store, open_store
from voicecli.corpus.sweep import check_sweep, list_timers, measure_sweeps, parse_sweeps
from voicecli.corpus.tables import format_corpus, format_remarks, format_sweep
from voicecli.corpus.tally import CorpusTally, tally_results
from voicecli.corpus.tau_voice import build_interaction_metrics
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.corpus.verdict import RunVerdict, encode_comparisons
from voicecli.environment.files import write_text_file
from voicecli.errors import (
    InputError,
    NoReplyError,
    UnreliableError,
    UsageError,
    VoiceError,
)
from voicecli.metrics.thresholds import Threshold, Verdict, evaluate
from voicecli.report.format import format_count
from voicecli.report.json_result import describe_environment, encode_verdict
from voicecli.report.summary_lines import format_prediction, format_verdict
from voicecli.sanitize import sanitize_line, sanitize_message
from voicecli.services import PRICES_OF

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the corpus must meet, and what is printed of it.

    Each profile must meet the thresholds by itself: percentiles over two profiles mean nothing.
    """

    thresholds: Sequence[Threshold] = ()
    strict: bool = False
    predicted: Mapping[str, Any] | None = None
    as_json: bool = False
    judging: Judging = Judging()
    html: Path | None = None


def replay_corpus(
    names: Sequence[str],
    profiles: Sequence[str],
    sets: Sequence[str],
    sweeps: Sequence[str],
    conditions: Conditions,
    judgement: Judgement,
    *,
    out: str | None,
    force: bool,
    resources: Resources,
    shard: Shard,
    yes: bool,
) -> None:
    """Replay every recording with every profile; print what they come to.

    names: recordings, folders, globs and manifests.
    profiles: empty: that of the manifest, else the default.
    sweeps: settings to be swept, each as ``KEY=A,B,C``.
    out: folder or URL that keeps the results; what is in it is not measured again unless ``force``
        is given.
    yes: a run that costs money was agreed to; else it is asked for.

    Raises VoiceError as a replay of one recording does; see ``_judge``.
    """
    swept = parse_sweeps(sweeps) if sweeps else [()]
    if sweeps and judgement.thresholds:
        raise UsageError(
            "--expect is not for a sweep, whose settings are meant to differ",
            hint="Replay the recommended setting with --set and --expect.",
        )
    served = conditions.cassettes is not None and conditions.cassettes.use == "serve"
    if conditions.cassettes is not None:
        _check_cassette_use(conditions, served, sweeps)
    recordings = assign_profiles(find_recordings(names), profiles)
    variants = load_variants(
        [one.profile or "" for one in recordings], sets, [*swept, *list_timers(swept)]
    )
    for variant in variants:
        check_sweep(variant.profile, variant.overrides)
        if not served:
            options.check_fast(variant.profile, conditions.fast)
            fetch_models_of(variant.profile)
    plan = plan_units(recordings, variants, conditions, shard)
    _warn_of_duplicates(plan.duplicates)
    limits = choose_limits([one.profile for one in variants], resources.limits)
    resources = replace(resources, limits=limits)
    with _open_store(out) as store:
        measured = frozenset() if force else store.list_measured()
        left = [unit for unit in plan.units if unit.id not in measured]
        check_cassettes(left, replace=force)
        agree_to_cost([] if served else left, yes=yes)
        store.write_plan(plan)
        if force:
            store.discard(plan.units)
        keep = out is not None or judgement.html is not None
        try:
            _run(plan.units, left, store, resources, keep=keep)
        except KeyboardInterrupt:
            print_corpus(store, plan.units, judgement)
            raise
        print_corpus(store, plan.units, judgement, out)


def _check_cassette_use(conditions: Conditions, served: bool, sweeps: Sequence[str]) -> None:
    if served and not conditions.fast:
        raise UsageError(
            "the cassettes of several recordings are served in virtual time", hint="Add --fast."
        )
    if sweeps and not served:
        raise UsageError(
            "--record-services is not for a sweep, which replays each recording several times",
            hint="Record without the sweep, and sweep with --services and --fast.",
        )


def report_corpus(locations: Sequence[str], judgement: Judgement, *, merge: bool) -> None:
    """Print the numbers of a kept corpus again.

    merge: ``locations`` are the shards of a run; print the numbers of the whole.

    Raises InputError where shards do not belong together, or at the end where some are missing.
    """
    stores = [Store(open_storage(one)) for one in locations]
    if not merge:
        print_corpus(stores[0], stores[0].load_plan().units, judgement)
        return
    merged = merge_stores(stores)
    _warn_of_duplicates(merged.duplicates)
    print_corpus(merged, merged.units, judgement)
    merged.check()


def assign_profiles(recordings: Sequence[Recording], wanted: Sequence[str]) -> list[Recording]:
    """Give each recording the profiles of the command line, else the manifest's, else default."""
    if not wanted:
        return [replace(one, profile=one.profile or options.DEFAULT_PROFILE) for one in recordings]
    return [replace(one, profile=name) for one in recordings for name in dict.fromkeys(wanted)]


def _warn_of_duplicates(duplicates: Iterable[tuple[Path, Path]]) -> None:
    for path, first in duplicates:
        text = f"! {path} has the same content as {first}, and is left out"
        print_text(sanitize_message(text), err=True)


@contextmanager
def _open_store(out: str | None) -> Iterator[Store]:
    if out is None:
        with options.open_temporary_folder() as folder, open_store(folder) as store:
            yield store
        return
    if not is_url(out) and Path(out, CONVERSATION).exists():
        raise InputError(
            f"{out} keeps the session of one recording", hint="Name another folder for a corpus."
        )
    with open_store(out) as store:
        yield store


def agree_to_cost(units: Sequence[Unit], *, yes: bool) -> None:
    """Say what ``units`` will cost, and ask whether they may; what is free is not asked for.

    Raises UsageError where nobody can be asked, and typer.Abort for a no.
    """
    cost = Forecaster().estimate_cost(units)
    if not units or (cost.total == 0 and not cost.lower_bound):
        return
    parts = {"STT": cost.stt, "LLM": cost.llm, "TTS": cost.tts}
    known = ", ".join(
        f"{name} {'not known' if one is None else f'${one:,.2f}'}" for name, one in parts.items()
    )
    text = f"{format_count(len(units), 'replays')} will cost about ${cost.total or 0:,.2f}"
    print_text(f"{text} ({known}; estimated, list prices of {PRICES_OF})", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "this run costs money, and nobody can be asked whether it may",
            hint="Agree with --yes.",
        )
    typer.confirm("Go on?", abort=True, err=True)


def _run(
    units: Sequence[Unit],
    left: Sequence[Unit],
    store: Store,
    resources: Resources,
    *,
    keep: bool,
) -> None:
    """Measure those of ``units`` that are ``left``.

    keep: each session, too, not only its result.
    """
    progress = Progress(len(units), len(units) - len(left))

    def note(result: UnitResult) -> None:
        store.write_result(result)
        progress.note(result)

    progress.begin()
    try:
        run_units(left, note, sessions=store.sessions if keep else None, resources=resources)
    finally:
        progress.end()


# ── the result ───────────────────────────────────────────────────────────────


def print_corpus(
    store: Results, units: Sequence[Unit], judgement: Judgement, out: str | None = None
) -> None:
    """Print what ``units`` came to; raise the VoiceError of the exit code, if it is not 0."""
    tally = tally_results(store.iterate_results(units))
    missing = len(units) - tally.whole.units - tally.whole.failed
    verdicts = {
        name: [evaluate(one, found.summarize()) for one in judgement.thresholds]
        for name, found in tally.variants.items()
    }
    judging = judgement.judging
    run = judging.judge(
        lambda: store.iterate_results(units), verdicts, whole=not (missing or tally.failures)
    )
    if judgement.as_json:
        print_text(_dump(store, units, tally, run, judgement))
    else:
        swept = [line for sweep in measure_sweeps(tally) for line in format_sweep(sweep)]
        tables = swept or format_corpus(tally)
        for line in (*tables, "", *format_remarks(tally), *_format_verdicts(verdicts)):
            print_text(line)
        if judgement.predicted is not None:
            for name, found in tally.variants.items():
                compared = format_prediction(judgement.predicted, found.summarize())
                print_text(f"{sanitize_line(name)}: {compared}")
        judging.print_comparisons(run)
        if missing:
            print_text(f"not measured yet: {missing} of {len(units)}; the same command goes on")
        if out is not None:
            place = sanitize_line(out)
            print_text(f"\nkept in {place}; voicecli report {place} prints this again")
    if judgement.html is not None:
        _write_page(judgement.html, judgement, store, units, tally, run)
    _judge(tally, run, judgement)


def _write_page(
    file: Path,
    judgement: Judgement,
    store: Results,
    units: Sequence[Unit],
    tally: CorpusTally,
    run: RunVerdict,
) -> None:
    from voicecli.corpus.page import CorpusPage

    profiles = dict.fromkeys(f"profile {unit.profile}" for unit in units)
    paces = {"virtual time" if unit.fast else "real time" for unit in units}
    users = {f"{unit.user} user" for unit in units}
    machine = describe_environment()["platform"]
    with store.open_sessions() as find_folder:
        page = CorpusPage(
            name=format_count(len({unit.recording for unit in units}), "recordings"),
            conditions=[*profiles, *sorted(paces), *sorted(users), machine],
            tally=tally,
            find_folder=find_folder,
            checks=run.list_checks(),
            predicted=judgement.predicted,
            baseline=judgement.judging.list_baseline(),
        )
        text = page.render(lambda: store.iterate_results(units))
    write_text_file(file, text)


def _format_verdicts(verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[str]:
    for name, found in verdicts.items():
        for verdict in found:
            of = f" ({sanitize_line(name)})" if len(verdicts) > 1 else ""
            yield f"{format_verdict(verdict)}{of}"


def _dump(
    store: Results,
    units: Sequence[Unit],
    tally: CorpusTally,
    run: RunVerdict,
    judgement: Judgement,
) -> str:
    found = {
        "schema_version": SCHEMA_VERSION,
        "program": "voicecli",
        "version": __version__,
        "whole": tally.whole.encode(),
        "profiles": [
            {"profile": name, **one.encode(), "interaction_metrics": build_interaction_metrics(one)}
            for name, one in tally.variants.items()
        ],
        "tags": [
            {"profile": variant, "tag": tag, **one.encode()}
            for (variant, tag), one in tally.tags.items()
        ],
        "recordings": [
            {"profile": variant, "recording": path, **one.encode()}
            for (variant, path), one in tally.recordings.items()
        ],
        "units": [_encode_unit(one) for one in store.iterate_results(units)],
        "expectations": [
            {"profile": name, **encode_verdict(one)}
            for name, found in run.expectations.items()
            for one in found
        ],
        "baseline": encode_comparisons(run.comparisons),
        "predicted": judgement.predicted,
        "sweeps": [asdict(sweep) for sweep in measure_sweeps(tally)],
    }
    return json.dumps(found, indent=2, allow_nan=False)


def _encode_unit(result: UnitResult) -> dict[str, Any]:
    """Return what a unit is and whether it was measured; its numbers are in the folder."""
    unit, failure = result.unit, result.failure
    return {
        "id": unit.id,
        "recording": unit.recording,
        "profile": unit.profile,
        "overrides": list(unit.overrides),
        "repeat": unit.repeat,
        "attempts": result.attempts,
        "lag_ms": result.lag_ms,
        "reliable": result.result["measurement"]["reliable"] if result.result else None,
        "failure": failure and {"kind": failure.kind, "message": failure.message},
    }


def _judge(tally: CorpusTally, run: RunVerdict, judgement: Judgement) -> None:
    """Raise the VoiceError that stands for the exit code: failures first, then numbers."""
    if tally.failures:
        raise _UnitsFailedError(tally)
    run.check()
    if tally.whole.units and not tally.whole.usage.replied:
        raise NoReplyError("the agent never answered")
    if judgement.strict and tally.whole.unreliable:
        raise UnreliableError(f"measured, but not reliably: {tally.whole.unreliable} turns")


class _UnitsFailedError(VoiceError):
    """Some recordings could not be measured; the exit code is that of the first failure."""

    def __init__(self, tally: CorpusTally) -> None:
        unit, failure = tally.failures[0]
        of = tally.whole.units + tally.whole.failed
        super().__init__(
            f"{len(tally.failures)} of {format_count(of, 'replays')} failed: "
            f"{unit.recording}: {failure.message}".removesuffix("."),
            hint="The others are measured; the same command tries these again.",
        )
        self.exit_code = failure.exit_code
