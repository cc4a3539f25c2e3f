"""Hands units to an engine, which measures them on this machine or on others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from voicecli.corpus.limits import Gate
from voicecli.corpus.unit import Failure, Unit, UnitResult
from voicecli.errors import CredentialsError, VoiceError

Note = Callable[[UnitResult], None]
"""Takes each result as soon as it is there."""

Slot = Callable[[Unit], Coroutine[Any, Any, UnitResult]]
"""Measures one unit, for which there is room."""


class Engine(Protocol):
    """Measures units side by side."""

    async def acquire(self) -> Slot:
        """Wait until there is room for one more unit; the slot is called once."""


async def dispatch_units(units: Iterable[Unit], note: Note, engine: Engine, gate: Gate) -> None:
    """Measure ``units`` with ``engine``, in order as there is room; pass the results to ``note``.

    gate: admits a unit when the limits of the services allow it.

    Raises CredentialsError, in a group, since a refused key would fail every unit.
    """

    async def measure(slot: Slot, unit: Unit) -> None:
        result = None
        try:
            result = await slot(unit)
        finally:
            await gate.leave(unit, result)
        check_key(result)
        note(result)

    async with asyncio.TaskGroup() as tasks:
        for unit in units:
            await gate.admit(unit)
            slot = await engine.acquire()
            tasks.create_task(measure(slot, unit), name=f"unit {unit.id}")


def check_key(result: UnitResult) -> None:
    """Raise CredentialsError if the unit failed for the lack of a valid key."""
    failure = result.failure
    if failure is not None and failure.exit_code == CredentialsError.exit_code:
        raise CredentialsError(failure.message)


class EngineError(VoiceError):
    """What measures the units does not start; the exit code is that of the reason."""

    def __init__(self, failure: Failure, *, hint: str = "") -> None:
        super().__init__(failure.message, hint=hint)
        self.exit_code = failure.exit_code
