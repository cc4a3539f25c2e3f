"""``voicecli talk`` through the virtual sound card, and what a recording shows of it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from tests.support import SPEECH
from tests.support.recorded_bus import Bus, stretches
from tests.support.speech_like import voice
from tests.support.virtual_audio import RATE, VirtualAudio
from voicecli.audio.pcm import Resampler
from voicecli.audio.playout import FADE
from voicecli.standin.engines.scripted import make_tone

TALK = [sys.executable, "-m", "voicecli", "talk", "--set", "audio.vad=energy"]

SENTENCE = SPEECH / "librivox-0880.wav"
QUESTION = "What is the time?"
STORY = "Once upon a time there was a king who lived in a castle by the sea and never left it."
STOP = "Please stop, that is enough."
CHARACTER = 0.065
TTS_RATE = 24_000
"""Of the profile scripted."""

THREE_FLUSHES = 9.5
"""Seconds that three flushes need: the TTS accepts 20 a minute."""

NOISE_INTERVAL = 2.2
"""Seconds from one sound of the user to the next: its effect on the reply is over, and the STT has
finalised it.  The time belongs to the conversation, as does that of the sounds themselves."""

UH_HUH = ("Uh-huh.", "Right.", "I see.", "Mm-hmm.")

LOUDER = 1000
"""Amplitude that a user exceeds and an echo does not."""

DIP = 0.08
"""Seconds of silence that are longer than a gap between two syllables."""

PAUSE = 0.8
"""Seconds of silence that are longer than any that a back-channel causes."""


def write_profile(folder: Path, name: str, **script: Any) -> str:
    """Write a profile for stand-ins that follow ``script``; return its path."""
    file = folder / f"{name}-script.yaml"
    file.write_text(json.dumps(script), encoding="utf-8")  # JSON is YAML
    path = folder / f"{name}.yaml"
    path.write_text(
        "extends: scripted\n"
        f"standin: {{engine: scripted, script: {file.name}}}\n"
        "budgets: {llm_ms: 1000}\n",
        encoding="utf-8",
    )
    return str(path)


def _new(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder)) / "kept"


class Talk:
    """A running ``talk`` in plain lines; a context manager that kills it at the end."""

    def __init__(self, *arguments: str, profile: str = "quick.yaml") -> None:
        self._command = [*TALK, "-p", profile, *arguments]
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self.program = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.program.kill()
        self.program.communicate()

    def until(self, text: str, within: float = 60.0) -> str:
        """Read lines until one contains ``text``; return that one."""
        assert self.program.stdout is not None
        deadline = threading.Timer(within, self.program.kill)
        deadline.start()
        try:
            while text not in (line := self.program.stdout.readline()):
                assert line, "\n".join([*self.lines, *(self.program.stderr or ())])
                self.lines.append(line.rstrip())
        finally:
            deadline.cancel()
        self.lines.append(line.rstrip())
        return line

    def quit(self) -> str:
        """Send Ctrl-C; return the rest of the output."""
        self.program.send_signal(signal.SIGINT)
        out, err = self.program.communicate(timeout=20)
        assert (self.program.returncode, err) == (0, ""), err
        return out


def speak(audio: VirtualAudio, duration: float = 1.2) -> None:
    """Speak into the microphone; return at once."""
    audio.speak(voice(duration, RATE), RATE)


@dataclass(frozen=True)
class FinishedTalk:
    """A finished conversation: the program's result, and the recording."""

    result: dict[str, Any]
    bus: Bus

    @property
    def turns(self) -> list[dict[str, Any]]:
        return list(self.result["turns"])

    @property
    def voices(self) -> list[tuple[float, float]]:
        return stretches(self.bus.microphone)

    @property
    def replies(self) -> list[tuple[float, float]]:
        return stretches(self.bus.speaker)


# ── mouth to ear ─────────────────────────────────────────────────────────────


QUESTIONS = {
    "stt": {"interim_ms": 200, "hears": [QUESTION]},
    "llm": {
        "ttft_ms": 100,
        "says": [
            f"It is {hour} o'clock {tail}."
            for hour in ("one", "two", "three", "four", "five", "six", "seven")
            for tail in ("more or less", "and getting late", "as far as I know")
        ],
    },
    "tts": {"ttfb_ms": 50, "char_ms": 70},
}
"""A script of short questions with replies of two to three seconds."""


