"""A session as JSON: ``result.json``.

Durations are milliseconds, and say so; null is what was not measured, 0 what was measured as zero.
Within one schema_version, keys are only added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from voicecli import __version__
from voicecli.metrics.stages import RAW, STAGES
from voicecli.metrics.summary import (
    STATISTICS,
    Budgets,
    Distribution,
    Summary,
    find_overruns,
)
from voicecli.metrics.thresholds import Verdict
from voicecli.metrics.turns import Turn
from voicecli.metrics.usage import RATES, Cost, SessionUsage
from voicecli.report.format import exact_ms, round_parts
from voicecli.sanitize import sanitize_line
from voicecli.services import PRICE_SOURCES, PRICES_OF

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a session was held with.

    profile: the name; resolved: its settings as plain data, of which only a hash is told.
    environment: what else there is to know: platform, devices, versions.
    """

    profile: str = ""
    resolved: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


def result(
    turns: Sequence[Turn],
    ledger: SessionUsage,
    summary: Summary,
    budgets: Budgets,
    cost: Cost,
    *,
    setting: Setting,
    verdicts: Sequence[Verdict] = (),
) -> dict[str, Any]:
    """The session as plain data, ready for ``written``."""
    doubts = [f"turn {turn.turn}: {why}" for turn in turns for why in turn.unreliable]
    return {
        "schema_version": SCHEMA_VERSION,
        "program": "voicecli",
        "version": __version__,
        "profile": {"name": setting.profile or None, "hash": profile_hash(setting.resolved)},
        "environment": dict(setting.environment),
        "measurement": {"reliable": not doubts, "reasons": doubts},
        "turns": [_turn(turn, budgets) for turn in turns],
        "summary": {name: _spread(one) for name, one in summary.distributions.items()},
        "budgets_ms": {name: exact_ms(one) for name, one in asdict(budgets).items()},
        "ledger": _ledger(ledger),
        "cost": priced(cost),
        "expectations": [judgement(verdict) for verdict in verdicts],
    }


def written(result: Mapping[str, Any]) -> str:
    """``result`` as JSON: ASCII, so that it may be printed, and no NaN."""
    return json.dumps(result, indent=2, allow_nan=False)


def profile_hash(resolved: Mapping[str, Any]) -> str:
    """A name for these very settings: 16 digits of the SHA-256 of their canonical JSON."""
    canonical = json.dumps(resolved, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _turn(turn: Turn, budgets: Budgets) -> dict[str, Any]:
    failure = turn.failure
    return {
        "turn": turn.turn,
        "at_s": round(turn.at, 6),
        "outcome": turn.outcome,
        "reason": turn.reason,
        "user_text": sanitize_line(turn.user_text),
        "said": sanitize_line(turn.said),
        "heard_s": round(turn.heard, 6),
        "mouth_to_ear_ms": exact_ms(turn.mouth_to_ear),
        "stages_ms": _stages(turn),
        "raw_ms": {name: exact_ms(turn.raw.get(name)) for name in RAW},
        "over_budget": [one.metric for one in find_overruns(turn, budgets)],
        "failure": failure
        and {"service": failure.service, "reason": sanitize_line(failure.reason)},
        "drafted": turn.drafted,
        "requests": turn.requests,
        "hedges": turn.hedges,
        "retries": turn.retries,
        "tokens": turn.tokens,
        "prompt_tokens": turn.prompt_tokens,
        "flushes": turn.flushes,
        "characters": turn.characters,
        "underruns": turn.underruns,
        "cut_off": turn.cut_off,
        "cold": turn.cold,
        "reliable": not turn.unreliable,
        "unreliable": list(turn.unreliable),
    }


def _stages(turn: Turn) -> dict[str, float | None]:
    """In milliseconds, to the microsecond, and the sum is mouth_to_ear_ms to the microsecond."""
    parts = round_parts(turn.stages, turn.mouth_to_ear or 0.0, per_second=1_000_000)
    return {name: parts[name] / 1000 if name in parts else None for name in STAGES}


def _spread(spread: Distribution) -> dict[str, Any]:
    others = STATISTICS[1:]
    return {"n": spread.n} | {f"{one}_ms": exact_ms(getattr(spread, one)) for one in others}


def _ledger(ledger: SessionUsage) -> dict[str, Any]:
    counts = asdict(ledger)
    times = {"session_s": counts.pop("seconds"), "listened_s": counts.pop("listened")}
    return counts | {name: getattr(ledger, name) for name in RATES} | times


def priced(cost: Cost) -> dict[str, Any]:
    """What a session or a probe cost, as plain data."""
    return {
        "currency": "USD",
        "estimated": True,
        "prices_of": PRICES_OF,
        "sources": list(PRICE_SOURCES),
        "total": cost.total,
        **asdict(cost),
    }


def judgement(verdict: Verdict) -> dict[str, Any]:
    """What became of an expectation, as plain data."""
    return {
        "expectation": verdict.threshold.text,
        "met": verdict.met,
        "value": verdict.value,
        "why": verdict.why,
    }
