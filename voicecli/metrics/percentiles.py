"""How a duration is spread over the turns of a session; nothing is said that few turns cannot tell.

A percentile is interpolated linearly between the two nearest ranks (Hyndman and Fan's type 7, what
numpy does by itself).  P95 of fewer than 20 values, and P99 of fewer than 100, would be little else
than the largest one: they are withheld.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
