"""Silero as a detector: human voices, in noise, at any rate, however the audio is cut."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support import SPEECH
from tests.support.speech_like import alternate_speech, silence
from voicecli.audio.pcm import samples_of
from voicecli.audio.vad.energy import find_stretches
from voicecli.audio.vad.silero import SileroDetector
from voicecli.events import (
    Event,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
)
from voicecli.units import AudioBlock, AudioFormat

RATE = 16_000
NAMES = ["0870", "0880", "0890", "0920", "0930"]
LEAD = 1.0
"""Seconds of silence before each recording."""


@cache
def spoken(name: str, rate: int = RATE) -> bytes:
    """A recorded sentence with near silence before and after it."""
    samples, own = soundfile.read(SPEECH / f"librivox-{name}.wav", dtype="int16")
    quiet = np.round(np.random.default_rng(0).normal(0, 10, own)).astype("<i2")
    return resampled(np.concatenate([quiet, samples, quiet]).astype("<i2").tobytes(), own, rate)


def resampled(pcm: bytes, rate: int, to: int) -> bytes:
    samples = samples_of(pcm)
    return (samples if rate == to else soxr.resample(samples, rate, to)).astype("<i2").tobytes()


@cache
def true_end(name: str, rate: int = RATE) -> float:
    """Where the sentence ends by the energy of the clean recording."""
    return [*find_stretches([AudioBlock(spoken(name, rate), 0.0)], AudioFormat(rate))][-1][1]


def pink(count: int, seed: int) -> NDArray[np.float64]:
    """Noise as rooms have it: as much in each octave; of level 1."""
    rng = np.random.default_rng(seed)
    frequencies = np.maximum(np.fft.rfftfreq(count), 1 / count)
    spectrum = rng.normal(size=len(frequencies)) + 1j * rng.normal(size=len(frequencies))
    spectrum[0] = 0
    noise: NDArray[np.float64] = np.fft.irfft(spectrum / np.sqrt(frequencies), count)
    return noise / noise.std()


def noisy(pcm: bytes, snr: float, seed: int = 1) -> bytes:
    """``pcm`` in pink noise, so many dB below its voice."""
    samples = samples_of(pcm).astype(np.float64)
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    power = frames.var(axis=1)
    voiced = power[power > power.max() / 1000].mean()
    mixed = samples + pink(len(samples), seed) * np.sqrt(voiced / 10 ** (snr / 10))
    return np.clip(np.round(mixed), -32768, 32767).astype("<i2").tobytes()


def blocks(pcm: bytes, rate: int = RATE, size: int | None = None) -> Iterator[AudioBlock]:
    """``pcm`` in blocks of ``size`` samples (20 ms), from 0 s on."""
    size = size or rate // 50
    for offset in range(0, len(pcm), 2 * size):
        yield AudioBlock(pcm[offset : offset + 2 * size], offset / 2 / rate)


def detect(pcm: bytes, rate: int = RATE, hangover: float = 0.2) -> list[Event]:
    """What it says of voices, suspicions aside."""
    detector = SileroDetector(AudioFormat(rate), hangover)
    return voices_only([event for block in blocks(pcm, rate) for event in detector.feed(block)])


def suspected(pcm: bytes) -> list[float]:
    """When it took a sound for what may be a voice."""
    detector = SileroDetector(AudioFormat(RATE), 0.2)
    events = [event for block in blocks(pcm) for event in detector.feed(block)]
    return [event.at for event in events if isinstance(event, SpeechSuspected)]


def voices_only(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, SpeechSuspected)]


def one_stretch(events: list[Event]) -> tuple[SpeechStarted, SpeechStopped]:
    started, stopped = voices_only(events)
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    return started, stopped


# ── beginning and end ────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", NAMES)
def test_a_clean_sentence_ends_where_its_energy_ends(name: str) -> None:
    _, stopped = one_stretch(detect(spoken(name)))

    # 0870 dies away in the room for longer than 100 ms, and the network calls that a voice
    late = 0.045 if name == "0870" else 0.002
    assert -0.002 <= stopped.speech_end - true_end(name) <= late


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
@pytest.mark.parametrize("name", ["0880", "0890", "0920", "0930"])
def test_so_it_does_at_any_rate(name: str, rate: int) -> None:
    _, stopped = one_stretch(detect(spoken(name, rate), rate))

    assert stopped.speech_end == pytest.approx(true_end(name, rate), abs=0.015)


@pytest.mark.parametrize("name", ["0880", "0890", "0920", "0930"])
def test_at_8_khz_an_s_or_an_f_is_hardly_there_and_the_sentence_ends_before_it(name: str) -> None:
    _, stopped = one_stretch(detect(spoken(name, 8_000), 8_000))

    assert -0.075 < stopped.speech_end - true_end(name) < 0.002


@pytest.mark.parametrize("name", NAMES)
def test_a_sentence_is_noticed_soon_and_its_end_after_the_hangover(name: str) -> None:
    started, stopped = one_stretch(detect(spoken(name)))

    beginning = LEAD + 0.25  # the recordings begin with 0.2 to 0.3 s of the room
    assert started.speech_start - beginning < 0.05
    assert started.at - beginning < 0.15
    # 32 ms until the window is complete, 20 until the block is
    assert 0.2 <= stopped.at - stopped.speech_end <= 0.2 + 0.052


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("snr", "most", "early", "late"), [(20, 1, 0.045, 0.04), (12, 2, 0.16, 0.1), (5, 2, 0.16, 0.1)]
)
@pytest.mark.parametrize("name", NAMES)
def test_in_noise_a_sentence_stays_together(
    name: str, snr: float, most: int, early: float, late: float, seed: int
) -> None:
    events = detect(noisy(spoken(name), snr, seed))

    # energy alone finds up to seven stretches
    stops = [event.speech_end for event in events if isinstance(event, SpeechStopped)]
    assert 1 <= len(stops) <= most
    assert len(events) == 2 * len(stops)
    # the noise drowns the last of the voice: a final f, or what the room makes of it
    assert -early <= stops[-1] - true_end(name) <= late


@pytest.mark.parametrize("name", NAMES)
def test_a_sentence_is_suspected_before_it_is_noticed(name: str) -> None:
    started, _ = one_stretch(detect(spoken(name)))
    first = suspected(spoken(name))[0]

    assert first < started.at
    # 40 ms of voice, and the block must be complete; some voices rise slowly
    assert 0.03 <= first - started.speech_start <= 0.13


def test_a_stretch_ends_after_the_hangover_asked_for() -> None:
    _, stopped = one_stretch(detect(spoken("0880"), hangover=0.5))

    assert 0.5 <= stopped.at - stopped.speech_end <= 0.552


def with_pauses(pcm: bytes, pause: float | None) -> list[Event]:
    detector = SileroDetector(AudioFormat(RATE), 0.2, pause)
    return voices_only([event for block in blocks(pcm) for event in detector.feed(block)])


@pytest.mark.parametrize("name", NAMES)
def test_the_end_of_a_sentence_is_a_pause_first(name: str) -> None:
    events = with_pauses(spoken(name), 0.1)
    paused, stopped = events[-2:]

    assert isinstance(paused, SpeechPaused)
    assert isinstance(stopped, SpeechStopped)
    # one block, and the rest of a window where the room fades
    assert 0.1 <= paused.at - stopped.speech_end <= 0.152
    assert paused.speech_end == pytest.approx(stopped.speech_end, abs=0.045)


@pytest.mark.parametrize("name", NAMES)
def test_pauses_change_no_start_and_no_stop(name: str) -> None:
    events = with_pauses(spoken(name), 0.1)

    others = [one for one in events if not isinstance(one, SpeechPaused | SpeechResumed)]
    assert others == with_pauses(spoken(name), None)
    pauses = [one for one in events if isinstance(one, SpeechPaused | SpeechResumed)]
    assert [type(one) for one in pauses] == [SpeechPaused, SpeechResumed] * (len(pauses) // 2) + [
        SpeechPaused
    ]


def test_a_reset_within_a_pause_forgets_it() -> None:
    pcm = spoken("0880")
    cut = pcm[: 2 * round((true_end("0880") + 0.16) * RATE)]
    detector = SileroDetector(AudioFormat(RATE), 0.2, 0.1)
    before = [event for block in blocks(cut) for event in detector.feed(block)]
    detector.reset()

    after = [event for block in blocks(bytes(RATE)) for event in detector.feed(block)]

    assert isinstance(before[-1], SpeechPaused)
    assert after == []


def test_two_sentences_are_two_stretches() -> None:
    pcm = spoken("0880") + spoken("0930")
    second = len(spoken("0880")) / 2 / RATE

    events = detect(pcm)

    one_stretch(events[:2])
    started, stopped = one_stretch(events[2:])
    assert second < started.speech_start < started.at < stopped.speech_end
    assert stopped.speech_end == pytest.approx(second + true_end("0930"), abs=0.015)


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=20), st.sampled_from([RATE, 48_000]))
@settings(max_examples=25, deadline=None)
def test_how_the_audio_is_cut_is_no_matter(sizes: list[int], rate: int) -> None:
    pcm = spoken("0880", rate)
    detector = SileroDetector(AudioFormat(rate), 0.2)
    events: list[Event] = []
    offset, turn = 0, 0
    while offset < len(pcm) // 2:
        size = sizes[turn % len(sizes)] * rate // RATE
        block = AudioBlock(pcm[2 * offset : 2 * (offset + size)], offset / rate)
        for event in detector.feed(block):
            assert event.at == pytest.approx(block.at + len(block.pcm) / 2 / rate)
            events.append(event)
        offset, turn = offset + size, turn + 1

    started, stopped = one_stretch(events)
    start, stop = one_stretch(detect(pcm, rate))
    assert started.speech_start == pytest.approx(start.speech_start, abs=1e-6)
    assert stopped.speech_end == pytest.approx(stop.speech_end, abs=1e-6)


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_after_a_reset_it_hears_as_if_new(rate: int) -> None:
    pcm = spoken("0880", rate)
    detector = SileroDetector(AudioFormat(rate), 0.2)
    for block in blocks(pcm[: 2 * 2 * rate], rate):  # into the middle of the sentence
        detector.feed(block)
    assert detector.speaking

    detector.reset()

    assert not detector.speaking
    again = [
        event
        for block in blocks(pcm, rate)
        for event in detector.feed(AudioBlock(block.pcm, block.at + 10))
    ]
    started, stopped = one_stretch(again)
    start, stop = one_stretch(detect(pcm, rate))
    assert started.speech_start == pytest.approx(start.speech_start + 10, abs=0.05)
    assert stopped.speech_end == pytest.approx(stop.speech_end + 10, abs=0.002)


# ── what is no voice ─────────────────────────────────────────────────────────


def keys(duration: float) -> bytes:
    """Typing: bursts of noise that die away in some milliseconds."""
    rng = np.random.default_rng(3)
    out = rng.normal(0, 30, round(duration * RATE))
    at = 0
    while at < len(out) - 1600:
        decay = np.exp(-np.arange(800) / rng.uniform(30, 200))
        out[at : at + 800] += rng.normal(size=800) * rng.uniform(1000, 6000) * decay
        at += int(rng.integers(1000, 4000))
    return np.clip(out, -32768, 32767).astype("<i2").tobytes()


def test_typing_is_no_voice_though_its_energy_says_so() -> None:
    pcm = keys(20.0)

    assert detect(pcm) == []
    assert suspected(pcm) == []
    assert [*find_stretches([AudioBlock(pcm, 0.0)], AudioFormat(RATE))] != []


@pytest.mark.parametrize("dbfs", [-50, -30, -20])
def test_noise_is_no_voice(dbfs: float) -> None:
    level = 32768 * 10 ** (dbfs / 20)
    samples = np.clip(np.round(pink(20 * RATE, 5) * level), -32768, 32767)

    assert detect(samples.astype("<i2").tobytes()) == []
    assert len(suspected(samples.astype("<i2").tobytes())) <= 1  # as it begins


def test_music_is_no_voice() -> None:
    time = np.arange(10 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (262, 330, 392, 523))
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * 2 * time)

    assert detect(np.round(2000 * chord * beat).astype("<i2").tobytes()) == []


def test_a_synthetic_voice_is_lost_on_the_network() -> None:
    pcm, ends = alternate_speech(*[1.0, 2.0] * 5)

    # why scripted conversations, whose voices are such tones, are heard by energy
    stops = [event for event in detect(pcm) if isinstance(event, SpeechStopped)]
    assert len(stops) <= 1 < len(ends) == 5


# ── several ──────────────────────────────────────────────────────────────────


def test_detectors_do_not_share_what_they_heard() -> None:
    pcm, quiet = spoken("0880"), silence(len(spoken("0880")) / 2 / RATE)
    one, other = (SileroDetector(AudioFormat(RATE), 0.2) for _ in range(2))
    heard: list[Event] = []

    for block, still in zip(blocks(pcm), blocks(quiet), strict=True):
        heard += one.feed(block)
        assert other.feed(still) == []

    assert voices_only(heard) == detect(pcm)
