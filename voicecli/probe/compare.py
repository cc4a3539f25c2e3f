"""Compares two runs of the probe: what changed beyond noise.  Pure.

A metric needs five values on both sides to be compared.  A change counts when it is certain
(bootstrap), large in proportion, and large in absolute terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from voicecli.errors import UsageError
from voicecli.metrics import changes
from voicecli.metrics.changes import MIN_VALUES, Change, Pair
from voicecli.probe.results import METRICS

MIN_CHANGES: Mapping[str, float] = {"ms": 20.0, "tokens/s": 5.0, "× real time": 0.05}
"""By unit: a smaller change is ignored.  This machine's own loop may be 20 ms late."""

HIGHER_IS_BETTER = ("llm.rate",)

OUTLIER_SCORE = 3.5
"""Modified z-score (Iglewicz and Hoaglin, 1993)."""

MIN_RELATIVE_SPREAD = 0.02
"""Of the median: the values of a narrow distribution do not make others outliers."""

MIN_DEVIATION = 0.001
"""A millisecond, for a median close to 0."""

MAX_OUTLIERS = 0.2
"""Share of the values."""

MIN_RELATIVE_CHANGE = 0.10


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
    found: list[Change] = []
    for name in METRICS:
        found += find_changes(name, *(_values(result, name) for result in (before, after)))
    return found


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
    return compare_pairs(metric, [Pair(before, after)])


def compare_pairs(metric: str, pairs: Sequence[Pair]) -> list[Change]:
    """Compare as ``find_changes`` does, values that were measured in pairs."""
    unit = METRICS[metric].unit
    return changes.find_changes(
        metric,
        unit,
        pairs,
        changes.Floor(absolute=MIN_CHANGES[unit], relative=MIN_RELATIVE_CHANGE),
        higher_is_better=metric in HIGHER_IS_BETTER,
    )
