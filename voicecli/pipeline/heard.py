"""Which words of a reply were heard, derived from its flushes and the played samples.  Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from voicecli.text.pacing import Pacing
from voicecli.units import AudioFormat, Samples, Seconds


@dataclass(slots=True)
class Flush:
    """The text of one flush, and where its audio lies in the reply.

    sent: whether the flush was sent; before that, text may still be added to it.
    start, end: in samples written to the sink; None until the first, and until the last, arrived.
    received: samples that have arrived, including those that were not written.
    """

    text: str
    sent: bool = False
    start: Samples | None = None
    end: Samples | None = None
    received: Samples = 0


class HeardWords(NamedTuple):
    """The words that were heard; estimated: whether playback ended within a flush."""

    text: str
    estimated: bool


class HeardText:
    """Maps a reply's played samples to its words.

    pacing: estimates how long a flush will sound whose audio is not complete.
    written: samples written to the sink.
    delivered: flushes whose audio has arrived completely.
    """

    def __init__(self, format: AudioFormat, pacing: Pacing) -> None:
        self._format = format
        self._pacing = pacing
        self._resume_at: Samples | None = None
        """Where the audio of a flush that was lost, and will be sent again, begins."""
        self.flushes: list[Flush] = []
        self.delivered = 0
        self.written: Samples = 0

    @property
    def outstanding(self) -> int:
        """How many flushes were sent and are not delivered yet."""
        return sum(flush.sent for flush in self.flushes[self.delivered :])

    def send(self, text: str, *, flush: bool) -> None:
        """Note that a piece was sent to the TTS."""
        if not self.flushes or self.flushes[-1].sent:
            self.flushes.append(Flush(""))
        self.flushes[-1].text += text
        self.flushes[-1].sent = flush

    def receive(self, samples: Samples, *, written: Samples) -> None:
        """Note audio of the oldest flush, of which ``written`` went to the sink.

        Some services speak before the flush is sent.
        """
        if len(self.flushes) > self.delivered:
            self._begin_delivery().received += samples
        self.written += written

    def flushed(self) -> Flush | None:
        """Note that the audio of the oldest outstanding flush is complete; return that flush."""
        if not self.outstanding:
            return None
        flush = self._begin_delivery()
        flush.end = self.written
        self.delivered += 1
        return flush

    def take_back(self) -> tuple[int, Samples]:
        """Forget unfinished flushes; return (characters to resend, samples already received).

        The audio of the resent text continues where the received samples end.
        """
        lost = self.flushes[self.delivered :]
        if lost and lost[0].start is not None:
            self._resume_at = lost[0].start
        del self.flushes[self.delivered :]
        characters = sum(len(flush.text) for flush in lost)
        return characters, lost[0].received if lost else 0

    def _begin_delivery(self) -> Flush:
        """Return the oldest flush that is not delivered, its start known."""
        flush = self.flushes[self.delivered]
        if flush.start is None:
            flush.start = self.written if self._resume_at is None else self._resume_at
            self._resume_at = None
        return flush

    @property
    def is_plausible(self) -> bool:
        """Whether all but the last flush, and half of its expected audio, have arrived."""
        if self.outstanding != 1:
            return False
        flush = self.flushes[self.delivered]
        return self._format.seconds(2 * flush.received) >= 0.5 * self._expected_duration(flush)

    def heard(self, samples: Samples) -> HeardWords:
        """Return the words within the reply's first ``samples``; a partial word does not count.

        Within a flush, time is taken to pass in proportion to the characters.
        """
        text, estimated = "", False
        for flush in self.flushes:
            if flush.start is None or samples <= flush.start:
                break
            if flush.end is not None and samples >= flush.end:
                text += flush.text
                continue
            expected = flush.start + self._format.samples(self._expected_duration(flush))
            end = max(expected, self.written) if flush.end is None else flush.end
            share = (samples - flush.start) / max(end - flush.start, 1)
            text += _take_words(flush.text, share)
            estimated = True
            break
        return HeardWords(text.strip(), estimated)

    def _expected_duration(self, flush: Flush) -> Seconds:
        return self._pacing.estimate_speech(flush.text)


def _take_words(text: str, share: float) -> str:
    """Return the whole words within this share of the characters of ``text``."""
    reached = share * len(text.strip()) + len(text) - len(text.lstrip())
    ends = [word.end() for word in re.finditer(r"\S+", text) if word.end() <= reached]
    return text[: ends[-1]] if ends else ""
