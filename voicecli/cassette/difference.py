"""A request that differs from what was recorded: where, and how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from voicecli.errors import DifferenceError
from voicecli.events import Event
from voicecli.sanitize import sanitize_line

SHOWN = 24
"""Characters of a text that are shown on either side of the first difference."""

HINT = "Record the cassette again with --record-services, or undo what changed the request."


class Differences:
    """The differences found while a cassette is served; the first one counts.

    first: None until there is one.
    """

    def __init__(self) -> None:
        self.first: DifferenceError | None = None
        self._found = asyncio.Event()

    def report(self, service: str, cause: str) -> DifferenceError:
        """Note a difference; return its error.  cause: a clause, with FILE:LINE of the cassette."""
        error = DifferenceError(f"{service.upper()}: {sanitize_line(cause)}", hint=HINT)
        self.first = self.first or error
        self._found.set()
        return error

    async def watch(self) -> AsyncGenerator[Event, None]:
        """Yield nothing, and raise the first difference."""
        await self._found.wait()
        if self.first is not None:
            raise self.first
        yield Event(at=0.0)  # never: makes this a generator


def find_difference(recorded: Any, now: Any, where: str = "") -> str:
    """Describe the first difference between two JSON values in a clause; "" if there is none."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in {**recorded, **now}:
            path = f"{where}.{key}" if where else str(key)
            if key not in recorded or key not in now:
                return f"{path} was {'' if key in recorded else 'not '}sent when recorded"
            if found := find_difference(recorded[key], now[key], path):
                return found
        return ""
    if isinstance(recorded, list) and isinstance(now, list):
        for index, (one, other) in enumerate(zip(recorded, now, strict=False)):
            if found := find_difference(one, other, f"{where}[{index}]"):
                return found
        return _compare(len(recorded), len(now), f"the length of {where}")
    return _compare(recorded, now, where or "the message")


def _compare(recorded: Any, now: Any, name: str) -> str:
    if recorded == now and type(recorded) is type(now):
        return ""
    if isinstance(recorded, str) and isinstance(now, str):
        was, is_ = cut_around_difference(recorded, now)
        return f"{name} was {was!r}, and is {is_!r}"
    return f"{name} was {_shorten(recorded)}, and is {_shorten(now)}"


def cut_around_difference(recorded: str, now: str) -> tuple[str, str]:
    """Cut both texts to SHOWN characters around the first one that differs."""
    length = min(len(recorded), len(now))
    first = next((at for at in range(length) if recorded[at] != now[at]), length)
    start = max(0, first - SHOWN)

    def cut(text: str) -> str:
        head, tail = "…" * (start > 0), "…" * (len(text) > first + SHOWN)
        return f"{head}{text[start : first + SHOWN]}{tail}"

    return cut(recorded), cut(now)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 2 * SHOWN else f"{text[: 2 * SHOWN - 1]}…"
