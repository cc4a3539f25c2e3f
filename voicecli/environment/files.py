"""Reads and writes files that the user names.

What is read may be a device or a pipe without an end; what is written may not fit on the disk.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

LARGEST_TEXT = 16 * 2**20
"""Bytes of a text that is read at once: a profile, a script, labels, an ``.env``, a saved probe.
The largest are saved probes: 1,000 rounds of all services take 0.5 MB."""


def read_file(path: Path, largest: int) -> bytes:
    """Read a file of up to ``largest`` bytes; raises OSError, also for a larger one."""
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest >> 20} MB")
    return content


def read_text_file(path: Path) -> str:
    """Read a text file; raises OSError as ``read_file`` does, and UnicodeDecodeError.

    The encoding is UTF-8; a byte order mark and any kind of line ends are accepted.
    """
    text = read_file(path, LARGEST_TEXT).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_text_file(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, or leave what is there as it is.

    Raises OSError, whose filename is ``path``.
    """
    target = path.resolve()
    replaces = (target.is_file() or not target.exists()) and os.access(target.parent, os.W_OK)
    file = target.with_name(f"{target.name}.part") if replaces else target
    try:
        file.write_text(text, encoding="utf-8")
        if replaces:
            file.replace(target)
    except OSError as error:
        if replaces:
            with suppress(OSError):
                file.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def encode_path(path: Path) -> str | bytes:
    """Return the name of a file for libsndfile, whose binding cannot encode every name itself."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)
