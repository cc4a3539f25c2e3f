"""What the TTS of a cassette can speak: the text of each Flush, with the messages that followed.

Where a reply is cut into Flushes can depend on a millisecond.  A text that was not flushed as it is
now, but was spoken, is put together from what was recorded: each word has its share of the audio
of its Flush, by its letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import soundfile

from voicecli.cassette.format import AUDIO_SUFFIX, Line, format_text
from voicecli.cassette.levels import WholeSamples, make_tone
from voicecli.cassette.reader import SocketFile
from voicecli.errors import InputError
from voicecli.units import SAMPLE_SIZE, Seconds


class Close(NamedTuple):
    """The service closes the connection."""

    code: int
    reason: str


class Timed(NamedTuple):
    """A message of the service, seconds after the Flush, or after the connection was opened."""

    after: Seconds
    message: str | bytes | Close


@dataclass(slots=True)
class Flush:
    """The text of one Flush, and what the service said until the next.

    place: FILE:LINE of the Flush.
    complete: whether Flushed came; if not, the text stayed with the service, or was cleared.
    cleared: seconds after which the program cleared it.
    """

    text: str
    at: Seconds
    place: str
    messages: list[Timed] = field(default_factory=list)
    complete: bool = False
    cleared: Seconds | None = None

    @property
    def words(self) -> list[str]:
        """The words of its text."""
        return self.text.split()


@dataclass(slots=True)
class SpeakTrack:
    """What one connection to the TTS carried.

    greeting: messages before the first Flush, after the connection was opened.
    clears: seconds from each Clear to its confirmation.
    """

    greeting: list[Timed] = field(default_factory=list)
    flushes: list[Flush] = field(default_factory=list)
    clears: list[Seconds] = field(default_factory=list)


def read_track(file: SocketFile) -> SpeakTrack:
    """Read the track of a connection; raises InputError."""
    return _TrackReader(file).read()


class _TrackReader:
    """Sorts the lines of a file by the Flush that they belong to."""

    def __init__(self, file: SocketFile) -> None:
        self._file = file
        self._track = SpeakTrack()
        self._audio = AudioReader(file)
        self._text = ""
        self._early: list[tuple[Seconds, str | bytes | Close]] = []
        self._clearing: Seconds | None = None

    def read(self) -> SpeakTrack:
        """Read all lines."""
        start = self._file.lines[0].at if self._file.lines else 0.0
        for line in self._file.lines:
            if "sent" in line:
                self._note_request(line, line.values["sent"])
            elif "pcm" in line:
                self._add(line.at, self._audio.read(line), start)
            elif "got" in line:
                self._note_answer(line, line.values["got"], start)
            elif line.values.get("by") == "service":
                self._audio.restart()
                self._add(line.at, Close(line.integer("closed"), line.text("reason")), start)
        return self._track

    @property
    def _flush(self) -> Flush | None:
        return self._track.flushes[-1] if self._track.flushes else None

    def _note_request(self, line: Line, request: Any) -> None:
        match request:
            case {"type": "Speak", "text": str(text)}:
                self._text += text
            case {"type": "Flush"}:
                flush = Flush(self._text, line.at, line.place)
                flush.messages = [Timed(at - line.at, one) for at, one in self._early]
                self._track.flushes.append(flush)
                self._early = []
            case {"type": "Clear"}:
                if (open_ := self._flush) is not None and not open_.complete:
                    open_.cleared = line.at - open_.at
                self._clearing, self._text, self._early = line.at, "", []

    def _note_answer(self, line: Line, answer: Any, start: Seconds) -> None:
        self._audio.restart()
        kind = answer.get("type") if isinstance(answer, dict) else None
        if kind == "Cleared" and self._clearing is not None:
            self._track.clears.append(line.at - self._clearing)
            self._clearing = None
            return
        self._add(line.at, format_text(answer), start)
        if kind == "Flushed" and (flush := self._flush) is not None and self._clearing is None:
            flush.complete, self._text = True, ""

    def _add(self, at: Seconds, message: str | bytes | Close, start: Seconds) -> None:
        """Add a message to what it belongs to."""
        flush = self._flush
        if self._clearing is not None and not isinstance(message, Close):
            return  # of before the Clear; nobody hears it
        if isinstance(message, bytes) and (flush is None or flush.complete):
            self._early.append((at, message))  # some services speak before the Flush
        elif flush is not None:
            flush.messages.append(Timed(at - flush.at, message))
        else:
            self._track.greeting.append(Timed(at - start, message))


class AudioReader:
    """The audio of a file's messages: as it was kept, or tones of its levels."""

    def __init__(self, file: SocketFile) -> None:
        self._rate = file.rate
        self._samples = WholeSamples()
        self._kept_file = file.file.with_suffix(AUDIO_SUFFIX)
        self._kept: soundfile.SoundFile | None = None

    def read(self, line: Line) -> bytes:
        """Return the audio of a message, as many bytes as it had."""
        size = line.integer("pcm")
        if not 0 <= size < 1 << 24:
            raise line.fail(f"`pcm` is {size}")
        count = len(self._samples.feed(bytes(size))) // SAMPLE_SIZE
        levels = line.text("levels")
        if levels or not count:
            try:
                pcm = make_tone(levels, count, self._rate).tobytes()
            except ValueError as error:
                raise line.fail(f"`levels` do not fit: {error}") from error
        else:
            pcm = self._read_kept(line, count)
        # Half a sample at an edge is silence.
        return pcm[:size].ljust(size, b"\0")

    def restart(self) -> None:
        """Note a text message."""
        self._samples.restart()

    def _read_kept(self, line: Line, count: int) -> bytes:
        try:
            if self._kept is None:
                self._kept = soundfile.SoundFile(self._kept_file)
            pcm: bytes = self._kept.read(count, "int16").tobytes()
        except (OSError, soundfile.LibsndfileError) as error:
            raise InputError(f"{self._kept_file} cannot be read: {error}") from error
        if len(pcm) < count * SAMPLE_SIZE:
            raise line.fail(f"{self._kept_file} ends before it")
        return pcm


