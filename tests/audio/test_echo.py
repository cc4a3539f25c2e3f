"""Echo cancellation: what is left of the echo and of the user, and where both are in time.

The echo is that of recorded speech in a simulated room, so that every part of the sound is known.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support import SPEECH, speech_like
from tests.support.sound_cards import running_virtual_audio  # noqa: F401
from voicecli import clock
from voicecli.audio.devices import open_loudspeaker, open_microphone
from voicecli.audio.echo import (
    FRAME,
    GAP,
    LEAD,
    RATE,
    EchoCanceller,
    EchoCancellingSource,
    _ReferenceFrames,
    is_installed,
    is_wanted,
)
from voicecli.audio.interfaces import Detector, Source
from voicecli.audio.pcm import samples_of
from voicecli.audio.vad.energy import EnergyDetector
from voicecli.audio.vad.silero import SileroDetector
from voicecli.errors import UsageError
from voicecli.events import SpeechStarted
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

pytest.importorskip("pywebrtc_audio", reason="pip install voicecli[aec]")

Sound = NDArray[np.float64]

REPLIES = ("0870", "0920", "0890")
"""What the agent says: 19 s of it."""

QUIET: Seconds = 1.0
"""Before the agent speaks."""

NOISE_DBFS = -65.0


class Speaker:
    """A loudspeaker that has played, or will, ``sound`` from time 0 on; known until ``known``."""

    known: Seconds = np.inf

    def __init__(self, sound: NDArray[np.int16], rate: int) -> None:
        self.rate = rate
        self._sound = sound
        self.asked: list[tuple[Seconds, Samples]] = []

    def take(self, start: Seconds, count: Samples) -> NDArray[np.int16]:
        self.asked.append((start, count))
        begin = round(start * self.rate)
        count = int(min(max((self.known - start) * self.rate, 0), count))
        out = np.zeros(count, np.int16)
        part = self._sound[max(begin, 0) : max(begin + count, 0)]
        offset = max(-begin, 0)
        out[offset : offset + len(part)] = part
        return out


def silent(rate: int = 24_000) -> Speaker:
    return Speaker(np.zeros(0, np.int16), rate)


@cache
def recorded(name: str, rate: int) -> Sound:
    sound, recorded_rate = soundfile.read(SPEECH / f"librivox-{name}.wav")
    resampled: Sound = soxr.resample(sound, recorded_rate, rate)
    return resampled


@cache
def speech(rate: int) -> Sound:
    """The agent's replies, with pauses."""
    pause = np.zeros(rate // 2)
    parts = [part for name in REPLIES for part in (recorded(name, rate), pause)]
    return np.concatenate([np.zeros(round(QUIET * rate)), *parts])


@cache
def syllables(rate: int) -> Sound:
    """The same from a machine."""
    pcm = speech_like.silence(QUIET, rate) + speech_like.voice(8.0, rate)
    return samples_of(pcm) / 32768


def int16(sound: Sound) -> NDArray[np.int16]:
    return np.rint(sound * 32768).clip(-32768, 32767).astype(np.int16)


def speaker(said: Sound, rate: int) -> Speaker:
    return Speaker(int16(soxr.resample(said, rate, 24_000)), 24_000)


def canceller(rate: int, said: Sound | None = None) -> EchoCanceller:
    """For blocks of ``rate``, beside a loudspeaker that says ``said``; the replies by default."""
    return EchoCanceller(AudioFormat(rate), speaker(speech(rate) if said is None else said, rate))


def room(rate: int, seed: int = 1) -> Sound:
    """An echo path of unit energy: the direct sound, and 5 dB below it 0.2 s of reverberation."""
    count = round(0.2 * RATE)
    tail = np.random.default_rng(seed).standard_normal(count)
    tail *= np.exp(-np.arange(count) / (0.03 * RATE))
    tail[: round(0.001 * RATE)] = 0
    tail *= 10 ** (-5 / 20) / np.linalg.norm(tail)
    tail[0] = 1
    path: Sound = soxr.resample(tail / np.linalg.norm(tail), RATE, rate) * (RATE / rate)
    return path


def echo(said: Sound, rate: int, delay: Seconds, gain: float, path: Sound | None = None) -> Sound:
    """What comes back of ``said``, with the noise of the room."""
    path = room(rate) if path is None else path
    size = 1 << (len(said) + len(path)).bit_length()
    heard = np.fft.irfft(np.fft.rfft(said, size) * np.fft.rfft(path, size), size)
    heard = np.concatenate([np.zeros(round(delay * rate)), heard])[: len(said)] * 10 ** (gain / 20)
    noise = np.random.default_rng(2).standard_normal(len(said)) * 10 ** (NOISE_DBFS / 20)
    together: Sound = heard + noise
    return together


def blocks_of(
    heard: NDArray[np.int16], rate: int, block: Seconds = 0.020, start: Seconds = 0.0
) -> list[AudioBlock]:
    size = round(block * rate)
    return [
        AudioBlock(heard[i : i + size].tobytes(), start + i / rate)
        for i in range(0, len(heard) - size + 1, size)
    ]


def cleaned(blocks: Iterable[AudioBlock], canceller: EchoCanceller) -> list[AudioBlock]:
    return [clean for block in blocks if (clean := canceller.feed(block)) is not None]


def samples(blocks: Iterable[AudioBlock]) -> NDArray[np.int16]:
    return np.concatenate([samples_of(block.pcm) for block in blocks])


def level(sound: NDArray[np.int16]) -> float:
    return float(10 * np.log10(np.mean(np.square(sound.astype(np.float64))) / 32768**2 + 1e-12))


def reduction(heard: NDArray[np.int16], left: NDArray[np.int16], begin: int, end: int) -> float:
    """By how many dB the microphone's level went down between two samples (ERLE)."""
    return level(heard[begin:end]) - level(left[begin:end])


def starts(blocks: Iterable[AudioBlock], detector: Detector) -> list[Seconds]:
    """When each voice began."""
    events = [event for block in blocks for event in detector.feed(block)]
    return [event.speech_start for event in events if isinstance(event, SpeechStarted)]


def detectors(rate: int) -> list[Detector]:
    return [EnergyDetector(AudioFormat(rate), 0.2), SileroDetector(AudioFormat(rate), 0.2)]


# ── the agent alone ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("delay", [0.0, 0.040, 0.080, 0.120])
@pytest.mark.parametrize(("gain", "first", "steady"), [(-20, 24, 21), (-6, 37, 35)])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_nothing_is_heard_of_an_agent_who_speaks(rate, gain, first, steady, delay):
    heard = int16(echo(speech(rate), rate, delay, gain))
    blocks = cleaned(blocks_of(heard, rate), canceller(rate))
    left = samples(blocks)
    begin = round((QUIET + delay) * rate)
    # what is left is the noise: it is 25 dB below the one echo, and 39 below the other
    assert reduction(heard, left, begin, begin + 2 * rate) >= first
    assert reduction(heard, left, begin + 2 * rate, len(left)) >= steady
    for detector in detectors(rate):
        assert starts(blocks, detector) == []
    for detector in detectors(rate):
        assert starts(blocks_of(heard, rate), detector) != []


@pytest.mark.parametrize(("gain", "least"), [(-20, 24), (-6, 34)])
def test_nor_of_one_whose_voice_is_synthetic(gain, least):
    heard = int16(echo(syllables(RATE), RATE, 0.080, gain))
    blocks = cleaned(blocks_of(heard, RATE), canceller(RATE, syllables(RATE)))
    left = samples(blocks)
    assert reduction(heard, left, RATE, 3 * RATE) >= least
    assert reduction(heard, left, 3 * RATE, len(left)) >= least
    energy, silero = detectors(RATE)
    learnt = QUIET + 2.0  # until then, something as loud as -6 dB may pass that is no voice
    assert [at for at in starts(blocks, energy) if gain == -20 or at >= learnt] == []
    assert starts(blocks, silero) == []


@pytest.mark.parametrize("delays", [(0.040, 0.120), (0.120, 0.040)])
def test_another_room_is_learnt(delays):
    moved = round((QUIET + 9.0) * RATE)  # in mid-sentence
    heard = int16(
        np.concatenate(
            [
                echo(speech(RATE), RATE, delays[0], -6)[:moved],
                echo(speech(RATE), RATE, delays[1], -6, room(RATE, seed=7))[moved:],
            ]
        )
    )
    left = samples(cleaned(blocks_of(heard, RATE), canceller(RATE)))
    recovered = moved + 2 * RATE
    assert reduction(heard, left, recovered, recovered + 2 * RATE) >= 33


@pytest.mark.parametrize("moment", [7.35, 9.0], ids=["silence", "speech"])
@pytest.mark.parametrize("delays", [(0.040, 0.120), (0.120, 0.040), (0.080, 0.070)])
def test_nothing_is_heard_when_another_microphone_takes_over(delays, moment):
    lost = round((QUIET + moment) * RATE)
    found = lost + round(0.7 * RATE)
    before = int16(echo(speech(RATE), RATE, delays[0], -6))[:lost]
    after = int16(echo(speech(RATE), RATE, delays[1], -6, room(RATE, seed=7)))[found:]
    blocks = [*blocks_of(before, RATE), *blocks_of(after, RATE, start=found / RATE)]
    clean = cleaned(blocks, canceller(RATE))
    _, silero = detectors(RATE)
    assert starts(clean, silero) == []
    assert next(block.at for block in clean if block.at > lost / RATE) == found / RATE


# ── the user ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("gain", "softer", "late"), [(-20, 2.5, 0.05), (-6, 4.5, 0.5)])
def test_a_user_who_speaks_over_the_agent_is_heard(gain, softer, late):
    began = QUIET + 9.0
    said = recorded("0930", RATE)
    span = slice(round(began * RATE), round(began * RATE) + len(said))
    near = np.zeros(len(speech(RATE)))
    near[span] = said
    heard = int16(echo(speech(RATE), RATE, 0.080, gain) + near)
    blocks = cleaned(blocks_of(heard, RATE), canceller(RATE))
    assert -softer <= level(samples(blocks)[span]) - level(int16(said)) <= 0
    for detector in detectors(RATE):
        first = starts(blocks, detector)[0]
        assert began <= first <= began + late


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_a_user_who_speaks_alone_is_as_loud_as_before_and_at_the_same_time(rate):
    said = int16(recorded("0930", rate))
    blocks = cleaned(blocks_of(said, rate), EchoCanceller(AudioFormat(rate), silent()))
    left = samples(blocks)
    size = 1 << (2 * len(said)).bit_length()
    match = np.fft.irfft(np.fft.rfft(left, size) * np.conj(np.fft.rfft(said, size)), size)
    lag = (int(match.argmax()) + size // 2) % size - size // 2
    assert abs(lag) <= 1
    # the rumble below 100 Hz is not missed
    assert level(left) == pytest.approx(level(said[: len(left)]), abs=1.1)
    assert blocks[0].at == 0
    for before, after in pairwise(blocks):
        assert after.at == pytest.approx(before.at + len(before.pcm) / 2 / rate, abs=1.01 / rate)


# ── blocks and time ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rate", "block", "late"),
    [
        (16_000, 0.010, 0.0081),
        (16_000, 0.020, 0.0081),
        (48_000, 0.020, 0.0111),
        (44_100, 0.020, 0.0111),
        (8_000, 0.020, 0.0143),
        (48_000, 0.025, 0.0161),
    ],
)
def test_little_is_held_back(rate, block, late):
    canceller = EchoCanceller(AudioFormat(rate), silent())
    delays, counts = [], []
    for heard in blocks_of(np.zeros(rate, np.int16), rate, block):
        clean = canceller.feed(heard)
        if clean is not None:
            counts.append(len(clean.pcm) // 2)
            end = clean.at + counts[-1] / rate
            delays.append(heard.at + block - end)
    assert max(delays) <= late
    if block in (0.010, 0.020):
        assert max(counts[1:]) - min(counts[1:]) <= 1
        assert len(counts) >= 1 / block - 1


@given(
    sizes=st.lists(st.integers(0, 2000), min_size=1, max_size=40),
    rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]),
)
@settings(deadline=None, max_examples=40)
def test_the_cuts_of_the_blocks_are_no_matter(sizes, rate):
    canceller = EchoCanceller(AudioFormat(rate), silent())
    given_, got, last = 0, 0, None
    for size in sizes:
        clean = canceller.feed(AudioBlock(bytes(2 * size), 5.0 + given_ / rate))
        given_ += size
        if clean is not None:
            assert clean.at == pytest.approx(5.0 + got / rate, abs=1e-9)
            got += len(clean.pcm) // 2
            last = clean
    assert 0 <= given_ - got <= 0.030 * rate
    assert last is None or not last.last


