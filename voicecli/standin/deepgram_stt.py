"""Deepgram's ``/v1/listen``: audio in, transcripts out, driven by the audio cursor."""

from __future__ import annotations

import asyncio
import hashlib
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from typing_extensions import override
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.standin.deepgram import Frame, Query, QueryError, ServedConnection, parse_message
from voicecli.standin.segmenter import Mark, ResultDue, Segmenter, VoiceStarted, WordsEnded
from voicecli.units import SAMPLE_SIZE, Samples, Seconds

MODELS = re.compile(r"(nova(-[23])?|enhanced|base|whisper)(-[a-z]+)*")
LANGUAGES = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,4})*|multi")
NO_SUCH_MODEL = "Bad Request: No such model/language/tier combination found."
ENCODINGS = re.compile("linear16|linear32|flac|alaw|mulaw|amr-[nw]b|(ogg-)?opus|speex|g729")
RATES = range(8000, 48001)
FLAGS = (
    *("no_delay", "numerals", "dictation", "profanity_filter", "filler_words"),
    *("multichannel", "diarize", "detect_entities", "mip_opt_out"),
)
"""Validated, and otherwise without effect here."""

KEYTERM_TOKENS = 500
KEYTERM_LIMIT = "Keyterm limit exceeded. The maximum number of tokens across all keyterms is 500."
DIARIZE_CONFLICT = "diarize_model cannot be used together with diarize or diarize_version."

Due = tuple[Seconds, Mark | None]
"""An answer, and the time before which it must not be sent; None ends the stream."""

IDLE_TIMEOUT: Seconds = 10.0
"""The longest gap between two audio messages or, once there was audio, messages of any kind."""

MODEL_UUID = "00000000-0000-4000-8000-000000000003"
MODEL_INFO = {"name": "general-nova-3", "version": "2025-04-17.21547", "arch": "nova-3"}
CONFIDENCE = 0.98
ROUNDING: Seconds = 1e-9  # more than the rounding errors of a sum of durations

NET_0001 = (
    "Deepgram did not receive audio data or a text message within the timeout window. "
    "See https://dpgr.am/net0001"
)


@dataclass(frozen=True, slots=True)
class ListenQuery:
    """The options of a connection; without a named encoding, the service expects a container."""

    rate: int | None  # Hz, of the linear16 audio; None for a container
    keyterms: bool
    interim_results: bool
    endpointing: Seconds | None
    utterance_end: Seconds | None
    vad_events: bool
    punctuated: bool


def parse_listen_query(query: Query) -> ListenQuery:
    """Parse the options; raise QueryError where the service would."""
    model = query.text("model", "base")
    if not MODELS.fullmatch(model):
        raise QueryError(403)
    if not LANGUAGES.fullmatch(query.text("language", "en")):
        raise QueryError(400, "Bad Request", NO_SUCH_MODEL)
    _check_options(query, model)
    endpointing = query.text("endpointing", "10")
    return ListenQuery(
        rate=_parse_rate(query),
        keyterms=model.startswith("nova-3"),
        interim_results=query.flag("interim_results"),
        endpointing=None if endpointing == "false" else query.integer("endpointing", 10) / 1000,
        utterance_end=_parse_utterance_end(query),
        vad_events=query.flag("vad_events"),
        punctuated=query.flag("punctuate") | query.flag("smart_format"),
    )


def _check_options(query: Query, model: str) -> None:
    for name in FLAGS:
        query.flag(name)
    if "keywords" in query and model.startswith("nova-3"):
        raise QueryError.unreadable("keywords", "not supported by Nova-3, use keyterm")
    if "keyterm" in query and not model.startswith("nova-3"):
        raise QueryError.unreadable("keyterm", "only supported by Nova-3")
    if sum(len(term.split()) for term in query.all("keyterm")) > KEYTERM_TOKENS:
        raise QueryError(400, QueryError.INVALID, KEYTERM_LIMIT)
    if "diarize" in query and "diarize_model" in query:
        raise QueryError(400, QueryError.INVALID, DIARIZE_CONFLICT)
    if "summarize" in query:
        raise QueryError(400, QueryError.INVALID, "Summarization is not available for streaming.")
    if "topics" in query or "intents" in query:
        raise QueryError(403, message="User does not have sufficient permissions.")
    if any(len(tag) > 128 for tag in query.all("tag")):
        raise QueryError.unreadable("tag", "longer than 128 characters")