class Speech:
    """Everything that a cassette can speak, on whichever connection it is asked for."""

    def __init__(self, tracks: Sequence[SpeakTrack]) -> None:
        self._flushes = sorted(
            (one for track in tracks for one in track.flushes), key=lambda one: one.at
        )
        self._asked: Counter[str] = Counter()
        spoken = [one for one in self._flushes if one.complete and one.text.strip()]
        self._words = [(word, flush) for flush in spoken for word in flush.words]
        self._next_word = 0

    def find(self, text: str) -> Flush | None:
        """Find what was said to a Flush of ``text``; None if it was never spoken."""
        words = text.split()
        key = " ".join(words)
        same = [one for one in self._flushes if " ".join(one.words) == key]
        if same:
            found = same[min(self._asked[key], len(same) - 1)]
            self._asked[key] += 1
            self._skip(found)
            return found
        return self._put_together(text, words)

    def find_nearest(self, text: str) -> Flush | None:
        """Find the recorded text that is most like ``text``; None without any."""
        words = text.split()

        def count_common(flush: Flush) -> int:
            pairs = zip(flush.words, words, strict=False)
            return next((at for at, (one, other) in enumerate(pairs) if one != other), len(words))

        return max(self._flushes, key=count_common, default=None)

    def _skip(self, flush: Flush) -> None:
        """Continue after ``flush`` when the next text has to be put together."""
        own = [at for at, (_, one) in enumerate(self._words) if one is flush]
        self._next_word = own[-1] + 1 if own else self._next_word

    def _put_together(self, text: str, words: list[str]) -> Flush | None:
        length = len(words)
        starts = [self._next_word, *range(len(self._words) - length + 1)]
        said = [word for word, _ in self._words]
        start = next((at for at in starts if words and said[at : at + length] == words), None)
        if start is None:
            return None
        self._next_word = start + length
        first = self._words[start][1]
        result = Flush(text, first.at, first.place, complete=True)
        for flush, begin, end in self._find_parts(start, start + length):
            pieces = list(_cut(flush, begin, end))
            ready = result.messages[-1].after if result.messages else flush.messages[0].after
            result.messages += [Timed(ready + after, pcm) for after, pcm in pieces]
        flushed = next(one for one in reversed(flush.messages) if isinstance(one.message, str))
        result.messages.append(Timed(result.messages[-1].after, flushed.message))
        return result

    def _find_parts(self, start: int, end: int) -> Iterator[tuple[Flush, float, float]]:
        """Yield the flushes that words belong to, and from where to where, as shares of each."""
        flushes = list(dict.fromkeys(map(id, (one for _, one in self._words[start:end]))))
        for identity in flushes:
            own = [at for at, (_, one) in enumerate(self._words) if id(one) == identity]
            ends = list(accumulate((len(self._words[at][0]) + 1 for at in own), initial=0))
            shares = [
                (begin / ends[-1], stop / ends[-1])
                for at, (begin, stop) in zip(own, pairwise(ends), strict=True)
                if start <= at < end
            ]
            yield self._words[own[0]][1], shares[0][0], shares[-1][1]


def _cut(flush: Flush, begin: float, end: float) -> Iterator[tuple[Seconds, bytes]]:
    """Yield the audio from share ``begin`` to ``end``, with times since the first of it."""
    audio = [one for one in flush.messages if isinstance(one.message, bytes)]
    total = sum(len(one.message) for one in audio)
    low, high = (round(share * total / SAMPLE_SIZE) * SAMPLE_SIZE for share in (begin, end))
    position, first = 0, None
    for after, message in audio:
        assert isinstance(message, bytes)
        piece = message[max(0, low - position) : max(0, high - position)]
        position += len(message)
        if piece:
            first = after if first is None else first
            yield after - first, piece