def test_last_is_the_block_with_the_last_sample_in_it():
    canceller = EchoCanceller(AudioFormat(RATE), silent())
    blocks = blocks_of(np.ones(RATE, np.int16), RATE)
    blocks[20] = AudioBlock(blocks[20].pcm, blocks[20].at, last=True)
    end = blocks[21].at
    (last,) = [block for block in cleaned(blocks, canceller) if block.last]
    assert last.at < end <= last.at + len(last.pcm) / 2 / RATE


def test_times_that_waver_move_no_sound():
    noise = np.random.default_rng(3).integers(-9000, 9000, 2 * RATE).astype(np.int16)
    steady, wavering = (EchoCanceller(AudioFormat(RATE), Speaker(noise, RATE)) for _ in range(2))
    blocks = blocks_of(noise // 4, RATE)
    moved = [
        AudioBlock(block.pcm, block.at + 0.015 * (i % 7 == 3)) for i, block in enumerate(blocks)
    ]
    assert np.array_equal(samples(cleaned(moved, wavering)), samples(cleaned(blocks, steady)))


def test_it_takes_a_tenth_of_a_core_at_most():
    heard = int16(echo(speech(48_000), 48_000, 0.080, -20))
    blocks = blocks_of(heard, 48_000)
    canceller_ = canceller(48_000)
    before = time.process_time()
    cleaned(blocks, canceller_)
    assert time.process_time() - before < 0.1 * len(heard) / 48_000  # measured: a fortieth


# ── what was played ──────────────────────────────────────────────────────────


def counting(length: Seconds) -> Speaker:
    """A loudspeaker whose every sample is its own number, from 1 on."""
    return Speaker(np.arange(1, round(length * RATE) + 1).astype(np.int16), RATE)


@given(st.lists(st.floats(-0.9 * GAP, 0.9 * GAP), min_size=2, max_size=30))
def test_while_it_sounds_no_sample_is_missed_or_repeated(errors):
    played = _ReferenceFrames(counting(1.0))
    frames = [played.take(0.0)]
    frames += [played.take(0.01 * i + error) for i, error in enumerate(errors, 1)]
    first = round(LEAD * RATE) + 1
    assert np.array_equal(
        np.concatenate(frames), np.arange(first, first + FRAME * (len(errors) + 1))
    )


def test_what_is_further_off_is_believed():
    played = _ReferenceFrames(counting(1.0))
    played.take(0.0)
    assert played.take(0.5)[0] == round((0.5 + LEAD) * RATE) + 1


def test_in_silence_the_clock_is_followed_slowly():
    speaker = silent(RATE)
    played = _ReferenceFrames(speaker)
    off = 0.005
    for frame in range(800):
        played.take(0.01 * frame + off * (frame > 0))
        at = 0.01 * frame + LEAD
        if frame == 100:
            # the first ten frames do not count as silence: it might be a pause
            assert speaker.asked[-1][0] - at == pytest.approx(0.001, abs=0.00015)
    assert speaker.asked[-1][0] - at == pytest.approx(off, abs=1e-4)


def test_what_is_known_too_late_is_missed_once():
    speaker = counting(2.0)
    played = _ReferenceFrames(speaker)
    frames = []
    for frame in range(100):
        speaker.known = 0.01 * (frame + 1) + 0.004 + 1e-6  # that is 6 ms less than wanted
        frames.append(played.take(0.01 * frame))
    first, hole = round(LEAD * RATE) + 1, round(0.006 * RATE)
    assert np.array_equal(frames[0][:hole], np.zeros(hole))
    assert np.array_equal(
        np.concatenate(frames)[hole:], np.arange(first, first + 100 * FRAME - hole)
    )


def test_of_a_dead_loudspeaker_nothing_is_waited_for():
    speaker = counting(2.0)
    played = _ReferenceFrames(speaker)
    for frame in range(100):
        speaker.known = 0.2 if frame < 80 else np.inf
        sound = played.take(0.01 * frame)
        assert len(sound) == FRAME
        assert sound.any() == (frame < 19 or frame >= 80)
    lead = (sound[0] - 1) / RATE - 0.99
    assert LEAD - GAP - 1e-9 <= lead <= LEAD


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 48_000])
def test_no_more_is_asked_than_the_resampler_waits_for(rate):
    speaker = silent(rate)
    played = _ReferenceFrames(speaker)
    for frame in range(50):
        assert len(played.take(0.01 * frame)) == FRAME
        start, count = speaker.asked[-1]
        assert start + count / rate <= 0.01 * (frame + 1) + LEAD + 25.5 / min(rate, RATE)
    ends = [start + count / rate for start, count in speaker.asked]
    assert [start for start, _ in speaker.asked[1:]] == pytest.approx(ends[:-1], abs=1e-9)


