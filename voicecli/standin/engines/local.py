"""The local engines: small real models on this machine's processor.

Moonshine tiny recognises, SmolLM2-135M answers, hibari speaks.  Each computes in a thread of its
own, so that none waits for another; onnxruntime and llama.cpp release the interpreter meanwhile.
The 135M model is fluent and often wrong: it exercises the pipeline, not your knowledge.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray
from typing_extensions import override

from voicecli.audio.pcm import samples_of
from voicecli.errors import InputError, ServiceError, UsageError
from voicecli.models import MOONSHINE, SMOLLM2, Model, find
from voicecli.standin.engines import Engines, LlmEngine, Pace, Result, Segment, SttEngine, TtsEngine
from voicecli.units import AudioFormat, Seconds

if TYPE_CHECKING:
    from voicecli.standin.engines.moonshine import Moonshine

PACKAGES = ("onnxruntime", "hibari", "xllamacpp")

LEAD: Seconds = 0.1
PAUSE: Seconds = 0.06
"""Audio kept before and after the voice: the detector may take a soft consonant for silence.  A
pause is transcribed once it has lasted PAUSE; with 100 ms
the texts of five recorded sentences differ in one word, and are no better."""

MIN_VOICE: Seconds = 0.15
"""A segment with less voice has no words: Moonshine turns a click or a breath into "Mm-hmm"."""

GAIN = 1.8  # hibari's voice peaks at 0.5
CONTEXT = 4096
"""Tokens that the LLM remembers: 94 MB of keys and values in SmolLM2-135M, and some sixty turns."""

BATCH = 16
"""Tokens of a prompt processed at once: a reply is given up between two batches, and what has been
processed serves the next prompt that begins with it.  16 tokens take 0.1 s on a slow core; batches
of 512 are a tenth faster."""

REUSED = 16
"""Tokens that must match for a passage to be kept when what came before it has left the prompt: a
history that has dropped its older half is not processed again."""

TEMPERATURE = 0.3
SAMPLING = {"top_p": 0.9, "repeat_penalty": 1.1}
MAX_REPLY_TOKENS = 256  # for a client that sets no limit; a model this small may not stop


def require_packages() -> None:
    """Raise UsageError unless the extra ``local`` is installed; import none of its packages."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        cause = f"the local engines need packages that are not installed ({', '.join(missing)})"
        raise UsageError(cause, hint="Install them: pip install 'voicecli[local]'.")


@asynccontextmanager
async def open_local(
    llm_model: Path | None = None, threads: int | None = None, system_prompt: str | None = None
) -> AsyncIterator[Engines]:
    """Load and warm up the three engines.

    llm_model: a GGUF file to answer with instead of SmolLM2.
    threads: of the LLM; by default all cores but one.  As many as cores are up to twice as fast
        with a prompt while nothing else runs, and stall for seconds when something does.
    system_prompt: what most requests begin with; it is processed ahead of them.

    Raises UsageError when the extra is not installed, InputError when a model is missing or bad.
    """
    require_packages()
    stt_model = _find_model(MOONSHINE)
    if llm_model is None:
        llm_model = _find_model(SMOLLM2) / SMOLLM2.files[0].name
    with _open_thread("stt") as stt, _open_thread("llm") as llm, _open_thread("tts") as tts:
        run = asyncio.get_running_loop().run_in_executor
        moonshine, llama, hibari = await asyncio.gather(
            run(stt, _load_moonshine, stt_model),
            run(
                llm,
                _load_llama,
                llm_model,
                threads or max(1, (os.cpu_count() or 1) - 1),
                system_prompt,
            ),
            run(tts, _load_hibari),
        )
        yield Engines(
            name="local",
            stt=lambda: LocalStt(moonshine, stt),
            llm=LocalLlm(llama, llm),
            tts=LocalTts(hibari, tts),
            pace=Pace(interim=0.5, pause=PAUSE),
        )


@dataclass(eq=False)
class LocalStt(SttEngine):
    """Moonshine, for one connection.

    It is given the voiced part of a segment only: the text found at the start of a pause is still
    valid when the pause has become the endpoint, and the final costs nothing.  A comma at the end
    is left out: it may end a sentence or not, and would keep a reply from being drafted.
    """

    model: Moonshine
    thread: Executor
    _known: tuple[NDArray[np.float32], str] | None = field(default=None, init=False)
    _guess: tuple[int, ...] = field(default=(), init=False)
    """The tokens of the segment as far as it was known before; most of them stay."""

    @override
    async def recognise(self, segment: Segment, result: Result) -> str:
        if sum(end - start for start, end in segment.voiced) < MIN_VOICE:
            return ""
        samples = _extract_voice(segment)
        if self._known is None or not np.array_equal(self._known[0], samples):
            run = asyncio.get_running_loop().run_in_executor
            text = await run(self.thread, self._transcribe, samples, segment.rate)
            self._known = samples, text
        if result != "interim":
            self._guess = ()
        return self._known[1]

    def _transcribe(self, samples: NDArray[np.float32], rate: int) -> str:
        samples = soxr.resample(samples, rate, self.model.rate)
        text, self._guess = self.model.transcribe(samples, self._guess)
        return text.removesuffix(",")


def _extract_voice(segment: Segment) -> NDArray[np.float32]:
    """Cut the segment to its voice, margins included; samples from -1 to 1."""
    format = AudioFormat(segment.rate)
    start = format.samples(max(0.0, segment.voiced[0][0] - LEAD))
    end = format.samples(segment.voiced[-1][1] + PAUSE)
    return samples_of(segment.pcm)[start:end].astype(np.float32) / np.float32(32768)