def ask_questions(
    audio: VirtualAudio,
    folder: Path,
    count: int,
    *options: str,
    words: NDArray[np.int16] | None = None,
) -> FinishedTalk:
    """Ask ``count`` questions; each is answered.

    words: audio of a question at RATE; None for the tone of ``voice``.
    """
    pcm = voice(1.2, RATE) if words is None else words.tobytes()
    out = _new(folder)
    name = write_profile(folder, "questions", **QUESTIONS)
    with Bus(audio) as bus, Talk("--out", str(out), *options, profile=name) as talk:
        for _ in range(count):
            talk.until("you can speak now")
            audio.speak(pcm, RATE)
        talk.until("you can speak now")
        talk.quit()
    return FinishedTalk(json.loads((out / "result.json").read_text(encoding="utf-8")), bus)


@dataclass(frozen=True)
class Wait:
    """A mouth-to-ear latency in milliseconds, as printed and as recorded."""

    printed: float
    heard: float


def compare_waits(held: FinishedTalk) -> list[Wait]:
    """Return the latencies of a conversation without interruptions, turn by turn."""
    heard = [
        1000 * (reply[0] - voiced[1])
        for voiced, reply in zip(held.voices, held.replies, strict=True)
    ]
    printed = [turn["mouth_to_ear_ms"] for turn in held.turns]
    return [Wait(*both) for both in zip(printed, heard, strict=True)]


# ── interruptions ────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class BargeIn:
    """What happened to an interrupted reply; seconds from the user's first voiced sample.

    ducked: until it was at least 12 dB softer.
    silent: until its last audible sample.
    stale: how often there was sound again before the user had finished.
    """

    ducked: float
    silent: float
    stale: int


def interrupt_replies(
    audio: VirtualAudio,
    folder: Path,
    count: int,
    *options: str,
    words: NDArray[np.int16] | None = None,
) -> list[BargeIn]:
    """Interrupt ``count`` replies of seven seconds, each after about one; at most ten.

    words: audio of the interruption at RATE; None for the tone of ``voice``.
    """
    name = write_profile(
        folder,
        "story",
        stt={"interim_ms": 200, "hears": [QUESTION, STOP]},
        llm={"ttft_ms": 100, "says": [STORY, "All right."]},
        tts={"ttfb_ms": 50, "char_ms": 80},
    )
    question, stop = voice(1.2, RATE), voice(1.6, RATE)
    if words is not None:
        question = stop = words.tobytes()
    duplex = ("--set", "interrupt.policy=headphones")
    chance = random.Random(1)
    with Bus(audio) as bus, Talk(*duplex, *options, profile=name) as talk:
        again_at = 0.0
        for _ in range(count):
            talk.until("you can speak now")
            time.sleep(max(0.0, again_at - time.monotonic()))
            again_at = time.monotonic() + THREE_FLUSHES
            audio.speak(question, RATE)
            talk.until("reply audio started")
            time.sleep(chance.uniform(0.8, 1.3))
            audio.speak(stop, RATE)
            talk.until("playback stopped after")
            talk.until('agent: "All right."')
        talk.until("you can speak now")
        talk.quit()
    voices = stretches(bus.microphone, apart=PAUSE, threshold=LOUDER)[1::2]
    assert len(voices) == count
    return [_barge_in(bus.speaker, *voiced) for voiced in voices]


def _barge_in(speaker: NDArray[np.int16], began: float, ended: float) -> BargeIn:
    sounds = stretches(speaker, apart=DIP, threshold=0)
    story = max(sound for sound in sounds if sound[0] < began)
    first, last = (round(at * RATE) for at in story)
    expected = np.frombuffer(make_tone(0, last - first, RATE), "<i2")
    ducked = _softer(speaker[first:last], expected, round(began * RATE) - first)
    stale = sum(story[1] < begin < ended for begin, _ in sounds)
    return BargeIn(float((first + ducked) / RATE - began), float(story[1] - began), int(stale))


def _softer(heard: NDArray[np.int16], expected: NDArray[np.int16], start: int) -> int:
    """Return the sample after ``start`` from which ``heard`` is 12 dB softer than expected."""
    size = RATE // 200
    for begin in range(start, len(heard) - size, size):
        full = np.abs(expected[begin : begin + size].astype(np.int32)).max()
        if full > 2000 and np.abs(heard[begin : begin + size].astype(np.int32)).max() < full / 4:
            return begin
    return len(heard)


