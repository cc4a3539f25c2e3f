"""A session in numbers, by name: the one vocabulary of tables, JSON, ``--expect`` and ``--slo``.

mouth_to_ear.p95     a metric's statistic: see ``milestones`` and ``percentiles``
raw.llm.ttft.p50     of a duration by itself, whether or not it was waited for
no_reply             a count of the ledger, or a rate (0 to 1)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from voicecli.metrics.stages import MOUTH_TO_EAR, RAW, STAGES
from voicecli.metrics.turns import Turn
from voicecli.metrics.usage import SessionUsage
from voicecli.units import Seconds

NEEDED = {"p95": 20, "p99": 100}
"""Values below which a percentile is withheld."""

STATISTICS = ("n", "min", "p50", "p90", "p95", "p99", "max")
"""What is known of each metric, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Of ``n`` values, in their unit.  None: there is no value, or too few for this one."""

    n: int = 0
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


def percentile(ordered: Sequence[float], share: float) -> float:
    """What ``share`` (0 to 1) of the values in ``ordered`` do not exceed.

    ordered: ascending, at least one.
    """
    rank = share * (len(ordered) - 1)
    below = min(int(rank), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    low, high = ordered[below], ordered[above]
    return min(low + (rank - below) * (high - low), high)


def describe(values: Iterable[float]) -> Distribution:
    """The spread of ``values``, in any order."""
    ordered = sorted(values)
    count = len(ordered)
    if not count:
        return Distribution()
    return Distribution(
        n=count,
        min=ordered[0],
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p95=percentile(ordered, 0.95) if count >= NEEDED["p95"] else None,
        p99=percentile(ordered, 0.99) if count >= NEEDED["p99"] else None,
        max=ordered[-1],
    )


METRICS = (MOUTH_TO_EAR, *STAGES, *(f"raw.{name}" for name in RAW))
"""Durations that are spread over turns, in the order in which they are shown."""

MICROSECOND: Seconds = 1e-6
"""Less than this is the arithmetic's: 1.3 - 1.0 is a little more than 0.3."""

RATES = ("draft_discard_rate", "cutoff_rate", "interruption_rate")

COUNTS = (*(one.name for one in fields(SessionUsage) if one.name != "seconds"), *RATES)
"""What is counted once for a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What expectations are held against.

    spreads: durations in seconds, by metric.
    counts: by name; None: unknown, or a share of nothing.
    """

    spreads: Mapping[str, Distribution] = field(default_factory=dict)
    counts: Mapping[str, float | None] = field(default_factory=dict)


def summarize(turns: Sequence[Turn], ledger: SessionUsage) -> Summary:
    """The numbers of ``turns``, cold and unreliable ones included."""
    values: dict[str, list[Seconds]] = {name: [] for name in METRICS}
    for turn in turns:
        if turn.mouth_to_ear is not None:
            values[MOUTH_TO_EAR].append(turn.mouth_to_ear)
        for name, took in turn.stages.items():
            values[name].append(took)
        for name, took in turn.raw.items():
            values[f"raw.{name}"].append(took)
    return Summary(
        spreads={name: describe(took) for name, took in values.items()},
        counts={name: getattr(ledger, name) for name in COUNTS},
    )


def list_metrics(metrics: Sequence[str] = METRICS, counts: Sequence[str] = COUNTS) -> list[str]:
    """Every name that may be expected something of, statistics included."""
    return [*(f"{metric}.{one}" for metric in metrics for one in STATISTICS), *counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What a turn may take, in seconds; see ``BUDGETED``."""

    stt: Seconds = 0.3
    llm: Seconds = 0.2
    tts: Seconds = 0.25
    total: Seconds = 3.0


BUDGETED: Mapping[str, str] = {
    "stt": "raw.stt.ttfs",
    "llm": "raw.llm.ttft",
    "tts": "raw.tts.ttfa",
    "total": MOUTH_TO_EAR,
}
"""The metric that each budget is for.  A service's budget is for what it took by itself: it is not
met by doing something else meanwhile.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """A budget that a turn missed.

    metric: without "raw."; took, budget: seconds.
    """

    metric: str
    took: Seconds
    budget: Seconds


def find_overruns(turn: Turn, budgets: Budgets) -> list[Overrun]:
    """The budgets that ``turn`` missed."""
    missed = []
    for name, metric in BUDGETED.items():
        metric = metric.removeprefix("raw.")
        took = turn.mouth_to_ear if metric == MOUTH_TO_EAR else turn.raw.get(metric)
        budget: Seconds = getattr(budgets, name)
        if took is not None and took - budget >= MICROSECOND:
            missed.append(Overrun(metric=metric, took=took, budget=budget))
    return missed
