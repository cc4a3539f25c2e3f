"""The worker process: it prints its addresses, and never outlives its use."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.standin import Endpoints
from voicecli.standin.engines.process import open_worker

READY = """
import json, os, sys
print(json.dumps({"deepgram": "ws://127.0.0.1:1", "openai": str(os.getpid())}), flush=True)
"""
SERVES = READY + "sys.stdin.read()"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def failure_of(program: str, ready_timeout: float = 20) -> str:
    with pytest.raises(ServiceError) as failure:
        async with open_worker(python(program), ready_timeout=ready_timeout):
            pytest.fail("it should not have become ready")
    assert failure.value.exit_code == 5
    return failure.value.cause


def test_the_worker_says_where_it_serves_and_ends_with_the_context() -> None:
    async def main() -> Endpoints:
        async with open_worker(python(SERVES)) as endpoints:
            assert alive(int(endpoints.openai))
        return endpoints

    endpoints = clock.run(main())
    assert endpoints.deepgram == "ws://127.0.0.1:1"
    assert not alive(int(endpoints.openai))


def test_a_worker_that_dies_is_quoted() -> None:
    program = 'import sys; print("one\\n\\n\\033[31mtwo", file=sys.stderr); sys.exit(2)'
    cause = clock.run(failure_of(program))
    assert cause == (
        "LOCAL: the engines ended with exit code 2 before they were ready; last output: one / two"
    )


def test_a_worker_that_is_killed_is_told_from_one_that_gives_up() -> None:
    cause = clock.run(failure_of("import os; os.kill(os.getpid(), 9)"))
    assert cause == "LOCAL: the engines ended with signal SIGKILL before they were ready"


def test_a_worker_that_says_nothing_is_given_up() -> None:
    cause = clock.run(failure_of("import sys; sys.stdin.read()", ready_timeout=0.2))
    assert cause == "LOCAL: the engines were not ready within 0.2 s"


@pytest.mark.parametrize("line", ["Hello!", "[]", '{"deepgram": "ws://x"}'])
def test_a_worker_that_says_something_else_is_given_up(line: str) -> None:
    cause = clock.run(failure_of(f"import sys; print({line!r}, flush=True); sys.stdin.read()"))
    assert cause == "LOCAL: the engines did not print their addresses"


def test_a_worker_that_dies_later_does_not_disturb_the_end() -> None:
    async def main() -> int:
        async with open_worker(python(SERVES)) as endpoints:
            os.kill(int(endpoints.openai), signal.SIGKILL)
        return int(endpoints.openai)

    assert not alive(clock.run(main()))


def test_a_worker_that_will_not_end_is_killed() -> None:
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + READY

    async def main() -> int:
        stubborn = python(program + "signal.pause()")
        async with open_worker(stubborn, end_timeout=0.1) as endpoints:
            pass
        return int(endpoints.openai)

    assert not alive(clock.run(main()))


def test_a_parent_cancelled_while_the_worker_starts_leaves_no_worker(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    os.mkfifo(noted)
    program = f"import os, sys; open({str(noted)!r}, 'w').write(str(os.getpid())); sys.stdin.read()"

    async def start() -> None:
        async with open_worker(python(program)):
            pytest.fail("it should not have become ready")

    async def main() -> int:
        starting = asyncio.create_task(start())
        pid = int(await asyncio.to_thread(noted.read_text))
        starting.cancel()
        await asyncio.wait([starting])
        assert starting.cancelled()
        return pid

    assert not alive(clock.run(main()))


def test_a_parent_cancelled_while_the_worker_serves_leaves_no_worker() -> None:
    async def serve(ready: asyncio.Future[int]) -> None:
        async with open_worker(python(SERVES)) as endpoints:
            ready.set_result(int(endpoints.openai))
            await asyncio.Event().wait()

    async def main() -> int:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(ready))
        pid = await ready
        serving.cancel()
        await asyncio.wait([serving])
        assert serving.cancelled()
        return pid

    assert not alive(clock.run(main()))


def test_a_parent_cancelled_twice_leaves_no_worker(tmp_path: Path) -> None:
    terminated = tmp_path / "terminated"
    os.mkfifo(terminated)
    ignore = f"lambda *_: open({str(terminated)!r}, 'w').close()"
    program = f"import signal; signal.signal(signal.SIGTERM, {ignore})" + READY
    stubborn = python(program + "while True: signal.pause()")

    async def serve(ready: asyncio.Future[int]) -> None:
        async with open_worker(stubborn, end_timeout=60) as endpoints:
            ready.set_result(int(endpoints.openai))
            await asyncio.Event().wait()

    async def main() -> int:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(ready))
        pid = await ready
        serving.cancel()
        await asyncio.to_thread(terminated.read_text)
        serving.cancel()
        await asyncio.wait([serving])
        assert serving.cancelled()
        return pid

    assert not alive(clock.run(main()))


PARENT = f"""
import asyncio, sys
from voicecli import clock
from voicecli.standin.engines.process import open_worker

async def main():
    async with open_worker([sys.executable, "-c", {SERVES!r}]) as endpoints:
        print(endpoints.openai, flush=True)
        await asyncio.Event().wait()

clock.run(main())
"""


def test_the_worker_of_a_parent_that_is_killed_ends_too() -> None:
    with subprocess.Popen(python(PARENT), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    readable, _, _ = select.select([worker], [], [], 10)
    os.close(worker)
    assert readable, "the worker is still there after 10 s"


def test_ctrl_c_at_the_terminal_reaches_the_parent_only() -> None:
    async def main() -> None:
        async with open_worker(python(SERVES)) as endpoints:
            assert os.getsid(int(endpoints.openai)) != os.getsid(0)

    clock.run(main())