# ── as a source ──────────────────────────────────────────────────────────────


class Microphone:
    """A source of blocks that are there at once."""

    def __init__(self, blocks: Iterable[AudioBlock]) -> None:
        self.format = AudioFormat(RATE)
        self.calls: list[str] = []
        self._blocks = blocks

    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        try:
            for block in self._blocks:
                yield block
        finally:
            self.calls.append("closed")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


def test_a_source_stays_a_source():
    blocks = blocks_of(int16(echo(speech(RATE), RATE, 0.080, -20))[: 2 * RATE], RATE)
    microphone = Microphone(blocks)
    source: Source = EchoCancellingSource(microphone, speaker(speech(RATE), RATE))

    async def main() -> list[AudioBlock]:
        source.pause()
        source.resume()
        async with aclosing(source.blocks()) as clean:
            return [block async for block in clean]

    assert clock.run(main(), virtual=True) == cleaned(blocks, canceller(RATE))
    assert source.format == microphone.format
    assert microphone.calls == ["pause", "resume", "closed"]


@pytest.mark.soundcard
@pytest.mark.realtime
def test_nothing_is_heard_of_a_real_loudspeaker(virtual_audio):
    said = [int16(recorded(name, 24_000)).tobytes() for name in REPLIES[:2]]

    async def main() -> tuple[list[AudioBlock], list[AudioBlock], int]:
        heard, clean = list[AudioBlock](), list[AudioBlock]()
        async with (
            open_loudspeaker(None, 24_000, 0.06) as loudspeaker,
            open_microphone(None, 48_000, 0.02) as microphone,
        ):
            canceller = EchoCanceller(microphone.format, loudspeaker.echo_reference)

            async def hear() -> None:
                async for block in microphone.blocks():
                    heard.append(block)
                    clean.extend(cleaned([block], canceller))

            hearing = asyncio.create_task(hear())
            await asyncio.sleep(1.0)
            for pcm in said:
                loudspeaker.start()
                loudspeaker.write(pcm)
                loudspeaker.end()
                await loudspeaker.finish()
                await asyncio.sleep(0.5)
            hearing.cancel()
            return heard, clean, loudspeaker.xruns + microphone.xruns

    with virtual_audio.echoing(-12, 80):
        heard, clean, xruns = clock.run(main())
    _, silero = detectors(48_000)
    if not xruns:  # a machine too busy for its sound moves the echo, which is learnt anew
        assert starts(clean, silero) == []
    _, silero = detectors(48_000)
    assert starts(heard, silero) != []
    assert level(samples(heard)) - level(samples(clean)) >= 20


def test_what_is_not_installed_is_named(monkeypatch):
    assert is_installed()
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with pytest.raises(UsageError, match=r"pip install 'voicecli\[aec\]'"):
        EchoCancellingSource(Microphone([]), silent())


@pytest.mark.parametrize(
    ("setting", "policy", "expected"),
    [
        ("on", "off", True),
        ("on", "speakers", True),
        ("auto", "speakers", True),
        ("auto", "headphones", False),
        ("auto", "off", False),
        ("off", "speakers", False),
    ],
)
def test_the_profile_decides(setting, policy, expected):
    assert is_wanted(setting, policy) is expected