@dataclass(frozen=True)
class FalseAlarms:
    """What happened to replies during which the user made sounds that do not interrupt.

    replies: how many there were to be.
    alarms: how many sounds the user made.
    outcomes: of the turns, one for each reply.
    repeated: seconds played beyond the text: a fade-in repeats what the fade-out played.
    stopped: how often a reply was silent for longer than between two syllables.
    """

    replies: int
    alarms: int
    outcomes: Sequence[str]
    repeated: float
    stopped: int

    @property
    def fades(self) -> float:
        """The most seconds that may be repeated."""
        return self.alarms * FADE

    @property
    def whole(self) -> bool:
        """Whether no sample of the replies is missing."""
        return 0 <= self.repeated <= self.fades


def disturb_replies(
    audio: VirtualAudio,
    folder: Path,
    count: int,
    *options: str,
    words: NDArray[np.int16] | None = None,
) -> FalseAlarms:
    """Make a cough and two back-channels during each of ``count`` replies of eleven seconds.

    words: audio of a back-channel at RATE; None for the tone of ``voice``.
    """
    hears = [text for short in UH_HUH for text in (QUESTION, short, "", short)]
    story = f"{STORY[:-1]} and once {STORY[5].lower()}{STORY[6:]}"
    name = write_profile(
        folder,
        "long",
        stt={"interim_ms": 200, "hears": hears},
        llm={"ttft_ms": 100, "says": [story]},
        tts={"ttfb_ms": 50, "char_ms": 1000 * CHARACTER},
    )
    word = voice(0.45, RATE) if words is None else words.tobytes()
    noises = word, make_cough(0.3), word
    out = _new(folder)
    duplex = ("--set", "interrupt.policy=headphones", "--out", str(out))
    with Bus(audio) as bus, Talk(*duplex, *options, profile=name) as talk:
        for _ in range(count):
            talk.until("you can speak now")
            speak(audio)
            talk.until("reply audio started")
            for noise in noises:
                time.sleep(NOISE_INTERVAL)
                audio.speak(noise, RATE)
        talk.until("you can speak now")
        talk.quit()
    turns = json.loads((out / "result.json").read_text(encoding="utf-8"))["turns"]
    replies = stretches(bus.speaker, PAUSE, threshold=0)
    heard = [bus.speaker[round(begin * RATE) : round(end * RATE)] for begin, end in replies]
    whole = sum(
        np.count_nonzero(_spoken(CHARACTER * len(clause)))
        for clause in _clauses(out / "timeline.jsonl")
    )
    return FalseAlarms(
        replies=count,
        alarms=len(noises) * count,
        outcomes=[turn["outcome"] for turn in turns],
        repeated=float(sum(np.count_nonzero(one) for one in heard) - whole) / RATE,
        stopped=sum(len(stretches(one, DIP, threshold=0)) - 1 for one in heard),
    )


def _spoken(duration: float) -> NDArray[np.int16]:
    """The TTS's voice at RATE; the resampler adds a few samples to every syllable."""
    resampler = Resampler(TTS_RATE, RATE)
    voiced = np.frombuffer(make_tone(0, round(duration * TTS_RATE), TTS_RATE), "<i2")
    return np.concatenate([resampler.feed(voiced), resampler.flush()])


def _clauses(timeline: Path) -> Iterator[str]:
    """The texts that the TTS was sent."""
    for line in timeline.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record.get("event") == "ClauseSent":
            yield record["text"].strip()


def load_sentence(duration: float) -> NDArray[np.int16]:
    """Return the begin of a recorded sentence, from its first loud sample, at RATE."""
    samples, rate = soundfile.read(SENTENCE, dtype="int16")
    voiced: NDArray[np.int16] = soxr.resample(samples, rate, RATE)
    level = np.abs(voiced.astype(np.int32))
    first = int(np.flatnonzero(level > level.max() / 20)[0])
    return voiced[first : first + round(duration * RATE)]


def make_cough(duration: float) -> bytes:
    """Return a burst of noise that fades, at RATE."""
    noise = np.random.default_rng(1).normal(0, 5000, round(duration * RATE))
    return (noise * np.linspace(1, 0, len(noise))).clip(-32768, 32767).astype("<i2").tobytes()
