"""The local engines: threads, caching and resampling with models of our own; then the real ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.support import ROOT
from voicecli import clock, models
from voicecli.audio.pcm import find_audible, samples_of
from voicecli.audio.vad.energy import find_stretches
from voicecli.errors import InputError, ServiceError
from voicecli.standin.engines import Engines, Segment
from voicecli.standin.engines.local import (
    LEAD,
    LocalJudge,
    LocalStt,
    LocalTts,
    open_local,
)
from voicecli.standin.engines.moonshine import Moonshine, Transcript
from voicecli.standin.segmenter import ResultDue, Segmenter
from voicecli.units import AudioBlock, AudioFormat

RATE = 16_000
SPEECH = ROOT / "tests" / "speech"


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


# ── recognising ────────────────────────────────────────────────────────────


class FakeMoonshine:
    """Its text is the length of the audio, in milliseconds."""

    rate = RATE

    def __init__(self) -> None:
        self.calls = 0
        self.guesses: list[Sequence[int]] = []

    def transcribe(self, samples: NDArray[np.float32], guess: Sequence[int]) -> Transcript:
        self.calls += 1
        self.guesses.append(guess)
        return Transcript(str(round(1000 * len(samples) / self.rate)), (self.calls,))


def ignore(text: str) -> None:
    pass


def segment(duration: float, *voiced: tuple[float, float], rate: int = RATE) -> Segment:
    pcm = np.arange(round(duration * rate)).astype("<i2").tobytes()
    return Segment(pcm, rate, voiced)


def test_the_final_is_free_when_the_pause_was_transcribed_already(
    thread: ThreadPoolExecutor,
) -> None:
    model = FakeMoonshine()

    async def main() -> list[str]:
        stt = LocalStt(model, thread, ignore)
        pause = await stt.recognise(segment(2.1, (0.5, 2.0)), "interim")
        return [pause, await stt.recognise(segment(2.2, (0.5, 2.0)), "final")]

    assert clock.run(main()) == ["1660", "1660"]
    assert model.calls == 1


def test_a_segment_that_goes_on_is_transcribed_again(thread: ThreadPoolExecutor) -> None:
    model = FakeMoonshine()

    async def main() -> list[str]:
        stt = LocalStt(model, thread, ignore)
        await stt.recognise(segment(2.1, (0.5, 2.0)), "interim")
        further = segment(3.2, (0.5, 2.0), (2.4, 3.0))
        return [await stt.recognise(further, "final")]

    assert clock.run(main()) == ["2660"]
    assert model.calls == 2


def test_a_text_is_the_guess_for_the_same_segment_only(thread: ThreadPoolExecutor) -> None:
    model = FakeMoonshine()

    async def main() -> None:
        stt = LocalStt(model, thread, ignore)
        await stt.recognise(segment(1.0, (0.5, 1.0)), "interim")
        await stt.recognise(segment(2.1, (0.5, 2.0)), "interim")
        await stt.recognise(segment(3.0, (0.5, 2.9)), "final")
        await stt.recognise(segment(1.5, (0.5, 1.4)), "interim")

    clock.run(main())
    assert model.guesses == [(), (1,), (2,), ()]


def test_another_segment_of_the_same_length_is_transcribed_too(thread: ThreadPoolExecutor) -> None:
    model = FakeMoonshine()

    async def main() -> None:
        stt = LocalStt(model, thread, ignore)
        first = segment(2.1, (0.5, 2.0))
        await stt.recognise(first, "final")
        await stt.recognise(Segment(first.pcm[::-1], RATE, first.voiced), "final")

    clock.run(main())
    assert model.calls == 2


def test_a_comma_at_the_end_is_left_out(thread: ThreadPoolExecutor) -> None:
    class Comma(FakeMoonshine):
        def transcribe(self, samples: NDArray[np.float32], guess: Sequence[int]) -> Transcript:
            return Transcript("Well, I see,", ())

    text = LocalStt(Comma(), thread, ignore).recognise(segment(1.5, (0.0, 1.0)), "interim")
    assert clock.run(text) == "Well, I see"


def test_the_llm_hears_what_is_said_while_the_voice_goes_on(thread: ThreadPoolExecutor) -> None:
    heard: list[str] = []

    async def main() -> None:
        stt = LocalStt(FakeMoonshine(), thread, heard.append)
        await stt.recognise(segment(1.0, (0.5, 1.0)), "interim")
        await stt.recognise(segment(1.5, (0.5, 0.7), (0.8, 1.5)), "interim")
        await stt.recognise(segment(2.1, (0.5, 2.0)), "interim")  # a draft is near
        await stt.recognise(segment(2.3, (0.5, 2.1)), "final")

    clock.run(main())
    assert heard == ["600", "1100"]


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_every_rate_is_resampled_to_the_models_own(rate: int, thread: ThreadPoolExecutor) -> None:
    async def main() -> str:
        return await LocalStt(FakeMoonshine(), thread, ignore).recognise(
            segment(1.5, (0.0, 1.0), rate=rate), "final"
        )

    assert clock.run(main()) == "1060"


# ── speaking ─────────────────────────────────────────────────────────────────


class FakeHibari:
    """Generates a steady tone, a chunk for each word of the text."""

    sample_rate = 24_000
    chunk_size = 12_345

    def __init__(self) -> None:
        self.chunks_made = 0

    def stream(self, text: str) -> Iterator[NDArray[np.float32]]:
        for index, _ in enumerate(text.split()):
            self.chunks_made += 1
            time = (
                np.arange(index * self.chunk_size, (index + 1) * self.chunk_size) / self.sample_rate
            )
            yield (0.4 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


async def spoken(voice: LocalTts, text: str, rate: int) -> list[bytes]:
    return [pcm async for pcm in voice.speak(text, rate)]


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_no_click_and_no_gap_where_two_sentences_meet(
    rate: int, thread: ThreadPoolExecutor
) -> None:
    chunks = clock.run(spoken(LocalTts(FakeHibari(), thread), "la la la", rate))
    samples = samples_of(b"".join(chunks)).astype(float)
    assert abs(len(samples) - 3 * FakeHibari.chunk_size * rate / FakeHibari.sample_rate) <= 1
    edge = rate // 100  # at the very ends the note is cut, and a filter rings
    steepest = 0.4 * 1.8 * 32767 * 2 * np.pi * 440 / rate
    assert np.abs(np.diff(samples[edge:-edge])).max() <= steepest * 1.01


def test_a_voice_too_loud_is_clipped_and_does_not_wrap_around(thread: ThreadPoolExecutor) -> None:
    class Loud(FakeHibari):
        def stream(self, text: str) -> Iterator[NDArray[np.float32]]:
            yield np.full(2400, 0.9, np.float32)

    (pcm,) = clock.run(spoken(LocalTts(Loud(), thread), "AH", 24_000))
    assert set(samples_of(pcm)) == {32767}


def test_a_text_without_a_sound_is_no_audio(thread: ThreadPoolExecutor) -> None:
    assert clock.run(spoken(LocalTts(FakeHibari(), thread), " ", 48_000)) == []


def test_a_closed_voice_speaks_no_further_sentence(thread: ThreadPoolExecutor) -> None:
    model = FakeHibari()

    async def main() -> None:
        speech = LocalTts(model, thread).speak("one two three four", 24_000)
        async with aclosing(speech):
            await anext(speech)

    clock.run(main())
    thread.shutdown()
    assert model.chunks_made == 1


# ── judging ──────────────────────────────────────────────────────────────────


class FakeNetwork:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, int]] = []

    def judge(self, blocks: Sequence[AudioBlock], format: AudioFormat) -> float:
        samples = np.concatenate([samples_of(block.pcm) for block in blocks])
        self.heard.append((float(samples[0]) / format.rate, len(samples)))
        return 0.25


@pytest.mark.parametrize(("begin", "heard_from"), [(0.5, 0.5 - LEAD), (LEAD / 2, 0.0)])
def test_the_voice_and_its_pause_are_judged(
    thread: ThreadPoolExecutor, begin: float, heard_from: float
) -> None:
    network = FakeNetwork()
    judge = LocalJudge(lambda: network, thread).judge
    assert clock.run(judge(segment(1.2, (begin, 1.0)), "Yes.")) == 0.25
    ((start, length),) = network.heard
    assert start == pytest.approx(heard_from, abs=1 / RATE)
    assert length == round(RATE * (1.2 - heard_from))


# ── the real models ──────────────────────────────────────────────────────────

needs_models = pytest.mark.skipif(
    not all(map(models.find, models.ENGINE_MODELS)), reason="run: voicecli models fetch"
)


def with_engines(test: Callable[[Engines], Any]) -> Any:
    pytest.importorskip("xllamacpp")

    async def main() -> Any:
        async with open_local() as engines:
            return await test(engines)

    return clock.run(main())


@pytest.mark.local
@needs_models
def test_what_the_tts_says_the_stt_recognises_at_any_rate() -> None:
    said = "What is the capital of Australia?"

    async def conversation(engines: Engines) -> list[str]:
        texts = []
        for rate in (16_000, 24_000, 48_000):
            pcm = b"".join([chunk async for chunk in engines.tts.speak(said, rate)])
            voiced = tuple(find_stretches([AudioBlock(pcm, 0.0)], AudioFormat(rate)))
            assert find_audible(samples_of(pcm)) is not None
            texts.append(await engines.stt().recognise(Segment(pcm, rate, voiced), "final"))
        return texts

    for text in with_engines(conversation):
        assert re.sub(r"\W+", " ", text.lower()).split() == said.rstrip("?").lower().split()


@pytest.mark.local
@needs_models
def test_a_guess_saves_steps_and_changes_no_text() -> None:
    class CountingMoonshine(Moonshine):
        steps = 0

        def _step(self, tokens: list[int], *rest: Any) -> Any:
            self.steps += 1
            return super()._step(tokens, *rest)

    folder = models.find(models.MOONSHINE)
    assert folder is not None
    model = CountingMoonshine(folder)
    speech, _ = soundfile.read(SPEECH / "librivox-0890.wav", dtype="float32")

    def transcribe(samples: NDArray[np.float32], guess: Sequence[int] = ()) -> Transcript:
        model.steps = 0
        return model.transcribe(samples, guess)

    whole = transcribe(speech)
    assert model.steps == len(whole.tokens) + 1
    assert transcribe(speech, whole.tokens) == whole
    assert model.steps == 1
    begun = transcribe(speech[: 4 * RATE])
    assert transcribe(speech, begun.tokens) == whole
    assert model.steps <= len(whole.tokens) // 2
    assert transcribe(speech, whole.tokens[::-1]) == whole


@pytest.mark.local
@needs_models
def test_no_word_of_a_sentence_is_cut_in_two() -> None:
    pcm, rate = soundfile.read(SPEECH / "librivox-0920.wav", dtype="int16")

    async def conversation(engines: Engines) -> list[str]:
        segmenter = Segmenter(
            rate,
            endpointing=0.2,
            utterance_end=None,
            interim=None,
            pause=None,
            longest=engines.pace.longest,
        )
        marks = [mark for mark in segmenter.feed(pcm.tobytes()) if isinstance(mark, ResultDue)]
        stt = engines.stt()
        return [await stt.recognise(m.segment, m.result) for m in marks if m.segment.voiced]

    (text,) = with_engines(conversation)
    assert text.endswith("still more respectable than he was.")


@pytest.mark.local
@needs_models
@pytest.mark.skipif(not models.find(models.SMART_TURN), reason="run: voicecli models fetch")
def test_flux_is_told_whether_a_sentence_sounds_complete() -> None:
    """The half ends in "a more amiable"."""
    pcm, rate = soundfile.read(SPEECH / "librivox-0920.wav", dtype="int16")

    async def conversation(engines: Engines) -> list[float]:
        segments = [
            Segment(pcm[: round(end * rate)].tobytes(), rate, ((0.24, end - 0.1),))
            for end in (5.93, 2.0)
        ]
        return [await engines.judge(one, "") for one in segments]

    whole, half = with_engines(conversation)
    assert whole > 0.9
    assert half < 0.5


@pytest.mark.local
@needs_models
def test_noise_is_not_turned_into_a_speech() -> None:
    noise = np.random.default_rng(1).normal(0, 300, 3 * RATE).astype("<i2").tobytes()

    async def conversation(engines: Engines) -> str:
        return await engines.stt().recognise(Segment(noise, RATE, ((0.0, 3.0),)), "final")

    assert len(with_engines(conversation).split()) <= 3


@pytest.mark.local
@needs_models
def test_the_model_answers_within_its_limit_and_refuses_what_is_too_long() -> None:
    question = [{"role": "user", "content": "What is the capital of Australia?"}]
    story = [{"role": "user", "content": "word " * 5000}]

    async def conversation(engines: Engines) -> list[list[str]]:
        replies = [
            [
                token
                async for token in engines.llm.reply(
                    question, model="local", max_tokens=limit, temperature=0
                )
            ]
            for limit in (60, 3)
        ]
        with pytest.raises(ServiceError, match="exceeds the available context") as refusal:
            await anext(engines.llm.reply(story, model="local", max_tokens=1, temperature=None))
        assert refusal.value.status == 400
        return replies

    whole, short = with_engines(conversation)
    assert "Canberra" in "".join(whole)
    assert 0 < len(short) <= 3


@pytest.mark.local
@needs_models
def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    path = tmp_path / "novel.gguf"
    path.write_text("It was a dark and stormy night.")

    async def main() -> None:
        async with open_local(path):
            pass

    with pytest.raises(InputError, match=r"novel\.gguf cannot be loaded"):
        clock.run(main())


def test_models_that_are_not_there_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setenv("VOICECLI_MODELS", str(tmp_path))

    async def main() -> None:
        async with open_local():
            pass

    with pytest.raises(InputError, match="has not been fetched") as error:
        clock.run(main())
    assert error.value.hint == "Run: voicecli models fetch."
