"""Standard input, output and error as they may be: closed, full, or of a small character set."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from contextlib import suppress
from typing import TextIO

ENCODING_ERRORS = "lookalike"
"""Error handler: a character that the encoding lacks is written as one that looks like it, or ?"""

_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("─–—−‐‑", "-"),
        **dict.fromkeys("├┤┐└┘", "+"),
        **dict.fromkeys("│▏", "|"),
        **dict.fromkeys("·•◦▪●", "*"),
        **dict.fromkeys("→▶›", ">"),
        **dict.fromkeys("◀‹", "<"),
        **dict.fromkeys("’‘", "'"),
        **dict.fromkeys("“”", '"'),
        **dict.fromkeys("█▓▇▆▅▄", "#"),
        **dict.fromkeys("░▃▂▁", "."),
        **{"…": ".", "×": "x", "µ": "u", "⏱": "@", "▲": "^", "▼": "v", "✓": "+", "✗": "x"},
    }
)


def prepare_streams() -> None:
    """Make standard input, output and error usable, whatever the program was started with.

    A closed one becomes /dev/null: otherwise the next socket or file would get its descriptor, and
    what is printed would be written there.  Nothing printed raises UnicodeEncodeError.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor: this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        replace_unencodable(stream)


def replace_unencodable(stream: TextIO) -> None:
    """Let ``stream`` replace what its encoding lacks, and write a byte order mark now, if any.

    A mark belongs to the start, and whatever writes to the same descriptor must not repeat it.
    """
    if (reconfigure := getattr(stream, "reconfigure", None)) is None:  # a test's
        return
    name = codecs.lookup(stream.encoding).name
    order = "le" if sys.byteorder == "little" else "be"
    without = {"utf-8-sig": "utf-8", "utf-16": f"utf-16-{order}", "utf-32": f"utf-32-{order}"}
    reconfigure(encoding=without.get(name, name), errors=ENCODING_ERRORS)
    if name in without:
        stream.write("\ufeff")


def print_text(text: str = "", *, err: bool = False, end: str = "\n") -> None:
    """Print ``text`` on standard output, or with ``err`` on standard error.

    Raises OSError if standard output takes no more; standard error is given up then, because
    there is nowhere to say so.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(text + end)
        stream.flush()
    except OSError as error:
        discard(stream)
        if not err:
            raise OSError(error.errno, error.strerror, "standard output") from error


def discard(stream: TextIO) -> None:
    """Point ``stream`` at /dev/null, so that shutdown does not try to write its rest again."""
    with suppress(OSError, ValueError):
        stream.flush()
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_LOOKALIKES)
    letters = (unicodedata.normalize("NFD", character)[0] for character in text)
    return "".join(one if one.isascii() else "?" for one in letters), error.end


codecs.register_error(ENCODING_ERRORS, _replace)
