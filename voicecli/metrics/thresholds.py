"""Thresholds that a session must meet: ``mouth_to_ear.p95<3000``, ``no_reply==0``.

A name of the summary, a comparison and a number: milliseconds for durations, counts and rates as
they are.  A threshold whose value is unknown, because a percentile is withheld or nothing was
measured, is not met.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from voicecli.errors import UsageError, suggest
from voicecli.metrics.summary import MIN_COUNT, STATISTICS, Distribution, Summary, list_metrics
from voicecli.units import ms

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}

_FORM = re.compile(r"\s*([a-z][\w.]*)\s*(<=|>=|==|!=|<|>)\s*(-?\d+(?:\.\d+)?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What a value must meet.

    text: as the user wrote it.
    limit: milliseconds for a duration, else the number itself.
    """

    text: str
    name: str
    comparison: str
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a threshold is met.

    value: what was found, in the limit's unit; None if it is unknown.
    why: one clause.
    """

    threshold: Threshold
    met: bool
    value: float | None
    why: str


def parse_threshold(text: str, known: Sequence[str] | None = None) -> Threshold:
    """Parse a threshold; raises UsageError.

    known: the names that it may use; None: those of a conversation.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise UsageError(
            f"{text!r} is not a valid expectation",
            hint="Write a name, a comparison and a number: mouth_to_ear.p95<3000.",
        )
    name, comparison, limit = form.groups()
    known = list_metrics() if known is None else known
    if name not in known:
        raise UsageError(f"{text!r}: unknown metric {name}", hint=_suggest_name(name, known))
    return Threshold(text=text.strip(), name=name, comparison=comparison, limit=float(limit))


def evaluate(threshold: Threshold, summary: Summary) -> Verdict:
    """Decide whether ``summary`` meets ``threshold``."""
    value, why = _look_up(threshold.name, summary)
    met = value is not None and COMPARISONS[threshold.comparison](value, threshold.limit)
    return Verdict(threshold=threshold, met=met, value=value, why=why)


def _look_up(name: str, summary: Summary) -> tuple[float | None, str]:
    """The value of ``name`` in the unit of limits, and a clause about it."""
    if name in summary.counts:
        if (count := summary.counts[name]) is not None:
            return count, f"{name} is {count:g}"
        return None, f"{name} is {summary.unknown.get(name, 'not known')}"
    metric, _, statistic = name.rpartition(".")
    found = summary.distributions.get(metric, Distribution())
    value: float | None = getattr(found, statistic)
    if statistic == "n":
        return value, f"n is {value:g}"
    if found.n == 0:
        return None, f"{metric} was never measured"
    if value is None:
        return None, f"{name} is withheld: n is {found.n}, {MIN_COUNT[statistic]} needed"
    # To the microsecond: 0.3 s are 300 ms, and not a little more.
    return (value := round(ms(value), 3)), f"{name} is {value:g} ms (n = {found.n})"


def _suggest_name(name: str, known: Sequence[str]) -> str:
    if any(one.startswith(f"{name}.") for one in known):
        return f"Did you mean {' or '.join(f'{name}.{statistic}' for statistic in STATISTICS)}?"
    if hint := suggest(name, known, limit=3):
        return hint
    metrics = dict.fromkeys(re.sub(rf"\.({'|'.join(STATISTICS)})$", "", one) for one in known)
    return f"There are {', '.join(metrics)}; durations with .{', .'.join(STATISTICS)}."
