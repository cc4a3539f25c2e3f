"""A session as JSON: ``result.json``, and the JSON lines of a conversation that is followed live.

Durations are milliseconds and say so; null is what was not measured, 0 what was measured as zero.
Within one schema_version, keys are only added.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from voicecli import __version__
from voicecli.metrics.interaction import WINDOWS, Interaction, InteractionTally, encode_interaction
from voicecli.metrics.stages import MOUTH_TO_EAR, RAW, RAW_PREFIX, STAGES
from voicecli.metrics.summary import (
    STATISTICS,
    Budgets,
    Distribution,
    Summary,
    find_overruns,
    score,
)
from voicecli.metrics.thresholds import Verdict
from voicecli.metrics.turns import Turn
from voicecli.metrics.usage import RATES, Cost, SessionUsage
from voicecli.report.format import round_parts, to_ms
from voicecli.sanitize import create_redactor, sanitize_line
from voicecli.services import PRICE_SOURCES, PRICES_OF
from voicecli.timeline import Entry, encode
from voicecli.units import Seconds

SCHEMA_VERSION = 1

_UNCHANGED = """drafted requests hedges retries tokens prompt_tokens flushes characters underruns
cut_off cut_off_heard truncated cold end_score"""
"""The fields of a turn that the result holds as they are."""

_OF_THE_LEDGER = ("no_reply", "cutoff_rate")
"""Interaction metrics that have been in the ledger since before there were others."""


def build_result(
    turns: Sequence[Turn],
    usage: SessionUsage,
    interaction: Interaction,
    summary: Summary,
    budgets: Budgets,
    cost: Cost,
    verdicts: Sequence[Verdict] = (),
    *,
    profile_name: str = "",
    resolved: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """Build the result of a session as plain data.

    resolved: the profile's settings as plain data, of which only a hash is reported.
    environment: platform, versions.
    """
    doubts = [f"turn {turn.turn}: {why}" for turn in turns for why in turn.unreliable]
    return {
        "schema_version": SCHEMA_VERSION,
        "program": "voicecli",
        "version": __version__,
        "profile": {"name": profile_name or None, "hash": hash_profile(resolved)},
        "environment": dict(environment),
        "measurement": {"reliable": not doubts, "reasons": doubts},
        "turns": [encode_turn(turn, budgets) for turn in turns],
        "summary": {name: encode_distribution(one) for name, one in summary.distributions.items()},
        "budgets_ms": {name: to_ms(one) for name, one in asdict(budgets).items()},
        "ledger": encode_usage(usage) | {name: summary.counts[name] for name in _OF_THE_LEDGER},
        "interaction": _encode_interaction(interaction),
        "cost": encode_cost(cost),
        "expectations": [encode_verdict(verdict) for verdict in verdicts],
    }


def dump_result(result: Mapping[str, Any]) -> str:
    """Return ``result`` as JSON: ASCII, so that it may be printed, and without NaN."""
    return json.dumps(result, indent=2, allow_nan=False)


def hash_profile(resolved: Mapping[str, Any]) -> str:
    """Return 16 digits of the SHA-256 of the settings' canonical JSON."""
    canonical = json.dumps(resolved, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def describe_environment() -> dict[str, str]:
    """Return what a result reports of this machine."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def encode_turn(turn: Turn, budgets: Budgets) -> dict[str, Any]:
    """Return a turn as plain data; its foreign text is safe to print."""
    why = turn.failure
    stages = round_parts(turn.stages, turn.mouth_to_ear or 0.0, 1_000_000)  # to the microsecond
    return {
        "turn": turn.turn,
        "at_s": round(turn.at, 6),
        "outcome": turn.outcome,
        "reason": turn.reason,
        "user_text": sanitize_line(turn.user_text),
        "said": sanitize_line(turn.said),
        "said_estimated": turn.said_estimated,
        "heard_s": round(turn.heard, 6),
        "mouth_to_ear_ms": to_ms(turn.mouth_to_ear),
        "error_ms": to_ms(turn.error),
        "stages_ms": {name: stages[name] / 1000 if name in stages else None for name in STAGES},
        "raw_ms": {name: to_ms(turn.raw.get(name)) for name in RAW},
        "over_budget": [one.metric for one in find_overruns(turn, budgets)],
        "failure": why and {"service": why.service, "reason": sanitize_line(why.reason)},
        **{name: getattr(turn, name) for name in _UNCHANGED.split()},
        "went_on_ms": to_ms(turn.went_on),
        "reliable": not turn.unreliable,
        "unreliable": list(turn.unreliable),
    }


def encode_distribution(found: Distribution) -> dict[str, Any]:
    """Return the distribution of a duration as plain data."""
    others = STATISTICS[1:]
    return {"n": found.n} | {f"{one}_ms": to_ms(getattr(found, one)) for one in others}


def encode_usage(usage: SessionUsage) -> dict[str, Any]:
    """Return the counts and rates of sessions as plain data."""
    counts = asdict(usage)
    times = {"session_s": counts.pop("seconds"), "listened_s": counts.pop("listened")}
    return counts | {name: getattr(usage, name) for name in RATES} | times


def decode_usage(ledger: Mapping[str, Any]) -> SessionUsage:
    """Return the usage that a result's ledger holds."""
    times = {"seconds": ledger["session_s"], "listened": ledger["listened_s"]}
    counts = {one.name: ledger[one.name] for one in fields(SessionUsage) if one.name not in times}
    return SessionUsage(**counts, **times)


def decode_cost(cost: Mapping[str, Any]) -> Cost:
    """Return the cost that a result holds."""
    return Cost(**{one.name: cost[one.name] for one in fields(Cost)})


def list_durations(turn: Mapping[str, Any]) -> Iterator[tuple[str, Seconds]]:
    """List the durations of a result's turn that were measured, by the names of a summary."""
    named = {MOUTH_TO_EAR.name: turn["mouth_to_ear_ms"], **turn["stages_ms"]}
    named |= {f"{RAW_PREFIX}{name}": took for name, took in turn["raw_ms"].items()}
    return ((name, took / 1000) for name, took in named.items() if took is not None)


def _encode_interaction(interaction: Interaction) -> dict[str, Any]:
    events = encode_interaction(interaction)
    for row in events["transcripts"]:
        row["differences"] = [list(map(sanitize_line, pair)) for pair in row["differences"]]
    return encode_scores(interaction.tally) | events


def encode_scores(tally: InteractionTally) -> dict[str, Any]:
    """Return the interaction metrics as plain data: windows, values, and the counts behind."""
    metrics: dict[str, Any] = {}
    for name, one in score(tally).items():
        found = {"n": one.n, "hits": one.hits, "value": one.value}
        if one.distribution is not None:
            found = encode_distribution(one.distribution)
        metrics[name] = {**found, "why": one.why or None}
    return {"windows": dict(WINDOWS), "metrics": metrics}


def encode_cost(cost: Cost) -> dict[str, Any]:
    """Return what a session or a probe cost as plain data."""
    return {
        "currency": "USD",
        "estimated": True,
        "prices_of": PRICES_OF,
        "sources": list(PRICE_SOURCES),
        "total": cost.total,
        **asdict(cost),
    }


def encode_verdict(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain data."""
    return {
        "expectation": verdict.threshold.text,
        "met": verdict.met,
        "value": verdict.value,
        "why": verdict.why,
    }


@dataclass
class JsonLines:
    """A follower of a timeline that writes every entry as a line of JSON.

    Like ``timeline.jsonl``, with a schema_version in each line:

        {"schema_version": 1, "event": "FinalTranscript", "at": 3.25, "text": "Hello.", …}

    write: takes one line, without its end.
    """

    write: Callable[[str], None]
    _redact: Callable[[str], str] = field(default_factory=create_redactor, init=False)

    def __call__(self, entry: Entry) -> None:
        """Write the next entry."""
        self.write(f'{{"schema_version": {SCHEMA_VERSION}, {encode(entry, self._redact)[1:]}')


def encode_result_line(result: str) -> str:
    """Return the last of the JSON lines, which holds a result that ``dump_result`` wrote."""
    last = {"schema_version": SCHEMA_VERSION, "event": "Result", "result": json.loads(result)}
    return json.dumps(last, allow_nan=False)
