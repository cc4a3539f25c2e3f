"""The one change that would help most: each is predicted, the best is told.  Pure.

A change is a setting of the profile, or a service that keeps its budget.  What would cut users off
more often (shorter endpointing, shorter waits before the commitment) is not among them: a probe
cannot see the price of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from voicecli.metrics.summary import Budgets
from voicecli.probe.prediction import Measured, Prediction, Waits, predicted
from voicecli.units import Seconds

WORTH_IT: Seconds = 0.010
"""Less is not worth a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A change, what it is good for, and what to expect with it."""

    change: str
    prediction: Prediction
    saves: Seconds


def find_advice(measured: Measured, waits: Waits, budgets: Budgets) -> list[Advice]:
    """All changes worth it, the best first: by P95 where it is known, else by P50."""
    now = predicted(measured, waits)
    if now is None:
        return []
    found = []
    for change, changed, other in _changes(measured, waits, budgets):
        then = predicted(changed, other)
        if then is not None and (saves := _headline(now) - _headline(then)) >= WORTH_IT:
            found.append(Advice(change=change, prediction=then, saves=saves))
    return sorted(found, key=lambda lever: -lever.saves)


def _headline(prediction: Prediction) -> Seconds:
    spread = prediction.spread
    return spread.p95 if spread.p95 is not None else spread.p50 or 0.0


def _changes(
    measured: Measured, waits: Waits, budgets: Budgets
) -> Iterator[tuple[str, Measured, Waits]]:
    """Each change, in words; and what would be measured and waited for then."""
    if waits.detect == "endpointing":
        yield "turn.detect: vad", measured, replace(waits, detect="vad")
    elif waits.draft == "off":
        yield "turn.draft: llm", measured, replace(waits, draft="llm")
    elif waits.draft == "llm":
        yield "turn.draft: llm+tts", measured, replace(waits, draft="llm+tts")
    if waits.hedge is None:
        yield "llm.hedge_ms: auto", measured, replace(waits, hedge="auto")
    if not waits.flush_each:
        yield "tts.flush: clauses", measured, replace(waits, flush_each=True)
    yield from ((change, better, waits) for change, better in _services(measured, budgets))


def _services(measured: Measured, budgets: Budgets) -> Iterator[tuple[str, Measured]]:
    """Each service as it would be if it kept its budget."""
    budget = budgets.llm
    if any(one.ttft > budget for one in measured.thought):
        thought = [
            replace(one, ttft=min(one.ttft, budget), total=one.total - max(one.ttft - budget, 0))
            for one in measured.thought
        ]
        yield _within("an LLM", "llm.ttft", budget), replace(measured, thought=thought)
    budget = budgets.tts
    if any(one.ttfa > budget for one in measured.spoken):
        spoken = [replace(one, ttfa=min(one.ttfa, budget)) for one in measured.spoken]
        yield _within("a TTS", "tts.ttfa", budget), replace(measured, spoken=spoken)
    budget = budgets.stt
    heard = [
        replace(one, final=min(one.final or budget, max(budget - one.noticed, 0.0)))
        for one in measured.heard
    ]
    endpoints = [min(one, budget) for one in measured.endpoints]
    if _differ(measured, heard, endpoints):
        stt = replace(measured, heard=heard, endpoints=endpoints)
        yield _within("an STT", "stt.ttfs", budget), stt


def _differ(measured: Measured, heard: Sequence[object], endpoints: Sequence[Seconds]) -> bool:
    return list(heard) != list(measured.heard) or list(endpoints) != list(measured.endpoints)


def _within(service: str, metric: str, budget: Seconds) -> str:
    return f"{service} that keeps its budget ({metric} {budget * 1000:.0f} ms)"
