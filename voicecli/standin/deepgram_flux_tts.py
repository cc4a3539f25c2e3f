"""Deepgram's ``/v2/speak`` (Flux TTS): text in as it is written, audio out, turn by turn.

A turn begins with its first Speak, is spoken piece by piece at the boundaries of clauses, and ends
with SpeechMetadata after its Flush, or with SpeechInterrupted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.standin.deepgram import (
    Frame,
    Query,
    QueryError,
    ServedConnection,
    parse_message,
)
from voicecli.standin.deepgram_tts import parse_audio_format
from voicecli.standin.script import ActiveFaults
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

MODELS = re.compile(r"flux-[a-z]+-[a-z]{2}")
NO_SUCH_MODEL = "Bad Request: No such model/version combination found."
RATES = {
    "linear16": (8000, 16000, 24000, 32000, 44100, 48000),
    "mulaw": (8000, 16000),
    "alaw": (8000, 16000),
}
SPEEDS = (0.5, 1.5)
SPEED_STEP = 0.05
EXPRESSIVITY = range(-2, 3)
MODEL_INFO = {
    "model_version": "2026-08-12.0",
    "model_uuids": ["00000000-0000-4000-8000-000000000003"],
}

MAX_AGE: Seconds = 3600.0  # NET-0003, even for an active connection
MAX_IDLE: Seconds = 60.0  # NET-0004, without a message or a ping of the client's

BOUNDARY = re.compile(r".*[^\W\d][.!?。！？,;:…][\"'”’)]*(?=\s|\Z)", re.DOTALL)
"""Text that ends where the service would begin to speak: at the end of a clause."""

SECONDS_PER_CHARACTER: Seconds = 0.06
"""How long a piece will sound that is interrupted before it is complete: the usual pace."""

CONTROLS = {"pronunciations_applied": 0, "breaks_applied": 0, "pronunciation_warnings": 0}


@dataclass(slots=True)
class SpeakQuery:
    """What a connection asked for."""

    model: str
    rate: int


def parse_flux_query(query: Query) -> SpeakQuery:
    """Read the query; raise QueryError where the service would.

    ``speed`` and ``expressivity`` are validated, but no engine implements them.
    """
    model = query.text("model", "")
    if not MODELS.fullmatch(model):
        raise QueryError(400, "Bad Request", NO_SUCH_MODEL)
    rate = parse_audio_format(query, RATES)
    if refused := check_speed(query.decimal("speed", 1.0)):
        raise QueryError(400, refused, "speed is from 0.5 to 1.5, in steps of 0.05")
    expressivity = query.decimal("expressivity", 0)
    if expressivity != int(expressivity):
        raise QueryError(400, "EXPRESSIVITY_INCREMENT_INVALID", "expressivity is a whole number")
    if int(expressivity) not in EXPRESSIVITY:
        raise QueryError(400, "EXPRESSIVITY_OUT_OF_RANGE", "expressivity is from -2 to 2")
    query.flag("mip_opt_out")
    return SpeakQuery(model, rate)


def check_speed(speed: float) -> str | None:
    """Return the code with which the service refuses a speed, or None."""
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        return "SPEED_OUT_OF_RANGE"
    steps = speed / SPEED_STEP
    return "SPEED_INCREMENT_INVALID" if abs(steps - round(steps)) > 1e-6 else None


@dataclass(eq=False)
class Turn:
    """A turn: its text, and what was spoken of it.

    faults: what goes wrong, from its first Speak on.
    text: all of it; the first ``ordered`` characters were given to the voice.
    spoken: each piece that was begun, with the samples that were sent of it.
    speaking: whether the last of them is not complete.
    """

    id: str
    faults: ActiveFaults
    text: str = ""
    ordered: int = 0
    flushed: bool = False
    spoken: list[tuple[str, Samples]] = field(default_factory=list)
    speaking: bool = False

    @property
    def samples(self) -> Samples:
        """What was sent of its audio."""
        return sum(samples for _, samples in self.spoken)


def find_heard(spoken: Sequence[tuple[str, Samples]], played: Samples) -> str:
    """Return the text that was heard when ``played`` samples had been, in whole words.

    spoken: the pieces of a turn, each with its samples.
    played: negative where the turn's audio had not begun to play.
    """
    if played < 0:
        return ""
    heard = ""
    for text, samples in spoken:
        if played >= samples:
            heard += text
            played -= samples
            continue
        reached = len(text) * played / samples
        ends = [word.end() for word in re.finditer(r"\S+", text) if word.end() <= reached]
        return heard + (text[: ends[-1]] if ends else "")
    return heard


class FluxSpeakConnection(ServedConnection):
    """One connection to ``/v2/speak``."""

    service = "tts"

    @override
    def __post_init__(self) -> None:
        self._asked = parse_flux_query(self.query)
        self._format = AudioFormat(self._asked.rate)
        self._turns: list[Turn] = []
        """Those that are not over; the first one is spoken."""
        self._count = 0
        self._before = 0
        """Milliseconds of the session's audio before the first turn."""
        self._established = 0
        """Milliseconds that an offset must exceed."""
        self._has_spoken = False
        self._characters = 0
        self._more = asyncio.Event()
        self._over = asyncio.Event()
        """Set when a turn is over."""

    @override
    async def run(self) -> None:
        hello = {"type": "Connected", "request_id": str(self.socket.id)}
        await self.send({**hello, "model_name": self._asked.model, **MODEL_INFO})
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._start_speaking()
            await self._receive_all()
            self._speaking.cancel()

    def _start_speaking(self) -> None:
        self._speaking = self._tasks.create_task(self._speak_turns(), name="speak")

    # ── what the client says ─────────────────────────────────────────────────

    async def _receive_all(self) -> None:
        expired = self.active.find("expired")
        ends = clock.now() + (MAX_AGE if expired is None else expired.after)
        try:
            while True:
                try:
                    async with asyncio.timeout_at(min(ends, self.socket.heard_at + MAX_IDLE)):
                        message = await self.socket.recv()
                    await self._receive(message)
                except TimeoutError:
                    if clock.now() >= ends:
                        await self._fail("NET-0003", "The connection reached its time limit.")
                        return
                    if clock.now() >= self.socket.heard_at + MAX_IDLE:
                        await self._fail("NET-0004", "No message within 60 s.")
                        return
        except ConnectionClosed:
            return

    async def _receive(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._fail("MESSAGE-0000", "Binary messages are not supported.")
            return
        match parse_message(message):
            case {"type": "Speak", "text": str(text)}:
                self._add_text(text)
            case {"type": "Flush"}:
                await self._flush()
            case {"type": "Interrupt", "playback_offset": {"type": "time_ms", "value": int(at)}}:
                await self._interrupt(at)
            case {"type": "Interrupt", **rest} if rest.get("playback_offset") is None:
                await self._interrupt(None)
            case {"type": "Configure", "speed": int() | float() as speed}:
                await self._configure(speed)
            case {"type": "Close"}:
                await self._close()
            case _:
                await self._fail("MESSAGE-0000", "Failed to parse the message.")

    async def _fail(self, code: str, description: str) -> None:
        await self.send({"type": "Error", "code": code, "description": description})
        await self.socket.close(1011 if code.startswith("NET") else 1008, code)

    async def _warn(self, code: str, description: str, faults: ActiveFaults | None = None) -> None:
        await self.send({"type": "Warning", "code": code, "description": description}, faults)

    def _add_text(self, text: str) -> None:
        if not text:
            return
        if not self._turns or self._turns[-1].flushed:
            self._count += 1
            faults = self.faults.begin("tts", "flush")
            self._turns.append(Turn(f"dg_sp_{self._count:012x}", faults))
        self._turns[-1].text += text
        self._more.set()

    async def _flush(self) -> None:
        if not self._turns or self._turns[-1].flushed:
            await self._warn("NO_ACTIVE_SPEECH", "There is no turn to flush.")
            return
        turn = self._turns[-1]
        turn.flushed = True
        self._more.set()
        if not turn.faults.find("flushed_late"):
            await self.send({"type": "Flushed", "speech_id": turn.id}, turn.faults)

    async def _interrupt(self, offset: int | None) -> None:
        faults = self.faults.begin("tts", "interrupt")
        if faults.find("interrupt_lost"):
            return
        if faults.find("interrupt_busy"):
            await self._warn("INTERRUPT_IN_PROGRESS", "An interrupt is being processed.")
            return
        if not self._has_spoken:
            await self._warn("NO_AUDIO_GENERATED", "The session has produced no audio yet.")
        elif not self._turns:
            await self._warn("NO_ACTIVE_SPEECH", "There is no turn to interrupt.")
        elif offset is not None and (offset <= self._established or faults.find("stale_offset")):
            await self._warn("INVALID_INTERRUPT_OFFSET", "The offset did not advance.")
        else:
            await self._stop_speaking(offset, silent=faults.find("text_missing") is not None)

    async def _stop_speaking(self, offset: int | None, *, silent: bool) -> None:
        """End the active turn, and say what was heard of it; ``silent``: not in words."""
        self._speaking.cancel()
        await asyncio.wait([self._speaking])
        turn = self._turns.pop(0)
        generated = self._before + self._to_ms(turn.samples)
        played = generated if offset is None else offset
        self._established = self._before = played
        text: dict[str, Any] = {}
        if offset is not None and not silent:
            in_turn = offset - (generated - self._to_ms(turn.samples))
            spoken = turn.spoken
            if turn.speaking:
                piece, sent = spoken[-1]
                whole = self._format.samples(SECONDS_PER_CHARACTER * len(piece.strip()))
                spoken = [*spoken[:-1], (piece, max(sent, whole))]
            heard = find_heard(spoken, self._format.samples(in_turn / 1000))
            text = {"text_spoken": heard, "text_remaining": turn.text[len(heard) :]}
        answer = {"type": "SpeechInterrupted", "audio_played_ms": played, **text}
        await self.send({**answer, "metadata": self._describe(turn)})
        self._over.set()
        self._start_speaking()

    async def _configure(self, speed: float) -> None:
        if code := check_speed(speed):
            refused = {"type": "ConfigureFailure", "code": code, "field": "speed", "value": speed}
            await self.send({**refused, "description": "The speed is not supported."})
        else:
            await self.send({"type": "ConfigureSuccess", "applied": {"speed": speed}})

    async def _close(self) -> None:
        """Speak the rest, report the session and hang up."""
        if self.faults.begin("tts", "close").find("close_lost"):
            return
        if self._turns and not self._turns[-1].flushed:
            self._turns[-1].flushed = True
            self._more.set()
        while self._turns:
            self._over.clear()
            await self._over.wait()
        totals = {
            "total_audio_duration_ms": self._before,
            "total_input_character_count": self._characters,
            "total_billable_character_count": self._characters,
        }
        await self.send({"type": "SessionMetadata", **totals})
        await self.socket.close(1000)

    # ── what is spoken ───────────────────────────────────────────────────────

    async def _speak_turns(self) -> None:
        while True:
            while not self._turns:
                self._more.clear()
                await self._more.wait()
            turn = self._turns[0]
            await turn.faults.run(self._speak(turn))
            self._turns.pop(0)
            self._over.set()

    async def _speak(self, turn: Turn) -> None:
        """Speak a turn piece by piece, as its text comes."""
        if turn.faults.find("warning"):
            await self._warn("SYNTHESIS_RETRYING", "A request is being retried.", turn.faults)
        while True:
            self._more.clear()
            piece = turn.text[turn.ordered :]
            if not turn.flushed:
                ended = BOUNDARY.match(piece)
                piece = ended[0] if ended else ""
            if piece:
                turn.ordered += len(piece)
                await self._speak_piece(turn, piece)
            elif turn.flushed:
                break
            else:
                await self._more.wait()
        if not turn.samples:
            await self._warn("NO_SYNTHESIZABLE_TEXT", "The turn has no text.", turn.faults)
        self._before += self._to_ms(turn.samples)
        await self.send({"type": "SpeechMetadata", **self._describe(turn)}, turn.faults)
        if turn.faults.find("flushed_late"):
            await self.send({"type": "Flushed", "speech_id": turn.id}, turn.faults)

    async def _speak_piece(self, turn: Turn, piece: str) -> None:
        if not any(map(str.isalnum, piece)):
            turn.spoken.append((piece, 0))
            return
        if not turn.samples:
            await self.send({"type": "SpeechStarted", "speech_id": turn.id}, turn.faults)
        is_odd = turn.faults.find("odd_frames") is not None
        kept = b""
        turn.spoken.append((piece, 0))
        turn.speaking = True
        async with aclosing(self.engines.tts.speak(piece, self._asked.rate)) as chunks:
            async for chunk in chunks:
                audio = kept + chunk
                end = len(audio) - (is_odd and len(audio) % 2 == 0)
                kept = audio[end:]
                await self._send_audio(turn, audio[:end], len(chunk))
        if kept:
            await self._send_audio(turn, kept, 0)
        turn.speaking = False

    async def _send_audio(self, turn: Turn, audio: bytes, size: int) -> None:
        self._has_spoken = True
        piece, samples = turn.spoken[-1]
        turn.spoken[-1] = (piece, samples + size // SAMPLE_SIZE)
        await self.send(audio, turn.faults)

    def _describe(self, turn: Turn) -> Frame:
        """The metadata of a turn, which count towards those of the session."""
        characters = len(turn.text)
        self._characters += characters
        return {
            "speech_id": turn.id,
            "audio_duration_ms": self._to_ms(turn.samples),
            "input_character_count": characters,
            "billable_character_count": characters,
            "controls_applied": CONTROLS,
        }

    def _to_ms(self, samples: Samples) -> int:
        return round(1000 * self._format.seconds(SAMPLE_SIZE * samples))
