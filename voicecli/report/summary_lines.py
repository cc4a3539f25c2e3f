"""What is told at the end of a session: outcomes, percentiles against budgets, use and cost."""

from __future__ import annotations

from collections.abc import Sequence

from voicecli.metrics.stages import BUDGETED, ENDPOINTING, MOUTH_TO_EAR, STAGES, STT_TTFS
from voicecli.metrics.summary import (
    MIN_COUNT,
    Budgets,
    Distribution,
    Summary,
    find_overruns,
)
from voicecli.metrics.turns import Turn
from voicecli.metrics.usage import OUTCOMES, PRICES_OF, Cost, SessionUsage
from voicecli.report.format import listed, table
from voicecli.units import Seconds


def summary_lines(
    turns: Sequence[Turn], ledger: SessionUsage, summary: Summary, budgets: Budgets, cost: Cost
) -> list[str]:
    """All lines, from the outcomes to the cost."""
    outcomes = listed({outcome: getattr(ledger, outcome) for outcome in OUTCOMES})
    noun = "turn" if ledger.turns == 1 else "turns"
    lines = [f"{ledger.turns} {noun}{': ' if outcomes else ''}{outcomes}"]
    if any(summary.distributions[name].n for name in (STT_TTFS.raw_name, MOUTH_TO_EAR.name)):
        lines += ["", *_percentiles(turns, summary, budgets), ""]
    return [*lines, *_endpointing(ledger, summary), *_use(ledger), *_doubts(turns), _price(cost)]


def _percentiles(turns: Sequence[Turn], summary: Summary, budgets: Budgets) -> list[str]:
    """The table: mouth-to-ear, its stages, and the services by themselves."""
    missed = [one.metric for turn in turns for one in find_overruns(turn, budgets)]
    rows = [["ms", "n", "P50", "P95", "max", "budget", "over"]]
    spreads = summary.distributions
    rows.append(_row(MOUTH_TO_EAR.name, spreads[MOUTH_TO_EAR.name], budgets.total, missed))
    rows += [_row(f"  {stage}", spreads[stage]) for stage in STAGES if spreads[stage].max]
    for service, metric in BUDGETED.items():
        name = metric.raw_name
        if metric is not MOUTH_TO_EAR and spreads[name].n:
            rows.append(_row(name, spreads[name], getattr(budgets, service), missed))
    lines = table(rows)
    lines.append("Indented: what was waited for; the percentiles of parts do not add up.")
    lines.append("raw: what a service took by itself, waited for or not.")
    return lines


def _row(
    name: str, spread: Distribution, budget: Seconds | None = None, missed: Sequence[str] = ()
) -> list[str]:
    withheld = f"n < {MIN_COUNT['p95']}" if spread.n else "–"
    p95 = withheld if spread.p95 is None else _ms(spread.p95)
    over = str(missed.count(name.removeprefix("raw."))) if budget is not None else ""
    return [name, str(spread.n), _ms(spread.p50), p95, _ms(spread.max), _ms(budget, ""), over]


def _ms(value: float | None, none: str = "–") -> str:
    return none if value is None else f"{value * 1000:.0f}"


def _endpointing(ledger: SessionUsage, summary: Summary) -> list[str]:
    """Waiting less cuts more users off: the two numbers mean nothing one without the other."""
    wait = summary.distributions[ENDPOINTING.raw_name].p50
    if wait is None:
        return []
    return [f"endpointing: P50 {_ms(wait)} ms, {ledger.cutoffs} of {ledger.turns} turns cut off"]


def _use(ledger: SessionUsage) -> list[str]:
    llm = {
        "requests": ledger.llm_requests,
        "hedged": ledger.hedges,
        "retried": ledger.retries,
        "prompt tokens": ledger.prompt_tokens or 0,
        "tokens": ledger.tokens or 0,
    }
    told = {
        "drafts": {"prepared": ledger.drafts, "discarded": ledger.drafts_discarded},
        "LLM": llm,
        "TTS": {"flushes": ledger.flushes, "characters": ledger.characters},
        "sound": {
            "underruns": ledger.underruns,
            "xruns": ledger.xruns,
            "false alarms": ledger.false_alarms,
        },
    }
    return [f"{what}: {listed(counts)}" for what, counts in told.items() if any(counts.values())]


def _doubts(turns: Sequence[Turn]) -> list[str]:
    doubted = [turn for turn in turns if turn.unreliable]
    if not doubted:
        return []
    which = ", ".join(f"#{turn.turn}" for turn in doubted)
    return [f"not reliable: {len(doubted)} of {len(turns)} turns ({which})"]


def _price(cost: Cost) -> str:
    if cost.total is None:
        return "cost: not known"
    if not cost.total:
        return "cost: nothing"
    parts = {"STT": cost.stt, "LLM": cost.llm, "TTS": cost.tts}
    known = ", ".join(f"{name} {_usd(part)}" for name, part in parts.items() if part is not None)
    how = "at least" if cost.lower_bound else "about"
    return f"cost: {how} ${_usd(cost.total)} ({known}; estimated, list prices of {PRICES_OF})"


def _usd(amount: float) -> str:
    return f"{amount:.4f}"
