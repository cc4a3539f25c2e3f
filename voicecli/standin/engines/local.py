"""The local engines: small real models on this machine's processor.

Moonshine tiny recognises, SmolLM2-135M answers, hibari speaks, and Smart Turn, where it has been
fetched, judges for Flux whether a turn has ended.  Each computes in a thread of its own, so that
none waits for another; onnxruntime and llama.cpp release the interpreter meanwhile.
The 135M model is fluent and often wrong: it exercises the pipeline, not your knowledge.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
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
from voicecli.audio.vad.smart_turn import SmartTurn, create_network, find_network
from voicecli.errors import InputError, UsageError
from voicecli.models import MOONSHINE, SMOLLM2, Model, find
from voicecli.standin.engines import (
    Engines,
    Pace,
    Result,
    Segment,
    SttEngine,
    TtsEngine,
    judge_by_silence,
)
from voicecli.standin.engines.llama import Llama, LocalLlm
from voicecli.units import SAMPLE_SIZE, AudioBlock, AudioFormat, Seconds

if TYPE_CHECKING:
    from voicecli.standin.engines.moonshine import Moonshine

PACKAGES = ("onnxruntime", "hibari", "xllamacpp")

LEAD: Seconds = 0.1
PAUSE: Seconds = 0.06
"""Audio kept before and after the voice: the detector may take a soft consonant for silence.  A
pause is transcribed once it has lasted PAUSE; with 100 ms
the texts of five recorded sentences differ in one word, and are no better."""

LONGEST: Seconds = 10.0
"""Speech after which a segment is cut at a gap.  Moonshine cannot recognise half a word: cut after
5 s, "respectable than" became "respect." and "The ball that".  With 10 s of speech instead of 5 the
transcript takes twice as long."""

MIN_VOICE: Seconds = 0.15
"""A segment with less voice has no words: Moonshine turns a click or a breath into "Mm-hmm"."""

GAIN = 1.8  # hibari's voice peaks at 0.5


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
    with (
        _open_thread("stt") as stt,
        _open_thread("llm") as llm,
        _open_thread("tts") as tts,
        _open_thread("end of turn") as end_of_turn,
    ):
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
        answering = LocalLlm(llama, llm, system_prompt)
        yield Engines(
            name="local",
            stt=lambda: LocalStt(moonshine, stt, answering.prefill),
            llm=answering,
            tts=LocalTts(hibari, tts),
            pace=Pace(interim=0.5, pause=PAUSE, longest=LONGEST),
            judge=_create_judge(end_of_turn),
        )


@dataclass(eq=False)
class LocalStt(SttEngine):
    """Moonshine, for one connection.

    It is given the voiced part of a segment only: the text found at the start of a pause is still
    valid when the pause has become the endpoint, and the final costs nothing.  A comma at the end
    is left out: it may end a sentence or not, and would keep a reply from being drafted.

    on_interim: called with the text of a segment while its voice goes on.
    """

    model: Moonshine
    thread: Executor
    on_interim: Callable[[str], None]
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
            if text and _goes_on(segment):
                self.on_interim(text)
        if result != "interim":
            self._guess = ()
        return self._known[1]

    def _transcribe(self, samples: NDArray[np.float32], rate: int) -> str:
        samples = soxr.resample(samples, rate, self.model.rate)
        text, self._guess = self.model.transcribe(samples, self._guess)
        return text.removesuffix(",")


def _goes_on(segment: Segment) -> bool:
    """Whether the voice lasts to the end of ``segment``."""
    return segment.voiced[-1][1] >= AudioFormat(segment.rate).seconds(len(segment.pcm))


def _extract_voice(segment: Segment) -> NDArray[np.float32]:
    """Cut the segment to its voice, margins included; samples from -1 to 1."""
    format = AudioFormat(segment.rate)
    start = format.samples(max(0.0, segment.voiced[0][0] - LEAD))
    end = format.samples(segment.voiced[-1][1] + PAUSE)
    return samples_of(segment.pcm)[start:end].astype(np.float32) / np.float32(32768)


def _create_judge(thread: Executor) -> Callable[[Segment, str], Awaitable[float]]:
    """Create what judges for Flux whether a turn has ended: Smart Turn, if it has been fetched."""
    return (
        judge_by_silence if find_network("auto") is None else LocalJudge(_load_judge, thread).judge
    )


@dataclass(frozen=True)
class LocalJudge:
    """Smart Turn, which is loaded for the first judgement: only Flux asks for any.

    It hears the open segment with its pause, not parts of the turn that were cut off before.
    """

    load: Callable[[], SmartTurn]
    thread: Executor

    async def judge(self, segment: Segment, text: str) -> float:
        """Return the probability that a turn has ended with the pause in ``segment``."""
        run = asyncio.get_running_loop().run_in_executor
        return await run(self.thread, self._judge, segment)

    def _judge(self, segment: Segment) -> float:
        start = AudioFormat(segment.rate).samples(max(0.0, segment.voiced[0][0] - LEAD))
        pcm = segment.pcm[SAMPLE_SIZE * start :]
        return self.load().judge([AudioBlock(pcm, 0.0)], AudioFormat(segment.rate))


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


def _load_judge() -> SmartTurn:
    network = create_network("auto")  # the same one each time
    assert network is not None
    network.load()
    return network


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
