"""A run of the probe as text, Markdown or CSV, and the live table of ``--watch``."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from voicecli import clock
from voicecli.events import Service
from voicecli.metrics.changes import Change
from voicecli.metrics.summary import MIN_COUNT, Distribution, describe
from voicecli.probe.compare import find_outliers
from voicecli.probe.json_result import RunContext, list_doubts
from voicecli.probe.prediction import Evaluation
from voicecli.probe.results import (
    COLD_PREFIX,
    METRICS,
    NETWORK_METRICS,
    PHASES,
    SERVICES,
    ProbeResults,
    diagnose,
)
from voicecli.probe.run import Observer
from voicecli.probe.schedule import FailedSample, Sample
from voicecli.report.format import format_count, format_table, round_parts
from voicecli.report.summary_lines import format_cost, format_verdict
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds, ms

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

Row = list[str]

STATISTICS = ("n", "min", "p50", "p90", "p95", "max")

WITHHELD = f"n < {MIN_COUNT['p95']}"
"""Shown instead of P95."""

# ── text and Markdown ────────────────────────────────────────────────────────


def format_report(
    results: ProbeResults,
    evaluation: Evaluation,
    context: RunContext,
    changes: Sequence[Change] | None = None,
    *,
    markdown: bool = False,
) -> list[str]:
    """Format the whole report, in the order of interest to a user whose agent is slow."""
    lines = [_title(context)]
    bullet = "- " if markdown else ""

    def add_section(title: str, table: Iterable[Row], *below: str) -> None:
        headings, *rows = table
        if rows:
            whole = [[title, *headings], *rows]
            lines.extend(["", *(format_markdown(whole) if markdown else format_table(whole))])
        if below and (markdown or not rows):
            lines.append("")
        lines.extend(f"{bullet}{line}" for line in below)

    traced = {service: results.traces_of(service) for service in results.wanted}
    diagnoses = [f"{service}: {diagnose(traces)}." for service, traces in traced.items() if traces]
    add_section("network, ms", _network_rows(results), *diagnoses)
    add_section("ms", _metric_rows(results, cold=False), *_service_lines(results, evaluation))
    add_section("first use of a new connection, ms", _metric_rows(results, cold=True))
    add_section("budgets, ms", _budget_rows(evaluation))
    if changes is not None:
        count = sum(change.beyond_noise for change in changes)
        summary = f"{count or 'none'} of {len(changes)} statistics compared changed beyond noise."
        add_section("compared, P50 and P95", format_change_rows(changes), summary)
    return [*lines, "", *(f"{bullet}{line}" for line in _closing_lines(results, evaluation))]


def format_markdown(rows: Sequence[Row]) -> list[str]:
    """Format ``rows`` as a Markdown table; the first row holds the headings."""
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines]


def _title(context: RunContext) -> str:
    plan = context.plan
    count = "" if plan.count is None else f"{format_count(plan.count, 'readings')}, "
    workers = f", {plan.workers} at once" if plan.workers > 1 else ""
    warmup = f"{plan.warmup} to warm up, {plan.cold} cold"
    return f"probe of the profile {context.profile}: {count}{warmup}{workers}"


def format_value(value: float | None, unit: str = "ms", missing: str = "–") -> str:
    """Format ``value`` (seconds, for "ms") with a sensible number of digits in its unit."""
    if value is None:
        return missing
    if unit == "ms":
        value = ms(value)
        return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2f}"


def _network_rows(results: ProbeResults) -> Iterator[Row]:
    """The median of each phase, a row per service; none in virtual time, where all are 0."""
    found = {name: took for name, took in results.values().items() if name in NETWORK_METRICS}
    phases = [phase for phase in PHASES if any(name.endswith(f".{phase}") for name in found)]
    yield ["address", *phases]
    if not any(map(max, found.values())):
        return
    for service in results.wanted:
        if traces := results.traces_of(service):
            took = (describe(found.get(f"net.{service}.{phase}", ())).p50 for phase in phases)
            where = [f"{service} {traces[-1].host}", traces[-1].address or "–"]
            yield [*where, *(format_value(median) for median in took)]


def _metric_rows(results: ProbeResults, *, cold: bool) -> Iterator[Row]:
    """A row per metric of the services and the sound card: either the cold ones or the others."""
    yield ["n", "min", "P50", "P90", "P95", "max", "outliers"]
    for name, values in results.values().items():
        if name in NETWORK_METRICS or name.startswith(COLD_PREFIX) is not cold:
            continue
        distribution, unit = describe(values), METRICS[name].unit
        yield [
            name if unit == "ms" else f"{name} ({unit})",
            str(distribution.n),
            format_value(distribution.min, unit),
            format_value(distribution.p50, unit),
            format_value(distribution.p90, unit),
            format_value(distribution.p95, unit, WITHHELD),
            format_value(distribution.max, unit),
            str(len(find_outliers(values)) or ""),
        ]


def _service_lines(results: ProbeResults, evaluation: Evaluation) -> Iterator[str]:
    """What was counted, a line per service."""
    sums = results.counts()
    parts: dict[Service, list[str]] = {service: [] for service in SERVICES}

    def count(service: Service, what: str) -> str:
        return format_count(round(sums.get(f"{service}.{what}", 0)), what)

    if asked := sums.get("stt.asked"):
        answered, rate = sums["stt.answered"], evaluation.summary.counts["stt.wer"]
        parts["stt"] = [
            f"Finalize answered {answered:.0f} of {asked:.0f} times",
            "word error rate not applicable (the stand-in's transcripts are scripted)"
            if rate is None
            else f"word error rate {rate * 100:.1f} % "
            f"({sums['stt.wrong']:.0f} of {sums['stt.words']:.0f})",
        ]
    if sums.get("llm.requests"):
        parts["llm"] = [
            *(count("llm", what) for what in ("requests", "retries", "refusals", "stalls")),
            f"{sums['llm.prompt_tokens']:.0f} + {sums['llm.tokens']:.0f} tokens",
        ]
    if sums.get("tts.flushes"):
        parts["tts"] = [count("tts", what) for what in ("flushes", "characters")]
    for service in results.wanted:
        yield f"{service}: {', '.join([*parts[service], count(service, 'errors')])}."


def _budget_rows(evaluation: Evaluation) -> Iterator[Row]:
    """A row per budget of what was measured."""
    yield ["budget", "P50", "P95", "", "by"]
    for check in evaluation.budgets:
        if check.met is not None:
            name, verdict = f"{check.name} ({check.metric})", "pass" if check.met else "FAIL"
            p50, p95 = format_value(check.p50), format_value(check.p95, missing=WITHHELD)
            yield [name, format_value(check.budget), p50, p95, verdict, check.judged_by]


def format_change_rows(changes: Sequence[Change]) -> Iterator[Row]:
    """List a row per change beyond noise, after the headings."""
    yield ["before", "now", "change, 95 % interval", ""]
    for change in changes:
        if change.beyond_noise:
            name, before, after = f"{change.metric}.{change.statistic}", change.before, change.after
            interval = f"{change.low:+.1f} to {change.high:+.1f} {change.unit}"
            verdict = "worse" if change.worse else "better"
            yield [name, f"{before:.1f}", f"{after:.1f}", interval, verdict]


def _closing_lines(results: ProbeResults, evaluation: Evaluation) -> Iterator[str]:
    yield from _prediction_lines(evaluation)
    if results.devices:
        yield f"audio: {sanitize_line(results.devices)}"
    for note in (*results.notes, *list_doubts(results)):
        yield sanitize_line(note)
    yield from map(format_verdict, evaluation.expectations)
    yield format_cost(evaluation.cost)


def _prediction_lines(evaluation: Evaluation) -> Iterator[str]:
    prediction, best = evaluation.prediction, evaluation.best
    if prediction is None:
        return
    distribution = prediction.distribution
    withheld = distribution.p95 is None
    p95 = f"withheld ({WITHHELD})" if withheld else f"{format_value(distribution.p95)} ms"
    yield f"expected mouth-to-ear: P50 {format_value(distribution.p50)} ms, P95 {p95}"
    parts = round_parts(prediction.stages, prediction.mean, per_second=1000)
    terms = " + ".join(f"{name} {took}" for name, took in parts.items() if took)
    yield f"on average {ms(prediction.mean):.0f} ms = {terms}"
    if best is None:
        yield "no single change would make it faster by more than 10 ms"
        return
    then = best.prediction.distribution
    p95 = "" if then.p95 is None else f", P95 {format_value(then.p95)} ms"
    yield f"what would help most: {best.change}: P50 {format_value(then.p50)} ms{p95}"


# ── CSV ──────────────────────────────────────────────────────────────────────


def format_csv(results: ProbeResults, evaluation: Evaluation) -> str:
    """Format a line per metric; durations in milliseconds, an empty field for an unknown value."""
    out = io.StringIO()
    rows = list_metric_rows(evaluation.summary.distributions, results.values())
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def list_metric_rows(
    distributions: Mapping[str, Distribution], values: Mapping[str, Sequence[float]]
) -> Iterator[Row]:
    """List the headings, and a row per metric, of which some have no ``values``."""
    yield ["metric", "unit", *STATISTICS, "outliers"]
    for name, distribution in distributions.items():
        unit = METRICS[name].unit
        scale = ms(1.0) if unit == "ms" else 1.0
        found = [getattr(distribution, statistic) for statistic in STATISTICS[1:]]
        shown = ("" if one is None else f"{one * scale:.3f}" for one in found)
        outliers = str(len(find_outliers(values[name]))) if name in values else ""
        yield [name, unit, str(distribution.n), *shown, outliers]


# ── progress, and --watch ────────────────────────────────────────────────────

BARS = "▁▂▃▄▅▆▇█"

SPARKLINE_WIDTH = 30

WATCHED = ("stt.final", "stt.ttfs", "llm.ttft", "llm.clause", "tts.ttfa", "playout")
"""The metrics that a conversation waits for."""


class ProgressBars(Observer):
    """Shows a progress bar per service."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[Service, TaskID] = {}

    @override
    def service_started(self, service: Service, steps: int | None) -> None:
        self._tasks[service] = self._progress.add_task(f"probing {service}", total=steps)

    @override
    def sample_taken(self, sample: Sample) -> None:
        if isinstance(sample, FailedSample):
            self.note(str(sample.error))
        elif "tts.clear" in sample.values:  # not among the steps
            return
        self._progress.advance(self._tasks[sample.service])

    @override
    def note(self, text: str) -> None:
        self._progress.console.print(sanitize_line(text), markup=False, highlight=False)

    @override
    def service_done(self, service: Service) -> None:
        self._progress.stop_task(self._tasks[service])


