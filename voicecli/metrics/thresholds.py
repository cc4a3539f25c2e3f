"""What a user asks to be held to: ``mouth_to_ear.p95<3000``, ``no_reply==0``.

A name of the summary, a comparison and a number; durations in milliseconds, counts and rates as
they are.  What cannot be decided, because a percentile is withheld or nothing was measured, is
missed: an expectation that was not shown to be met is not met.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from voicecli.errors import UsageError, suggest
from voicecli.metrics.summary import MIN_COUNT, STATISTICS, Summary, list_metrics

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}

_FORM = re.compile(r"\s*([a-z][\w.]*)\s*(<=|>=|==|!=|<|>)\s*(-?\d+(?:\.\d+)?)\s*", re.ASCII)

_ENDING = re.compile(rf"\.({'|'.join(STATISTICS)})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """``text`` as it was given; limit: milliseconds for a duration, else the number itself."""

    text: str
    name: str
    comparison: str
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an expectation is met.

    value: what was found, in the limit's unit; None when there is nothing to compare.
    why: one clause.
    """

    expectation: Threshold
    met: bool
    value: float | None
    why: str


def parse_threshold(text: str, known: Sequence[str] | None = None) -> Threshold:
    """The expectation that ``text`` states; raises UsageError when it states none.

    known: the names there are; those of a conversation if None.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise UsageError(
            f"{text!r} is no expectation",
            hint="Write a name, a comparison and a number: mouth_to_ear.p95<3000.",
        )
    name, comparison, limit = form.groups()
    known = list_metrics() if known is None else known
    if name not in known:
        raise UsageError(f"{text!r}: there is no {name}", hint=_meant(name, known))
    return Threshold(text=text.strip(), name=name, comparison=comparison, limit=float(limit))


def evaluate(expectation: Threshold, summary: Summary) -> Verdict:
    """Whether ``summary`` meets ``expectation``."""
    value, why = _found(expectation.name, summary)
    met = value is not None and COMPARISONS[expectation.comparison](value, expectation.limit)
    return Verdict(expectation=expectation, met=met, value=value, why=why)


def _found(name: str, summary: Summary) -> tuple[float | None, str]:
    """The value of ``name`` in the unit of limits, and a clause about it."""
    if name in summary.counts:
        count = summary.counts[name]
        return count, f"{name} is {count:g}" if count is not None else f"{name} is not known"
    metric, _, statistic = name.rpartition(".")
    spread = summary.distributions.get(metric)
    if spread is None or (spread.n == 0 and statistic != "n"):
        return (0.0, "n is 0") if statistic == "n" else (None, f"{metric} was never measured")
    value: float | None = getattr(spread, statistic)
    if value is None:
        return None, f"{name} is withheld: n is {spread.n}, and it takes {MIN_COUNT[statistic]}"
    if statistic == "n":
        return value, f"n is {value:g}"
    # To the microsecond: 0.3 s are 300 ms, and not a little more.
    return (value := round(value * 1000, 3)), f"{name} is {value:g} ms (n = {spread.n})"


def _meant(name: str, known: Sequence[str]) -> str:
    if any(one.startswith(f"{name}.") for one in known):
        return f"Did you mean {' or '.join(f'{name}.{statistic}' for statistic in STATISTICS)}?"
    if hint := suggest(name, known, limit=3):
        return hint
    parts = (one.rpartition(".") for one in known)
    heads = dict.fromkeys(
        head if tail in STATISTICS else head + dot + tail for head, dot, tail in parts
    )
    return f"There are {', '.join(heads)}; durations with .{', .'.join(STATISTICS)}."
