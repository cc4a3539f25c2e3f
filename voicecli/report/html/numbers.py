"""The parts of a page that show numbers: facts, percentiles, expectations, predictions, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from htpy import Element, Node, fragment, li, p, small, span, ul

from voicecli.metrics.stages import MOUTH_TO_EAR, STAGES
from voicecli.metrics.summary import MIN_COUNT, Budgets, Summary
from voicecli.metrics.usage import COUNTS, OUTCOMES, SessionUsage
from voicecli.report.format import format_count, format_ms
from voicecli.report.html.ecdf import Line
from voicecli.report.html.page import compose_name, compose_section, compose_table
from voicecli.report.html.waterfall import draw_stacks
from voicecli.report.summary_lines import PERCENTILE_NOTES, list_percentiles
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds, ms

Predicted = Mapping[str, Any]
"""The prediction of a saved probe."""


def list_facts(
    summary: Summary, usage: SessionUsage, doubted: int, error: Seconds | None = None
) -> Iterator[tuple[str, Node]]:
    """Yield what matters most, each with its conditions.

    doubted: turns that are not reliable.
    error: of a value of mouth-to-ear; None where it is not known.
    """
    found = summary.distributions[MOUTH_TO_EAR.name]
    count = f"n = {found.n}"
    exact = f", each ± {ceil(ms(error))} ms" if error is not None and found.n else ""
    yield (
        "mouth-to-ear, P50",
        [f"{format_ms(found.p50)} ms" if found.n else "–", small[f"{count}{exact}"]],
    )
    if found.p95 is None:
        yield "mouth-to-ear, P95", ["withheld", small[f"{count}, {MIN_COUNT['p95']} needed"]]
    else:
        yield "mouth-to-ear, P95", [f"{format_ms(found.p95)} ms", small[count]]
    outcomes = [f"{getattr(usage, one)} {one}" for one in OUTCOMES if getattr(usage, one)]
    yield "turns", [str(usage.turns), small[", ".join(outcomes)]]
    of = f"of {format_count(usage.turns, 'turns')}"
    heard = f", {usage.cutoffs_heard} heard" if usage.cutoffs else ""
    yield "cut-offs", [str(usage.cutoffs), small[f"{of}{heard}"]]
    unanswered = usage.turns - usage.discarded - usage.replied
    yield "no reply", [str(unanswered), small[of]]
    yield "not reliable", [str(doubted), small[of]]


def compose_verdicts(verdicts: Sequence[tuple[bool, str]]) -> Node:
    """Return the expectations: (met, line)."""
    if not verdicts:
        return None
    lines = (li(class_=None if met else "missed")[text] for met, text in verdicts)
    return compose_section("expectations", "Expectations", ul(".plain")[lines])


def compose_percentiles(summary: Summary, budgets: Budgets, over: Mapping[str, int]) -> Node:
    """Return the table of percentiles; ``over``: how many turns missed the budget of a metric."""
    head, *rows = list_percentiles(summary, budgets, over)
    named: list[list[Node]] = [[_indent(row[0]), *row[1:]] for row in rows]
    table = compose_table(head, named, kind="numbers")
    return fragment[table, [p(".note")[note] for note in PERCENTILE_NOTES]]


def list_predicted_lines(predicted: Predicted | None) -> list[Line]:
    """List what the distribution is to be compared with."""
    found = {name: (predicted or {}).get(f"{name}_ms") for name in ("p50", "p95")}
    return [
        Line(name=f"predicted {name.upper()}", value=value, kind="predicted")
        for name, value in found.items()
        if value is not None
    ]


def compose_prediction(
    predicted: Predicted | None, measured: Sequence[Mapping[str, Any]], summary: Summary
) -> Node:
    """Return predicted against measured: percentiles, and means of the stages, which add up."""
    if predicted is None or not measured:
        return None
    found = summary.distributions[MOUTH_TO_EAR.name]
    pairs: list[tuple[Node, float | None, float | None]] = [
        (f"{MOUTH_TO_EAR.name} {name.upper()}", predicted.get(f"{name}_ms"), _ms(value))
        for name, value in (("p50", found.p50), ("p95", found.p95))
    ]
    drafted = any(turn["drafted"] for turn in measured)
    means = {
        name: sum(turn["stages_ms"].get(name) or 0.0 for turn in measured) / len(measured)
        for name in STAGES
    }
    stages = predicted.get("mean_stages_ms") or {}
    pairs += [
        (_indent(f"  {name}"), stages.get(name), means[name])
        for name in STAGES
        if stages.get(name) or means[name]
    ]
    rows = [[name, _show(one), _show(other), _subtract(other, one)] for name, one, other in pairs]
    both = {"predicted": stages, "measured": means} if stages else {"measured": means}
    turns = [_make_turn(one, drafted) for one in both.values()]
    samples = sanitize_line(str(predicted.get("n", "?")))
    return compose_section(
        "prediction",
        "Predicted against measured",
        draw_stacks(turns, list(both), None),
        compose_table(["ms", "predicted", "measured", "difference"], rows, kind="numbers"),
        p(".note")[
            f"Measured: n = {found.n}. Predicted from a probe with n = {samples}. "
            "Indented: means of the stages, which add up to the mean of mouth-to-ear."
        ],
    )


def compose_counts(usage: SessionUsage) -> Element:
    """Return what was counted, with what it means."""
    counts = {name: getattr(usage, name) for name in COUNTS}
    rows: list[list[Node]] = [
        [compose_name(name), _show_count(count), COUNTS[name]]
        for name, count in counts.items()
        if count
    ]
    return compose_table(["count", "value", "meaning"], rows)


def _indent(name: str) -> Node:
    """Return the name of a metric; blanks before it become a space of the page's."""
    named = compose_name(name)
    return span(".part")[named] if name[0] == " " else named


def _make_turn(stages: Mapping[str, float], drafted: bool) -> dict[str, Any]:
    total = sum(stages.values())
    return {"mouth_to_ear_ms": total, "stages_ms": stages, "raw_ms": {}, "drafted": drafted}


def _ms(duration: Seconds | None) -> float | None:
    return None if duration is None else ms(duration)


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _subtract(value: float | None, other: float | None) -> str:
    return "–" if value is None or other is None else f"{value - other:+.0f}"


def _show_count(count: float) -> str:
    return f"{count:g}" if isinstance(count, int) else f"{count:.2f}"
