"""When a voice ended, measured with what follows: soft consonants, closures, noise, breaths."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.audio.vad.test_silero import blocks, noisy
from tests.support import SPEECH
from tests.support.speech_like import voice
from voicecli.audio.pcm import samples_of
from voicecli.audio.vad import create_detector
from voicecli.audio.vad.energy import EnergyDetector
from voicecli.audio.vad.speech_end import LOOK_AHEAD, WINDOW
from voicecli.corpus.label_file import load_labels
from voicecli.events import Event, SpeechEndMeasured, SpeechStarted, SpeechStopped
from voicecli.units import AudioBlock, AudioFormat, ms

RATE = 16_000
LEAD = 1.0
ROOM_DBFS = -60.0

Sound = NDArray[np.float64]


@cache
def shaped(count: int, low: float, high: float, seed: int = 1) -> Sound:
    """Noise between two frequencies; of level 1."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.normal(size=count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum[(frequencies < low) | (frequencies >= high)] = 0
    noise: Sound = np.fft.irfft(spectrum, count)
    return noise / noise.std()


def level(sound: Sound, dbfs: float) -> Sound:
    return sound * 32768 * 10 ** (dbfs / 20)


def room(seconds: float) -> Sound:
    """A room's rumble, and a little hiss."""
    count = round(seconds * RATE)
    return level(shaped(count, 50, 400, 2), ROOM_DBFS + 8) + level(
        shaped(count, 400, 8000, 3), ROOM_DBFS - 12
    )


def hiss(seconds: float, dbfs: float) -> Sound:
    """An "f" of that level."""
    return level(shaped(round(seconds * RATE), 1500, 7500, 4), dbfs)


def said(*parts: Sound | float) -> Sound:
    """A voice of 1.2 s after LEAD, then ``parts``: sounds, or seconds of pause; in a room."""
    vowels = samples_of(voice(1.2, RATE)).astype(np.float64)
    pieces = [np.zeros(round(LEAD * RATE)), vowels]
    pieces += [np.zeros(round(one * RATE)) if isinstance(one, float) else one for one in parts]
    pieces.append(np.zeros(RATE))
    whole = np.concatenate(pieces)
    return whole + room(len(whole) / RATE)


def detect(sound: Sound, rate: int = RATE, block: float = 0.02) -> list[Event]:
    pcm = np.round(sound).clip(-32768, 32767).astype("<i2").tobytes()
    detector = create_detector("energy", AudioFormat(rate), 0.2)
    size = 2 * round(block * rate)
    return [
        event
        for at in range(0, len(pcm), size)
        for event in detector.feed(AudioBlock(pcm[at : at + size], at / 2 / rate))
    ]


def measured(events: list[Event]) -> list[SpeechEndMeasured]:
    return [event for event in events if isinstance(event, SpeechEndMeasured)]


VOWELS_END = LEAD + 1.2
EXACT = 0.005


def test_a_voice_that_ends_loud_is_left_where_it_was_reported() -> None:
    events = detect(said())
    (found,) = measured(events)
    (stopped,) = (event for event in events if isinstance(event, SpeechStopped))
    assert found.reported == found.speech_end == stopped.speech_end
    assert found.speech_end == pytest.approx(VOWELS_END, abs=0.001)


@pytest.mark.parametrize("dbfs", [-54, -57, -60])
@pytest.mark.parametrize("seconds", [0.06, 0.12, 0.2])
def test_a_soft_consonant_belongs_to_the_voice(dbfs: float, seconds: float) -> None:
    (found,) = measured(detect(said(hiss(seconds, dbfs))))
    assert found.reported < VOWELS_END + 0.02  # for the levels alone it is silence
    assert found.speech_end == pytest.approx(VOWELS_END + seconds, abs=2 * EXACT)


def test_a_burst_after_its_closure_belongs_to_the_voice() -> None:
    (found,) = measured(detect(said(0.06, hiss(0.03, -50))))
    assert found.speech_end == pytest.approx(VOWELS_END + 0.09, abs=2 * EXACT)


def test_a_breath_after_the_voice_does_not() -> None:
    (found,) = measured(detect(said(0.13, hiss(0.15, -58))))
    assert found.speech_end == found.reported


def test_of_reverberation_only_the_beginning_does() -> None:
    """A sentence in a room in which sound decays by 60 dB in 0.4 s: 30 dB take 0.2 s."""
    dry, _ = soundfile.read(SPEECH / "librivox-0880.wav", dtype="int16")
    dry = np.concatenate([dry[:-2400], np.zeros(RATE)]).astype(np.float64)
    decay = np.random.default_rng(5).normal(size=6400) * 10 ** (-3 * np.arange(6400) / 6400)
    decay[0] = 20 * np.linalg.norm(decay)  # the direct sound is 20 dB louder
    ends = [
        measured(detect(sound + room(len(sound) / RATE)))[-1].speech_end
        for sound in (dry, np.convolve(dry, decay / decay[0])[: len(dry)])
    ]
    assert 0.0 <= ends[1] - ends[0] <= 0.1


def test_nothing_waits_for_it() -> None:
    sound = said(hiss(0.12, -54), 0.9)
    plain = EnergyDetector(AudioFormat(RATE), 0.2)
    pcm = np.round(sound).astype("<i2").tobytes()
    alone = [
        event
        for at in range(0, len(pcm), 640)
        for event in plain.feed(AudioBlock(pcm[at : at + 640], at / 2 / RATE))
    ]
    events = detect(sound)
    (found,) = measured(events)
    assert [event for event in events if event is not found] == alone
    assert found.at == pytest.approx(found.reported + LOOK_AHEAD, abs=0.02)


