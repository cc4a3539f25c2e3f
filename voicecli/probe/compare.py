"""Compares two runs of the probe: what changed beyond noise.  Pure.

A metric needs five values on both sides to be compared.  A change counts when it is certain
(bootstrap), large in proportion, and large in absolute terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voicecli.errors import UsageError
from voicecli.metrics.summary import MIN_COUNT
from voicecli.probe.results import METRICS

MIN_CHANGES: Mapping[str, float] = {"ms": 20.0, "tokens/s": 5.0, "× real time": 0.05}
"""By unit: a smaller change is ignored.  This machine's own loop may be 20 ms late."""

HIGHER_IS_BETTER = ("llm.rate",)

OUTLIER_SCORE = 3.5
"""Modified z-score (Iglewicz and Hoaglin, 1993)."""

MIN_VALUES = 5
"""Fewer have no outliers, and no median to compare."""

MIN_RELATIVE_SPREAD = 0.02
"""Of the median: the values of a narrow distribution do not make others outliers."""

MIN_DEVIATION = 0.001
"""A millisecond, for a median close to 0."""

MAX_OUTLIERS = 0.2
"""Share of the values."""

RESAMPLES = 2000
"""How often the values of each side are drawn again, with replacement."""

SEED = 1

MIN_RELATIVE_CHANGE = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a metric's statistic changed, in the metric's unit; durations in milliseconds.

    low, high: 95 % bootstrap interval of ``after - before``.
    """

    metric: str
    unit: str
    statistic: str
    before: float
    after: float
    low: float
    high: float
    beyond_noise: bool

    @property
    def worse(self) -> bool:
        """Whether it changed beyond noise and for the worse."""
        risen = self.after > self.before
        return self.beyond_noise and risen is not (self.metric in HIGHER_IS_BETTER)


def check_comparable(before: Mapping[str, Any], basis: Mapping[str, Any]) -> None:
    """Raise UsageError if the saved run ``before`` was made with another ``basis``."""
    old = before.get("basis") or {}
    for key in sorted(old.keys() | basis.keys()):
        if key.endswith(".provider") and key not in old:
            continue  # saved when there was one provider only
        if old.get(key) != basis.get(key):
            raise UsageError(
                f"the probes cannot be compared: {key} was {old.get(key)!r}, "
                f"and is {basis.get(key)!r}",
                hint="Use the same settings, or save a new probe with --save.",
            )


def compare_results(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare each metric of two results, which ``json_result.build_result`` made."""
    changes: list[Change] = []
    for name in METRICS:
        changes += find_changes(name, *(_values(result, name) for result in (before, after)))
    return changes


def _values(result: Mapping[str, Any], name: str) -> list[float]:
    try:
        metric = result["metrics"][name]
        return [float(value) for value in metric.get("values_ms", metric.get("values", ()))]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return []


def find_outliers(values: Sequence[float]) -> list[int]:
    """Indexes of the outliers among ``values``, by the median absolute deviation (MAD).

    If many values qualify, the distribution has two peaks, and none is an outlier.
    """
    if len(values) < MIN_VALUES:
        return []
    middle = float(np.median(values))
    distances = np.abs(np.array(values) - middle)
    deviation = max(np.median(distances), MIN_RELATIVE_SPREAD * abs(middle), MIN_DEVIATION)
    outliers: list[int] = np.flatnonzero(0.6745 * distances / deviation > OUTLIER_SCORE).tolist()
    return outliers if len(outliers) <= MAX_OUTLIERS * len(values) else []


def find_changes(metric: str, before: Sequence[float], after: Sequence[float]) -> list[Change]:
    """Compare the median, and P95 if there are enough values; empty if a side has too few."""
    found = []
    unit, old, new = METRICS[metric].unit, np.array(before), np.array(after)
    for statistic, share in (("p50", 50.0), ("p95", 95.0)):
        if min(len(old), len(new)) < MIN_COUNT.get(statistic, MIN_VALUES):
            continue
        rng = np.random.default_rng(SEED)
        after_drawn, before_drawn = (
            np.percentile(rng.choice(values, (RESAMPLES, len(values))), share, axis=1)
            for values in (new, old)
        )
        low, high = np.percentile(after_drawn - before_drawn, [2.5, 97.5]).tolist()
        was, now = float(np.percentile(old, share)), float(np.percentile(new, share))
        certain = low > 0 or high < 0
        large = abs(now - was) > max(MIN_CHANGES[unit], MIN_RELATIVE_CHANGE * abs(was))
        change = Change(
            metric=metric,
            unit=unit,
            statistic=statistic,
            before=was,
            after=now,
            low=low,
            high=high,
            beyond_noise=certain and large,
        )
        found.append(change)
    return found
