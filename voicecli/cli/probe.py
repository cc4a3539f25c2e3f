"""``voicecli probe``: measures each service's latency and predicts mouth-to-ear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voicecli.cli.errors import print_error
from voicecli.cli.models import fetch_models_of
from voicecli.cli.options import Fast, ProfileName, Sets, check_fast
from voicecli.cli.output import print_text
from voicecli.environment.files import write_text_file
from voicecli.errors import CredentialsError, InputError, ThresholdError, UsageError, VoiceError
from voicecli.loading import end_start
from voicecli.sanitize import sanitize_message

if TYPE_CHECKING:
    from voicecli.metrics.changes import Change
    from voicecli.metrics.thresholds import Threshold
    from voicecli.metrics.usage import Cost
    from voicecli.probe.prediction import Evaluation
    from voicecli.probe.results import ProbeResults
    from voicecli.probe.run import Observer
    from voicecli.probe.schedule import Plan
from voicecli.profile import Profile

# The probers take 0.5 s to import: the command imports them, --help does not.


class ProbeTarget(StrEnum):
    """What is probed."""

    STT = "stt"
    LLM = "llm"
    TTS = "tts"
    ALL = "all"


class Format(StrEnum):
    """The form of the output."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


What = Annotated[ProbeTarget, typer.Argument(help="A service, or all three.")]
Count = Annotated[
    int | None,
    typer.Option("-n", min=1, max=1000, help="Readings of each service [20; --watch: no limit]."),
]
Warmup = Annotated[
    int, typer.Option(min=0, max=100, help="Readings before them that do not count.")
]
Concurrency = Annotated[
    int, typer.Option(min=1, max=10, metavar="K", help="Connections to a service at once.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, every value included.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV, a line per metric.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Markdown tables.")]
Save = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Save the result for a later --compare.")
]
Compare = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Report what changed since FILE was saved; exit with 1 if something got worse.",
    ),
]
Slo = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EXPR", help="Exit with 1 unless it holds: tts.ttfa.p95<400; may be repeated."
    ),
]
Watch = Annotated[
    float | None,
    typer.Option(min=1, max=3600, metavar="S", help="One reading every S seconds, until Ctrl-C."),
]

Models = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="Compare models of the LLM, asked in turn: probe llm."),
]

CHEAP = 0.03
"""US dollars; a smaller cost is not announced."""


def probe_command(
    what: What = ProbeTarget.ALL,
    count: Count = None,
    warmup: Warmup = 2,
    profile: ProfileName = "default",
    concurrency: Concurrency = 1,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_markdown: AsMarkdown = False,
    save: Save = None,
    compare: Compare = None,
    slo: Slo = None,
    watch: Watch = None,
    models: Models = None,
    overrides: Sets = None,
    fast: Fast = False,
) -> None:
    """Measure each service as a conversation uses it, and predict mouth-to-ear.

    Speech is sent in real time: 20 readings take about four minutes.
    """
    from voicecli.metrics.summary import list_metrics
    from voicecli.metrics.thresholds import parse_threshold
    from voicecli.probe.json_result import load_result
    from voicecli.probe.results import COUNTS, METRICS, SERVICES, ProbeResults
    from voicecli.profile import load_profile

    output = _choose_format(as_json, as_csv, as_markdown)
    known = list_metrics(METRICS, COUNTS)
    thresholds = [parse_threshold(text, known) for text in slo or ()]
    settings = load_profile(profile, overrides=overrides or ())
    check_fast(settings, fast)
    if watch is not None and (output is not Format.TEXT or compare is not None):
        other = "--compare" if compare is not None else f"--{output}"
        raise UsageError(f"--watch and {other} contradict each other", hint="Leave one out.")
    if models is not None:
        given = {
            "--watch": watch,
            "--compare": compare,
            "--save": save,
            "--slo": slo,
            "--concurrency": concurrency > 1 or None,
        }
        _refuse_beside_models(what, given)
        from voicecli.cli.probe_models import compare_models
        from voicecli.probe.models import parse_models

        names, plan = parse_models(models), _make_plan(count, warmup, workers=1, watch=None)
        raise typer.Exit(
            compare_models(names, profile, settings, replace(plan, cold=0), output, fast=fast)
        )
    fetch_models_of(settings)
    before = None if compare is None else load_result(compare)
    if save is not None and not save.absolute().parent.is_dir():
        raise InputError(f"there is no folder {save.absolute().parent}")
    wanted = tuple(service for service in SERVICES if what in (ProbeTarget.ALL, service))
    command = _Command(
        profile_name=profile,
        profile=settings,
        plan=_make_plan(count, warmup, concurrency, watch),
        results=ProbeResults(wanted=wanted),
        output=output,
        save=save,
        before=before,
        thresholds=thresholds,
        fast=fast,
    )
    raise typer.Exit(command.run())


def _refuse_beside_models(what: ProbeTarget, given: Mapping[str, object]) -> None:
    """Raise UsageError for what makes no sense with --models."""
    if what is not ProbeTarget.LLM:
        raise UsageError("--models compares LLMs", hint="Say probe llm --models.")
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--models and {name} contradict each other", hint="Leave one out.")