def test_a_voice_that_goes_on_at_once_is_not_part_of_the_one_before() -> None:
    again = samples_of(voice(0.6, RATE)).astype(np.float64)
    events = detect(said(hiss(0.1, -54), 0.13, again))
    first, second = measured(events)
    resumed = [event for event in events if isinstance(event, SpeechStarted)][1]
    assert first.speech_end == pytest.approx(VOWELS_END + 0.1, abs=2 * EXACT)
    assert first.speech_end < resumed.speech_start
    assert second.speech_end == pytest.approx(VOWELS_END + 0.83, abs=2 * EXACT)


@pytest.mark.parametrize("block", [0.01, 0.1, 0.32])
def test_blocks_of_any_length_give_the_same_end(block: float) -> None:
    sound = said(hiss(0.12, -54))
    expected, found = measured(detect(sound)), measured(detect(sound, block=block))
    assert [one.speech_end for one in found] == pytest.approx(
        [one.speech_end for one in expected], abs=EXACT
    )


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_at_any_rate(rate: int) -> None:
    import soxr

    sound = soxr.resample(said(hiss(0.12, -52)), RATE, rate)
    (found,) = measured(detect(sound, rate))
    assert found.speech_end == pytest.approx(VOWELS_END + 0.12, abs=WINDOW)


def test_after_a_reset_nothing_is_measured() -> None:
    detector = create_detector("energy", AudioFormat(RATE), 0.2)
    pcm = np.round(said()).astype("<i2").tobytes()
    for at in range(0, len(pcm), 640):
        events = list(detector.feed(AudioBlock(pcm[at : at + 640], at / 2 / RATE)))
        if any(isinstance(event, SpeechStopped) for event in events):
            detector.reset()
        assert measured(events) == []


# ── real speech ──────────────────────────────────────────────────────────────


Noise = Callable[[bytes, int], bytes]
"""Adds noise to a recording, another one for each number."""


def find_errors(kind: Literal["silero", "energy"], noise: Noise | None = None) -> list[float]:
    """Measured minus labelled end of each recorded sentence, in milliseconds, with three noises."""
    errors = []
    for file in sorted(SPEECH.glob("librivox-*.wav")):
        (label,) = load_labels(file.with_suffix(".labels.yaml")).spans
        quiet = soundfile.read(file, dtype="int16")[0].tobytes() + bytes(2 * RATE)
        for pcm in [noise(quiet, seed) for seed in (1, 2, 3)] if noise else [quiet]:
            detector = create_detector(kind, AudioFormat(RATE), 0.2)
            events = [event for block in blocks(pcm) for event in detector.feed(block)]
            ends = [one for one in measured(events) if abs(one.reported - label.end) < 0.6]
            errors += [ms(ends[-1].speech_end - label.end)] if ends else []
    return errors


def babble(pcm: bytes, seed: int) -> bytes:
    """Add eight voices that talk at once, 20 dB softer."""
    sound = samples_of(pcm).astype(np.float64)
    rng, clips = np.random.default_rng(seed), sorted(SPEECH.glob("clips/*.flac"))
    voices = np.zeros(len(sound))
    for _ in range(8):
        line = np.concatenate([soundfile.read(clips[n])[0] for n in rng.permutation(len(clips))])
        voices += np.resize(np.roll(line, rng.integers(len(line))), len(sound))
    level = np.sqrt(np.mean(sound[sound != 0] ** 2)) / 10 / voices.std()
    return np.round(sound + level * voices).clip(-32768, 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("kind", ["silero", "energy"])
def test_recorded_sentences_end_where_their_labels_say(kind: Literal["silero", "energy"]) -> None:
    errors = np.abs(find_errors(kind))
    assert len(errors) == 5
    assert np.median(errors) <= 10
    assert np.percentile(errors, 90) <= 30


@pytest.mark.parametrize("pause", [7.06, 7.07, 7.08])
def test_where_the_recording_is_paused_soon_after_it_ends_there_too(pause: float) -> None:
    """A polite user's is, as soon as the turn is committed: 0.2 s after a nasal that fades."""
    sound, _ = soundfile.read(SPEECH / "librivox-0870.wav", dtype="int16")
    (label,) = load_labels(SPEECH / "librivox-0870.labels.yaml").spans
    sound[round(pause * RATE) :] = 0
    detector = create_detector("silero", AudioFormat(RATE), 0.2)
    pcm = sound.tobytes() + bytes(2 * RATE)
    events = [event for block in blocks(pcm) for event in detector.feed(block)]
    assert ms(measured(events)[-1].speech_end - label.end) == pytest.approx(0, abs=30)


@pytest.mark.parametrize("kind", ["silero", "energy"])
def test_in_noise_what_it_hides_is_lost(kind: Literal["silero", "energy"]) -> None:
    """At 20 dB, 100 ms of a nasal that fades are softer than the noise around it."""
    errors = find_errors(kind, lambda pcm, seed: noisy(pcm, 20, seed))
    assert len(errors) == 15
    assert np.median(np.abs(errors)) <= 25
    assert min(errors) >= -115
    assert max(errors) <= 25


def test_little_of_what_others_say_in_the_background_belongs_to_the_voice() -> None:
    errors = np.abs(find_errors("silero", babble))
    assert len(errors) == 15
    assert np.median(errors) <= 110
    assert np.percentile(errors, 90) <= 220
