"""Two probes, one after the other: what changed beyond noise.  Pure.

Only what rests on five readings or more on both sides is compared, and a change counts when it is
sure (bootstrap), large in proportion, and large in itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from voicecli.errors import UsageError
from voicecli.metrics.summary import NEEDED
from voicecli.probe.metrics import METRICS

FLOORS: Mapping[str, float] = {"ms": 20.0, "tokens/s": 5.0, "× real time": 0.05}
"""By unit: a smaller change is none.  20 ms is what this machine's own loop may be late by."""

MORE_IS_BETTER = ("llm.rate", "cold.llm.rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Of a metric, in its unit; durations in milliseconds."""

    metric: str
    unit: str
    difference: Difference

    @property
    def worse(self) -> bool:
        """Whether it changed beyond noise, and not for the better."""
        risen = self.difference.after > self.difference.before
        return self.difference.beyond_noise and risen is not (self.metric in MORE_IS_BETTER)

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "metric": self.metric,
            "unit": self.unit,
            **asdict(self.difference),
            "worse": self.worse,
        }


def check_comparable(before: Mapping[str, Any], basis: Mapping[str, Any]) -> None:
    """Raise UsageError where a probe on ``basis`` says nothing about the one ``before``."""
    old = before.get("basis") or {}
    for key in sorted(old.keys() | basis.keys()):
        if old.get(key) != basis.get(key):
            raise UsageError(
                f"the probes cannot be compared: {key} was {old.get(key)!r}, "
                f"and is {basis.get(key)!r}",
                hint="Compare like with like, or save a new one with --save.",
            )


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What is known of both, and how it differs; ``result``s of two probes."""
    changes = []
    for name in METRICS:
        old, new = (_values(one, name) for one in (before, after))
        unit = METRICS[name].unit
        changes += [
            Change(metric=name, unit=unit, difference=one)
            for one in differences(old, new, FLOORS[unit])
        ]
    return changes


def _values(result: Mapping[str, Any], name: str) -> list[float]:
    try:
        metric = result["metrics"][name]
        return [float(value) for value in metric.get("values_ms", metric.get("values", ()))]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


FAR = 3.5
"""Modified z-score of an outlier (Iglewicz and Hoaglin, 1993)."""

FEW = 5
"""Among fewer values none stands apart, and no change is sure."""

LEAST_SPREAD = 0.02
"""Of the median: values closer than this are equal, and do not make others outliers."""

LEAST_DEVIATION = 0.001
"""A millisecond, where the median is next to nothing."""

MANY = 0.2

RESAMPLES = 2000
SEED = 1

RELATIVE = 0.10
"""A change of less is none, however sure."""


def outliers(values: Sequence[float]) -> list[int]:
    """Where in ``values`` those are that stand apart: by median and median deviation (MAD).

    Where many do, there are two kinds of values, and none stands apart.
    """
    if len(values) < FEW:
        return []
    middle = median(values)
    deviation = median(abs(value - middle) for value in values)
    deviation = max(deviation, LEAST_SPREAD * abs(middle), LEAST_DEVIATION)
    apart = [
        index
        for index, value in enumerate(values)
        if 0.6745 * abs(value - middle) / deviation > FAR
    ]
    return apart if len(apart) <= MANY * len(values) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Of a statistic, after minus before; low, high: 95 % bootstrap interval of that.

    beyond_noise: whether it is certain, and large, and large for what is measured.
    """

    statistic: str
    before: float
    after: float
    low: float
    high: float
    beyond_noise: bool


def differences(before: Sequence[float], after: Sequence[float], floor: float) -> list[Difference]:
    """Of the median, and of P95 where there are values enough; none where a side has few values.

    floor: a change of less is none, however sure and however large in proportion.
    """
    found = []
    for statistic, share in (("p50", 50.0), ("p95", 95.0)):
        if min(len(before), len(after)) < NEEDED.get(statistic, FEW):
            continue
        dice = np.random.default_rng(SEED)
        old, new = np.array(before), np.array(after)
        way = _resampled(new, share, dice) - _resampled(old, share, dice)
        low, high = (float(edge) for edge in np.percentile(way, [2.5, 97.5]))
        was, now = float(np.percentile(old, share)), float(np.percentile(new, share))
        change = abs(now - was)
        sure = (low > 0 or high < 0) and change > floor and change > RELATIVE * abs(was)
        found.append(
            Difference(
                statistic=statistic, before=was, after=now, low=low, high=high, beyond_noise=sure
            )
        )
    return found


def _resampled(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], share: float, dice: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The statistic of many samples drawn from ``values`` with replacement."""
    samples = dice.choice(values, (RESAMPLES, len(values)))
    return np.asarray(np.percentile(samples, share, axis=1))
