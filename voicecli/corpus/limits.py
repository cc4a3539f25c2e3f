"""Keeps the limits of the services' accounts over all workers of a run.

A conversation cannot wait in its middle: what it waited would be measured.  So a limit is kept by
how many sessions run at a time, each with the connections that it holds and the requests and tokens
a minute that it is expected to need.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from voicecli.corpus.unit import Unit, UnitResult
from voicecli.errors import UsageError, suggest
from voicecli.metrics.usage import SessionUsage
from voicecli.profile import Profile
from voicecli.report.json_result import decode_usage
from voicecli.sanitize import sanitize_short
from voicecli.services import find_provider

LIMITS = {
    "stt": "connections to the STT at once",
    "tts": "connections to the TTS at once",
    "llm.requests": "requests to the LLM a minute",
    "llm.tokens": "tokens of the LLM a minute, of prompts and replies",
}
"""What each limit counts, by name."""

BURST = 3
"""Requests come at random: as many standard deviations of a minute's count are reserved beside its
mean, of which the deviation is the square root (Poisson)."""

SHORTEST_MINUTES = 1 / 60
"""Of a session, so that a rate is finite."""


def parse_limits(texts: Iterable[str]) -> dict[str, int]:
    """Return the limits that ``NAME=N`` give; raises UsageError."""
    limits = {}
    for text in texts:
        name, _, number = text.partition("=")
        if name not in LIMITS:
            names = ", ".join(LIMITS)
            hint = suggest(name, LIMITS) or f"Known are {names}."
            raise UsageError(f"--limit {sanitize_short(text)!r}: no such limit", hint=hint)
        if not number.isdecimal() or not int(number):
            raise UsageError(
                f"--limit {sanitize_short(text)!r}: not a number from 1 on",
                hint=f"{name}=N: {LIMITS[name]}.",
            )
        limits[name] = int(number)
    return limits


def choose_limits(profiles: Sequence[Profile], given: Mapping[str, int]) -> dict[str, int]:
    """Return the limits ``given``, and for real services those of their smallest plan."""
    limits = dict(given)
    for profile in profiles:
        for role in ("stt", "tts"):
            if profile.standin is None and role not in given:
                most = find_provider(role, getattr(profile, role).provider).connections
                if most is not None:
                    limits[role] = min(limits.get(role, most), most)
    return limits


@dataclass(slots=True)
class _Rate:
    """What the units so far were forecast to use a minute, and used."""

    forecast: float = 0.0
    used: float = 0.0

    @property
    def correction(self) -> float:
        """How many times the forecast was used."""
        return self.used / self.forecast if self.forecast and self.used else 1.0


class Gate:
    """Admits units as the limits allow; one is always admitted."""

    def __init__(self, limits: Mapping[str, int], forecast: Callable[[Unit], SessionUsage]) -> None:
        self._limits = limits
        self._forecast = forecast
        self._running: dict[str, dict[str, float]] = {}
        self._rates = {name: _Rate() for name in LIMITS if "." in name}  # not connections
        self._changed = asyncio.Condition()

    async def admit(self, unit: Unit) -> None:
        """Wait until the limits allow one more session."""
        if not self._limits:
            return
        demand = count_demand(self._forecast(unit))
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(demand))
            self._running[unit.id] = demand

    async def leave(self, unit: Unit, result: UnitResult | None) -> None:
        """Note that the session has ended, and what it used."""
        if not self._limits:
            return
        async with self._changed:
            demand = self._running.pop(unit.id)
            if result is not None and result.result is not None:
                used = count_demand(decode_usage(result.result["ledger"]))
                for name, rate in self._rates.items():
                    rate.forecast += demand[name]
                    rate.used += used[name]
            self._changed.notify_all()

    def _has_room(self, demand: Mapping[str, float]) -> bool:
        return not self._running or all(
            self._reserve(name, [*self._running.values(), demand]) <= limit
            for name, limit in self._limits.items()
        )

    def _reserve(self, name: str, demands: Sequence[Mapping[str, float]]) -> float:
        """Return what is kept free for sessions with these demands."""
        total = self._sum(name, demands)
        if name not in self._rates:
            return total
        requests = max(1.0, self._sum("llm.requests", demands))
        return total * (1.0 + BURST / math.sqrt(requests))

    def _sum(self, name: str, demands: Sequence[Mapping[str, float]]) -> float:
        correction = self._rates[name].correction if name in self._rates else 1.0
        return correction * sum(one[name] for one in demands)


def count_demand(usage: SessionUsage) -> dict[str, float]:
    """Return what a session needs of each limit while it runs."""
    minutes = max(usage.seconds / 60, SHORTEST_MINUTES)
    tokens = (usage.prompt_tokens or 0) + (usage.tokens or 0)
    discarded = usage.discarded_prompt_tokens + usage.discarded_tokens
    return {
        "stt": 1,
        "tts": 1,
        "llm.requests": usage.llm_requests / minutes,
        "llm.tokens": (tokens + discarded) / minutes,
    }
