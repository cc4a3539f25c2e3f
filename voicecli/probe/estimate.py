"""What a probe costs, before it is begun.  Pure; list prices, see ``cost``."""

from __future__ import annotations

from collections.abc import Sequence

from voicecli.events import Service
from voicecli.metrics.usage import Cost, PricedModels, SessionUsage, estimate_cost
from voicecli.probe.llm import EXCHANGES
from voicecli.probe.schedule import Plan
from voicecli.probe.tts import CLAUSES, CLEARS, TO_CLEAR

FEW_CENTS = 0.03
"""US dollars; what costs less is not worth a sentence before it."""

UTTERANCE = 3.3
"""Seconds of audio per reading of the STT."""

LETTERS = 4
"""Of English, per token."""


def estimated(
    wanted: Sequence[Service], plan: Plan, models: PricedModels, *, max_tokens: int, kinds: int
) -> Cost:
    """Of one probe, or of an hour of watching; services that are not wanted cost 0.

    max_tokens: of a reply of the LLM, which is taken to be as long as it may be.
    kinds: readings of the STT per reading of the plan.
    """
    readings = plan.count if plan.count is not None else round(3600 / (plan.every or 1))
    uses = readings + plan.warmup * plan.workers + plan.cold
    prompt = sum(len(text) for pair in EXCHANGES for text in pair) / len(EXCHANGES) + 300
    clause = sum(map(len, CLAUSES)) / len(CLAUSES)
    llm, stt, tts = ("llm" in wanted), ("stt" in wanted), ("tts" in wanted)
    return estimate_cost(
        SessionUsage(
            listened=stt * UTTERANCE * (uses + (kinds - 1) * readings),
            llm_requests=llm * uses,
            prompt_tokens=round(llm * uses * prompt / LETTERS),
            tokens=llm * uses * max_tokens,
            characters=round(tts * (uses * clause + CLEARS * len(TO_CLEAR))),
        ),
        models,
    )
