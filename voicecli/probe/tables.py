"""A probe's metrics as rows: for the terminal, for Markdown, for CSV.  Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from voicecli.metrics.summary import NEEDED, Distribution, describe
from voicecli.probe.compare import outliers
from voicecli.probe.evaluation import Evaluation
from voicecli.probe.metrics import COLD_PREFIX, METRICS, NETWORK, PREDICTED
from voicecli.probe.results import ProbeResults

Row = list[str]

COLUMNS = ("n", "min", "P50", "P90", "P95", "max", "outliers")

SHOWN = ("n", "min", "p50", "p90", "p95", "max")


def number(value: float | None, unit: str, none: str = "–") -> str:
    """``value`` in its unit: milliseconds whole from 10 on, else with one digit; others with two.

    value: in seconds for "ms".
    """
    if value is None:
        return none
    if unit == "ms":
        value *= 1000
        return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2f}"


def metric_rows(findings: ProbeResults, *, cold: bool) -> list[Row]:
    """A row per metric of the services, headed; the cold ones or the others."""
    rows = []
    for name, values in findings.values().items():
        if name not in NETWORK and name.startswith(COLD_PREFIX) is cold:
            rows.append(_row(name, describe(values), len(outliers(values))))
    return [["", *COLUMNS], *rows] if rows else []


def _row(name: str, one: Distribution, apart: int) -> Row:
    unit = METRICS[name].unit
    p95 = number(one.p95, unit, f"n < {NEEDED['p95']}")
    shown = name if unit == "ms" else f"{name} ({unit})"
    middle = [number(value, unit) for value in (one.min, one.p50, one.p90)]
    return [shown, str(one.n), *middle, p95, number(one.max, unit), str(apart or "")]


def network_rows(findings: ProbeResults) -> list[Row]:
    """A row per host, headed: the medians of its phases."""
    values = findings.values()
    phases = [
        phase
        for phase in ("dns", "tcp", "proxy", "tls", "open", "message", "trip")
        if any(f"net.{service}.{phase}" in values for service in findings.wanted)
    ]
    rows: list[Row] = []
    for service in findings.wanted:
        routes = [one for one in findings.routes if one.service == service]
        if routes:
            took = (describe(values.get(f"net.{service}.{phase}", ())).p50 for phase in phases)
            where = f"{service} {routes[-1].host}"
            at = routes[-1].address or "–"
            rows.append([where, at, *(number(one, "ms") for one in took)])
    return [["", "address", *phases], *rows] if rows else []


def budget_rows(verdicts: Evaluation) -> list[Row]:
    """A row per budget of what was measured, headed."""
    rows: list[Row] = []
    for one in verdicts.budgets:
        if one.met is None:
            continue
        rows.append(
            [
                f"{one.name} ({one.metric})",
                number(one.budget, "ms"),
                number(one.p50, "ms"),
                number(one.p95, "ms", f"n < {NEEDED['p95']}"),
                "pass" if one.met else "FAIL",
                one.judged_by,
            ]
        )
    return [["", "budget", "P50", "P95", "", "by"], *rows] if rows else []


def markdown(rows: Sequence[Row]) -> list[str]:
    """``rows``, the first of which heads them, as a Markdown table."""
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines]


def as_csv(findings: ProbeResults, verdicts: Evaluation) -> str:
    """All metrics, a line each; durations in milliseconds, nothing where nothing is known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["metric", "unit", *SHOWN, "outliers"])
    writer.writerows(_csv_rows(findings, verdicts))
    return out.getvalue()


def _csv_rows(findings: ProbeResults, verdicts: Evaluation) -> Iterator[list[str]]:
    for name, values in findings.values().items():
        yield _csv_row(name, describe(values), str(len(outliers(values))))
    for name in PREDICTED:
        if (one := verdicts.summary.spreads.get(name)) is not None:
            yield _csv_row(name, one, "")


def _csv_row(name: str, one: Distribution, apart: str) -> list[str]:
    unit = METRICS[name].unit
    factor = 1000 if unit == "ms" else 1
    values = (getattr(one, of) for of in SHOWN[1:])
    shown = ("" if value is None else f"{value * factor:.3f}" for value in values)
    return [name, unit, str(one.n), *shown, apart]
