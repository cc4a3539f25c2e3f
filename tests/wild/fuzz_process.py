"""Runs the program's ``main`` in a child of its own, which costs a fork and no start of Python."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, NoReturn

from tests.wild.fuzz_target import HANG
from voicecli.cli.app import COMMANDS, load_command, main

UNHANDLED = 99
"""Exit code of a child whose ``main`` raised something but SystemExit."""

FLUSH_FAILED = 120
"""Exit code of an interpreter that cannot flush standard output."""

PRELOADED = (
    *("dotenv.main", "voicecli.cli.result", "voicecli.cli.conversation", "voicecli.probe.run"),
    *("voicecli.pipeline.wiring", "voicecli.standin.engines.scripted", "voicecli.audio.recorder"),
    *("voicecli.services.deepgram.nova", "voicecli.services.deepgram.aura", "voicecli.audio.wav"),
    *("voicecli.services.openai.chat", "voicecli.probe.text", "voicecli.report.json_result"),
)


@dataclass(frozen=True)
class Ended:
    """How a run ended; code: 128 + signal if a signal ended it, as a shell reports it."""

    code: int
    out: str
    err: str

    @property
    def hung(self) -> bool:
        return self.code == 128 + signal.SIGALRM


def preload() -> None:
    """Import what the commands import when they run."""
    for name in COMMANDS:
        load_command(name)
    for module in PRELOADED:
        import_module(module)


def run_forked(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    folder: Path,
    stdin: bytes = b"",
    encoding: str = "utf-8",
    closed: Sequence[int] = (),
) -> Ended:
    """Run ``voicecli ARGUMENTS`` in ``folder``; ``closed``: descriptors that are not open.

    A child that takes longer than HANG prints where it is, and is ended by SIGALRM.
    """
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy's threads, which wait
            child = os.fork()
        if child == 0:
            _run(arguments, environ, folder, encoding, closed, (given, out, err))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(encoding, errors="replace"))
        return Ended(code if code >= 0 else 128 - code, *texts)


def _run(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    encoding: str,
    closed: Sequence[int],
    files: tuple[BinaryIO, BinaryIO, BinaryIO],
) -> NoReturn:
    code = UNHANDLED
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(HANG)
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        faulthandler.dump_traceback_later(HANG - 1, file=os.dup(2))
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(folder)
        logging.getLogger().handlers.clear()
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        sys.argv = ["voicecli", *arguments]
        names = ("stdin", "stdout", "stderr")
        for number, name in enumerate(names):
            if number in closed:
                os.close(number)
                setattr(sys, name, None)
            else:
                setattr(sys, name, _open(number, encoding))
        code = _exit_code()
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        code = FLUSH_FAILED
    except BaseException:
        os.write(files[2].fileno(), traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(code)


def _open(number: int, encoding: str) -> io.TextIOWrapper:
    mode = "r" if number == 0 else "w"
    errors = "backslashreplace" if number == 2 else "strict"
    return open(number, mode, encoding=encoding, errors=errors, closefd=False)


def _exit_code() -> int:
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        return end.code or 0
