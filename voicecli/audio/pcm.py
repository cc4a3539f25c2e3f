"""Sound as numbers: format, seconds and samples, levels.

All audio inside the program is mono, 16-bit signed little-endian PCM ("linear16").  Durations are
seconds (float), lengths are samples (int), levels are dBFS (0 = a full-scale square wave).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voicecli.units import Samples

AUDIBLE_DBFS = -45.0
"""A sample at or above this level is audible; the field's threshold for "first audible sample"."""

_AUDIBLE = 32768.0 * 10 ** (AUDIBLE_DBFS / 20)


def samples_of(pcm: bytes) -> NDArray[np.int16]:
    """The samples of linear16 ``pcm``; a view, no copy."""
    return np.frombuffer(pcm, dtype="<i2")


def first_audible(pcm: bytes) -> Samples | None:
    """Index of the first sample at or above AUDIBLE_DBFS; None when all is silent."""
    loud = np.abs(samples_of(pcm).astype(np.int32)) >= _AUDIBLE
    index = int(loud.argmax()) if loud.size else 0
    return index if loud.size and loud[index] else None
