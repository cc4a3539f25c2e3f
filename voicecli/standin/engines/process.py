"""Runs engines in a worker process, so that their work never delays the conversation's.

The worker of the local engines is ``voicecli serve --attached``.  It runs in its own process
session, where no Ctrl-C reaches it, and ends when its standard input does: a pipe from the parent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import IO

from voicecli.errors import ServiceError
from voicecli.sanitize import sanitize_short
from voicecli.standin import Endpoints
from voicecli.standin.engines.local import require_packages
from voicecli.units import Seconds

READY_TIMEOUT: Seconds = 60.0  # a worker takes two seconds, on a slow disk many times that
END_TIMEOUT: Seconds = 2.0  # how long the worker may take to end before it is killed
LONGEST_LINE = 2**16  # bytes of output: addresses
QUOTED_LINES = 5  # of a failed worker's standard error


def open_local_endpoints(
    llm_model: Path | None = None,
    threads: int | None = None,
    system_prompt: str | None = None,
    *,
    require_key: bool = False,
) -> AbstractAsyncContextManager[Endpoints]:
    """Start a worker process with the local engines; yield its addresses when it is warm.

    llm_model, threads, system_prompt: as in ``local.open_local``.
    require_key: as in ``standin.serve``.

    Raises UsageError when the extra ``local`` is not installed, ServiceError when the worker fails.
    """
    require_packages()
    # --no-env: the environment has been set from .env already
    command = [sys.executable, "-m", "voicecli", "--no-env", "serve", "--attached", "--json"]
    command += ["--engine", "local"]
    command += [f"--llm-model={llm_model}"] * (llm_model is not None)
    command += [f"--threads={threads}"] * (threads is not None)
    command += [f"--system-prompt={system_prompt}"] * (system_prompt is not None)
    command += ["--require-key"] * require_key
    return open_worker(command)


@asynccontextmanager
async def open_worker(
    command: Sequence[str],
    *,
    ready_timeout: Seconds = READY_TIMEOUT,
    end_timeout: Seconds = END_TIMEOUT,
) -> AsyncIterator[Endpoints]:
    """Start a process that prints its addresses on its first line and serves until its input ends.

    ready_timeout: how long it may take to print them.
    end_timeout: how long it may take to end before it is killed.

    Raises ServiceError, with the last lines of its standard error, when it does not become ready.
    """
    with _open_log() as log:
        async with open_process(command, log, end_timeout=end_timeout) as worker:
            yield await _read_endpoints(worker, log, ready_timeout)


@asynccontextmanager
async def open_process(
    command: Sequence[str],
    log: IO[bytes] | None = None,
    *,
    longest_line: int = LONGEST_LINE,
    end_timeout: Seconds = END_TIMEOUT,
) -> AsyncIterator[Process]:
    """Start a process that ends when its input does, out of reach of Ctrl-C; leaving ends it.

    log: takes its standard error; None: that of this process.
    longest_line: of its output, in bytes.
    end_timeout: as for ``open_worker``.
    """
    # Its output is read as lines of UTF-8, whatever the terminal's encoding is.
    environ = os.environ | {"PYTHONIOENCODING": "utf-8"}
    worker = await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=log,
        limit=longest_line,
        start_new_session=True,
        env=environ,
    )
    try:
        yield worker
    finally:
        await _end(worker, end_timeout)


def _open_log() -> IO[bytes]:
    """Open a file for a worker's standard error; what is written is lost if no folder takes it."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "w+b")


async def _read_endpoints(worker: Process, log: IO[bytes], ready_timeout: Seconds) -> Endpoints:
    assert worker.stdout is not None
    try:
        async with asyncio.timeout(ready_timeout):
            line = await worker.stdout.readline()
            if not line:
                await worker.wait()
    except TimeoutError:
        raise _failure(f"were not ready within {ready_timeout:g} s", log) from None
    if not line:
        code = worker.returncode or 0
        end = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise _failure(f"ended with {end} before they were ready", log)
    try:
        return Endpoints(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise _failure("did not print their addresses", log) from error


async def _end(worker: Process, timeout: Seconds) -> None:
    """End the worker and wait until it has ended; kill it after ``timeout`` or when cancelled."""
    assert worker.stdin is not None
    worker.stdin.close()
    with suppress(ProcessLookupError):
        worker.terminate()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await worker.communicate()  # it also closes the pipes
    finally:  # SIGKILL cannot be ignored: this does not wait long
        with suppress(ProcessLookupError):
            worker.kill()
        await worker.communicate()


def _failure(cause: str, log: IO[bytes]) -> ServiceError:
    log.seek(0)
    lines = [sanitize_short(line) for line in log.read().decode("utf-8", "replace").split("\n")]
    output = " / ".join([line for line in lines if line][-QUOTED_LINES:])
    detail = f"; last output: {output}" if output else ""
    return ServiceError("local", f"the engines {cause}{detail}")
