"""Standard input and output that are never waited for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from voicecli import clock
from voicecli.terminal.streams import LineReader, NonBlockingWriter, StderrAbove

# ── output ───────────────────────────────────────────────────────────────────


def test_a_full_pipe_is_not_waited_for_and_loses_nothing():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    text = "".join(f"{number}\n" for number in range(60_000))

    async def main() -> bytes:
        taken = b""
        with NonBlockingWriter(writing, pytest.fail) as writer:
            writer.write(text)
            assert writer.busy
            writer.write_line("last")
            while writer.busy:
                with suppress(BlockingIOError):
                    taken += os.read(reading, 65536)
                await asyncio.sleep(0)
            assert os.get_blocking(writing)  # other programs share it
        return taken + os.read(reading, 65536)

    assert clock.run(main()).decode() == f"{text}last\n"
    os.close(reading)
    os.close(writing)


def test_a_pipe_that_nobody_reads_is_told_of_once():
    reading, writing = os.pipe()
    broken: list[str] = []

    async def main() -> None:
        with NonBlockingWriter(writing, lambda: broken.append("broken")) as writer:
            os.close(reading)
            writer.write_line("one")
            writer.write_line("two")
            assert not writer.busy

    clock.run(main())
    assert broken == ["broken"]
    os.close(writing)


def test_what_the_encoding_lacks_is_replaced(tmp_path):
    file = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)

    async def main() -> None:
        with NonBlockingWriter(file, pytest.fail, "ascii") as writer:
            writer.write_line("⏱ 1 ms")

    clock.run(main())
    os.close(file)
    assert (tmp_path / "out").read_text() == "? 1 ms\n"


def test_what_is_logged_stays_above_the_region():
    above: list[str] = []

    async def main() -> None:
        stderr = StderrAbove(lambda at, text: above.append(text))
        print("warning: one\nwarning: t", end="", file=stderr)
        print("wo", file=stderr)

    clock.run(main(), virtual=True)
    assert above == ["warning: one", "warning: two"]


# ── input ────────────────────────────────────────────────────────────────────


class Lines:
    """A reader of lines, and what it has handed over: lines, and "end"."""

    def __init__(self, file: int, *, one_by_one: bool = False) -> None:
        self._taken: asyncio.Queue[str] = asyncio.Queue()
        self.reader = LineReader(
            file,
            self._taken.put_nowait,
            lambda: self._taken.put_nowait("end"),
            one_by_one=one_by_one,
        )

    async def take(self) -> str:
        async with asyncio.timeout(5):
            return await self._taken.get()

    async def is_silent(self) -> bool:
        for _ in range(20):
            await asyncio.sleep(0)
        return self._taken.empty()


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for file in (reading, writing):
        with suppress(OSError):
            os.close(file)


def test_lines_are_taken_whole_without_blanks_and_controls():
    async def main() -> None:
        with pipe() as (reading, writing):
            lines = Lines(reading)
            os.write(writing, b"one\n\n  \ntw")
            assert await lines.take() == "one"
            os.write(writing, "o 漢".encode()[:-1])
            os.write(writing, "漢".encode()[-1:] + b"\x07\n\xff last")
            assert await lines.take() == "two 漢"
            os.close(writing)
            assert [await lines.take(), await lines.take()] == ["\ufffd last", "end"]
            lines.reader.close()

    clock.run(main())


def test_each_line_waits_until_it_is_requested():
    async def main() -> None:
        with pipe() as (reading, writing):
            lines = Lines(reading, one_by_one=True)
            os.write(writing, b"one\ntwo\n")
            os.close(writing)
            for expected in ("one", "two", "end"):
                assert await lines.take() == expected
                assert await lines.is_silent()
                lines.reader.request_line()
            lines.reader.close()

    clock.run(main())


def test_nothing_is_read_while_a_line_waits():
    async def main() -> bytes:
        with pipe() as (reading, writing):
            lines = Lines(reading, one_by_one=True)
            os.write(writing, b"one\ntwo\n")
            assert await lines.take() == "one"
            os.write(writing, b"three\n")
            assert await lines.is_silent()
            lines.reader.close()
            return os.read(reading, 100)

    assert clock.run(main()) == b"three\n"


def test_a_file_and_a_closed_descriptor_can_be_read(tmp_path: Path):
    (tmp_path / "lines").write_text("one\ntwo")

    async def main() -> None:
        with (tmp_path / "lines").open() as file:
            lines = Lines(file.fileno())
            assert [await lines.take() for _ in range(3)] == ["one", "two", "end"]
        assert await Lines(-1).take() == "end"

    clock.run(main())
