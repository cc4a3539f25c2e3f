"""An open connection to Flux: audio that never stops within a turn, and what is asked meanwhile.

The service counts audio, not time: without audio a turn never ends, and without a turn it need not
send anything.  It has no message that keeps a connection alive; WebSocket pings do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from voicecli import clock, events
from voicecli.errors import ServiceError, StalledError
from voicecli.events import Event
from voicecli.services.deepgram.flux_turns import TurnDecoder, describe
from voicecli.services.deepgram.frames import (
    OddFrameError,
    SentAudio,
    WarningFilter,
    parse_frame,
    warn,
)
from voicecli.services.deepgram.nova import CLOSE, LAST_TRANSCRIPTS
from voicecli.services.endpoint import CloseError
from voicecli.services.interfaces import Transcriber
from voicecli.turns.dictation import classify_dictation
from voicecli.units import AudioBlock, AudioFormat, Seconds

if TYPE_CHECKING:
    from voicecli.services.deepgram.socket import Socket

CHUNK: Seconds = 0.08
"""Audio per message, by the service's advice; ends of turns came 36 ms later with 50 ms
(livekit/agents#7204)."""

SILENCE_AFTER: Seconds = 0.5
"""Without audio for this long within a turn, silence is sent in its place, as pipecat does."""

STALLED_AFTER: Seconds = 2.0
"""Within a turn the service sends something every 0.25 s of audio; connections were seen that sent
nothing for 20 s, though pings were answered (pipecat-ai/pipecat#5735)."""

CONFIGURE_TIMEOUT: Seconds = 5.0
"""How long a Configure may be unanswered before another one is sent; the service limits how many
are pending."""

FORCE_END_TURN = "ForceEndTurn"
CONFIGURE = "Configure"
UNPARSABLE = "UNPARSABLE_CLIENT_MESSAGE"

Thresholds = Mapping[str, float]


class FluxListener(Transcriber):
    """An open connection to Flux.

    refused: the messages that this deployment turned out not to take.
    early: frames that came before Connected.
    thresholds: as the connection was opened with; dictation: those within something dictated.
    """

    def __init__(
        self,
        socket: Socket,
        rate: int,
        *,
        refused: set[str],
        early: Sequence[str | bytes] = (),
        thresholds: Thresholds,
        dictation: Thresholds,
    ) -> None:
        now = clock.now()
        self._opened = events.ConnectionOpened(
            at=now, service="stt", took=socket.took, request_id=socket.request_id
        )
        self._socket = socket
        self._format = AudioFormat(rate)
        self._sent = SentAudio(rate)
        self._turn = TurnDecoder(self._sent)
        self._early = list(early)
        self._refused = refused
        self._waiting: list[AudioBlock] = []
        self._audio_end: Seconds = now
        """Until when, on the session's clock, audio was sent."""
        self._audio_sent = now
        self._is_filling = False
        """Whether silence takes the place of audio that does not come."""
        self._received = now
        self._heard_at_last: Seconds = 0.0
        """Seconds of audio that had been sent when the last message came."""
        self._usual, self._dictation = thresholds, dictation
        self._configured = thresholds
        self._configuring: Thresholds | None = None
        self._configure_until: Seconds = 0.0
        self._finished_at: Seconds | None = None
        self._timeout: asyncio.Timeout | None = None
        self._warnings = WarningFilter()

    @property
    @override
    def opened(self) -> events.ConnectionOpened:
        return self._opened

    @property
    @override
    def interim_lag(self) -> Seconds | None:
        return self._sent.interim_lag

    @property
    @override
    def final_until(self) -> Seconds:
        return self._sent.end(self._sent.final_until)

    # ── what is sent ─────────────────────────────────────────────────────────

    @override
    async def send(self, block: AudioBlock) -> None:
        if not block.pcm:
            return
        self._is_filling = False
        self._waiting.append(block)
        if sum(self._seconds(one) for one in self._waiting) >= CHUNK - 1e-9:
            await self._send_waiting()

    @override
    async def finalize(self) -> None:
        await self._send_waiting()
        if FORCE_END_TURN not in self._refused:
            self._turn.ends_turn = True
            await self._socket.send(json.dumps({"type": FORCE_END_TURN}))

    @override
    async def finish(self) -> None:
        self._finished_at = clock.now()
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self._finished_at + LAST_TRANSCRIPTS)
        await self._send_waiting()
        await self._socket.send(CLOSE)

    async def _send_waiting(self) -> None:
        blocks, self._waiting = self._waiting, []
        if not blocks:
            return
        for block in blocks:
            self._sent.add(block)
        self._audio_end = blocks[-1].at + self._seconds(blocks[-1])
        self._audio_sent = clock.now()
        await self._socket.send(b"".join(block.pcm for block in blocks))

    def _seconds(self, block: AudioBlock) -> Seconds:
        return self._format.seconds(len(block.pcm))

    # ── what is received ─────────────────────────────────────────────────────

    @override
    async def events(self) -> AsyncGenerator[Event, None]:
        while True:
            try:
                message = await self._receive()
            except TimeoutError:
                if self._finished_at is None:
                    await self._keep_turn_alive()
                    continue
                yield warn(clock.now(), "the last transcript may be missing")
                return
            except CloseError:
                if self._finished_at is not None:
                    return
                raise
            for event in self._decode(message):
                if self._warnings.passes(event):
                    yield event
            if self._finished_at is None:
                await self._configure_turn()

    async def _receive(self) -> str | bytes:
        if self._early:
            return self._early.pop(0)
        try:
            async with asyncio.timeout_at(self._wakes_at()) as self._timeout:
                message = await self._socket.receive()
        finally:
            self._timeout = None
        self._received, self._heard_at_last = clock.now(), self._sent.seconds
        return message

    def _wakes_at(self) -> Seconds | None:
        """When to stop waiting for the service; None: the next message comes in its own time."""
        if self._finished_at is not None:
            return self._finished_at + LAST_TRANSCRIPTS
        if not self._turn.text:
            return None
        return min(self._silence_due, self._find_stall_due())

    @property
    def _silence_due(self) -> Seconds:
        """When silence is sent: SILENCE_AFTER the last audio, then as often as audio would be."""
        return self._audio_sent + (CHUNK if self._is_filling else SILENCE_AFTER)

    def _find_stall_due(self) -> Seconds:
        """When the connection counts as dead: that long without a message, and with audio."""
        owed = self._heard_at_last + STALLED_AFTER / 2 - self._sent.seconds
        return max(self._received + STALLED_AFTER, clock.now() + owed if owed > 0 else 0.0)

    async def _keep_turn_alive(self) -> None:
        """Send silence where audio is missing; raises StalledError if nothing comes of audio."""
        now = clock.now()
        if now >= self._find_stall_due():
            raise self._create_stall()
        if now >= self._silence_due:
            last = self._waiting[-1] if self._waiting else None
            at = self._audio_end if last is None else last.at + self._seconds(last)
            silence = AudioBlock(self._format.silence(max(CHUNK, now - at)), at)
            self._waiting.append(silence)
            self._is_filling = True
            await self._within_stall(self._send_waiting())

    async def _within_stall(self, sending: Awaitable[None]) -> None:
        """Await ``sending``; raises StalledError where the service has stopped reading."""
        try:
            async with asyncio.timeout(STALLED_AFTER):
                await sending
        except TimeoutError:
            raise self._create_stall() from None

    def _create_stall(self) -> ServiceError:
        cause = f"silent for {STALLED_AFTER:g} s within a turn"
        return StalledError(
            "stt", cause, request_id=self._opened.request_id or None, temporary=True
        )

    def _decode(self, message: str | bytes) -> Sequence[Event]:
        now = clock.now()
        try:
            frame = parse_frame(message)
        except OddFrameError as odd:
            return [warn(now, f"ignored {odd}")]
        match frame["type"]:
            case "Error":
                raise self._create_error(frame)
            case "ConfigureSuccess":
                self._configured = self._configuring or self._configured
                self._configuring = None
            case "ConfigureFailure":
                self._refused.add(CONFIGURE)
                self._configuring = None
                return [warn(now, f"refused to change the thresholds: {describe(frame)}")]
            case "Connected":
                pass
            case _:
                return self._turn.decode(frame, at=now)
        return ()

    def _create_error(self, frame: dict[str, Any]) -> ServiceError:
        """Create the error for an Error frame, after which the service closes the connection."""
        said, request_id = describe(frame), self._opened.request_id or None
        if frame.get("code") != UNPARSABLE:
            cause = f"the service failed ({said})"
            return ServiceError("stt", cause, request_id=request_id, temporary=True)
        asked = [FORCE_END_TURN] if self._turn.ends_turn else []
        asked += [CONFIGURE] if self._configuring is not None else []
        if not asked:
            cause, hint = f"the service takes no such message ({said})", "Please report it."
            return ServiceError("stt", cause, hint=hint, request_id=request_id)
        refused = next((name for name in asked if name in said), asked[0])
        self._refused.add(refused)
        cause = f"this deployment takes no {refused}, and none will be sent ({said})"
        return ServiceError("stt", cause, request_id=request_id, temporary=True)

    # ── thresholds ───────────────────────────────────────────────────────────

    async def _configure_turn(self) -> None:
        """Have the service wait longer within something that is dictated.

        One Configure at a time; what changes meanwhile is sent when it is answered.
        """
        if self._configuring is not None and clock.now() < self._configure_until:
            return
        is_dictating = classify_dictation(self._turn.text) == "within"
        wanted = self._dictation if is_dictating else self._usual
        if wanted != self._configured and CONFIGURE not in self._refused:
            self._configuring, self._configure_until = wanted, clock.now() + CONFIGURE_TIMEOUT
            message = json.dumps({"type": CONFIGURE, "thresholds": dict(wanted)})
            await self._within_stall(self._socket.send(message))


async def receive_connected(socket: Socket, timeout: Seconds) -> list[str | bytes]:
    """Wait until the service says that it is ready; return frames that came before.

    Raises ServiceError when it closes the connection, as after a query that it does not understand,
    or says nothing.
    """
    early: list[str | bytes] = []
    request_id = socket.request_id or None
    try:
        async with asyncio.timeout(timeout):
            while True:
                message = await socket.receive()
                kind = _read_type(message)
                if kind == "Connected":
                    return early
                if kind == "Error":
                    raise ServiceError("stt", describe(parse_frame(message)), temporary=True)
                early.append(message)
    except TimeoutError:
        cause = f"opened, and then not ready within {timeout:g} s"
        raise StalledError("stt", cause, request_id=request_id, temporary=True) from None
    except ServiceError as error:
        cause = f"closed before it was ready: {error.cause}"
        hint = "It may refuse a setting: check `stt` in the profile."
        raise ServiceError(
            "stt", cause, hint=hint, request_id=request_id, temporary=error.temporary
        ) from error


def _read_type(message: str | bytes) -> str:
    try:
        return str(parse_frame(message)["type"])
    except OddFrameError:
        return ""
