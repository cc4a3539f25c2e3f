"""The local engines in a process of their own, so that their work never delays the conversation's.

The worker is ``voicecli serve --attached``.  It is in a session of its own, where no Ctrl-C
reaches it.  Its standard input is a pipe that ends when the parent does, and then it ends too.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

from voicecli.errors import ServiceError
from voicecli.sanitize import sanitize_short
from voicecli.standin import Endpoints
from voicecli.standin.engines.local import require_packages
from voicecli.units import Seconds

READY_WITHIN: Seconds = 60.0
"""The worker takes about two seconds to be ready, and many times that where the disk is slow."""

ENDED_WITHIN: Seconds = 2.0

LAST_LINES = 5
"""So many lines of what a dying worker says are passed on."""


@asynccontextmanager
async def open_local_endpoints(
    llm_model: Path | None = None, threads: int | None = None, *, require_key: bool = False
) -> AsyncIterator[Endpoints]:
    """A worker process with the local engines, ready and warm; its addresses.

    llm_model, threads: as in ``local.open_local``.
    require_key: as in ``standin.serve``.

    Raises UsageError when the extra ``local`` is not installed, ServiceError when the worker fails.
    """
    require_packages()
    command = [
        sys.executable,
        "-m",
        "voicecli",
        "--no-env",  # what counts of it is in the environment already
        "serve",
        "--engine",
        "local",
        "--attached",
        "--json",
    ]
    if llm_model is not None:
        command += ["--llm-model", str(llm_model)]
    if threads is not None:
        command += ["--threads", str(threads)]
    command += ["--require-key"] * require_key
    async with open_worker(command) as endpoints:
        yield endpoints


@asynccontextmanager
async def open_worker(
    command: Sequence[str],
    *,
    ready_within: Seconds = READY_WITHIN,
    ended_within: Seconds = ENDED_WITHIN,
) -> AsyncIterator[Endpoints]:
    """A process that says on its first line where it serves, and serves until its input ends.

    ready_within, ended_within: after this long it is given up; after this long it is killed.

    Raises ServiceError, with the last lines of its standard error, when it does not get that far.
    """
    with tempfile.TemporaryFile() as log:
        worker = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=log, start_new_session=True
        )
        try:
            yield await _endpoints(worker, log, ready_within)
        finally:
            await _end(worker, ended_within)


async def _endpoints(worker: Process, log: IO[bytes], ready_within: Seconds) -> Endpoints:
    assert worker.stdout is not None
    try:
        async with asyncio.timeout(ready_within):
            line = await worker.stdout.readline()
            if not line:
                await worker.wait()
    except TimeoutError:
        raise _failure(f"were not ready within {ready_within:g} s", log) from None
    if not line:
        raise _failure(f"ended with {_status(worker)} before they were ready", log)
    try:
        return Endpoints(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise _failure("said something else than where they serve", log) from error


async def _end(worker: Process, within: Seconds) -> None:
    """End the worker, and wait until it has; being cancelled meanwhile only hurries it."""
    assert worker.stdin is not None
    worker.stdin.close()
    with suppress(ProcessLookupError):
        worker.terminate()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await worker.communicate()  # it also closes the pipes
    finally:  # nothing survives SIGKILL, so this takes no time
        with suppress(ProcessLookupError):
            worker.kill()
        await worker.communicate()


def _status(worker: Process) -> str:
    code = worker.returncode or 0
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _failure(cause: str, log: IO[bytes]) -> ServiceError:
    log.seek(0)
    lines = [sanitize_short(line) for line in log.read().decode("utf-8", "replace").split("\n")]
    said = " / ".join([line for line in lines if line][-LAST_LINES:])
    return ServiceError(
        "local", f"the engines {cause}" + (f"; their last words: {said}" if said else "")
    )