def draw_sparkline(values: Sequence[float]) -> str:
    """Draw ``values`` as bars, scaled from the least to the greatest; equal values are low bars."""
    if not values:
        return ""
    low, high = min(values), max(values)
    step = (high - low) / (len(BARS) - 1) if high > low else 1.0
    return "".join(BARS[round((value - low) / step)] for value in values)


class WatchTable(Observer):
    """Shows each new sample in a live table.

    show: takes the updated table.
    say: takes a line per value, for an output without a table.
    """

    def __init__(self, show: Callable[[Table], None], say: Callable[[str], None]) -> None:
        self._show = show
        self._say = say
        self._values: dict[str, list[float]] = {name: [] for name in WATCHED}
        self._errors: dict[Service, int] = dict.fromkeys(SERVICES, 0)
        self._latest: deque[str] = deque(maxlen=3)

    @override
    def sample_taken(self, sample: Sample) -> None:
        if isinstance(sample, FailedSample):
            self._errors[sample.service] += 1
            self.note(str(sample.error))
            return
        for name, value in sample.values.items():
            if name in WATCHED:
                self._values[name].append(value)
                self._say(f"{_timestamp(sample.at)} {name} {format_value(value)} ms")
        self._show(self.table())

    @override
    def note(self, text: str) -> None:
        self._latest.append(f"{_timestamp(clock.now())} {sanitize_line(text)}")
        self._say(self._latest[-1])
        self._show(self.table())

    def table(self) -> Table:
        """A row per metric, and the latest notes below."""
        from rich.table import Table

        errors = ", ".join(f"{name} {count}" for name, count in self._errors.items() if count)
        below = [*self._latest, f"errors: {errors or 'none'}; Ctrl-C ends"]
        table = Table(box=None, pad_edge=False, caption="\n".join(below), caption_justify="left")
        table.add_column("ms")
        for heading in ("n", "last", "P50", "P95", "max"):
            table.add_column(heading, justify="right")
        table.add_column(f"the last {SPARKLINE_WIDTH}")
        for name, values in self._values.items():
            if values:
                distribution = describe(values)
                shown = (values[-1], distribution.p50, distribution.p95, distribution.max)
                cells = [format_value(value) for value in shown]
                sparks = draw_sparkline(values[-SPARKLINE_WIDTH:])
                table.add_row(name, str(distribution.n), *cells, sparks)
        return table


def _timestamp(at: Seconds) -> str:
    minutes, seconds = divmod(int(at), 60)
    return f"{minutes:02d}:{seconds:02d}"
