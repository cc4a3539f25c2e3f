"""Keeps how exact measurements are with each pair of devices, in the user's cache folder."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voicecli.environment.files import read_text_file, write_text_file
from voicecli.environment.folders import find_cache_folder
from voicecli.errors import UsageError
from voicecli.metrics.accuracy import Calibration

FILE = "calibrations.json"

_ALIASES = ("default", "sysdefault", "pulse", "pipewire", "microsoft sound mapper", "primary sound")
"""How ALSA's, MME's and DirectSound's names for the device that the system chooses begin."""


def is_alias(name: str) -> bool:
    """Whether ``name`` stands for another device when the system's choice changes."""
    return name.casefold().startswith(_ALIASES)


def load_calibration(microphone: str, loudspeaker: str) -> Calibration | None:
    """Return what was measured with these devices; None if nothing was, or the file is damaged."""
    match _load().get(_name(microphone, loudspeaker)):
        case {"error": float(error), "bias": float(bias), "signals": int(signals)} if math.isfinite(
            error
        ) and math.isfinite(bias):
            return Calibration(error, bias, signals)
    return None


def save_calibration(microphone: str, loudspeaker: str, found: Calibration) -> Path:
    """Keep what was measured with these devices; return the file.

    Raises UsageError if it cannot be written.
    """
    if (folder := find_cache_folder()) is None:
        cause = "there is no home folder to keep the calibration in"
        raise UsageError(cause, hint="Set HOME or XDG_CACHE_HOME.")
    file = folder / FILE
    pairs = _load() | {_name(microphone, loudspeaker): asdict(found)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text_file(file, json.dumps(pairs, indent=2) + "\n")
    except OSError as error:
        cause = f"{file} cannot be written: {error.strerror}"
        raise UsageError(cause, hint="Make room, or set XDG_CACHE_HOME.") from error
    return file


def _name(microphone: str, loudspeaker: str) -> str:
    return f"{microphone} + {loudspeaker}"


def _load() -> dict[str, Any]:
    folder = find_cache_folder()
    try:
        found = json.loads(read_text_file(folder / FILE)) if folder is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
