"""Two probes, one after the other: what changed beyond noise.  Pure.

Only what rests on five readings or more on both sides is compared, and a change counts when it is
sure (bootstrap), large in proportion, and large in itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from voicecli.errors import UsageError
from voicecli.probe.names import METRICS
from voicecli.probe.statistics import Difference, differences

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
                mend="Compare like with like, or save a new one with --save.",
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
