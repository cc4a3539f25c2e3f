"""Formats words and numbers for output: whole milliseconds that add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor

from voicecli.units import Seconds


def milliseconds(duration: Seconds | None) -> float | None:
    """``duration`` in milliseconds, to the microsecond; None stays None."""
    return None if duration is None else round(duration * 1000, 3)


def rounded(parts: Mapping[str, Seconds], total: Seconds, *, per_second: int) -> dict[str, int]:
    """``parts``, which sum to ``total``, so rounded that they sum to the rounded total.

    per_second: 1000 for milliseconds, 1,000,000 for microseconds.  What is missing after rounding
    down goes to those that lost most by it, one each.
    """
    exact = {name: part * per_second for name, part in parts.items()}
    whole = {name: floor(part) for name, part in exact.items()}
    by_loss = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_loss[: max(round(total * per_second) - sum(whole.values()), 0)]:
        whole[name] += 1
    return whole


def listed(counts: Mapping[str, int]) -> str:
    """ "3 answered, 1 failed": what there is any of."""
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """``rows`` as lines; the first column is left-aligned, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines
