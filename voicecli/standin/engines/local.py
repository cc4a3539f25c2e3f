"""The local engines: small real models on this machine's processor.

Moonshine tiny hears, SmolLM2-135M answers, hibari speaks.  Each computes in a thread of its own, so
that none waits for another; onnxruntime and llama.cpp let go of the interpreter while they do.  The
135M model is fluent and often wrong: it proves the pipeline, not a point.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray

from voicecli.audio.pcm import samples_of
from voicecli.errors import InputError, UsageError
from voicecli.standin.engines import models
from voicecli.standin.engines.interfaces import Engines, Pace, Result, Segment
from voicecli.units import AudioFormat, Seconds

if TYPE_CHECKING:
    from voicecli.standin.engines.llama import Llama
    from voicecli.standin.engines.moonshine import Moonshine

PACKAGES = ("onnxruntime", "hibari", "xllamacpp")

MARGIN: Seconds = 0.1
"""Audio kept on either side of the voice: the detector may find a soft consonant silent."""

SHORTEST: Seconds = 0.15
"""Of the voice in a segment with a word in it; of a click or a breath Moonshine makes "Mm-hmm"."""

GAIN = 1.8
"""hibari's voice peaks at 0.5."""


def require_packages() -> None:
    """Raise UsageError unless the packages of the extra ``local`` are installed; imports none."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the local engines need packages that are not installed ({', '.join(missing)})",
            hint="Install them: pip install 'voicecli[local]'.",
        )


def default_threads() -> int:
    """The LLM's threads: one core is left to the rest, or two busy ones stall it for seconds."""
    return max(1, (os.cpu_count() or 1) - 1)


@asynccontextmanager
async def open_local(
    llm_model: Path | None = None, threads: int | None = None
) -> AsyncIterator[Engines]:
    """The three engines, loaded and warm.

    llm_model: a GGUF file to answer with instead of SmolLM2.
    threads: of the LLM; None for ``default_threads()``.

    Raises UsageError when the extra is not installed, InputError when a model is missing or bad.
    """
    require_packages()
    hearing = _fetched(models.MOONSHINE)
    if llm_model is None:
        llm_model = _fetched(models.SMOLLM2) / models.SMOLLM2.files[0].name
    with _thread("stt") as stt, _thread("llm") as llm, _thread("tts") as tts:
        run = asyncio.get_running_loop().run_in_executor
        moonshine, llama, hibari = await asyncio.gather(
            run(stt, _load_moonshine, hearing),
            run(llm, _load_llama, llm_model, threads or default_threads()),
            run(tts, _load_hibari),
        )
        yield Engines(
            name="local",
            recogniser=lambda: LocalRecogniser(moonshine, stt),
            responder=LocalResponder(llama, llm),
            voice=LocalVoice(hibari, tts),
            pace=Pace(interim=0.5, pause=MARGIN),
        )


class LocalRecogniser:
    """Moonshine, hearing one connection.

    It hears the voiced part of a segment only.  So what it found when a pause began is still right
    when the pause has become the endpoint, and the final costs nothing.
    """

    def __init__(self, model: Moonshine, thread: Executor) -> None:
        self._model = model
        self._thread = thread
        self._known: tuple[NDArray[np.float32], str] | None = None

    async def recognise(self, segment: Segment, result: Result) -> str:
        """The words of ``segment``; the same for any ``result``."""
        if sum(end - start for start, end in segment.voiced) < SHORTEST:
            return ""
        samples = _voiced(segment)
        if self._known is None or not np.array_equal(self._known[0], samples):
            run = asyncio.get_running_loop().run_in_executor
            text = await run(self._thread, self._hear, samples, segment.rate)
            self._known = samples, text
        return self._known[1]

    def _hear(self, samples: NDArray[np.float32], rate: int) -> str:
        return self._model.transcribe(soxr.resample(samples, rate, self._model.rate))


def _voiced(segment: Segment) -> NDArray[np.float32]:
    """From the first voice of the segment to the last, as far as it is there, and the margins."""
    format = AudioFormat(segment.rate)
    start = format.samples(max(0.0, segment.voiced[0][0] - MARGIN))
    end = format.samples(segment.voiced[-1][1] + MARGIN)
    return samples_of(segment.pcm)[start:end].astype(np.float32) / np.float32(32768)


class LocalResponder:
    """SmolLM2, answering one request after the other."""

    def __init__(self, model: Llama, thread: Executor) -> None:
        self._model = model
        self._thread = thread

    async def reply(
        self, messages: list[dict[str, Any]], *, max_tokens: int | None, temperature: float | None
    ) -> AsyncGenerator[str, None]:
        """The reply's tokens, as they come; closing it stops the model at its next one.

        Raises ServiceError when the model refuses the request.
        """
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[str | None] = asyncio.Queue()
        closed = threading.Event()

        def post(token: str | None) -> bool:
            if not closed.is_set():
                loop.call_soon_threadsafe(tokens.put_nowait, token)
            return closed.is_set()

        def answer() -> None:
            try:
                self._model.answer(messages, post, max_tokens=max_tokens, temperature=temperature)
            finally:
                post(None)

        answering = loop.run_in_executor(self._thread, answer)
        try:
            while (token := await tokens.get()) is not None:
                yield token
            await answering
        finally:
            closed.set()
            answering.cancel()


class LocalVoice:
    """hibari, speaking sentence by sentence."""

    def __init__(self, model: Any, thread: Executor) -> None:
        self._model = model
        self._thread = thread

    async def speak(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        """``text``, one chunk per sentence; closing it stops after the sentence under way."""
        run = asyncio.get_running_loop().run_in_executor
        chunks = self._chunks(text, rate)
        while (pcm := await run(self._thread, next, chunks, None)) is not None:
            if pcm:
                yield pcm

    def _chunks(self, text: str, rate: int) -> Iterator[bytes]:
        resampler = soxr.ResampleStream(self._model.sample_rate, rate, 1, dtype="float32")
        for samples in self._model.stream(text):
            yield _pcm(resampler.resample_chunk(samples))
        yield _pcm(resampler.resample_chunk(np.zeros(0, np.float32), last=True))


def _pcm(samples: NDArray[np.float32]) -> bytes:
    pcm: bytes = (np.clip(samples * GAIN, -1, 1) * 32767).astype("<i2").tobytes()
    return pcm


# ── loading, in the engine's thread: importing takes half of it ──────────────
# each model computes something at once, for its first call is slow


def _load_moonshine(folder: Path) -> Moonshine:
    from voicecli.standin.engines.moonshine import Moonshine

    model = Moonshine(folder)
    model.transcribe(np.zeros(2 * model.rate, np.float32))
    return model


def _load_llama(path: Path, threads: int) -> Llama:
    from voicecli.standin.engines.llama import Llama

    model = Llama(path, threads)
    model.answer([{"role": "user", "content": "Hello."}], lambda _: False, max_tokens=2)
    return model


def _load_hibari() -> Any:
    import hibari

    model = hibari.Hibari(threads=1)
    list(model.stream("Hello there. This is a sentence of some length, with 72 in it."))
    return model


def _fetched(model: models.Model) -> Path:
    if (here := models.find(model)) is None:
        raise InputError(
            f"the model {model.name} has not been fetched", hint="Run: voicecli models fetch."
        )
    return here


@contextmanager
def _thread(name: str) -> Iterator[Executor]:
    """One thread; what it still computes at the end is not waited for."""
    executor = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
