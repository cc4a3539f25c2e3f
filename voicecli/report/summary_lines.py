"""Writes the summary of a session: outcomes, percentiles against budgets, usage and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from voicecli.metrics.interaction import Interaction
from voicecli.metrics.stages import BUDGETED, ENDPOINTING, MOUTH_TO_EAR, STAGES, STT_TTFS
from voicecli.metrics.summary import MIN_COUNT, Budgets, Distribution, Summary, find_overruns
from voicecli.metrics.thresholds import Verdict
from voicecli.metrics.turns import Turn
from voicecli.metrics.usage import OUTCOMES, Cost, SessionUsage
from voicecli.report.format import format_count, format_counts, format_ms, format_table, to_ms
from voicecli.report.interaction_lines import format_interaction
from voicecli.services import PRICES_OF
from voicecli.units import Seconds

_USERS = {
    "polite": "user: waited for each reply (--user polite)",
    "oblivious": "user: did not wait for replies; the agent was deaf meanwhile (--user oblivious)",
}


def format_summary(
    turns: Sequence[Turn],
    usage: SessionUsage,
    interaction: Interaction,
    summary: Summary,
    budgets: Budgets,
    cost: Cost,
    user: str | None = None,
) -> list[str]:
    """Return all lines, from the outcomes to the cost.

    user: how a recorded user behaved, where it made a difference.
    """
    outcomes = format_counts({outcome: getattr(usage, outcome) for outcome in OUTCOMES})
    lines = [": ".join(filter(None, (format_count(usage.turns, "turns"), outcomes)))]
    if any(summary.distributions[name].n for name in (STT_TTFS.raw_name, MOUTH_TO_EAR.name)):
        lines += ["", *_format_percentiles(turns, summary, budgets), ""]
    return [
        *lines,
        *_format_endpointing(usage, summary),
        *([_USERS[user]] if user else []),
        *_format_usage(usage),
        *_format_accuracy(turns),
        *_format_doubts(turns),
        format_cost(cost),
        *format_interaction(interaction),
    ]


def _format_percentiles(turns: Sequence[Turn], summary: Summary, budgets: Budgets) -> list[str]:
    missed = Counter(one.metric for turn in turns for one in find_overruns(turn, budgets))
    return [*format_table(list_percentiles(summary, budgets, missed)), *PERCENTILE_NOTES]


PERCENTILE_NOTES = (
    "Indented: what was waited for; the percentiles of parts do not add up.",
    "raw: what a service took by itself, waited for or not.",
)


def list_percentiles(
    summary: Summary, budgets: Budgets, over: Mapping[str, int]
) -> list[list[str]]:
    """List the rows of a table, heads first: mouth-to-ear, its stages, each service by itself.

    over: how many turns missed the budget of a metric.
    """
    found = summary.distributions
    rows = [["ms", "n", "P50", "P95", "max", "budget", "over"]]
    total = found[MOUTH_TO_EAR.name]
    missed = str(over.get(MOUTH_TO_EAR.name, 0))
    rows.append(_format_row(MOUTH_TO_EAR.name, total, budgets.total, missed))
    rows += [_format_row(f"  {stage}", found[stage]) for stage in STAGES if found[stage].max]
    for service, metric in BUDGETED.items():
        if metric is not MOUTH_TO_EAR and found[metric.raw_name].n:
            budget, missed = getattr(budgets, service), str(over.get(metric.name, 0))
            rows.append(_format_row(metric.raw_name, found[metric.raw_name], budget, missed))
    return rows


def _format_row(
    name: str, spread: Distribution, budget: Seconds | None = None, over: str = ""
) -> list[str]:
    p95 = format_ms(spread.p95, f"n < {MIN_COUNT['p95']}" if spread.n else "–")
    times = [format_ms(spread.p50), p95, format_ms(spread.max), format_ms(budget, "")]
    return [name, str(spread.n), *times, over]


def _format_endpointing(usage: SessionUsage, summary: Summary) -> list[str]:
    """The wait together with the cut-offs: a shorter wait cuts more users off."""
    wait = summary.distributions[ENDPOINTING.raw_name].p50
    if wait is None:
        return []
    of = f"{usage.cutoffs} of {format_count(usage.turns, 'turns')}"
    heard = f" ({usage.cutoffs_heard} heard)" if usage.cutoffs else ""
    return [f"{ENDPOINTING.name}: P50 {format_ms(wait)} ms, {of} cut off{heard}"]


def _format_usage(usage: SessionUsage) -> list[str]:
    groups = {
        "drafts": {"prepared": usage.drafts, "discarded": usage.drafts_discarded},
        "LLM": {
            "requests": usage.llm_requests,
            "hedged": usage.hedges,
            "retried": usage.retries,
            "cut replies": usage.truncated,
            "prompt tokens": usage.prompt_tokens or 0,
            "tokens": usage.tokens or 0,
        },
        "TTS": {"flushes": usage.flushes, "characters": usage.characters},
        "sound": {
            "underruns": usage.underruns,
            "xruns": usage.xruns,
            "false alarms": usage.false_alarms,
        },
    }
    return [f"{name}: {format_counts(one)}" for name, one in groups.items() if any(one.values())]


def _format_accuracy(turns: Sequence[Turn]) -> list[str]:
    errors = [turn.error for turn in turns if turn.error is not None]
    if not errors:
        return []
    bar = format_ms(max(errors))
    return [f"accuracy: {MOUTH_TO_EAR.name} ± {bar} ms (95 of 100 values)"]


def _format_doubts(turns: Sequence[Turn]) -> list[str]:
    doubted = [f"#{turn.turn}" for turn in turns if turn.unreliable]
    if not doubted:
        return []
    of = format_count(len(turns), "turns")
    return [f"not reliable: {len(doubted)} of {of} ({', '.join(doubted)})"]


def format_verdict(verdict: Verdict) -> str:
    """Return whether a threshold is met, and why."""
    return f"{'✓' if verdict.met else '✗'} {verdict.threshold.text}: {verdict.why}"


def format_prediction(predicted: Mapping[str, Any], summary: Summary) -> str:
    """Return a probe's prediction of mouth-to-ear beside what was measured."""
    measured = summary.distributions[MOUTH_TO_EAR.name]

    def format_one(value: float | None) -> str:
        return "withheld" if value is None else f"{value:.0f} ms"

    both = [
        f"{name.upper()} {format_one(predicted[f'{name}_ms'])} predicted, "
        f"{format_one(to_ms(getattr(measured, name)))} measured"
        for name in ("p50", "p95")
    ]
    return f"mouth-to-ear: {'; '.join(both)} (n = {measured.n})"


def format_cost(cost: Cost) -> str:
    """Return the estimate, and what it consists of."""
    if not cost.total:
        unknown = cost.total is None or cost.lower_bound
        return "cost: not known" if unknown else "cost: nothing"
    parts = {"STT": cost.stt, "LLM": cost.llm, "TTS": cost.tts}
    known = ", ".join(f"{name} {part:.4f}" for name, part in parts.items() if part is not None)
    how = "at least" if cost.lower_bound else "about"
    if cost.discarded:
        known += f"; of that ${cost.discarded:.4f} for discarded drafts"
    return f"cost: {how} ${cost.total:.4f} ({known}; estimated, list prices of {PRICES_OF})"
