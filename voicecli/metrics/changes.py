"""What changed between two measurements beyond noise.  Pure.

A change of a statistic counts when it is certain (its bootstrap interval excludes 0), large in
proportion, and large in absolute terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from voicecli.metrics.summary import MIN_COUNT

MIN_VALUES = 5
"""Fewer have no median to compare."""

STATISTICS = {"p50": 50.0, "p95": 95.0}
"""What is compared, with its percentile; of too few values it is left out."""

RESAMPLES = 2000
"""How often the values of each side are drawn again, with replacement."""

CHUNK = 1 << 20
"""Values that are drawn at once; bounds the memory, not the result."""

SEED = 1

CONFIDENCE = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The smallest change that matters.

    absolute: in the metric's unit.
    relative: as a share of the value before.
    """

    absolute: float
    relative: float

    def passes(self, before: float, after: float) -> bool:
        """Whether the change is larger."""
        return abs(after - before) > max(self.absolute, self.relative * abs(before))


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
    higher_is_better: bool = False

    @property
    def worse(self) -> bool:
        """Whether it changed beyond noise and for the worse."""
        return self.beyond_noise and (self.after > self.before) is not self.higher_is_better


@dataclass(frozen=True, slots=True)
class Pair:
    """Values of the same thing on both sides: of a turn of a recording, once for each repeat."""

    before: Sequence[float]
    after: Sequence[float]


def find_changes(
    metric: str,
    unit: str,
    pairs: Sequence[Pair],
    floor: Floor,
    *,
    exact: bool = False,
    higher_is_better: bool = False,
) -> list[Change]:
    """Compare the median, and P95 if there are enough values; empty if a side has too few.

    pairs: are drawn as wholes, so what distinguishes them is no noise.  One pair: independent
        values.
    exact: whether nothing is noise: values of virtual time, of which one is enough.
    """
    old, new = (np.array(_list_values(pairs, side)) for side in ("before", "after"))
    found = []
    for statistic, share in STATISTICS.items():
        least = MIN_COUNT.get(statistic, 1 if exact else MIN_VALUES)
        if min(len(old), len(new)) < least:
            continue
        low, high = _draw_interval(pairs, share)
        was, now = float(np.percentile(old, share)), float(np.percentile(new, share))
        certain = exact or low > 0 or high < 0
        change = Change(
            metric=metric,
            unit=unit,
            statistic=statistic,
            before=was,
            after=now,
            low=low,
            high=high,
            beyond_noise=certain and floor.passes(was, now),
            higher_is_better=higher_is_better,
        )
        found.append(change)
    return found


def _list_values(pairs: Sequence[Pair], side: str) -> list[float]:
    return [value for pair in pairs for value in getattr(pair, side)]


def _draw_interval(pairs: Sequence[Pair], share: float) -> tuple[float, float]:
    """Return the bootstrap interval of the difference of a percentile."""
    rng = np.random.default_rng(SEED)
    usable = [pair for pair in pairs if pair.before and pair.after]
    if not usable:
        all_before, all_after = (
            [one for pair in pairs for one in getattr(pair, side)] for side in ("before", "after")
        )
        usable = [Pair(all_before, all_after)]
    per_draw = max(max(len(one.before), len(one.after)) for one in usable)
    sides = [_Side([one.before for one in usable]), _Side([one.after for one in usable])]
    at_once = max(1, CHUNK // (len(usable) * per_draw))
    differences: list[float] = []
    while (count := min(at_once, RESAMPLES - len(differences))) > 0:
        drawn = rng.integers(len(usable), size=(count, len(usable)))
        before, after = (
            np.percentile(side.draw(drawn, per_draw, rng), share, axis=1) for side in sides
        )
        differences += (after - before).tolist()
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(differences, [tail, 100 - tail]).tolist()
    return low, high


class _Side:
    """The values of one side, pair after pair, to be drawn from."""

    def __init__(self, groups: Sequence[Sequence[float]]) -> None:
        self._values: Values = np.concatenate([np.array(group) for group in groups])
        self._sizes = np.array([len(group) for group in groups])
        self._starts = np.cumsum(self._sizes) - self._sizes

    def draw(self, pairs: NDArray[np.int64], count: int, rng: np.random.Generator) -> Values:
        """Draw ``count`` values of each of ``pairs``, which are numbers, a row for each draw."""
        shape = (*pairs.shape, count)
        within = (rng.random(shape) * self._sizes[pairs][..., None]).astype(np.int64)
        drawn: Values = self._values[self._starts[pairs][..., None] + within]
        return drawn.reshape(len(pairs), -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChange:
    """How a rate changed.

    before, after: (events, of how many).
    risen, fallen: recordings in which it is higher, and lower.
    chance: the probability that as many of those that changed would have risen, or fallen, if
        nothing had changed (sign test, one-sided).
    """

    metric: str
    before: tuple[int, int]
    after: tuple[int, int]
    risen: int
    fallen: int
    chance: float
    beyond_noise: bool
    higher_is_better: bool = False

    @property
    def worse(self) -> bool:
        """Whether it changed beyond noise and for the worse."""
        return self.beyond_noise and (self.risen > self.fallen) is not self.higher_is_better


def compare_rate(
    metric: str,
    pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]],
    *,
    exact: bool = False,
    higher_is_better: bool = False,
) -> RateChange:
    """Compare a rate.

    pairs: (events, of how many) before and after, of each recording.
    exact: as in ``find_changes``.
    """
    shares = [
        (before[0] / before[1], after[0] / after[1])
        for before, after in pairs
        if before[1] and after[1]
    ]
    risen = sum(after > before for before, after in shares)
    fallen = sum(after < before for before, after in shares)
    chance = _sum_tail(max(risen, fallen), risen + fallen)
    before, after = (
        (sum(pair[side][0] for pair in pairs), sum(pair[side][1] for pair in pairs))
        for side in (0, 1)
    )
    certain = chance <= 1 - CONFIDENCE or exact
    return RateChange(
        metric=metric,
        before=before,
        after=after,
        risen=risen,
        fallen=fallen,
        chance=chance,
        beyond_noise=certain and risen != fallen,
        higher_is_better=higher_is_better,
    )


def _sum_tail(successes: int, trials: int) -> float:
    """The probability of at least that many heads when a fair coin is tossed ``trials`` times."""
    return sum(comb(trials, one) for one in range(successes, trials + 1)) / 2.0**trials