class Llama:
    """The language model of a GGUF file, on llama.cpp; one request at a time.

    Calls block, and may come from any thread.  Raises InputError when the file is not a model.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = CONTEXT
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.verbosity = 0
        params.n_batch = params.n_ubatch = BATCH
        params.n_cache_reuse = REUSED
        params.cache_ram_mib = 0  # or it keeps earlier conversations, up to 8 GB of them
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        # It also listens on a loopback port, open to any web page: a random key closes it.
        params.api_keys = [secrets.token_urlsafe()]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise InputError(f"{path} cannot be loaded as a language model") from error

    def answer(
        self,
        messages: list[dict[str, Any]],
        on_token: Callable[[str], bool],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> None:
        """Call ``on_token`` for each token of the reply, until it returns True.

        While the prompt is processed, it is called with "" after each BATCH.  Of messages that are
        longer than CONTEXT the older half is left out, again if need be, but never the last one.

        Raises ServiceError when the model refuses, for instance a last message that is too long.
        """
        while (refusal := self._request(messages, on_token, max_tokens, temperature)) is not None:
            instructions = [message for message in messages[:1] if message["role"] == "system"]
            rest = messages[len(instructions) :]
            if refusal.get("type") != "exceed_context_size_error" or len(rest) == 1:
                raise _refused(refusal["message"], refusal["code"])
            messages = instructions + rest[(len(rest) + 1) // 2 :]

    def _request(
        self,
        messages: list[dict[str, Any]],
        on_token: Callable[[str], bool],
        max_tokens: int | None,
        temperature: float | None,
    ) -> dict[str, Any] | None:
        """Send one request; return the server's refusal, if it refuses."""
        refusals: list[dict[str, Any]] = []

        def take(chunk: dict[str, Any]) -> bool:
            if "error" in chunk:
                refusals.append(chunk["error"])
                return True
            return on_token(chunk["choices"][0]["delta"].get("content") or "")

        request = {
            "messages": messages,
            "max_tokens": MAX_REPLY_TOKENS if max_tokens is None else max_tokens,
            "temperature": TEMPERATURE if temperature is None else temperature,
            "stream": True,
            "return_progress": True,
            "cache_prompt": True,
            **SAMPLING,
        }
        try:
            self._server.handle_chat_completions(request, take)
        except (RuntimeError, ValueError) as error:
            raise _refused(str(error)) from error
        return refusals[0] if refusals else None  # ``take`` must not raise: llama.cpp would lose it


def _refused(why: str, status: int = 400) -> ServiceError:
    return ServiceError("llm", f"the local model refuses the request: {why}", status=status)


@dataclass(frozen=True)
class LocalLlm(LlmEngine):
    """A Llama that answers one request after the other; closing a reply stops it at once.

    What has been processed of its prompt stays: a draft for the first words of a question makes
    the reply to the whole of it faster.

    ``reply`` raises ServiceError when the model refuses the request.
    """

    model: Llama
    thread: Executor

    @override
    async def reply(
        self, messages: list[dict[str, Any]], *, max_tokens: int | None, temperature: float | None
    ) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[str | None] = asyncio.Queue()
        closed = threading.Event()

        def post(token: str | None) -> bool:
            if token != "" and not closed.is_set():
                loop.call_soon_threadsafe(tokens.put_nowait, token)
            return closed.is_set()

        def answer() -> None:
            try:
                self.model.answer(messages, post, max_tokens=max_tokens, temperature=temperature)
            finally:
                post(None)

        answering = loop.run_in_executor(self.thread, answer)
        try:
            while (token := await tokens.get()) is not None:
                yield token
            await answering
        finally:
            closed.set()
            answering.cancel()


@dataclass(frozen=True)
class LocalTts(TtsEngine):
    """hibari, a chunk for each sentence; closing it stops after the sentence under way."""

    model: Any
    thread: Executor

    @override
    async def speak(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        run = asyncio.get_running_loop().run_in_executor
        chunks = self._synthesise(text, rate)
        while (pcm := await run(self.thread, next, chunks, None)) is not None:
            if pcm:
                yield pcm

    def _synthesise(self, text: str, rate: int) -> Iterator[bytes]:
        resampler = soxr.ResampleStream(self.model.sample_rate, rate, 1, dtype="float32")
        for samples in self.model.stream(text):
            yield _to_pcm(resampler.resample_chunk(samples))
        yield _to_pcm(resampler.resample_chunk(np.zeros(0, np.float32), last=True))


def _to_pcm(samples: NDArray[np.float32]) -> bytes:
    return bytes((np.clip(samples * GAIN, -1, 1) * 32767).astype("<i2"))


# ── loading, in the engine's thread: half of it is importing ─────────────────
# Each model computes something at once, because its first call is slow.


def _load_moonshine(folder: Path) -> Moonshine:
    from voicecli.standin.engines.moonshine import Moonshine

    model = Moonshine(folder)
    model.transcribe(np.zeros(2 * model.rate, np.float32))
    return model


def _load_llama(path: Path, threads: int, system_prompt: str | None) -> Llama:
    model = Llama(path, threads)
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    hello = [*system, {"role": "user", "content": "Hello."}]
    model.answer(hello, lambda _: False, max_tokens=2)
    return model


def _load_hibari() -> Any:
    import hibari

    model = hibari.Hibari(threads=1)
    list(model.stream("Hello there. This is a sentence of some length, with 72 in it."))
    return model


def _find_model(model: Model) -> Path:
    if (folder := find(model)) is None:
        cause = f"the model {model.name} has not been fetched"
        raise InputError(cause, hint="Run: voicecli models fetch.")
    return folder


@contextmanager
def _open_thread(name: str) -> Iterator[Executor]:
    """Open an executor with one thread; on exit, do not wait for what it still computes."""
    executor = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
