"""Formats numbers for output: milliseconds that add up, counts with their nouns, tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil, floor

from voicecli.units import Seconds, ms


def to_ms(duration: Seconds | None) -> float | None:
    """Convert to milliseconds, rounded to the microsecond; None stays None."""
    return None if duration is None else round(ms(duration), 3)


def format_ms(duration: Seconds | None, missing: str = "–") -> str:
    """Format as whole milliseconds, without the unit."""
    return missing if duration is None else f"{ms(duration):.0f}"


def format_measured(duration: Seconds, error: Seconds | None) -> str:
    """Format as milliseconds with their unit, and the error if it is known: "640 ms ± 8"."""
    bar = "" if error is None else f" ± {ceil(ms(error))}"
    return f"{format_ms(duration)} ms{bar}"


def round_parts(parts: Mapping[str, Seconds], total: Seconds, per_second: float) -> dict[str, int]:
    """Round ``parts``, which sum to ``total``, such that they sum to the rounded total.

    Rounds all down, then adds what is missing to those that lost most, one each.

    per_second: 1000 for milliseconds, 1,000,000 for microseconds.
    """
    exact = {name: part * per_second for name, part in parts.items()}
    whole = {name: floor(part) for name, part in exact.items()}
    by_loss = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_loss[: max(round(total * per_second) - sum(whole.values()), 0)]:
        whole[name] += 1
    return whole


def format_count(count: int, plural: str) -> str:
    """Format a count with its noun: "1 request", "2 requests"."""
    if count == 1:
        plural = re.sub("ies$", "y", re.sub("(?<=sh)es$", "", plural)).removesuffix("s")
    return f"{count} {plural}"


def format_counts(counts: Mapping[str, int]) -> str:
    """Format the counts that are not zero: "3 answered, 1 failed"."""
    return ", ".join(format_count(count, plural) for plural, count in counts.items() if count)


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align ``rows`` as lines: the first column left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines
