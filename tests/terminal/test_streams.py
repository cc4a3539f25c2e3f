"""Standard input and output that are never waited for."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import pytest

from voicecli import clock
from voicecli.terminal.streams import NonBlockingWriter

# ── output ───────────────────────────────────────────────────────────────────


def test_a_full_pipe_is_not_waited_for_and_loses_nothing():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    text = "".join(f"{number}\n" for number in range(60_000))

    async def main() -> bytes:
        taken = b""
        with NonBlockingWriter(writing, pytest.fail) as outlet:
            outlet.write(text)
            assert outlet.busy
            outlet.write_line("last")
            while outlet.busy:
                with suppress(BlockingIOError):
                    taken += os.read(reading, 65536)
                await asyncio.sleep(0)
            assert os.get_blocking(writing)  # whoever shares it is not surprised
        return taken + os.read(reading, 65536)

    assert clock.run(main()).decode() == f"{text}last\n"
    os.close(reading)
    os.close(writing)


def test_a_pipe_that_nobody_reads_is_told_of_once():
    reading, writing = os.pipe()
    told: list[str] = []

    async def main() -> None:
        with NonBlockingWriter(writing, lambda: told.append("broken")) as outlet:
            os.close(reading)
            outlet.write_line("one")
            outlet.write_line("two")
            assert not outlet.busy

    clock.run(main())
    assert told == ["broken"]
    os.close(writing)


def test_what_the_encoding_lacks_is_replaced(tmp_path):
    file = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)

    async def main() -> None:
        with NonBlockingWriter(file, pytest.fail, "ascii") as outlet:
            outlet.write_line("⏱ 1 ms")

    clock.run(main())
    os.close(file)
    assert (tmp_path / "out").read_text() == "? 1 ms\n"
