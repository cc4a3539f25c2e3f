"""Measures units in virtual time in several processes: it takes a core each, and no real time.

    python -m voicecli.corpus.worker [FOLDER]

reads units from standard input, a line of JSON each, and writes what each came to as such a line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from subprocess import PIPE, Popen
from threading import Thread

from voicecli.corpus.unit import Failure, Unit, UnitResult, decode, encode

LOST = 70
"""EX_SOFTWARE of sysexits.h: the process that measured a unit ended before it was done."""


def count_cores() -> int:
    """Return how many processes can run side by side."""
    with suppress(AttributeError):  # macOS and Windows cannot say what this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerPool:
    """Processes that measure ``units``, each the next one as soon as it is free; a context manager.

    folder: keeps the sessions; None: they are not kept.
    """

    def __init__(self, units: Sequence[Unit], folder: Path | None, count: int) -> None:
        self._left = list(reversed(units))
        self._total = len(units)
        self._command = [sys.executable, "-m", "voicecli.corpus.worker"]
        self._command += [str(folder.absolute())] if folder is not None else []
        self._done: SimpleQueue[UnitResult] = SimpleQueue()
        self._processes: set[Popen[str]] = set()
        self._closed = False
        names = (f"worker {number}" for number in range(1, min(count, len(units)) + 1))
        self._threads = [Thread(target=self._serve, name=name) for name in names]

    def __enter__(self) -> WorkerPool:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        for process in list(self._processes):
            process.kill()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> WorkerPool:
        return self

    def __next__(self) -> UnitResult:
        if not self._total:
            raise StopIteration
        self._total -= 1
        return self._done.get()

    def _serve(self) -> None:
        """Run processes, one after the other as they break, until no unit is left."""
        while self._left and not self._closed:
            process = Popen(self._command, stdin=PIPE, stdout=PIPE, text=True)
            self._processes.add(process)
            with suppress(BrokenPipeError), process:  # it has ended, and did not read all
                self._feed(process)
            self._processes.discard(process)

    def _feed(self, process: Popen[str]) -> None:
        """Have ``process`` measure one unit after the other, until none is left or it breaks."""
        assert process.stdin is not None
        assert process.stdout is not None
        while not self._closed:
            try:
                unit = self._left.pop()
            except IndexError:
                return
            result = None
            with suppress(OSError, ValueError):  # it ended, and perhaps within a line
                process.stdin.write(f"{json.dumps(encode(unit))}\n")
                process.stdin.flush()
                result = decode(json.loads(process.stdout.readline()), UnitResult)
            self._done.put(result or UnitResult(unit=unit, failure=_LOST_FAILURE))
            if result is None:
                return


_LOST_FAILURE = Failure(
    kind="ChildProcessError", message="the process that measured it has ended", exit_code=LOST
)


def main() -> None:
    """Measure units until the input ends."""
    from voicecli.corpus.run import run_alone

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    output = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # nothing but results may be written there
    with suppress(KeyboardInterrupt, BrokenPipeError):  # the parent process says so
        for line in sys.stdin:
            unit: Unit = decode(json.loads(line), Unit)
            output.write(f"{json.dumps(encode(run_alone(unit, folder)))}\n")
            output.flush()
    os._exit(0)  # libraries report at exit what they had not freed


if __name__ == "__main__":
    main()
