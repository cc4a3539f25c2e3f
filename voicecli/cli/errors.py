"""Reports failures and log records on standard error, and chooses the exit code.

A failure is one line: ``error: cause. hint`` if the program foresaw it, else the exception and
where it was raised.  Tracebacks appear with ``-vv`` or ``VOICECLI_DEBUG=1`` only; keys never do.
"""

from __future__ import annotations

import logging
import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

import typer

from voicecli.cli.output import print_text
from voicecli.errors import (
    BUG,
    INTERRUPTED,
    IO_FAILED,
    VoiceError,
    choose_failure,
    list_leaves,
)
from voicecli.sanitize import sanitize_message

UNREAD = 141
"""What a shell reports after SIGPIPE: the reader of our output has gone."""

EXIT_CODES = {
    0: "success; everything asked for is met",
    1: "a budget or an assertion is missed",
    2: "the command line, a profile or an input file is wrong",
    3: "a key is missing or refused",
    4: "the microphone or the loudspeaker failed",
    5: "a service or the network failed",
    6: "measured, but not reliably (with --strict)",
    7: "the agent never answered",
    BUG: "a bug in voicecli",
    IO_FAILED: "the output or another file cannot be written or read (disk full)",
    INTERRUPTED: "interrupted (Ctrl-C, SIGTERM)",
    UNREAD: "the reader of the output closed it early",
}

_LOG_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


@runtime_checkable
class _ClickError(Protocol):
    """An error of click's, which typer raises as click's class or as its own copy of it."""

    exit_code: int

    def format_message(self) -> str: ...


def print_error(error: BaseException, *, debug: bool = False) -> int:
    """Print what failed and what to do about it; return the exit code.

    debug: print the traceback first.
    """
    leaves = list_leaves(error)
    if any(isinstance(leaf, KeyboardInterrupt | typer.Abort) for leaf in leaves):
        return INTERRUPTED
    if all(isinstance(leaf, BrokenPipeError) for leaf in leaves):
        return UNREAD
    if isinstance(error, _ClickError):
        return _print_click_error(error)
    if debug:
        _print("".join(traceback.format_exception(error)).rstrip())
    for leaf in leaves:
        if not isinstance(leaf, VoiceError | OSError):
            return _print_bug(leaf)
    first = choose_failure(leaves)
    if first is None:
        return _print_os_error(next(leaf for leaf in leaves if isinstance(leaf, OSError)))
    text = str(first)
    _print(f"error: {text}" if text.endswith((".", "!", "?", ")")) else f"error: {text}.")
    return first.exit_code


def _print_click_error(error: _ClickError) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        _print(error.format_message())
        return error.exit_code
    _print(f"error: {error.format_message()}")
    if getattr(error, "option_name", "") in ("-v", "--verbose", "--env-file", "--no-env"):
        _print("That option comes before the command: voicecli OPTION COMMAND.")
    elif context is not None:
        _print(f"Try {context.command_path} --help.")
    return error.exit_code


def _print_os_error(error: OSError) -> int:
    """Print what the system refused, of what file: this machine's matter, not a bug."""
    _print(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}.")
    return IO_FAILED


def _print_bug(error: BaseException) -> int:
    """Print one line with the innermost line of our own code in the traceback."""
    package = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(package)]
    place = ""
    if ours:
        place = f" ({Path(ours[-1].filename).relative_to(package.parent)}:{ours[-1].lineno})"
    what = " ".join(traceback.format_exception_only(error)[-1].split())
    _print(
        f"error: {what}{place}. This is a bug in voicecli: please report it with the output of "
        "VOICECLI_DEBUG=1."
    )
    return BUG


def _print(text: str) -> None:
    print_text(sanitize_message(text), err=True)


def configure_logging(verbosity: int) -> None:
    """Log warnings of all libraries, and more of voicecli with each ``-v``.

    verbosity: number of ``-v`` given.
    """
    level = _LOG_LEVELS[min(verbosity, len(_LOG_LEVELS) - 1)]
    logging.basicConfig(handlers=[_LineHandler(level)], level=logging.WARNING)
    logging.getLogger("voicecli").setLevel(level)


def is_debugging() -> bool:
    """Return whether ``-vv`` or ``VOICECLI_DEBUG=1`` asks for tracebacks."""
    debug = os.environ.get("VOICECLI_DEBUG", "0") not in ("", "0")
    return debug or logging.getLogger("voicecli").isEnabledFor(logging.DEBUG)


class _LineHandler(logging.Handler):
    """Writes each record as one sanitized line; tracebacks at level DEBUG only."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._with_name = level < logging.WARNING
        self._with_traceback = level <= logging.DEBUG

    def format(self, record: logging.LogRecord) -> str:
        message = " ".join(record.getMessage().split())
        name = f"{record.name}: " if self._with_name else ""
        line = f"{record.levelname.lower()}: {name}{message}"
        if not record.exc_info:
            return line
        if self._with_traceback:
            return f"{line}\n{logging.Formatter().formatException(record.exc_info)}"
        error = record.exc_info[1]
        return f"{line} ({type(error).__name__}: {error})"

    def emit(self, record: logging.LogRecord) -> None:
        # logging's own report of a failing handler would print the arguments, perhaps a key.
        # _print uses the present sys.stderr, which a live display may have replaced.
        with suppress(Exception):
            _print(self.format(record))
