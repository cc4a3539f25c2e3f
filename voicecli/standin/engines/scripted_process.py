"""Runs scripted stand-ins in a process of their own, servers of its own for each session.

    python -m voicecli.standin.engines.scripted_process

reads orders from standard input, a line of JSON each: to open servers, which it answers with a line
that has their addresses, and to close them.  It ends when its input does.  Sessions side by side
then have their core to themselves, and the stand-ins are on time while that core is busy.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
from asyncio.subprocess import Process
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from itertools import count
from typing import Any

from voicecli import clock
from voicecli.errors import ServiceError, VoiceError
from voicecli.standin import Endpoints, serve
from voicecli.standin.engines.process import open_process
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import Script

LONGEST_LINE = 2**24  # bytes: a script may hold the words of a long recording


class ScriptedProcess:
    """The process, as the one that started it sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._asking = asyncio.Lock()
        self._numbers = count()

    @asynccontextmanager
    async def open(self, script: Script, *, require_key: bool) -> AsyncIterator[Endpoints]:
        """Have servers started that follow ``script``; leaving has them closed.

        Raises ServiceError when they do not start, or the process has ended.
        """
        number = next(self._numbers)
        # pickled here, unpickled by our own process of the same version
        packed = b64encode(pickle.dumps((script, require_key))).decode("ascii")
        try:
            async with self._asking:
                self._order({"open": number, "script": packed})
                answer = await self._read_answer(number)
            if "failure" in answer:
                raise ServiceError("stt", f"the stand-ins failed: {answer['failure']}")
            yield Endpoints(**answer["endpoints"])
        finally:
            self._order({"close": number})

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def _order(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(order)}\n".encode("ascii"))

    async def _read_answer(self, number: int) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            if answer["number"] == number:  # else: of one who was cancelled while it waited
                return answer
        raise ServiceError("stt", "the process of the stand-ins has ended")


@asynccontextmanager
async def open_scripted_process() -> AsyncIterator[ScriptedProcess]:
    """Start the process; leaving ends it."""
    command = [sys.executable, "-m", "voicecli.standin.engines.scripted_process"]
    async with open_process(command) as process:
        yield ScriptedProcess(process)


# ── in the process ───────────────────────────────────────────────────────────


async def _serve() -> None:
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    running: dict[int, asyncio.Task[None]] = {}
    try:
        async with asyncio.TaskGroup() as tasks:
            while line := await reader.readline():
                order = json.loads(line)
                if "open" in order:
                    number = order["open"]
                    serving = _serve_session(number, order["script"])
                    running[number] = tasks.create_task(serving, name=f"session {number}")
                elif (task := running.pop(order["close"], None)) is not None:
                    task.cancel()
            for task in running.values():
                task.cancel()
    finally:
        transport.close()


async def _serve_session(number: int, packed: str) -> None:
    """Serve until cancelled."""
    script, require_key = pickle.loads(b64decode(packed))
    engines = create_scripted_engines(script)
    try:
        async with serve(engines, require_key=require_key, faults=script.faults) as endpoints:
            _print({"number": number, "endpoints": asdict(endpoints)})
            await asyncio.Event().wait()
    except VoiceError as error:
        _print({"number": number, "failure": str(error)})


def _print(answer: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):  # the input ends as well
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    clock.run(_serve())
