"""``voicecli probe``: measures each service's latency and predicts mouth-to-ear."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voicecli.cli.errors import print_error
from voicecli.cli.models import fetch_models_of
from voicecli.cli.options import Fast, ProfileName, Sets, check_fast
from voicecli.errors import CredentialsError, InputError, ThresholdError, UsageError, VoiceError
from voicecli.sanitize import sanitize_message

if TYPE_CHECKING:
    from voicecli.events import Service
    from voicecli.metrics.thresholds import Threshold
    from voicecli.metrics.usage import Cost
    from voicecli.pipeline.wiring import Services
    from voicecli.probe.compare import Change
    from voicecli.probe.json_result import RunContext
    from voicecli.probe.prediction import Evaluation
    from voicecli.probe.run import Observer, Probe
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
    overrides: Sets = None,
    fast: Fast = False,
) -> None:
    """Measure each service as a conversation uses it, and predict mouth-to-ear.

    Speech is sent in real time: 20 readings take about four minutes.
    """
    from voicecli.metrics.thresholds import parse_threshold
    from voicecli.probe.results import SERVICES, list_expectations
    from voicecli.profile import load_profile

    output = _choose_format(as_json, as_csv, as_markdown)
    known = list_expectations() if slo else []
    thresholds = [parse_threshold(text, known) for text in slo or ()]
    settings = load_profile(profile, overrides=overrides or ())
    _check(settings, fast=fast, watch=watch, output=output, compare=compare)
    fetch_models_of(settings)
    options = ProbeOptions(
        profile_name=profile,
        wanted=[service for service in SERVICES if what in (ProbeTarget.ALL, service)],
        plan=_make_plan(count, warmup, concurrency, watch),
        output=output,
        save=save,
        compare=compare,
        thresholds=thresholds,
        fast=fast,
    )
    raise typer.Exit(_Command(settings, options).run())


def _choose_format(as_json: bool, as_csv: bool, as_markdown: bool) -> Format:
    asked = {Format.JSON: as_json, Format.CSV: as_csv, Format.MARKDOWN: as_markdown}
    chosen = [output for output, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        names = " and ".join(f"--{output}" for output in chosen)
        raise UsageError(f"{names} contradict each other", hint="Leave one out.")
    return chosen[0] if chosen else Format.TEXT


def _check(
    profile: Profile, *, fast: bool, watch: float | None, output: Format, compare: Path | None
) -> None:
    check_fast(profile, fast)
    if watch is not None and (output is not Format.TEXT or compare is not None):
        other = "--compare" if compare is not None else f"--{output}"
        raise UsageError(f"--watch and {other} contradict each other", hint="Leave one out.")


def _make_plan(count: int | None, warmup: int, workers: int, watch: float | None) -> Plan:
    from voicecli.probe.schedule import Plan

    if watch is not None:
        return Plan(count=count, warmup=min(warmup, 1), cold=0, workers=workers, every=watch)
    return Plan(count=count or 20, warmup=warmup, workers=workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """What the command line asks for."""

    profile_name: str
    wanted: Sequence[Service]
    plan: Plan
    output: Format = Format.TEXT
    save: Path | None = None
    compare: Path | None = None
    thresholds: Sequence[Threshold] = ()
    fast: bool = False


class _Command:
    """One run of the command."""

    def __init__(self, profile: Profile, options: ProbeOptions) -> None:
        from voicecli.probe.json_result import load_result
        from voicecli.probe.results import ProbeResults

        self._profile = profile
        self._options = options
        self._results = ProbeResults(wanted=tuple(options.wanted))
        self._basis: dict[str, Any] = {}
        self._before = None if options.compare is None else load_result(options.compare)
        if options.save is not None and not options.save.absolute().parent.is_dir():
            raise InputError(f"there is no folder {options.save.absolute().parent}")

    def run(self) -> int:
        """Probe, report and check; returns the exit code."""
        from voicecli import clock

        watching = self._options.plan.every is not None
        try:
            clock.run(self._watch() if watching else self._probe(), virtual=self._options.fast)
        except KeyboardInterrupt:
            if not watching:
                raise
        return self._report()

    async def _probe(self) -> None:
        from voicecli.pipeline.wiring import open_services
        from voicecli.probe.run import measure_audio

        quiet = self._options.output is not Format.TEXT
        async with open_services(self._profile) as services:
            self._check_comparable(services)
            self._announce_cost()
            with _open_progress(quiet=quiet) as observer:
                probe = self._create_probe(services, observer)
                if len(self._options.wanted) > 1:
                    await measure_audio(self._profile, self._results)
                await probe.run()

    async def _watch(self) -> None:
        from voicecli.pipeline.wiring import open_services
        from voicecli.probe.text import WatchTable

        async with open_services(self._profile) as services:
            self._check_comparable(services)
            self._announce_cost()
            with _open_live() as (show, say):
                await self._create_probe(services, WatchTable(show, say)).run_side_by_side()

    def _create_probe(self, services: Services, observer: Observer | None) -> Probe:
        from voicecli.probe.run import Probe

        options, standin = self._options, self._profile.standin
        probe = Probe(self._profile, services, options.wanted, options.plan, observer)
        self._results = probe.results
        # Scripted transcripts are not of the words that were sent.
        self._results.word_errors = standin is None or standin.engine != "scripted"
        return probe

    def _check_comparable(self, services: Services) -> None:
        """Raise UsageError before money is spent on a run that cannot be compared."""
        from voicecli.probe.compare import check_comparable
        from voicecli.probe.run import describe_basis

        self._basis = describe_basis(self._profile, services, self._options.plan.workers)
        if self._before is not None:
            check_comparable(self._before, self._basis)

    def _announce_cost(self) -> None:
        from voicecli.probe.run import estimate_probe_cost

        plan = self._options.plan
        total = estimate_probe_cost(self._profile, self._options.wanted, plan).total
        if total is None or total > CHEAP:
            unit = "" if plan.count is not None else " an hour"
            known = f"about ${total or 0:.2f}{unit} (estimated, list prices)"
            typer.echo(f"cost of this probe: {'not known' if total is None else known}", err=True)

    # ── report ───────────────────────────────────────────────────────────────

    def _report(self) -> int:
        from voicecli.metrics.usage import estimate_cost
        from voicecli.probe.compare import compare_results
        from voicecli.probe.json_result import build_result
        from voicecli.probe.prediction import evaluate_results

        profile, results, context = self._profile, self._results, self._make_context()
        evaluation = evaluate_results(results, profile, self._options.thresholds)
        cost = estimate_cost(results.count_usage(), profile.find_prices())
        data = build_result(results, evaluation, cost, context)
        changes = None if self._before is None else compare_results(self._before, data)
        if self._options.save is not None:
            self._save(self._options.save, data)
        self._print(evaluation, cost, context, changes)
        return self._report_failures(evaluation, changes or ())

    def _make_context(self) -> RunContext:
        from voicecli.probe.json_result import RunContext
        from voicecli.report.json_result import hash_profile

        return RunContext(
            profile=self._options.profile_name,
            profile_hash=hash_profile(self._profile.resolved()),
            plan=self._options.plan,
            basis=self._basis,
            environment={
                "python": platform.python_version(),
                "platform": f"{platform.system()} {platform.machine()}",
                "clock": "virtual" if self._options.fast else "monotonic",
            },
        )

    def _save(self, file: Path, data: dict[str, Any]) -> None:
        from voicecli.report.json_result import dump_result

        try:
            file.write_text(dump_result(data) + "\n", encoding="ascii")
        except OSError as error:
            raise InputError(f"{file} cannot be written: {error.strerror}") from error

    def _print(
        self,
        evaluation: Evaluation,
        cost: Cost,
        context: RunContext,
        changes: Sequence[Change] | None,
    ) -> None:
        from voicecli.probe.json_result import build_result
        from voicecli.probe.text import as_csv, text_lines
        from voicecli.report.json_result import dump_result

        results, output = self._results, self._options.output
        if output is Format.JSON:
            typer.echo(dump_result(build_result(results, evaluation, cost, context, changes)))
        elif output is Format.CSV:
            typer.echo(as_csv(results, evaluation), nl=False)
        else:
            as_markdown = output is Format.MARKDOWN
            for line in text_lines(
                results, evaluation, cost, context, changes, as_markdown=as_markdown
            ):
                typer.echo(sanitize_message(line))

    def _report_failures(self, evaluation: Evaluation, changes: Sequence[Change]) -> int:
        """Print each failure on standard error, a line each; returns the exit code."""
        failures: list[VoiceError] = list(self._results.given_up.values())
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
        first = next((one for one in failures if isinstance(one, CredentialsError)), None)
        return (first or failures[0]).exit_code if failures else 0


@contextmanager
def _open_progress(*, quiet: bool) -> Iterator[Observer | None]:
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
def _open_live() -> Iterator[tuple[Callable[[Any], None], Callable[[str], None]]]:
    """A live table on standard output if that is a terminal, else a line per value."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal:
        yield lambda _: None, lambda line: typer.echo(sanitize_message(line))
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield live.update, lambda _: None
