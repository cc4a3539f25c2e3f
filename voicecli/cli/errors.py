"""How a command fails: what is said on standard error, and the exit code.

What the program foresaw is one line, ``error: cause. hint``; so is what it did not foresee, with
where it happened.  A traceback is shown when it is asked for (``-vv``, ``VOICECLI_DEBUG=1``), a key
never.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

import typer

from voicecli.errors import (
    INTERRUPTED,
    CredentialsError,
    DeviceError,
    ServiceError,
    UsageError,
    VoiceError,
)
from voicecli.sanitize import sanitize_message

BUG = 70
"""EX_SOFTWARE of sysexits.h."""

UNREAD = 141
"""What a shell reports when SIGPIPE ends a program: nobody reads its output any more."""

EXIT_CODES = {
    0: "done; what was asked for is met",
    1: "a budget or an assertion that was asked for is missed",
    2: "the command line, a profile or an input file is wrong",
    3: "a key is missing or refused",
    4: "microphone or loudspeaker",
    5: "a service or the network",
    6: "measured, but not reliably (with --strict)",
    7: "the agent never answered",
    BUG: "a bug in voicecli",
    INTERRUPTED: "interrupted (Ctrl-C, SIGTERM)",
    UNREAD: "nobody read the output to its end",
}

_TELLING = (CredentialsError, UsageError, DeviceError, ServiceError, VoiceError)
"""Of several failures the first of these is told: a refused key explains a lost service."""


@runtime_checkable
class _Mistake(Protocol):
    """typer's own errors; their class is click's or a private copy of it, by typer's version."""

    exit_code: int

    def format_message(self) -> str: ...
    def show(self, file: IO[str] | None = None) -> None: ...


def tell(error: BaseException, *, debug: bool = False) -> int:
    """Say on standard error what failed, and what to do about it; the exit code.

    debug: whether the traceback comes first.
    """
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt | typer.Abort) for leaf in leaves):
        return INTERRUPTED
    if all(isinstance(leaf, BrokenPipeError) for leaf in leaves):
        return UNREAD
    if isinstance(error, _Mistake):
        return _tell_mistake(error)
    if debug:
        _say("".join(traceback.format_exception(error)).rstrip())
    for leaf in leaves:
        if not isinstance(leaf, VoiceError):
            return _tell_bug(leaf)
    told = min((leaf for leaf in leaves if isinstance(leaf, VoiceError)), key=_rank)
    _say(f"error: {_sentence(told)}")
    return told.exit_code


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _rank(error: VoiceError) -> int:
    return next(rank for rank, kind in enumerate(_TELLING) if isinstance(error, kind))


def _sentence(error: VoiceError) -> str:
    text = str(error)
    return text if text.endswith((".", "!", "?", ")")) else f"{text}."


def _tell_mistake(error: _Mistake) -> int:
    """As typer words it, without the usage, which --help has."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        _say(error.format_message())
        return error.exit_code
    _say(f"error: {error.format_message()}")
    if getattr(error, "option_name", "") in ("-v", "--verbose", "--env-file", "--no-env"):
        _say("That option comes before the command: voicecli OPTION COMMAND.")
    elif context is not None:
        _say(f"Try {context.command_path} --help.")
    return error.exit_code


def _tell_bug(error: BaseException) -> int:
    """One line, with the innermost place that is ours."""
    ours = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    places = [f for f in frames if Path(f.filename).is_relative_to(ours)]
    place = ""
    if places:
        file = Path(places[-1].filename).relative_to(ours.parent)
        place = f" ({file}:{places[-1].lineno})"
    what = " ".join(traceback.format_exception_only(error)[-1].split())
    _say(
        f"error: {what}{place}. This is a bug in voicecli: please report it, with what "
        "VOICECLI_DEBUG=1 shows."
    )
    return BUG


def _say(text: str) -> None:
    with suppress(OSError):  # standard error is closed
        typer.echo(sanitize_message(text), err=True)


def hush() -> None:
    """Let nothing complain of a standard output that nobody reads."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
