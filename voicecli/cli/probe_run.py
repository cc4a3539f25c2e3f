"""What ``voicecli probe`` does and says."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from voicecli import clock
from voicecli.cli.errors import tell
from voicecli.errors import CredentialsError, InputError, ThresholdError, VoiceError
from voicecli.events import Service
from voicecli.metrics.summary import describe
from voicecli.metrics.thresholds import Threshold
from voicecli.metrics.usage import Cost, estimate_cost
from voicecli.pipeline.wiring import Services, open_services
from voicecli.probe import settings
from voicecli.probe.compare import Change, check_comparable, compared
from voicecli.probe.devices import measure_audio
from voicecli.probe.estimate import FEW_CENTS, estimated
from voicecli.probe.evaluation import Evaluation, evaluate_probe
from voicecli.probe.json_result import Setting, build_result, load_result
from voicecli.probe.results import ProbeResults
from voicecli.probe.run import Probe, Watcher
from voicecli.probe.samples import FailedSample, Sample
from voicecli.probe.schedule import Plan
from voicecli.probe.tables import as_csv
from voicecli.probe.text import text_lines
from voicecli.probe.watch import Watch
from voicecli.report.json_result import profile_hash, written
from voicecli.sanitize import sanitize_message

if TYPE_CHECKING:
    from voicecli.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """What the command line asks for."""

    profile_name: str
    wanted: Sequence[Service]
    plan: Plan
    form: str = "text"
    save: Path | None = None
    compare: Path | None = None
    expectations: Sequence[Threshold] = ()
    fast: bool = False


class Probing:
    """One run of the command."""

    def __init__(self, profile: Profile, asked: ProbeOptions) -> None:
        self._profile = profile
        self._asked = asked
        self._findings = ProbeResults(wanted=tuple(asked.wanted))
        self._basis: dict[str, Any] = {}
        self._before = None if asked.compare is None else load_result(asked.compare)
        if asked.save is not None and not asked.save.absolute().parent.is_dir():
            raise InputError(f"there is no folder {asked.save.absolute().parent}")

    def run(self) -> int:
        """Probe, tell, judge; the exit code."""
        watching = self._asked.plan.every is not None
        try:
            clock.run(self._watch() if watching else self._probe(), virtual=self._asked.fast)
        except KeyboardInterrupt:
            if not watching:
                raise
        return self._tell()

    async def _probe(self) -> None:
        standin = self._profile.standin
        async with open_services(self._profile) as services:
            self._check(services)
            self._announce_cost()
            with _progress(quiet=self._asked.form != "text") as watcher:
                probe = Probe(
                    self._profile, services, self._asked.wanted, self._asked.plan, watcher
                )
                self._findings = probe.findings
                if len(self._asked.wanted) > 1:
                    await measure_audio(self._profile, self._findings)
                await probe.run()
        if standin is not None and standin.engine == "scripted" and "stt" in self._asked.wanted:
            self._findings.note("stt: the stand-in hears its script: word errors mean nothing")

    async def _watch(self) -> None:
        async with open_services(self._profile) as services:
            self._check(services)
            self._announce_cost()
            with _live() as (show, say):
                watch = Watch(show, say)
                probe = Probe(self._profile, services, self._asked.wanted, self._asked.plan, watch)
                self._findings = probe.findings
                await probe.run_side_by_side()

    def _check(self, services: Services) -> None:
        """Raise UsageError before anything is spent on what cannot be compared."""
        self._basis = settings.basis(self._profile, services, self._asked.plan.workers)
        if self._before is not None:
            check_comparable(self._before, self._basis)

    def _announce_cost(self) -> None:
        expected = estimated(
            self._asked.wanted,
            self._asked.plan,
            settings.models(self._profile),
            max_tokens=self._profile.llm.max_tokens,
            kinds=2 if settings.endpoint_matters(self._profile) else 1,
        )
        unit = "" if self._asked.plan.count is not None else " an hour"
        if expected.total is None or expected.total > FEW_CENTS:
            known = (
                "is not known" if expected.total is None else f"about ${expected.total:.2f}{unit}"
            )
            typer.echo(f"what this will cost: {known} (estimated, list prices)", err=True)

    # ── what came of it ──────────────────────────────────────────────────────

    def _tell(self) -> int:
        findings = self._findings
        output = describe(findings.audio.get("audio.output", ())).p50 or 0.0
        waits = settings.waits(self._profile, output)
        found = evaluate_probe(
            findings, waits, settings.budgets(self._profile), self._asked.expectations
        )
        spent = estimate_cost(findings.ledger(), settings.models(self._profile))
        setting = self._setting()
        data = build_result(findings, found, spent, setting)
        changes = None if self._before is None else compared(self._before, data)
        if self._asked.save is not None:
            self._save(data)
        self._print(found, spent, setting, changes)
        return self._judge(found, changes or ())

    def _setting(self) -> Setting:
        return Setting(
            profile=self._asked.profile_name,
            profile_hash=profile_hash(self._profile.resolved()),
            plan=self._asked.plan,
            basis=self._basis,
            environment={
                "python": platform.python_version(),
                "platform": f"{platform.system()} {platform.machine()}",
                "clock": "virtual" if self._asked.fast else "monotonic",
            },
        )

    def _save(self, data: dict[str, Any]) -> None:
        assert self._asked.save is not None
        try:
            self._asked.save.write_text(written(data) + "\n", encoding="ascii")
        except OSError as error:
            raise InputError(f"{self._asked.save} cannot be written: {error.strerror}") from error

    def _print(
        self, found: Evaluation, spent: Cost, setting: Setting, changes: Sequence[Change] | None
    ) -> None:
        match self._asked.form:
            case "json":
                typer.echo(written(build_result(self._findings, found, spent, setting, changes)))
            case "csv":
                typer.echo(as_csv(self._findings, found), nl=False)
            case form:
                lines = text_lines(
                    self._findings, found, spent, setting, changes, as_markdown=form == "markdown"
                )
                for line in lines:
                    typer.echo(sanitize_message(line))

    def _judge(self, found: Evaluation, changes: Sequence[Change]) -> int:
        """Tell what failed, a line each; the exit code."""
        failures: list[VoiceError] = list(self._findings.given_up.values())
        missed = [one for one in found.expectations if not one.met]
        worse = [one for one in changes if one.worse]
        if missed:
            why = "; ".join(f"{one.expectation.text} ({one.why})" for one in missed)
            failures.append(ThresholdError(f"not as expected: {why}"))
        if worse:
            names = ", ".join(f"{one.metric}.{one.difference.statistic}" for one in worse)
            failures.append(ThresholdError(f"worse than before: {names}"))
        for failure in failures:
            tell(failure)
        first = next((one for one in failures if isinstance(one, CredentialsError)), None)
        return (first or failures[0]).exit_code if failures else 0


class _Bars:
    """See ``run.Watcher``: a progress bar per service."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[Service, Any] = {}

    def begun(self, service: Service, steps: int | None) -> None:
        self._tasks[service] = self._progress.add_task(f"probing {service}", total=steps)

    def found(self, one: Sample | FailedSample) -> None:
        if "tts.clear" not in getattr(one, "values", ()):  # they come on top
            self._progress.advance(self._tasks[one.service])
        if isinstance(one, FailedSample):
            self.noted(str(one.error))

    def noted(self, text: str) -> None:
        self._progress.console.print(sanitize_message(text), markup=False, highlight=False)

    def done(self, service: Service) -> None:
        self._progress.stop_task(self._tasks[service])


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Watcher | None]:
    """Progress bars on standard error, where that is a terminal and nobody asked for data."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield _Bars(progress)


@contextmanager
def _live() -> Iterator[tuple[Callable[[Any], None], Callable[[str], None]]]:
    """A live table on standard output where that is a terminal, else a line per reading."""
    console = Console()
    if not console.is_terminal:
        yield lambda _: None, lambda line: typer.echo(sanitize_message(line))
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield live.update, lambda _: None