def _parse_rate(query: Query) -> int | None:
    if "encoding" not in query:
        return None
    encoding = query.text("encoding", "")
    if not ENCODINGS.fullmatch(encoding):
        raise QueryError.unreadable("encoding", f"unknown variant `{encoding}`")
    if encoding != "linear16":
        raise QueryError.unreadable("encoding", "this stand-in accepts linear16 only")
    if query.integer("channels", 1) != 1:
        raise QueryError.unreadable("channels", "this stand-in accepts one channel only")
    if "sample_rate" not in query:
        raise QueryError.unreadable("sample_rate", "required with encoding")
    if (rate := query.integer("sample_rate", 0)) not in RATES:
        raise QueryError.unreadable("sample_rate", f"unsupported value `{rate}`")
    return rate


def _parse_utterance_end(query: Query) -> Seconds | None:
    if "utterance_end_ms" not in query:
        return None
    value = query.integer("utterance_end_ms", 0)
    if value < 1000:
        raise QueryError(400, QueryError.INVALID, f"Invalid 'utterance_end_ms' value of '{value}'.")
    if not query.flag("interim_results"):
        raise QueryError.unreadable("utterance_end_ms", "requires interim_results=true")
    return value / 1000


class ListenConnection(ServedConnection):
    """One connection to ``/v1/listen``."""

    service = "stt"

    @override
    def __post_init__(self) -> None:
        self._options = options = parse_listen_query(self.query)
        self._pace = self.engines.pace
        self._stt = self.engines.stt()
        self._due: asyncio.Queue[Due] = asyncio.Queue()
        self._segmenter = Segmenter(
            options.rate or min(RATES),
            endpointing=options.endpointing,
            utterance_end=options.utterance_end,
            interim=self._pace.interim if options.interim_results else None,
            pause=self._pace.pause,
            longest=self._pace.longest,
        )
        self._partial_sample = b""
        self._digest = hashlib.sha256()
        self._last_word_end: float | None = None

    @override
    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            answers = tasks.create_task(self._send_answers(), name="listen answers")
            await self._receive_all()
            answers.cancel()

    async def _receive_all(self) -> None:
        deadline = clock.now() + IDLE_TIMEOUT
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    message = await self.socket.recv()
                if isinstance(message, bytes) or self._segmenter.cursor:
                    deadline = clock.now() + IDLE_TIMEOUT
                await self._receive(message)
        except TimeoutError:
            await self.send(self._make_metadata("incomplete"))
            await self.socket.close(1011, NET_0001)
        except ConnectionClosed:
            return

    async def _receive(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._receive_text(message)
        elif not message:
            self._finish()
        elif self._options.rate is None:
            await self.socket.close(1008, "DATA-0000")
        else:
            await self._receive_audio(message)

    async def _receive_text(self, message: str) -> None:
        match parse_message(message):
            case {"type": "KeepAlive"}:
                pass
            case {"type": "Finalize"}:
                self._finalize()
            case {"type": "CloseStream"}:
                self._finish()
            case {"type": "Configure"} as request:
                await self._configure(request.get("keyterms"))
            case _:
                error = {"type": "Error", "variant": "SchemaError"}
                why = "Could not deserialize last text message"
                await self.send({**error, "description": why, "message": message})

    async def _receive_audio(self, audio: bytes) -> None:
        arrival = clock.now()
        self._digest.update(audio)
        audio = self._partial_sample + audio
        whole = len(audio) // SAMPLE_SIZE * SAMPLE_SIZE
        self._partial_sample = audio[whole:]
        end = self._segmenter.cursor + whole // SAMPLE_SIZE
        for mark in self._segmenter.feed(audio[:whole]):
            instant = arrival - (end - mark.at) / self._segmenter.rate
            if isinstance(mark, VoiceStarted):
                if self._options.vad_events:
                    at = to_float32(mark.at / self._segmenter.rate)
                    await self.send({"type": "SpeechStarted", "channel": [0, 1], "timestamp": at})
            elif isinstance(mark, ResultDue) and mark.result != "interim":
                self._due.put_nowait((instant + self._pace.final(), mark))
            elif isinstance(mark, ResultDue) and self._pace.interim_lag:
                when = instant + self._pace.interim_lag
                # queued only then: what is due in the meantime must not wait for it
                asyncio.get_running_loop().call_at(when, self._due.put_nowait, (when, mark))
            else:
                self._due.put_nowait((instant, mark))

    def _finalize(self) -> None:
        lost = self.faults.begin("stt", "finalize").find("finalize_lost")
        cut = self._segmenter.cut(self._segmenter.cursor, from_finalize=True)
        if not lost and (cut.segment.voiced or self._pace.finalize_silence):
            self._due.put_nowait((clock.now() + self._pace.finalize(), cut))

    def _finish(self) -> None:
        if self._segmenter.cursor:
            cut = self._segmenter.cut(self._segmenter.cursor)
            self._due.put_nowait((clock.now() + self._pace.finalize(), cut))
        self._due.put_nowait((clock.now(), None))

    async def _configure(self, keyterms: list[str] | None) -> None:
        answer: Frame = {"type": "ConfigureSuccess", "request_id": str(self.socket.id)}
        if not self._options.keyterms:
            code = "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
            answer |= {"type": "ConfigureFailure", "code": code, "description": "Nova-3 only"}
        elif keyterms is not None:
            answer["keyterms"] = keyterms
        await self.send(answer)

    async def _send_answers(self) -> None:
        final_until: Samples = 0
        while True:
            when, mark = await self._due.get()
            match mark:
                case None:
                    await self.send(self._make_metadata(self._digest.hexdigest()))
                    await self.socket.close(1000)
                case ResultDue(result="interim") if not self._due.empty() or mark.at <= final_until:
                    pass  # outdated: more is due already, or has been sent
                case ResultDue():
                    await self._answer(mark, when)
                    final_until = final_until if mark.result == "interim" else mark.at
                case WordsEnded() if self._last_word_end is not None:
                    await clock.sleep_until(when)
                    end = {"channel": [0, 1], "last_word_end": self._last_word_end}
                    await self.send({"type": "UtteranceEnd", **end})
                    self._last_word_end = None

    async def _answer(self, due: ResultDue, when: Seconds) -> None:
        text = await self._stt.recognise(due.segment, due.result) if due.segment.voiced else ""
        await clock.sleep_until(when)
        if not due.shown:
            return
        frame = self._make_results(due, text)
        if words := frame["channel"]["alternatives"][0]["words"]:
            self._last_word_end = words[-1]["end"]
        await self.send(frame)

    def _make_results(self, due: ResultDue, text: str) -> Frame:
        """Make a Results frame; ``text`` has punctuation and capitals, as the client may want."""
        segment, start = due.segment, due.start / due.segment.rate
        words: list[Frame] = [
            {
                "word": word.strip(string.punctuation).lower() or word,
                "start": to_float32(start + begin),
                "end": to_float32(start + end),
                "confidence": CONFIDENCE,
            }
            | ({"punctuated_word": word} if self._options.punctuated else {})
            for word, begin, end in place_words(text.split(), segment.voiced)
        ]
        shown = "punctuated_word" if self._options.punctuated else "word"
        alternative = {
            "transcript": " ".join(word[shown] for word in words),
            "confidence": CONFIDENCE if words else 0.0,
            "words": words,
        }
        model = {"model_info": MODEL_INFO, "model_uuid": MODEL_UUID}
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": to_float32((due.at - due.start) / segment.rate),
            "start": to_float32(start),
            "is_final": due.result != "interim",
            "speech_final": due.speech_final,
            "channel": {"alternatives": [alternative]},
            "metadata": {"request_id": str(self.socket.id), **model},
            "from_finalize": due.from_finalize,
        }

    def _make_metadata(self, sha256: str) -> Frame:
        """Make the Metadata frame that ends a stream; ``sha256`` is that of all the audio."""
        duration = self._segmenter.cursor / self._segmenter.rate
        frame = {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": str(self.socket.id),
            "sha256": sha256,
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "duration": to_float32(duration),
            "channels": 1 if duration else 0,
        }
        if duration:
            frame |= {"models": [MODEL_UUID], "model_info": {MODEL_UUID: MODEL_INFO}}
        return frame


def place_words(
    words: list[str], voiced: tuple[tuple[Seconds, Seconds], ...]
) -> Iterator[tuple[str, Seconds, Seconds]]:
    """Spread ``words`` evenly over the voiced time; yield each with its start and end.

    Where a word ends at a pause, it ends before the pause, and the next one starts after it.
    """
    if words:
        starts, ends = np.array(voiced).T
        spoken = np.cumsum(ends - starts)  # voiced time until each stretch ends
        at = np.linspace(0, spoken[-1], len(words) + 1)
        first = np.searchsorted(spoken, at[:-1] + ROUNDING, side="right")
        last = np.searchsorted(spoken, at[1:] - ROUNDING, side="left")
        offsets = ends - spoken
        yield from zip(words, at[:-1] + offsets[first], at[1:] + offsets[last], strict=True)


def to_float32(seconds: Seconds) -> float:
    """Round to the 32-bit float that the service prints in full."""
    return float(str(np.float32(seconds)))
