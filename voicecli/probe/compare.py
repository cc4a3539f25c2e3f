"""Compares two runs of the probe: what changed beyond noise.  Pure.

A metric needs five values on both sides to be compared.  A change counts when it is certain
(bootstrap), large in proportion, and large in absolute terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecli.errors import UsageError
from voicecli.metrics.summary import MIN_COUNT
from voicecli.probe.results import METRICS

MIN_CHANGES: Mapping[str, float] = {"ms": 20.0, "tokens/s": 5.0, "× real time": 0.05}
"""By unit: a smaller change is ignored.  This machine's own loop may be 20 ms late."""

HIGHER_IS_BETTER = ("llm.rate", "cold.llm.rate")

OUTLIER_SCORE = 3.5
"""Modified z-score (Iglewicz and Hoaglin, 1993)."""

MIN_VALUES = 5
"""For outliers, and for a change of the median."""

MIN_RELATIVE_SPREAD = 0.02
"""Of the median: the values of a narrow distribution do not make others outliers."""

MIN_DEVIATION = 0.001
"""A millisecond, for a median close to 0."""

MAX_OUTLIERS = 0.2
"""Share of the values."""

RESAMPLES = 2000
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
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def find_outliers(values: Sequence[float]) -> list[int]:
    """Indexes of the outliers among ``values``, by the median absolute deviation (MAD).

    If many values qualify, the distribution has two peaks, and none is an outlier.
    """
    if len(values) < MIN_VALUES:
        return []
    middle = median(values)
    deviation = median(abs(value - middle) for value in values)
    deviation = max(deviation, MIN_RELATIVE_SPREAD * abs(middle), MIN_DEVIATION)
    outliers = [
        index
        for index, value in enumerate(values)
        if 0.6745 * abs(value - middle) / deviation > OUTLIER_SCORE
    ]
    return outliers if len(outliers) <= MAX_OUTLIERS * len(values) else []


def find_changes(metric: str, before: Sequence[float], after: Sequence[float]) -> list[Change]:
    """Compare the median, and P95 if there are enough values; empty if a side has too few."""
    unit = METRICS[metric].unit
    found = []
    for statistic, share in (("p50", 50.0), ("p95", 95.0)):
        if min(len(before), len(after)) < MIN_COUNT.get(statistic, MIN_VALUES):
            continue
        rng = np.random.default_rng(SEED)
        old, new = np.array(before), np.array(after)
        resampled = _bootstrap(new, share, rng) - _bootstrap(old, share, rng)
        low, high = (float(edge) for edge in np.percentile(resampled, [2.5, 97.5]))
        was, now = float(np.percentile(old, share)), float(np.percentile(new, share))
        change = abs(now - was)
        certain = low > 0 or high < 0
        large = change > MIN_CHANGES[unit] and change > MIN_RELATIVE_CHANGE * abs(was)
        found.append(
            Change(
                metric=metric,
                unit=unit,
                statistic=statistic,
                before=was,
                after=now,
                low=low,
                high=high,
                beyond_noise=certain and large,
            )
        )
    return found


def _bootstrap(
    values: NDArray[np.float64], share: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The percentile of RESAMPLES samples drawn from ``values`` with replacement."""
    samples = rng.choice(values, (RESAMPLES, len(values)))
    return np.asarray(np.percentile(samples, share, axis=1))
