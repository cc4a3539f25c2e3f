"""A run of the probe as text, Markdown or CSV, and the live table of ``--watch``."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from voicecli import clock
from voicecli.events import Service
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.metrics.summary import MIN_COUNT, Distribution, describe
from voicecli.metrics.usage import Cost
from voicecli.probe.compare import Change, find_outliers
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

# ── text and Markdown ────────────────────────────────────────────────────────


def text_lines(
    results: ProbeResults,
    evaluation: Evaluation,
    cost: Cost,
    context: RunContext,
    changes: Sequence[Change] | None = None,
    *,
    as_markdown: bool = False,
) -> list[str]:
    """The whole report, in the order of interest to a user whose agent is slow."""
    lines = [_title(context)]

    def add_section(title: str, rows: list[Row], *below: str) -> None:
        if rows:
            rows[0][0] = title
            lines.extend(["", *(_markdown(rows) if as_markdown else format_table(rows))])
        if below and (as_markdown or not rows):
            lines.append("")
        lines.extend(_item(line, as_markdown) for line in below)

    add_section("network, ms", _network_rows(results), *_diagnoses(results))
    add_section("ms", _metric_rows(results, cold=False), *_service_lines(results, evaluation))
    add_section("first use of a new connection, ms", _metric_rows(results, cold=True))
    add_section("budgets, ms", _budget_rows(evaluation))
    if changes is not None:
        add_section("compared, P50 and P95", _change_rows(changes), _count_changes(changes))
    lines.append("")
    lines += [_item(line, as_markdown) for line in _closing_lines(results, evaluation, cost)]
    return lines


def _item(line: str, as_markdown: bool) -> str:
    return f"- {line}" if as_markdown else line


def _markdown(rows: Sequence[Row]) -> list[str]:
    """``rows`` as a Markdown table; the first row holds the headings."""
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines]


def _title(context: RunContext) -> str:
    plan = context.plan
    count = "" if plan.count is None else f"{format_count(plan.count, 'readings')}, "
    workers = f", {plan.workers} at once" if plan.workers > 1 else ""
    warmup = f"{plan.warmup} to warm up, {plan.cold} cold"
    return f"probe of the profile {context.profile}: {count}{warmup}{workers}"


def number(value: float | None, unit: str, none: str = "–") -> str:
    """``value`` (seconds, for "ms") with a sensible number of digits in its unit."""
    if value is None:
        return none
    if unit == "ms":
        value = ms(value)
        return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2f}"


def _diagnoses(results: ProbeResults) -> Iterator[str]:
    for service in results.wanted:
        if traces := results.traces_of(service):
            yield f"{service}: {diagnose(traces)}."


def _network_rows(results: ProbeResults) -> list[Row]:
    """The median of each phase, a row per service; empty in virtual time, where all are 0."""
    found = {name: took for name, took in results.values().items() if name in NETWORK_METRICS}
    if not any(max(took) for took in found.values()):
        return []
    phases = [phase for phase in PHASES if any(name.endswith(f".{phase}") for name in found)]
    rows: list[Row] = []
    for service in results.wanted:
        if traces := results.traces_of(service):
            took = (describe(found.get(f"net.{service}.{phase}", ())).p50 for phase in phases)
            where = [f"{service} {traces[-1].host}", traces[-1].address or "–"]
            rows.append([*where, *(number(median, "ms") for median in took)])
    return [["", "address", *phases], *rows] if rows else []


def _metric_rows(results: ProbeResults, *, cold: bool) -> list[Row]:
    """A row per metric of the services and the sound card: either the cold ones or the others."""
    rows: list[Row] = []
    for name, values in results.values().items():
        if name in NETWORK_METRICS or name.startswith(COLD_PREFIX) is not cold:
            continue
        distribution, unit = describe(values), METRICS[name].unit
        p95 = number(distribution.p95, unit, f"n < {MIN_COUNT['p95']}")
        first = [
            number(value, unit) for value in (distribution.min, distribution.p50, distribution.p90)
        ]
        outliers = str(len(find_outliers(values)) or "")
        shown = name if unit == "ms" else f"{name} ({unit})"
        rows.append(
            [shown, str(distribution.n), *first, p95, number(distribution.max, unit), outliers]
        )
    return [["", "n", "min", "P50", "P90", "P95", "max", "outliers"], *rows] if rows else []


def _service_lines(results: ProbeResults, evaluation: Evaluation) -> Iterator[str]:
    """What was counted, a line per service."""
    counts, sums = evaluation.summary.counts, results.counts()
    parts: dict[Service, list[str]] = {service: [] for service in SERVICES}
    if asked := sums.get("stt.asked"):
        answered, rate = sums["stt.answered"], counts["stt.wer"]
        parts["stt"] = [
            f"Finalize answered {answered:.0f} of {asked:.0f} times",
            "word error rate not applicable (the stand-in's transcripts are scripted)"
            if rate is None
            else f"word error rate {rate * 100:.1f} % "
            f"({sums['stt.wrong']:.0f} of {sums['stt.words']:.0f})",
        ]
    if requests := sums.get("llm.requests"):
        parts["llm"] = [
            format_count(round(requests), "requests"),
            *(
                format_count(round(counts[f"llm.{what}"] or 0), what)
                for what in ("retries", "refusals", "stalls")
            ),
            f"{sums['llm.prompt_tokens']:.0f} + {sums['llm.tokens']:.0f} tokens",
        ]
    if flushes := sums.get("tts.flushes"):
        parts["tts"] = [
            format_count(round(flushes), "flushes"),
            format_count(round(sums["tts.characters"]), "characters"),
        ]
    for service in results.wanted:
        errors = format_count(round(counts[f"{service}.errors"] or 0), "errors")
        yield f"{service}: {', '.join([*parts[service], errors])}."


def _budget_rows(evaluation: Evaluation) -> list[Row]:
    """A row per budget of what was measured."""
    rows = [
        [
            f"{check.name} ({check.metric})",
            number(check.budget, "ms"),
            number(check.p50, "ms"),
            number(check.p95, "ms", f"n < {MIN_COUNT['p95']}"),
            "pass" if check.met else "FAIL",
            check.judged_by,
        ]
        for check in evaluation.budgets
        if check.met is not None
    ]
    return [["", "budget", "P50", "P95", "", "by"], *rows] if rows else []


def _change_rows(changes: Sequence[Change]) -> list[Row]:
    """A row per change beyond noise."""
    rows = [
        [
            f"{change.metric}.{change.statistic}",
            f"{change.before:.1f}",
            f"{change.after:.1f}",
            f"{change.low:+.1f} to {change.high:+.1f} {change.unit}",
            "worse" if change.worse else "better",
        ]
        for change in changes
        if change.beyond_noise
    ]
    return [["", "before", "now", "change, 95 % interval", ""], *rows] if rows else []


def _count_changes(changes: Sequence[Change]) -> str:
    count = sum(change.beyond_noise for change in changes)
    return f"{count or 'none'} of {len(changes)} statistics compared changed beyond noise."


def _closing_lines(results: ProbeResults, evaluation: Evaluation, cost: Cost) -> Iterator[str]:
    yield from _prediction_lines(evaluation)
    if results.devices:
        yield f"audio: {sanitize_line(results.devices)}"
    for note in (*results.notes, *list_doubts(results)):
        yield sanitize_line(note)
    yield from map(format_verdict, evaluation.expectations)
    yield format_cost(cost)


def _prediction_lines(evaluation: Evaluation) -> Iterator[str]:
    prediction, best = evaluation.prediction, evaluation.best
    if prediction is None:
        return
    distribution = prediction.distribution
    p95 = (
        "withheld (n < 20)" if distribution.p95 is None else f"{number(distribution.p95, 'ms')} ms"
    )
    yield f"expected mouth-to-ear: P50 {number(distribution.p50, 'ms')} ms, P95 {p95}"
    parts = round_parts(prediction.stages, prediction.mean, per_second=1000)
    terms = " + ".join(f"{name} {took}" for name, took in parts.items() if took)
    yield f"on average {ms(prediction.mean):.0f} ms = {terms}"
    if best is None:
        yield "no single change would make it faster by more than 10 ms"
        return
    then = best.prediction.distribution
    after = f"P50 {number(then.p50, 'ms')} ms"
    if then.p95 is not None:
        after += f", P95 {number(then.p95, 'ms')} ms"
    yield f"what would help most: {best.change}: {after}"


# ── CSV ──────────────────────────────────────────────────────────────────────


def as_csv(results: ProbeResults, evaluation: Evaluation) -> str:
    """A line per metric; durations in milliseconds, an empty field for an unknown value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["metric", "unit", *STATISTICS, "outliers"])
    for name, values in results.values().items():
        writer.writerow(_csv_row(name, describe(values), str(len(find_outliers(values)))))
    if (predicted := evaluation.summary.distributions.get(MOUTH_TO_EAR.name)) is not None:
        writer.writerow(_csv_row(MOUTH_TO_EAR.name, predicted, ""))
    return out.getvalue()


