"""Measures units in several processes of this machine, each with a loop of its own.

    python -m voicecli.corpus.pool

is such a process.  It speaks lines of JSON: its first line of input says what all units share, then
it asks for each unit when it has room, and writes what each came to.  It ends with its input.

A process that ends is replaced.  What it was measuring is measured again, one unit at a time in a
process of its own, so that a unit that ends its process takes no other unit with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, BinaryIO, TextIO

from voicecli.corpus.dispatch import EngineError, Slot
from voicecli.corpus.unit import (
    LONGEST_LINE,
    Failure,
    Unit,
    UnitResult,
    decode,
    describe_failure,
    encode,
)
from voicecli.errors import BUG

MAX_LOSSES = 3
"""Processes that may end over the same unit, when it is the only one that they measure."""

MAX_STARTS = 3
"""Processes that may end one after the other before one is ready."""

LOST_FAILURE = Failure(
    kind="ChildProcessError", message="the process that measured it has ended", exit_code=BUG
)


def count_cores() -> int:
    """Return how many processes can run side by side."""
    with suppress(AttributeError):  # macOS and Windows cannot say what this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all units of a pool share.

    settings: of one of the units, which all share an engine.
    sessions: see ``store.open_session_folder``.
    concurrency: sessions side by side in a process, at most; None: as many as its loop carries.
    """

    settings: Mapping[str, Any]
    fast: bool
    sessions: str | None = None
    concurrency: int | None = None


class Pool:
    """Processes that measure units; an engine, while ``serve`` runs."""

    def __init__(self, task: Task, count: int) -> None:
        share, rest = divmod(task.concurrency or 0, count)
        self._tasks = [
            replace(task, concurrency=share + (number < rest) if task.concurrency else None)
            for number in range(count)
        ]
        self._asking: asyncio.Queue[_Worker] = asyncio.Queue()
        self._alone = asyncio.Lock()

    async def serve(self) -> None:
        """Run the processes until cancelled; raises EngineError if they do not start."""
        async with asyncio.TaskGroup() as tasks:
            for number, task in enumerate(self._tasks, 1):
                tasks.create_task(self._keep_running(task), name=f"worker {number}")

    async def acquire(self) -> Slot:
        """Wait until a process asks for a unit."""
        while True:
            worker = await self._asking.get()
            if not worker.ended:
                return partial(self._measure, worker)

    async def _keep_running(self, task: Task) -> None:
        """Run processes, one after the other as they end."""
        starts = 0
        while True:
            starts += 1
            async with _open_worker_process(task) as worker:
                async for message in worker.read():
                    if "result" in message:
                        worker.finish(message["result"])
                    else:
                        starts = 0
                        self._asking.put_nowait(worker)
                worker.lose()
                code = await worker.process.wait()
            if starts == MAX_STARTS:
                what = f"a worker process ended with exit code {code} before it was ready"
                raise EngineError(replace(LOST_FAILURE, message=what))

    async def _measure(self, worker: _Worker, unit: Unit) -> UnitResult:
        result = await worker.measure(unit)
        return await self._measure_again(unit) if result is None else result

    async def _measure_again(self, unit: Unit) -> UnitResult:
        """Measure ``unit``, over which a process has ended, alone in processes of its own."""
        async with self._alone:
            for _ in range(MAX_LOSSES):
                async with _open_worker_process(replace(self._tasks[0], concurrency=1)) as worker:
                    async for message in worker.read():
                        if "result" in message:
                            return _decode_result(message["result"])
                        worker.send(encode(unit))
            return UnitResult(unit=unit, failure=LOST_FAILURE)


