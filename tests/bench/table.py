"""Prints tables and checks, and names the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Check = tuple[str, bool]
"""A target with the measured value, and whether it is met."""


def format_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Align columns: the first to the left, the others to the right."""
    cells = [list(head), *([_format(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def _format(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.1f}" if abs(cell) < 100 else f"{cell:.0f}"
    return str(cell)


def print_checks(checks: Iterable[Check]) -> list[dict[str, object]]:
    """Print a line per check; return them for bench.json."""
    kept = []
    for what, met in checks:
        print(f"{'✓' if met else '✗'} {what}")
        kept.append({"what": what, "met": bool(met)})
    return kept


def machine() -> dict[str, Any]:
    """Return what the numbers depend on: CPU, cores, Python, system."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux only
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    models = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