def _choose_format(as_json: bool, as_csv: bool, as_markdown: bool) -> Format:
    asked = {Format.JSON: as_json, Format.CSV: as_csv, Format.MARKDOWN: as_markdown}
    chosen = [output for output, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        names = " and ".join(f"--{output}" for output in chosen)
        raise UsageError(f"{names} contradict each other", hint="Leave one out.")
    return chosen[0] if chosen else Format.TEXT


def _make_plan(count: int | None, warmup: int, workers: int, watch: float | None) -> Plan:
    from voicecli.probe.schedule import Plan

    if watch is not None:
        return Plan(count=count, warmup=min(warmup, 1), cold=0, workers=workers, every=watch)
    return Plan(count=count or 20, warmup=warmup, workers=workers)


@dataclass(kw_only=True)
class _Command:
    """One run of the command; before: the saved run to compare with."""

    profile_name: str
    profile: Profile
    plan: Plan
    results: ProbeResults
    output: Format
    save: Path | None
    before: dict[str, Any] | None
    thresholds: Sequence[Threshold]
    fast: bool
    _basis: dict[str, Any] = field(default_factory=dict, init=False)

    def run(self) -> int:
        """Probe, report and check; returns the exit code."""
        from voicecli import clock

        try:
            with end_start():
                clock.run(self._probe(), virtual=self.fast)
        except KeyboardInterrupt:
            if self.plan.every is None:
                raise
        return self._report()

    async def _probe(self) -> None:
        from voicecli.pipeline.wiring import open_services
        from voicecli.probe.compare import check_comparable
        from voicecli.probe.run import (
            Probe,
            describe_basis,
            estimate_probe_cost,
            measure_audio,
        )

        standin = self.profile.standin
        # Scripted transcripts are not of the words that were sent.
        self.results.word_errors = standin is None or standin.engine != "scripted"
        watching = self.plan.every is not None
        observing: AbstractContextManager[Observer | None] = (
            _open_watch() if watching else open_progress(quiet=self.output is not Format.TEXT)
        )
        async with open_services(self.profile) as services:
            self._basis = describe_basis(self.profile, services, self.plan.workers)
            if self.before is not None:  # fails before the probe costs anything
                check_comparable(self.before, self._basis)
            cost = estimate_probe_cost(self.profile, self.results.wanted, self.plan)
            announce_cost(cost, "" if self.plan.count is not None else " an hour")
            with observing as observer:
                probe = Probe(self.profile, services, self.results, self.plan, observer)
                if watching:
                    await probe.run_side_by_side()
                    return
                if len(self.results.wanted) > 1:
                    await measure_audio(self.profile, self.results)
                await probe.run()

    # ── report ───────────────────────────────────────────────────────────────

    def _report(self) -> int:
        from voicecli.probe.compare import compare_results
        from voicecli.probe.json_result import RunContext, build_result, encode_changes
        from voicecli.probe.prediction import evaluate_results
        from voicecli.probe.text import format_csv, format_report
        from voicecli.report.json_result import describe_environment, dump_result, hash_profile

        results, output = self.results, self.output
        context = RunContext(
            profile=self.profile_name,
            profile_hash=hash_profile(self.profile.resolved()),
            plan=self.plan,
            basis=self._basis,
            environment=describe_environment() | {"clock": "virtual" if self.fast else "monotonic"},
        )
        evaluation = evaluate_results(results, self.profile, self.thresholds)
        data = build_result(results, evaluation, context)
        changes = None if self.before is None else compare_results(self.before, data)
        if self.save is not None:
            try:
                write_text_file(self.save, dump_result(data) + "\n")
            except OSError as error:
                raise InputError(f"{self.save} cannot be written: {error.strerror}") from error
        if output is Format.JSON:
            comparison = None if changes is None else encode_changes(changes)
            print_text(dump_result(data | {"comparison": comparison}))
        elif output is Format.CSV:
            print_text(format_csv(results, evaluation), end="")
        else:
            markdown = output is Format.MARKDOWN
            for line in format_report(results, evaluation, context, changes, markdown=markdown):
                print_text(sanitize_message(line))
        return self._report_failures(evaluation, changes or ())

    def _report_failures(self, evaluation: Evaluation, changes: Sequence[Change]) -> int:
        """Print each failure on standard error, a line each; returns the exit code."""
        failures: list[VoiceError] = list(self.results.given_up.values())
        missed = [verdict for verdict in evaluation.expectations if not verdict.met]
        worse = [change for change in changes if change.worse]
        if missed:
            why = "; ".join(f"{one.threshold.text} ({one.why})" for one in missed)
            failures.append(ThresholdError(f"not as expected: {why}"))
        if worse:
            names = ", ".join(f"{one.metric}.{one.statistic}" for one in worse)
            failures.append(ThresholdError(f"worse than before: {names}"))
        for failure in failures:
            print_error(failure)
        return choose_exit_code(failures)


def announce_cost(cost: Cost, unit: str = "") -> None:
    """Print an estimate on standard error, unless it is small."""
    if cost.lower_bound or (cost.total or 0) > CHEAP:
        bound = "at least" if cost.lower_bound else "about"
        known = f"{bound} ${cost.total:.2f}{unit} (estimated, list prices)"
        print_text(f"cost of this probe: {known if cost.total else 'not known'}", err=True)


def choose_exit_code(failures: Sequence[VoiceError]) -> int:
    """Return the exit code of a refused key, else of the first failure; 0 without one."""
    first = next((one for one in failures if isinstance(one, CredentialsError)), None)
    return (first or failures[0]).exit_code if failures else 0


@contextmanager
def open_progress(*, quiet: bool) -> Iterator[Observer | None]:
    """Progress bars on standard error, if that is a terminal and the output is text."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from voicecli.probe.text import ProgressBars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield ProgressBars(progress)


@contextmanager
def _open_watch() -> Iterator[Observer]:
    """A live table on standard output if that is a terminal, else a line per value."""
    from rich.console import Console
    from rich.live import Live

    from voicecli.probe.text import WatchTable

    console = Console()
    if not console.is_terminal:
        yield WatchTable(lambda _: None, lambda line: print_text(sanitize_message(line)))
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield WatchTable(live.update, lambda _: None)
