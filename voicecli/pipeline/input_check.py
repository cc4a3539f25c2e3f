"""Says during a conversation what is wrong with the sound of the user's input."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from voicecli import clock
from voicecli.audio.faults import BATCH, Fault
from voicecli.audio.gain import AmplifiedSource
from voicecli.events import Event, InputEnded, SpeechStarted, SpeechStopped, Warned
from voicecli.timeline import Entry
from voicecli.units import AudioBlock, Seconds


class InputCheck:
    """Measures what the detector takes for speech, and posts each kind of fault once."""

    def __init__(self, source: AmplifiedSource, post: Callable[[Event], None]) -> None:
        self._source = source
        self._post = post
        self._start: Seconds | None = None  # of the latest speech; None before any
        self._explain_at: Seconds = 0.0  # not before, while there has been no speech
        self._reported: set[str] = set()

    def add(self, block: AudioBlock) -> None:
        """Note that ``block`` has been heard: so much without speech may be too quiet."""
        due = block.at >= self._explain_at and self._source.meter.is_full
        if due and self._start is None:
            self._explain_at = block.at + BATCH
            self._explain_no_speech()

    def follow(self, entry: Entry) -> None:
        """Judge each stretch of speech, and an input that ends without one."""
        match entry:
            case SpeechStarted():
                self._start = entry.speech_start
            case SpeechStopped() if self._start is not None:
                meter, gain = self._source.meter, self._source.amplifier.gain_db
                self._report(meter.find_faults(self._start, entry.speech_end, gain))
            case InputEnded() if self._start is None:
                self._explain_no_speech()

    def _explain_no_speech(self) -> None:
        if "quiet" not in self._reported:
            fault = self._source.meter.find_missing_speech(self._source.amplifier.gain_db)
            self._report([fault] if fault is not None else [])

    def _report(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if fault.kind not in self._reported:
                self._reported.add(fault.kind)
                self._post(Warned(at=clock.now(), service="audio", text=fault.text))
