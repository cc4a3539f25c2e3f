"""What of a reply was sent to the TTS, delivered as audio, and heard.  Pure.

Aura-2 gives no word times.  What it gives is the order of things: the audio of a flush ends where
its FLUSHED comes.  Between two such boundaries the words are taken to be spoken evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

from voicecli.audio import AudioFormat, Samples, Seconds

CHARACTER: Seconds = 0.06
"""How long a character takes to say: 15 to 17 a second is a usual pace of Aura-2 in English."""


@dataclass(slots=True)
class Group:
    """What one flush covers.

    text: the words.
    pieces: how many pieces they came in.
    start, end: where its audio lies in the reply, in samples; end is None until all is delivered.
    received: samples of it so far, those that were not played (silence at the head) included.
    """

    text: str
    pieces: int = 1
    start: Samples | None = None
    end: Samples | None = None
    received: Samples = 0


class Spoken:
    """The reply's pieces on their way from text to sound.

    written: samples that went to the sink.
    """

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._open: list[str] = []
        self.groups: list[Group] = []
        self.delivered = 0
        self.written: Samples = 0
        self._resumed: Samples | None = None
        """Where the audio of the flush begins that was lost, and is to be spoken again."""

    def sent(self, text: str, *, flushed: bool) -> None:
        """A piece went to the TTS."""
        self._open.append(text)
        if flushed:
            self.groups.append(Group("".join(self._open), pieces=len(self._open)))
            self._open = []

    @property
    def outstanding(self) -> int:
        """Flushes whose audio has not all been delivered."""
        return len(self.groups) - self.delivered

    def received(self, samples: Samples, written: Samples) -> None:
        """Audio of the oldest outstanding flush came; so much of it went to the sink."""
        if self.outstanding:
            group = self.groups[self.delivered]
            group.received += samples
            self._begin(group)
        self.written += written

    def flushed(self) -> None:
        """The audio of the oldest outstanding flush is complete."""
        if self.outstanding:
            group = self.groups[self.delivered]
            self._begin(group)
            group.end = self.written
            self.delivered += 1

    def take_back(self) -> tuple[int, Samples]:
        """The TTS lost all that is outstanding: how many pieces, and how much had come of them.

        What had come was passed on; the same pieces, sent again, go on from there.
        """
        lost = self.groups[self.delivered :]
        if lost and lost[0].start is not None:
            self._resumed = lost[0].start
        del self.groups[self.delivered :]
        pieces = sum(group.pieces for group in lost) + len(self._open)
        self._open = []
        return pieces, lost[0].received if lost else 0

    def _begin(self, group: Group) -> None:
        if group.start is None:
            group.start = self.written if self._resumed is None else self._resumed
            self._resumed = None

    @property
    def plausible(self) -> bool:
        """Whether half of what the last flush should sound like has come."""
        if self.outstanding != 1:
            return False
        group = self.groups[-1]
        return self._format.seconds(2 * group.received) >= 0.5 * CHARACTER * len(group.text.strip())

    def heard(self, samples: Samples) -> str:
        """The words of the first so many samples of the reply; a word begun is not counted."""
        parts = []
        for group in self.groups:
            if group.start is None or samples <= group.start:
                break
            if group.end is not None and samples >= group.end:
                parts.append(group.text)
                continue
            expected = self._format.samples(CHARACTER * len(group.text.strip()))
            length = (
                group.end - group.start
                if group.end is not None
                else max(expected, self.written - group.start)
            )
            words = group.text.split()
            share = (samples - group.start) / max(length, 1)
            parts.append(" ".join(words[: int(len(words) * share)]))
            break
        return "".join(parts).strip()
