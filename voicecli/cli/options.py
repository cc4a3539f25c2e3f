"""What several commands share: options and their checks."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voicecli.errors import InputError, UsageError

if TYPE_CHECKING:
    from voicecli.cassette.reader import Cassette
    from voicecli.profile import Profile

# The functions import what they need: the pipeline takes 0.5 s, which --help does not pay.

DEFAULT_PROFILE = "default"

ProfileName = Annotated[
    str, typer.Option("--profile", "-p", metavar="NAME", help="Name or file of a profile.")
]
ProfileNames = Annotated[
    list[str] | None,
    typer.Option(
        "--profile", "-p", metavar="NAME", help="Name or file of a profile; may be repeated."
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be repeated."),
]
Fast = Annotated[
    bool,
    typer.Option("--fast", help="Run in virtual time, without waiting (scripted, or a cassette)."),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep the recording, the timeline and the result in DIR."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier session in --out.")]
Predicted = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A saved probe: print its prediction beside the measurement."
    ),
]

Html = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write a report with pictures and the sound: one HTML file."
    ),
]


def load_prediction(file: Path | None) -> Mapping[str, Any] | None:
    """Return the prediction of the saved probe ``file``; raises InputError if it has none."""
    if file is None:
        return None
    from voicecli.probe.json_result import load_result

    found: Mapping[str, Any] | None = load_result(file).get("prediction")
    if found is None:
        raise InputError(
            f"{file} holds no prediction", hint="Save a probe that measured all three services."
        )
    return found


def check_fast(profile: Profile, fast: bool, cassette: Cassette | None = None) -> None:
    """Raise UsageError if ``--fast`` is given and ``profile`` needs real time."""
    is_scripted = profile.standin is not None and profile.standin.engine == "scripted"
    if fast and cassette is None and not is_scripted:
        raise UsageError(
            "--fast runs in virtual time, in which no real service can keep up",
            hint="Choose scripted stand-ins, --profile scripted, or a cassette, --services DIR.",
        )


def check_out(out: Path | None, force: bool, source: Path | None = None) -> None:
    """Check that a session may be recorded to ``out``, while ``source`` is played.

    Raises InputError if a session is kept there and ``force`` is off; UsageError if ``force`` has
    no folder to replace, if ``source`` is what it would replace, if ``out`` is not writable, or if
    another session is recording into it.
    """
    from voicecli.audio.recorder import CONVERSATION, REPLY, lock_folder

    if out is None:
        if force:
            raise UsageError("--force replaces a session in --out", hint="Add --out DIR.")
        return
    folder = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        why = "you may not write there" if folder.is_dir() else f"{folder} is not a folder"
        raise UsageError(f"{out} cannot be recorded to: {why}", hint="Name another --out.")
    kept = [file for file in (out / CONVERSATION, out / REPLY) if file.exists()]
    if source is not None and source.resolve() in [file.resolve() for file in kept]:
        raise UsageError(
            f"{source} would be overwritten while it is played", hint="Name another --out."
        )
    if out.exists():
        with lock_folder(out):
            pass
    if kept and not force:
        raise InputError(
            f"{kept[0]} exists", hint="Replace it with --force, or name another folder."
        )


def check_html(file: Path | None) -> None:
    """Raise UsageError if no page can be written to ``file``, before anything is measured."""
    if file is None:
        return
    if file.suffix.lower() not in (".html", ".htm"):  # it might be a recording
        raise UsageError(f"--html {file}: not an HTML file", hint="Name a file that ends in .html.")
    folder = file.absolute().parent
    if file.is_dir() or not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        why = "it is a folder" if file.is_dir() else "its folder does not exist or is not yours"
        raise UsageError(f"{file} cannot be written: {why}", hint="Name another --html.")


def find_columns() -> int | None:
    """Return the width of standard output; None unless it is a terminal that may show colours."""
    if sys.stdout is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return None
    return None if os.environ.get("TERM", "dumb") == "dumb" else shutil.get_terminal_size().columns


@contextmanager
def open_temporary_folder() -> Iterator[Path]:
    """Make a folder for a recording that is not kept; raises UsageError if none can be made."""
    from tempfile import TemporaryDirectory

    try:
        folder = TemporaryDirectory(prefix="voicecli-")
    except OSError as error:
        raise UsageError(
            f"there is no folder for temporary files ({error.strerror})",
            hint="Set TMPDIR to a folder that you may write to, or name one with --out.",
        ) from error
    with folder as name:
        yield Path(name)
