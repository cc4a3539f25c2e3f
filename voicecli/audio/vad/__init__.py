"""Which detector tells voice from silence: the network where it can run, or energy alone."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from voicecli.audio.interfaces import Detector
from voicecli.audio.vad.energy import EnergyDetector
from voicecli.audio.vad.silero import SileroDetector
from voicecli.units import AudioFormat, Seconds

DetectorKind = Literal["silero", "energy"]

NO_SILERO = (
    "onnxruntime is not installed, so voice is told from silence by loudness alone, and loud noise "
    "passes for a voice; pip install 'voicecli[vad]' gives a better ear"
)
"""What to tell who asked for the best detector there is, and gets the energy detector."""


def available(kind: DetectorKind | Literal["auto"]) -> DetectorKind:
    """The detector that ``kind`` stands for here: the best that can run, for "auto"."""
    if kind != "auto":
        return kind
    return "silero" if find_spec("onnxruntime") else "energy"


def create_detector(
    kind: DetectorKind | Literal["auto"], format: AudioFormat, hangover: Seconds = 0.2
) -> Detector:
    """A detector for blocks of ``format``; so much silence ends a stretch of voice.

    Loads onnxruntime and the network the first time (0.15 s).  UsageError when "silero" was asked
    for and onnxruntime is not installed.
    """
    if available(kind) == "silero":
        return SileroDetector(format, hangover)
    return EnergyDetector(format, hangover)
