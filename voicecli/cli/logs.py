"""What is logged, as plain lines on standard error."""

from __future__ import annotations

import logging
from contextlib import suppress

import typer

from voicecli.sanitize import sanitize_message

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def configure(verbosity: int) -> None:
    """Show warnings and worse of everybody; of voicecli, more with each ``-v``.

    verbosity: how often ``-v`` was given.
    """
    level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]
    logging.basicConfig(handlers=[_Lines(level)], level=logging.WARNING)
    logging.getLogger("voicecli").setLevel(level)


def debugging() -> bool:
    """Whether ``-vv`` was given."""
    return logging.getLogger("voicecli").isEnabledFor(logging.DEBUG)


class _Lines(logging.Handler):
    """A line for each record: no key, no control character, and a traceback with -vv only."""

    def __init__(self, shown: int) -> None:
        super().__init__()
        self._named = shown < logging.WARNING
        self._traceback = shown <= logging.DEBUG

    def format(self, record: logging.LogRecord) -> str:
        """``warning: what happened``; with -v, who says so comes between."""
        message = " ".join(record.getMessage().split())
        name = f"{record.name}: " if self._named else ""
        line = f"{record.levelname.lower()}: {name}{message}"
        if not record.exc_info:
            return line
        if self._traceback:
            return f"{line}\n{logging.Formatter().formatException(record.exc_info)}"
        error = record.exc_info[1]
        return f"{line} ({type(error).__name__}: {error})"

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line to what standard error is now: a live display may have replaced it."""
        with suppress(Exception):  # logging's own account of a failure would show the arguments
            typer.echo(sanitize_message(self.format(record)), err=True)
