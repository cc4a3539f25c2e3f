"""Voice activity detection: the network where it is installed, or energy alone."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from voicecli.audio.interfaces import Detector
from voicecli.audio.vad.energy import EnergyDetector
from voicecli.audio.vad.silero import SileroDetector
from voicecli.units import AudioFormat, Seconds

DetectorKind = Literal["silero", "energy"]

SILERO_MISSING = (
    "onnxruntime is not installed, so speech is detected by loudness alone and loud noise counts "
    "as speech; pip install 'voicecli[vad]' adds a better detector"
)
"""Warning for a session that asked for the best detector and runs on energy."""


def resolve_detector(kind: DetectorKind | Literal["auto"]) -> DetectorKind:
    """Return the detector that ``kind`` stands for; "auto" is the best one installed."""
    if kind != "auto":
        return kind
    return "silero" if find_spec("onnxruntime") else "energy"


def create_detector(
    kind: DetectorKind | Literal["auto"],
    format: AudioFormat,
    hangover: Seconds,
    pause: Seconds | None = None,
) -> Detector:
    """Create a detector for blocks of ``format``; ``hangover`` of silence ends a stretch of voice.

    pause: silence that is reported before that; None for none.

    Loads onnxruntime and the network the first time (0.15 s).  Raises UsageError when "silero" is
    asked for and onnxruntime is not installed.
    """
    detector = SileroDetector if resolve_detector(kind) == "silero" else EnergyDetector
    return detector(format, hangover, pause)
