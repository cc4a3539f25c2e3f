"""Measures units in a process of somebody else's, as a Dask worker is.

``measure_chunk`` is a plain function from units to results, both as data for JSON.  It may be
called from many threads at once: the units of a process share one event loop, in a thread of its
own.  Keys are read from the environment of the process; a unit holds none.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from voicecli import __version__, clock
from voicecli.corpus.plan import digest_file
from voicecli.corpus.unit import Unit, UnitResult, decode, describe_failure, encode
from voicecli.corpus.worker import Worker, measure_alone, open_worker
from voicecli.errors import InputError


def measure_chunk(
    units: Sequence[Mapping[str, Any]], sessions: str | None = None
) -> list[dict[str, Any]]:
    """Measure ``units``, in order; return their results.

    sessions: see ``store.open_session_folder``.
    """
    return [encode(_measure(decode(one, Unit), sessions)) for one in units]


def describe_process() -> dict[str, Any]:
    """Return what must be the same in all processes of a run."""
    return {"voicecli": __version__}


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the one that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measure(unit: Unit, sessions: str | None) -> UnitResult:
    try:
        _check_files(unit)
        if unit.fast:
            return measure_alone(unit, sessions)
        measuring = _measure_beside(unit, sessions)
        return asyncio.run_coroutine_threadsafe(measuring, _find_loop()).result()
    except Exception as error:
        return UnitResult(unit=unit, failure=describe_failure(error))


def _check_files(unit: Unit) -> None:
    """Raise InputError unless this machine has the files for which the unit was planned."""
    for name, file in (("recording", unit.recording), ("labels", unit.labels)):
        if file is not None and digest_file(Path(file)) != unit.digests.get(name):
            raise InputError(
                f"{file} has another content on this machine", hint="Plan again, or copy the file."
            )


def _find_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of this process, which runs until the process ends."""
    with _starting:  # tasks begin side by side, in threads
        return _start_loop()


@cache
def _start_loop() -> asyncio.AbstractEventLoop:
    loop = clock.RealTimeLoop()
    Thread(target=loop.run_forever, name="units", daemon=True).start()
    return loop


async def _measure_beside(unit: Unit, sessions: str | None) -> UnitResult:
    slot = await (await _find_worker(unit, sessions)).acquire()
    return await slot(unit)


_starting = Lock()
_workers: dict[str, Worker] = {}
_services = AsyncExitStack()  # never closed: the process ends with its services open
_opening = asyncio.Lock()


async def _find_worker(unit: Unit, sessions: str | None) -> Worker:
    """Return what measures the units that share an engine, which is loaded once."""
    profile = unit.restore_profile()
    name = repr((profile.standin, profile.local, profile.llm.system_prompt, sessions))
    async with _opening:
        if name not in _workers:
            _workers[name] = await _services.enter_async_context(open_worker(profile, sessions))
    return _workers[name]
