"""Flux TTS in a cassette: a speech is given again as it came, from its first Speak on.

The service speaks as text comes, so the text is known to be the recorded one when it is complete.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override
from websockets.asyncio.server import ServerConnection

from voicecli.cassette.difference import Differences, cut_around_difference
from voicecli.cassette.format import Line, format_text, parse_text
from voicecli.cassette.reader import SocketFile
from voicecli.cassette.speak import SpeakPlayer
from voicecli.cassette.speech import AudioReader, Close, Flush, SpeakTrack, Speech, Timed
from voicecli.sanitize import redact_secrets
from voicecli.units import Seconds

FLUX_PATH = "/v2/speak"

NOTHING_TO_INTERRUPT = json.dumps(
    {"type": "Warning", "code": "NO_ACTIVE_SPEECH", "description": "Nothing was recorded."}
)


@dataclass(slots=True)
class FluxTrack(SpeakTrack):
    """What one connection carried; a flush is a speech, whose times count from its first Speak.

    answers: what followed each Interrupt, until it was answered.
    """

    answers: list[list[Timed]] = field(default_factory=list)


def read_flux_track(file: SocketFile) -> FluxTrack:
    """Read the track of a connection; raises InputError."""
    return _TrackReader(file).read()


class _TrackReader:
    """Sorts the lines of a file by the speech that they belong to."""

    def __init__(self, file: SocketFile) -> None:
        self._lines = file.lines
        self._track, self._audio = FluxTrack(), AudioReader(file)
        self._is_open = False
        self._interrupted: Seconds | None = None

    def read(self) -> FluxTrack:
        """Read all lines."""
        for line in self._lines:
            if "sent" in line:
                self._note_request(line)
            elif "pcm" in line:
                self._add(line.at, self._audio.read(line))
            elif "got" in line:
                self._audio.restart()
                self._note_answer(line)
            elif line.values.get("by") == "service":
                self._audio.restart()
                self._add(line.at, Close(line.integer("closed"), line.text("reason")))
        return self._track

    def _note_request(self, line: Line) -> None:
        speeches = self._track.flushes
        match line.values["sent"]:
            case {"type": "Speak", "text": str(text)}:
                if not self._is_open:
                    speeches.append(Flush("", line.at, line.place))
                    self._is_open = True
                speeches[-1].text += text
            case {"type": "Flush"} if self._is_open:
                speeches[-1].complete, self._is_open = True, False
            case {"type": "Interrupt"}:
                self._track.answers.append([])
                self._interrupted, self._is_open = line.at, False

    def _note_answer(self, line: Line) -> None:
        text = format_text(line.values["got"])
        if self._interrupted is not None and _is_answer(line.values["got"]):
            self._track.answers[-1].append(Timed(line.at - self._interrupted, text))
            self._interrupted = None
        else:
            self._add(line.at, text)

    def _add(self, at: Seconds, message: str | bytes | Close) -> None:
        """Add a message to what it belongs to; nobody hears the rest of an interrupted speech."""
        if not self._track.flushes:
            self._track.greeting.append(Timed(at - self._lines[0].at, message))
        elif self._interrupted is None or isinstance(message, Close):
            speech = self._track.flushes[-1]
            speech.messages.append(Timed(at - speech.at, message))


def _is_answer(frame: Any) -> bool:
    """Whether a message answers an Interrupt."""
    return isinstance(frame, dict) and frame.get("type") in ("SpeechInterrupted", "Warning")


class FluxPlayer(SpeakPlayer):
    """Serves one connection.

    recorded: the speeches of all connections that were not asked for yet, in order.
    """

    def __init__(
        self,
        track: FluxTrack,
        recorded: list[Flush],
        socket: ServerConnection,
        differences: Differences,
    ) -> None:
        super().__init__(track, Speech([]), socket, differences)
        self._recorded = recorded
        self._answers = iter(track.answers)
        self._open: Flush | None = None

    @override
    async def _receive(self, message: str | bytes) -> None:
        match parse_text(message) if isinstance(message, str) else None:
            case {"type": "Speak", "text": str(text)}:
                await self._hear(redact_secrets(text))
            case {"type": "Flush"}:
                speech, self._open = self._open, None
                if speech is not None and speech.complete and self._text != speech.text:
                    await self._report(speech)
                self._text = ""
            case {"type": "Interrupt"}:
                await self._interrupt()
            case {"type": "Close"}:
                await self._socket.close(1000)
            case _:
                await self._fail("a message that is none of Speak, Flush, Interrupt and Close")

    async def _hear(self, text: str) -> None:
        """Take a part of a speech, the first of which has it spoken."""
        self._text += text
        if self._open is None:
            starts = (one for one in self._recorded if one.text.startswith(self._text))
            self._open = next(starts, None)
            if self._open is None:
                cause = f"{text[:40]!r} was to be spoken, and nothing like it was recorded"
                await self._fail(cause)
                return
            del self._recorded[: self._recorded.index(self._open) + 1]
            self._ask(self._open)
        elif not (self._open.text.startswith(self._text) or not self._open.complete):
            await self._report(self._open)

    async def _report(self, speech: Flush) -> None:
        was, now = cut_around_difference(speech.text, self._text)
        await self._fail(f"the text was {was!r}, and is {now!r} ({speech.place})")

    async def _interrupt(self) -> None:
        await self._stop_speaking()
        self._open = None
        before = 0.0
        for after, message in next(self._answers, [Timed(0.0, NOTHING_TO_INTERRUPT)]):
            await asyncio.sleep(after - before)
            before = after
            if not isinstance(message, Close):
                await self._socket.send(message)
        self._start_speaking()


def list_speeches(tracks: Iterable[FluxTrack]) -> list[Flush]:
    """List what all connections spoke, in the order in which it was asked for."""
    return sorted((one for track in tracks for one in track.flushes), key=lambda one: one.at)
