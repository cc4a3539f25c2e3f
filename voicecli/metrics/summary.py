"""Sums a session up: how each duration is distributed, what was counted, which budgets were missed.

The names are the one vocabulary of tables, JSON, ``--expect`` and ``--slo``:

    mouth_to_ear.p95     a metric's statistic
    raw.llm.ttft.p50     of a raw duration, whether or not it was waited for
    stop_ms.p50          of an interaction metric in milliseconds
    no_reply             a count of the session, a rate (0 to 1), or seconds
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from voicecli.metrics.interaction import (
    INTERACTION_COUNTS,
    INTERACTION_DURATIONS,
    INTERACTION_METRICS,
    MIN_EVENTS,
    Interaction,
    InteractionMetric,
    InteractionTally,
)
from voicecli.metrics.stages import BUDGETED, MOUTH_TO_EAR, RAW, RAW_PREFIX, STAGES
from voicecli.metrics.turns import Turn
from voicecli.metrics.usage import COUNTS, SessionUsage
from voicecli.settings import timeout
from voicecli.units import Seconds

MIN_COUNT = {"p95": 20, "p99": 100}
"""A percentile of fewer values is withheld: it would be little else than the largest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How ``n`` values are distributed, in their unit; None: there are too few values."""

    n: int = 0
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


STATISTICS = tuple(one.name for one in fields(Distribution))


def describe(values: Iterable[float]) -> Distribution:
    """Describe the distribution of ``values``, given in any order.

    Percentiles interpolate linearly between the two nearest ranks (type 7 of Hyndman and Fan).
    """
    from numpy import percentile  # 0.1 s, which loading a profile does not pay

    if not (ordered := sorted(values)):
        return Distribution()
    shares = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
    known = {name: float(percentile(ordered, share)) for name, share in shares.items()}
    withheld = {name: None for name, least in MIN_COUNT.items() if len(ordered) < least}
    return Distribution(n=len(ordered), min=ordered[0], max=ordered[-1], **(known | withheld))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a metric came to.

    hits, n: the events with the outcome, of how many.
    value: the rate, count or sum; None where it is withheld, not scorable, or a distribution.
    distribution: in seconds; None where it is none.
    why: why it is withheld or not scorable; "" if it is known.
    """

    metric: InteractionMetric
    n: int
    hits: int
    value: float | None
    distribution: Distribution | None = None
    why: str = ""


def score(tally: InteractionTally) -> dict[str, Score]:
    """Compute every interaction metric, by name."""
    return {name: _score(metric, tally) for name, metric in INTERACTION_METRICS.items()}


def _score(metric: InteractionMetric, tally: InteractionTally) -> Score:
    labelled = tally.labelled or not metric.unlabelled
    subjects = metric.subjects if labelled else metric.unlabelled
    n, hits = tally.count(metric.among or subjects), tally.count(subjects, metric.outcomes)
    if metric.name == "wer":
        n, hits = tally.words, tally.wrong
    value: float | None = None
    distribution = None
    if metric.unit == "ms":
        distribution = describe(tally.values.get(metric.value, ()))
        n = hits = distribution.n
    why = tally.unscorable.get(metric.name, "") if not n else ""
    if metric.unit == "rate" and n < MIN_EVENTS:
        why = why or f"withheld: n is {n}, {MIN_EVENTS} needed"
    elif metric.unit == "rate":
        value = hits / n
    elif metric.unit == "count" and not why:
        value = float(hits)
    elif metric.unit == "s" and not why:
        value = sum(tally.seconds.get(subject, 0.0) for subject in subjects)
    return Score(metric=metric, n=n, hits=hits, value=value, distribution=distribution, why=why)


METRICS = (MOUTH_TO_EAR.name, *STAGES, *(f"{RAW_PREFIX}{name}" for name in RAW))
"""The names of the durations of a turn, in the order in which they are shown."""

ROUNDING: Seconds = 1e-6
"""A smaller excess is due to floating-point arithmetic: 1.3 - 1.0 is a little more than 0.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The numbers of a session, by name.

    distributions: durations, in seconds.
    counts: None: unknown, or a share of nothing or of too little.
    unknown: why a count is None, where there is more to say.
    """

    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    counts: Mapping[str, float | None] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)


def summarize(turns: Sequence[Turn], usage: SessionUsage, interaction: Interaction) -> Summary:
    """Sum up ``turns``, cold and unreliable ones included."""
    values: dict[str, list[Seconds]] = {name: [] for name in METRICS}
    for turn in turns:
        if turn.mouth_to_ear is not None:
            values[MOUTH_TO_EAR.name].append(turn.mouth_to_ear)
        for name, took in turn.stages.items():
            values[name].append(took)
        for name, took in turn.raw.items():
            values[f"{RAW_PREFIX}{name}"].append(took)
    return summarize_values(values, usage, interaction.tally)


def summarize_values(
    values: Mapping[str, Iterable[Seconds]], usage: SessionUsage, interaction: InteractionTally
) -> Summary:
    """Sum up the durations ``values``, by name, of the turns of one session or of many."""
    scores = score(interaction)
    return Summary(
        distributions={name: describe(values.get(name, ())) for name in METRICS}
        | {name: one.distribution for name, one in scores.items() if one.distribution is not None},
        counts={name: getattr(usage, name) for name in COUNTS}
        | {name: scores[name].value for name in INTERACTION_COUNTS},
        unknown={name: one.why for name, one in scores.items() if one.why},
    )


def list_metrics(
    metrics: Iterable[str] = (*METRICS, *INTERACTION_DURATIONS),
    counts: Iterable[str] = (*COUNTS, *INTERACTION_COUNTS),
) -> list[str]:
    """List every name that a threshold may use, statistics included."""
    return [*(f"{metric}.{one}" for metric in metrics for one in STATISTICS), *counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What a turn may take; longer is reported, not prevented."""

    stt: Seconds = timeout(300, "From the end of the user's voice to the final transcript.")
    llm: Seconds = timeout(200, "From the request to the first token.")
    tts: Seconds = timeout(250, "From the first text to the first audio.")
    total: Seconds = timeout(3000, "Mouth to ear.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """A budget that a turn missed; ``took`` and ``budget`` in seconds."""

    metric: str
    took: Seconds
    budget: Seconds


def find_overruns(turn: Turn, budgets: Budgets) -> list[Overrun]:
    """Find the budgets that ``turn`` missed."""
    missed = []
    for name, metric in BUDGETED.items():
        took = turn.mouth_to_ear if metric is MOUTH_TO_EAR else turn.raw.get(metric.name)
        budget: Seconds = getattr(budgets, name)
        if took is not None and took - budget >= ROUNDING:
            missed.append(Overrun(metric=metric.name, took=took, budget=budget))
    return missed
