"""Deepgram's ``/v1/listen``: audio in, transcripts out, driven by the audio cursor."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.standin.engines.interfaces import Engines
from voicecli.standin.faults import Faults, Trouble
from voicecli.standin.query import RATES, ListenQuery
from voicecli.standin.segmenter import Mark, ResultDue, Segmenter, VoiceStarted, WordsEnded
from voicecli.standin.transcripts import Frame, metadata, results, speech_started, utterance_end
from voicecli.units import SAMPLE_SIZE, Seconds

PATIENCE: Seconds = 10.0
"""The connection is closed after so long without audio or, once there was audio, a text message."""

NET_0001 = (
    "Deepgram did not receive audio data or a text message within the timeout window. "
    "See https://dpgr.am/net0001"
)


@dataclass(frozen=True, slots=True)
class _Due:
    """Something to send, not before ``when``; None is the end of the stream."""

    when: Seconds
    mark: Mark | None


class ListenSession:
    """One connection to ``/v1/listen``."""

    def __init__(
        self,
        socket: ServerConnection,
        options: ListenQuery,
        engines: Engines,
        faults: Faults,
        trouble: Trouble,
    ) -> None:
        self._socket = socket
        self._options = options
        self._pace = engines.pace
        self._recogniser = engines.recogniser()
        self._faults = faults
        self._trouble = trouble
        self._due: asyncio.Queue[_Due] = asyncio.Queue()
        self._segmenter = Segmenter(
            options.rate or min(RATES),
            endpointing=options.endpointing,
            utterance_end=options.utterance_end,
            interim=self._pace.interim if options.interim_results else None,
            pause=self._pace.pause,
        )
        self._odd = b""
        self._digest = hashlib.sha256()
        self._last_word_end: float | None = None

    async def run(self) -> None:
        """Serve the connection until it is closed by either side."""
        async with asyncio.TaskGroup() as tasks:
            answers = tasks.create_task(self._answer_all(), name="listen answers")
            await self._receive_all()
            answers.cancel()

    # ── what comes in ────────────────────────────────────────────────────────

    async def _receive_all(self) -> None:
        patience_ends = clock.now() + PATIENCE
        try:
            while True:
                async with asyncio.timeout_at(patience_ends):
                    message = await self._socket.recv()
                if isinstance(message, bytes) or self._segmenter.cursor:
                    patience_ends = clock.now() + PATIENCE
                await self._receive(message)
        except TimeoutError:
            await self._send(self._metadata("incomplete"))
            await self._socket.close(1011, NET_0001)
        except ConnectionClosed:
            return

    async def _receive(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._obey(message)
        elif not message:
            self._finish()
        elif self._options.rate is None:
            await self._socket.close(1008, "DATA-0000")
        else:
            await self._hear(message)

    async def _obey(self, message: str) -> None:
        match _json(message):
            case {"type": "KeepAlive"}:
                pass
            case {"type": "Finalize"}:
                self._finalize()
            case {"type": "CloseStream"}:
                self._finish()
            case {"type": "Configure"} as wishes:
                await self._configure(wishes.get("keyterms"))
            case _:
                error = {"type": "Error", "variant": "SchemaError"}
                why = "Could not deserialize last text message"
                await self._send({**error, "description": why, "message": message})

    async def _hear(self, audio: bytes) -> None:
        arrival = clock.now()
        self._digest.update(audio)
        audio = self._odd + audio
        whole = len(audio) // SAMPLE_SIZE * SAMPLE_SIZE
        self._odd = audio[whole:]
        end = self._segmenter.cursor + whole // SAMPLE_SIZE
        for mark in self._segmenter.feed(audio[:whole]):
            instant = arrival - (end - mark.at) / self._segmenter.rate
            if isinstance(mark, VoiceStarted):
                if self._options.vad_events:
                    await self._send(speech_started(mark.at / self._segmenter.rate))
            elif isinstance(mark, ResultDue) and mark.result != "interim":
                self._due.put_nowait(_Due(instant + self._pace.final(), mark))
            else:
                self._due.put_nowait(_Due(instant, mark))

    def _finalize(self) -> None:
        lost = self._faults.at("stt", "finalize").find("finalize_lost")
        cut = self._segmenter.cut(self._segmenter.cursor, from_finalize=True)
        if not lost and (cut.segment.voiced or self._pace.finalize_silence):
            self._due.put_nowait(_Due(clock.now() + self._pace.finalize(), cut))

    def _finish(self) -> None:
        if self._segmenter.cursor:
            cut = self._segmenter.cut(self._segmenter.cursor)
            self._due.put_nowait(_Due(clock.now() + self._pace.finalize(), cut))
        self._due.put_nowait(_Due(clock.now(), None))

    async def _configure(self, keyterms: list[str] | None) -> None:
        answer: Frame = {"type": "ConfigureSuccess", "request_id": str(self._socket.id)}
        if not self._options.keyterms:
            code = "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
            answer |= {"type": "ConfigureFailure", "code": code, "description": "Nova-3 only"}
        elif keyterms is not None:
            answer["keyterms"] = keyterms
        await self._send(answer)

    # ── what goes out ────────────────────────────────────────────────────────

    async def _answer_all(self) -> None:
        while True:
            due = await self._due.get()
            match due.mark:
                case None:
                    await self._send(self._metadata(self._digest.hexdigest()))
                    await self._socket.close(1000)
                case ResultDue(result="interim") if not self._due.empty():
                    pass  # too late to be worth the work: more is due already
                case ResultDue():
                    await self._answer(due.mark, due.when)
                case WordsEnded() if self._last_word_end is not None:
                    await _until(due.when)
                    await self._send(utterance_end(self._last_word_end))
                    self._last_word_end = None

    async def _answer(self, due: ResultDue, when: Seconds) -> None:
        text = ""
        if due.segment.voiced:
            text = await self._recogniser.recognise(due.segment, due.result)
        await _until(when)
        if not due.shown:
            return
        frame = results(
            due, text, punctuated=self._options.punctuated, request_id=str(self._socket.id)
        )
        if words := frame["channel"]["alternatives"][0]["words"]:
            self._last_word_end = words[-1]["end"]
        await self._send(frame)

    def _metadata(self, sha256: str) -> Frame:
        duration = self._segmenter.cursor / self._segmenter.rate
        return metadata(str(self._socket.id), duration, sha256)

    async def _send(self, frame: Frame) -> None:
        await self._trouble.hold()
        with suppress(ConnectionClosed):  # whoever receives is told
            await self._socket.send(self._trouble.tear(json.dumps(frame)))


async def _until(when: Seconds) -> None:
    if (delay := when - clock.now()) > 0:
        await asyncio.sleep(delay)


def _json(message: str) -> Any:
    try:
        return json.loads(message)
    except ValueError:
        return None