def _csv_row(name: str, distribution: Distribution, outliers: str) -> Row:
    unit = METRICS[name].unit
    values = (getattr(distribution, statistic) for statistic in STATISTICS[1:])
    if unit == "ms":
        values = (None if value is None else ms(value) for value in values)
    shown = ("" if value is None else f"{value:.3f}" for value in values)
    return [name, unit, str(distribution.n), *shown, outliers]


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
    def sample_taken(self, sample: Sample | FailedSample) -> None:
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


def sparkline(values: Sequence[float]) -> str:
    """``values`` as bars, scaled from the least to the greatest; equal values are low bars."""
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
        self._values: dict[str, list[float]] = {}
        self._errors: dict[Service, int] = {}
        self._latest: deque[str] = deque(maxlen=3)

    @override
    def service_started(self, service: Service, steps: int | None) -> None:
        self._errors[service] = 0

    @override
    def sample_taken(self, sample: Sample | FailedSample) -> None:
        if isinstance(sample, FailedSample):
            self._errors[sample.service] += 1
            self.note(str(sample.error))
            return
        for name, value in sample.values.items():
            if name in WATCHED:
                self._values.setdefault(name, []).append(value)
                self._say(f"{_timestamp(sample.at)} {name} {number(value, 'ms')} ms")
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
        for name in WATCHED:
            if values := self._values.get(name):
                distribution = describe(values)
                shown = (values[-1], distribution.p50, distribution.p95, distribution.max)
                cells = [number(value, "ms") for value in shown]
                sparks = sparkline(values[-SPARKLINE_WIDTH:])
                table.add_row(name, str(distribution.n), *cells, sparks)
        return table


def _timestamp(at: Seconds) -> str:
    minutes, seconds = divmod(int(at), 60)
    return f"{minutes:02d}:{seconds:02d}"
