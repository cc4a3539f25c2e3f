"""Of measured values: which of them stand apart, and how sure a change of them is.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from voicecli.percentiles import NEEDED

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
