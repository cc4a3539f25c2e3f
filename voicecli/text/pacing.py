"""Estimates whether a piece of a reply sounds until the next one can arrive.  Pure.

The estimates follow what the services really took, over the whole session: ``Pacing`` outlives the
replies that teach it.
"""

from __future__ import annotations

import re
from collections import deque

import numpy as np

from voicecli.units import Seconds

RECENT = 15
"""How many values an estimate follows: a service that changes is known after a few replies."""

MARGIN: Seconds = 0.15
"""Kept beyond the estimates: the loudspeaker's pre-buffer (0.06 s), and what varies."""

NEXT_BOUNDARY = 50
"""Characters from one natural boundary to the next, about nine words."""

LONGEST_FIRST = 90
"""Characters after which the first clause ends in any case: 16 words, 5 s of speech."""

LONGEST_FIRST_WAIT: Seconds = 0.6
"""With a slow LLM it ends where the LLM has written for about this long."""

_LEAST_SPEECH = 10
"""Characters that say something about the pace of the voice; fewer are mostly pauses."""

_LEAST_DELIVERY: Seconds = 0.8
"""Audio that says something about the speed of its delivery."""

UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
"""Characters that take as long to say as three Latin ones, usually without spaces between."""


def count_spoken(text: str) -> int:
    """Count the characters of ``text`` by how long they take to say."""
    return len(text) + 2 * len(UNSPACED.findall(text))


class RecentValues:
    """A running estimate: a percentile of the recent values, or ``value`` before the first."""

    def __init__(self, value: float, percentile: float = 50) -> None:
        self.value = value
        self._percentile = percentile
        self._values: deque[float] = deque(maxlen=RECENT)

    def add(self, value: float) -> None:
        """Follow another value."""
        self._values.append(value)
        self.value = float(np.percentile(self._values, self._percentile))


class Pacing:
    """How fast the LLM writes, how fast the voice speaks, and how soon the TTS delivers.

    seconds_per_character: the usual pace of the voice, until it is known better.

    writing: seconds in which the LLM writes a character; at first 20 ms a token, as OpenAI's small
        models do.
    speaking: seconds in which the voice speaks one.
    ttfb: flush → first byte; the 80th percentile, since one in two would run dry with the median.
        At first between the 0.13 and 0.3 s that were measured of Aura-2.
    delivery: seconds in which a second of audio is delivered; at first as measured of Aura-2.
    """

    def __init__(self, seconds_per_character: Seconds) -> None:
        self.writing = RecentValues(0.020 / 4.5)
        self.speaking = RecentValues(seconds_per_character)
        self.ttfb = RecentValues(0.25, percentile=80)
        self.delivery = RecentValues(2.5 / 8)

    def add_writing(self, text: str, took: Seconds) -> None:
        """Learn from what the LLM wrote after its first token."""
        if characters := count_spoken(text):
            self.writing.add(took / characters)

    def add_speech(self, text: str, took: Seconds) -> None:
        """Learn from the audio of ``text``, without the silence that was not played."""
        if (characters := count_spoken(text.strip())) >= _LEAST_SPEECH and took > 0:
            self.speaking.add(took / characters)

    def add_ttfb(self, took: Seconds) -> None:
        """Learn from a flush that was sent at once, to its first byte."""
        self.ttfb.add(took)

    def add_delivery(self, audio: Seconds, took: Seconds) -> None:
        """Learn from a flush's first byte to its last."""
        if audio >= _LEAST_DELIVERY:
            self.delivery.add(took / audio)

    @property
    def flush_lead(self) -> Seconds:
        """With how much audio still queued the next text must be flushed."""
        return self.ttfb.value + MARGIN

    def estimate_speech(self, text: str) -> Seconds:
        """How long ``text`` will sound."""
        return self.speaking.value * count_spoken(text.strip())

    def covers(self, text: str) -> bool:
        """Whether the audio of ``text`` lasts until that of the text after it can arrive.

        The next flush needs a boundary, and waits until all audio of this one has been delivered.
        Both times count from the first byte of this one.
        """
        audio = self.estimate_speech(text)
        boundary = NEXT_BOUNDARY * self.writing.value - self.ttfb.value
        return audio >= max(boundary, audio * self.delivery.value) + self.flush_lead

    def is_overdue(self, text: str) -> bool:
        """Whether the first piece has become so long that it may end within a phrase."""
        characters = count_spoken(text)
        wait = characters * self.writing.value
        return characters > LONGEST_FIRST or wait > LONGEST_FIRST_WAIT