@dataclass(eq=False, slots=True)
class _Worker:
    """A process, and the units that it is measuring.

    ended: whether it takes no more units.
    """

    process: Process
    ended: bool = False
    _measuring: dict[str, asyncio.Future[UnitResult | None]] = field(default_factory=dict)

    def send(self, values: Mapping[str, Any]) -> None:
        """Write a line to the process; one that has ended is noticed elsewhere."""
        assert self.process.stdin is not None
        if not self.process.stdin.is_closing():
            self.process.stdin.write(f"{json.dumps(values)}\n".encode())

    async def read(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield what the process writes until it ends; raises EngineError if it cannot start."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            try:
                message = json.loads(line)
            except ValueError:  # it ended within a line
                return
            if "failure" in message:
                raise EngineError(Failure(**message["failure"]))
            yield message

    async def measure(self, unit: Unit) -> UnitResult | None:
        """Measure a unit that the process has asked for; None if it ends before."""
        if self.ended:
            return None
        found: asyncio.Future[UnitResult | None] = asyncio.get_running_loop().create_future()
        self._measuring[unit.id] = found
        self.send(encode(unit))
        return await found

    def finish(self, values: Mapping[str, Any]) -> None:
        """Pass on what a unit came to."""
        result = _decode_result(values)
        found = self._measuring.pop(result.unit.id)
        if not found.done():  # cancelled
            found.set_result(result)

    def lose(self) -> None:
        """Give up the units, since the process has ended."""
        self.ended = True
        for found in self._measuring.values():
            if not found.done():
                found.set_result(None)


def _decode_result(values: Any) -> UnitResult:
    result: UnitResult = decode(values, UnitResult)
    return result


@asynccontextmanager
async def _open_worker_process(task: Task) -> AsyncGenerator[_Worker, None]:
    """Start a process; leaving ends it."""
    command = (sys.executable, "-m", "voicecli.corpus.pool")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, limit=LONGEST_LINE
    )
    worker = _Worker(process)
    try:
        worker.send(asdict(task))
        yield worker
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


# ── the process ──────────────────────────────────────────────────────────────


def main() -> None:
    """Measure units until the input ends."""
    units = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    task = Task(**json.loads(units.readline()))
    output = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # nothing but results may be written there
    with suppress(KeyboardInterrupt, BrokenPipeError):  # the parent process says so
        if task.fast:
            _measure_in_virtual_time(task, units, output)
        else:
            _measure_in_real_time(task, output)
    os._exit(0)  # libraries report at exit what they had not freed


def _write(output: TextIO, **message: Any) -> None:
    output.write(f"{json.dumps(message)}\n")
    output.flush()


UNITS_AHEAD = 1
"""Given to a process before it needs them: it does not wait while its result is stored."""


def _measure_in_virtual_time(task: Task, units: BinaryIO, output: TextIO) -> None:
    from voicecli.corpus.worker import measure_alone

    for _ in range(1 + UNITS_AHEAD):
        _write(output, ready=True)
    for line in units:
        result = measure_alone(decode(json.loads(line), Unit), task.sessions)
        _write(output, result=encode(result))
        _write(output, ready=True)


def _measure_in_real_time(task: Task, output: TextIO) -> None:
    from voicecli import clock

    try:
        clock.run(_measure_side_by_side(task, output))
    except Exception as error:
        _write(output, failure=asdict(describe_failure(error)))


async def _measure_side_by_side(task: Task, output: TextIO) -> None:
    from voicecli.corpus.worker import open_worker
    from voicecli.profile import restore_profile

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    profile = restore_profile(task.settings, "the pool's task")
    opening = open_worker(profile, task.sessions, task.concurrency)
    with ThreadPoolExecutor(1, "write results") as writer:  # the pipe may be full
        async with opening as worker, asyncio.TaskGroup() as tasks:
            running: set[asyncio.Task[None]] = set()

            async def write(**message: Any) -> None:
                await loop.run_in_executor(writer, partial(_write, output, **message))

            async def measure(slot: Slot, unit: Unit) -> None:
                await write(result=encode(await slot(unit)))

            while True:
                slot = await worker.acquire()
                await write(ready=True)
                if not (line := await reader.readline()):
                    break
                unit = decode(json.loads(line), Unit)
                one = tasks.create_task(measure(slot, unit), name=f"unit {unit.id}")
                running.add(one)
                one.add_done_callback(running.discard)
            for one in running:  # nobody waits for them
                one.cancel()


if __name__ == "__main__":
    main()
