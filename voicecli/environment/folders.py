"""The user's folders, which a container may lack: no HOME, and no user entry that names one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from voicecli.errors import UsageError


def find_home() -> Path | None:
    """Return the user's home folder, whether it exists or not; None if the system knows none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expand_home(path: str) -> Path:
    """Replace a leading ``~`` or ``~user``; raises UsageError if that user has no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        name = path.partition("/")[0]
        cause = f"{path}: {name} stands for a home folder, and the system knows none"
        raise UsageError(cause, hint="Set HOME, or write the path without ~.") from error


def find_config_folder() -> Path | None:
    """Return where the user's own profiles are; None if the user has no home."""
    from platformdirs import user_config_path  # 10 ms, which --help does not pay

    return _find(user_config_path)


def find_cache_folder() -> Path | None:
    """Return where downloads are kept; None if the user has no home."""
    from platformdirs import user_cache_path

    return _find(user_cache_path)


def _find(find: Callable[[str], Path]) -> Path | None:
    try:
        path = find("voicecli")
    except RuntimeError:
        return None
    return None if path.parts[0] == "~" else path  # what platformdirs before 4.14 leaves it at
