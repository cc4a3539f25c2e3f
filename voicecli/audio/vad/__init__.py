"""Voice activity detection: a neural network and the levels, or the levels alone."""

from __future__ import annotations

from typing import Literal

from voicecli.audio.interfaces import Detector
from voicecli.audio.vad.energy import EnergyDetector
from voicecli.audio.vad.silero import SileroDetector
from voicecli.audio.vad.speech_end import MeasuringDetector
from voicecli.units import AudioFormat, Seconds


def create_detector(
    kind: Literal["silero", "energy"],
    format: AudioFormat,
    hangover: Seconds,
    pause: Seconds | None = None,
) -> Detector:
    """Create a detector for blocks of ``format``; ``hangover`` of silence ends a stretch of voice.

    pause: silence that is reported before that; None for none.
    """
    detector = SileroDetector if kind == "silero" else EnergyDetector
    return MeasuringDetector(detector(format, hangover, pause), format)
