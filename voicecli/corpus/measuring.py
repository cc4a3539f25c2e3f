"""Measures sessions that have ended, in a process of its own.

    python -m voicecli.corpus.measuring

reads orders from standard input, a line of JSON each, and answers each with a line that has the
result.  It ends when its input does.  To measure a session takes 0.1 s of CPU for each minute and
more; in the process of the sessions, those that still run would be late by it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voicecli.corpus.label_file import dump_labels, load_labels
from voicecli.corpus.unit import (
    LONGEST_LINE,
    Unit,
    UnitResult,
    decode,
    describe_failure,
    encode,
)
from voicecli.environment.files import write_text_file
from voicecli.report.json_result import describe_environment, dump_result
from voicecli.report.measurement import measure_session
from voicecli.sanitize import sanitize_line
from voicecli.standin.engines.process import open_process
from voicecli.timeline import LABELS, RESULT, TIMELINE, Timeline, load
from voicecli.units import ms

COMMAND = (sys.executable, "-m", "voicecli.corpus.measuring")

YIELDING = 10
"""Niceness of the process: sessions that still run go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSession:
    """A session of ``unit`` that has ended.

    folder: holds its timeline and its recording, and takes the result.
    warnings: of what is wrong with the recording that was replayed.
    took_s: wall time, in seconds.
    """

    unit: Unit
    folder: Path
    warnings: Sequence[str]
    took_s: float

    def measure(self, timeline: Timeline | None = None) -> UnitResult:
        """Measure it, in this process.

        timeline: of the session, if it is at hand.
        """
        try:
            if timeline is None:
                timeline = load(self.folder / TIMELINE).timeline
            return self._measure(timeline)
        except Exception as error:
            return UnitResult(unit=self.unit, failure=describe_failure(error))

    def _measure(self, timeline: Timeline) -> UnitResult:
        file = self.unit.labels
        labels = None if file is None else load_labels(Path(file))
        measured = measure_session(timeline, self.unit.restore_profile(), self.folder, labels)
        environment = describe_environment()
        result = measured.build_result(profile_name=self.unit.profile, environment=environment)
        result["warnings"] = [sanitize_line(one) for one in self.warnings]
        if labels is not None:
            write_text_file(self.folder / LABELS, dump_labels(labels))
        (self.folder / RESULT).write_text(f"{dump_result(result)}\n", encoding="ascii")
        lag = max((turn.lag for turn in measured.turns), default=0.0)
        return UnitResult(
            unit=self.unit, result=result, lag_ms=round(ms(lag), 3), took_s=round(self.took_s, 3)
        )


class MeasuringProcess:
    """The process, as the one that started it sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._asking = asyncio.Lock()

    async def measure(self, session: EndedSession) -> UnitResult:
        """Have a session measured; in a thread of this process if the other one has ended."""
        async with self._asking:
            answer = await self._ask(_encode(session))
        if answer is None:
            return await asyncio.to_thread(session.measure)
        result: UnitResult = decode(answer, UnitResult)
        return result

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    async def _ask(self, order: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the answer to ``order``; None if the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(order)}\n".encode("ascii"))
        with suppress(ConnectionError):
            await self._process.stdin.drain()
        while line := await self._process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            if answer.pop("folder") == order["folder"]:  # else: nobody waits for it any more
                return answer
        return None


@asynccontextmanager
async def open_measuring_process() -> AsyncIterator[MeasuringProcess]:
    """Start the process; leaving ends it."""
    async with open_process(COMMAND, longest_line=LONGEST_LINE) as process:
        yield MeasuringProcess(process)


def _encode(session: EndedSession) -> dict[str, Any]:
    return {
        "unit": encode(session.unit),
        "folder": str(session.folder),
        "warnings": list(session.warnings),
        "took_s": session.took_s,
    }


# ── in the process ───────────────────────────────────────────────────────────


def main() -> None:
    """Measure sessions until the input ends."""
    with suppress(AttributeError):  # Windows
        os.nice(YIELDING)
    for line in sys.stdin:
        order = json.loads(line)
        folder = order["folder"]
        unit = decode(order.pop("unit"), Unit)
        session = EndedSession(**order | {"unit": unit, "folder": Path(folder)})
        answer = encode(session.measure()) | {"folder": folder}
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
