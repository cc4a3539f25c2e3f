"""Virtual time: it jumps over sleeps, and stands still while sockets and threads work."""

from __future__ import annotations

import asyncio
import time

from voicecli import clock


def test_virtual_time_jumps_from_timer_to_timer():
    async def main() -> list[float]:
        times = [clock.now()]
        for pause in (3600, 0.25):
            await asyncio.sleep(pause)
            times.append(clock.now())
        return times

    began = time.monotonic()
    assert clock.run(main(), virtual=True) == [0, 3600, 3600.25]
    assert time.monotonic() - began < 60


def test_virtual_time_stands_still_while_a_thread_works():
    async def main() -> float:
        timer = asyncio.create_task(asyncio.sleep(5))
        await asyncio.to_thread(sum, range(1_000_000))
        now = clock.now()
        await timer
        return now

    assert clock.run(main(), virtual=True) == 0


def test_virtual_time_stands_still_while_data_is_on_its_way():
    async def main() -> tuple[bytes, float]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(2))
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            timer = asyncio.create_task(asyncio.sleep(1))
            writer.write(b"hi")
            answer, now = await reader.read(), clock.now()
            writer.close()
            await timer
            return answer, now

    assert clock.run(main(), virtual=True) == (b"hi", 0)


def test_only_real_time_has_an_origin():
    async def main() -> float | None:
        return clock.monotonic_origin()

    assert clock.run(main(), virtual=True) is None
    origin = clock.run(main())
    assert origin is not None
    assert origin <= time.monotonic()
