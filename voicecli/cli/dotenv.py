"""``.env``: a project's keys and settings, for those that the shell does not set."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import MutableMapping
from pathlib import Path

from voicecli.errors import UsageError

_log = logging.getLogger(__name__)

# python-dotenv takes 30 ms to import: only where there is a file to read


def nearest(start: Path) -> Path | None:
    """The ``.env`` in ``start`` or the next folder above it that has one.

    The search ends with the folder that holds ``.git``, and with the user's home.
    """
    home = Path(os.path.realpath(Path("~").expanduser()))
    for folder in (start, *start.parents):
        file = folder / ".env"
        if file.is_file() or file.is_fifo():  # password managers serve it from a pipe
            return file
        if folder == home or (folder / ".git").exists():
            break
    return None


def load(file: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables of ``file`` that are not set yet.

    What is set in the shell stays, even if it is empty.  What is empty in the file is not set.

    Raises UsageError, with the line but never with its text: that may be a key.
    """
    found = {
        name: value
        for name, value in read(file).items()
        if value and name not in environ  # the template comes with empty keys
    }
    environ.update(found)
    _log.info("%s sets %s", file, ", ".join(found) or "nothing")


def read(file: Path) -> dict[str, str | None]:
    """The variables of ``file``; None for a name without ``=``.  Raises UsageError."""
    from dotenv.main import DotEnv
    from dotenv.parser import parse_stream

    text = _text(file)
    for binding in parse_stream(io.StringIO(text)):
        statement = binding.original.string
        if binding.error or "\0" in statement:  # no variable can hold a NUL
            blank = statement[: len(statement) - len(statement.lstrip())]
            line = binding.original.line + blank.count("\n")
            raise UsageError(
                f"{file}:{line}: this is no NAME=VALUE",
                hint="Mend the line, or leave the file out with --no-env.",
            )
    return DotEnv(None, stream=io.StringIO(text), override=False).dict()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{file}:{line}: this is not UTF-8 text", hint="Save it as UTF-8, or use --no-env."
        ) from None
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}",
            hint="Name a file that can be read with --env-file, or use --no-env.",
        ) from error
