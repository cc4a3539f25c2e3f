"""Builds the scenes of the corpus, each a recording with its labels, from recorded and made sounds.

    python -m tests.speech.build [DIR]        default: tests/speech/scenes

A scene is put together sample by sample, so its labels are exact; where a recorded sentence is
used, they are as exact as the label of that sentence.  Every machine builds the same files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile

from tests.speech.signals import (
    HERE,
    RATE,
    Signal,
    load,
    load_clip,
    make_cough,
    make_noise,
    make_slam,
)
from tests.speech.voice import PHRASES
from voicecli.corpus.label_file import dump_labels, load_labels
from voicecli.metrics.labels import EXPECTED, Kind, Labels, Span

SCENES = HERE / "scenes"

ROOM = 10 ** (-84 / 20)
"""RMS of the noise in every scene: a quiet room."""

LEAD = 0.3
REPLY = 7.5
"""Seconds left for a reply: the longest of the scripted ones takes 6.5 from the end of the turn."""

GAPS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "0870": {"leisure": (2.715, 2.770), "much": (4.315, 4.400)},
    "0880": {"not": (1.020, 1.140)},
    "0890": {"rather": (1.242, 1.373), "is": (3.880, 3.900)},
    "0920": {"more": (1.465, 1.485)},
    "0930": {"even": (1.080, 1.125)},
}
"""Where the recorded sentences can be cut: after a word, the closure in which there is no energy.

Measured as in ``measure``, 11 dB above the room; the local recogniser hears whole words on both
sides, but for "more amiable", which are joined.
"""


class Scene:
    """A recording under construction; times are samples."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sounds: list[tuple[int, Signal]] = []
        self._spans: list[Span] = []
        self._at = round(LEAD * RATE)

    @property
    def at(self) -> int:
        """Where the next sound begins."""
        return self._at

    def wait(self, seconds: float) -> None:
        """Leave silence."""
        self._at += round(seconds * RATE)

    def wait_for_reply(self, since: int, held: float = 0.0) -> None:
        """Leave silence until REPLY seconds after ``since``, and as long as the reply is held."""
        self._at = max(self._at, since + round((REPLY + held) * RATE))

    def play(self, sound: Signal, gain_db: float = 0.0) -> None:
        """Add a sound without a label."""
        self._sounds.append((self._at, sound * 10 ** (gain_db / 20)))
        self._at += len(sound)

    def add(self, kind: Kind, sound: Signal, text: str = "", gain_db: float = 0.0) -> None:
        """Add a sound that is a span of its own."""
        start = self._at
        self.play(sound, gain_db)
        self.label(kind, start, self._at, text)

    def say(self, kind: Kind, phrase: str, gain_db: float = 0.0) -> None:
        """Add a synthesized phrase."""
        self.add(kind, load_clip(phrase), PHRASES[phrase], gain_db)

    def ask(self, phrase: str) -> int:
        """Add a phrase as a turn; return its end."""
        self.say("turn", phrase)
        return self._at

    def dictate(self, *parts: str | float) -> None:
        """Add a turn of phrases with pauses, in seconds, between them."""
        start, texts = self._at, []
        for part in parts:
            if isinstance(part, str):
                self.play(load_clip(part))
                texts.append(PHRASES[part])
            else:
                self.label("pause", self._at, self._at + round(part * RATE))
                self.wait(part)
        self.label("turn", start, self._at, " … ".join(texts))

    def read(self, sentence: str, **pauses: float) -> None:
        """Add a recorded sentence as a turn; silence is inserted after the words in ``pauses``."""
        recording = load(HERE / f"librivox-{sentence}.wav")
        (turn,) = load_labels(HERE / f"librivox-{sentence}.labels.yaml").spans
        begin, end = round(turn.start * RATE), round(turn.end * RATE)
        start, text = self._at, turn.text
        for word, pause in pauses.items():
            text = text.replace(f" {word} ", f" {word} … ", 1)
            closes, opens = (round(at * RATE) for at in GAPS[sentence][word])
            self.play(recording[begin:closes])
            self.label("pause", self._at, self._at + round(pause * RATE))
            self.wait(pause)
            begin = opens
        self.play(recording[begin:end])
        self.label("turn", start, self._at, text)

    def label(self, kind: Kind, start: int, end: int, text: str = "") -> None:
        """Label a stretch of the recording."""
        span = Span(start=start / RATE, end=end / RATE, kind=kind, expect=EXPECTED[kind], text=text)
        self._spans.append(span)

    def finish(self, snr_db: float | None = None) -> tuple[Signal, Labels]:
        """Return the samples and the labels.

        snr_db: adds noise this far below the RMS of the turns, pauses left out.
        """
        self.wait(0.7)
        mixed = np.zeros(self._at)
        for at, sound in self._sounds:
            mixed[at : at + len(sound)] += sound
        level = ROOM
        if snr_db is not None:
            speech = np.concatenate([sound for _, sound in self._sounds])
            level = float(np.sqrt(np.mean(speech**2))) / 10 ** (snr_db / 20)
        mixed += level * make_noise(len(mixed), self._seed)
        spans = sorted(self._spans, key=lambda span: (span.start, -span.end))
        return mixed, Labels(spans=tuple(spans))


# ── the scenes ───────────────────────────────────────────────────────────────


def _pauses_recorded(scene: Scene) -> None:
    scene.read("0890", rather=0.35, **{"is": 0.7})
    scene.wait(REPLY)
    scene.read("0930", even=0.28)
    scene.wait(REPLY)
    scene.read("0920", more=0.6)


def _pauses_long(scene: Scene) -> None:
    scene.read("0870", leisure=0.45, much=0.9)
    scene.wait(REPLY)
    scene.read("0880", **{"not": 1.2})


def _dictation(scene: Scene) -> None:
    scene.dictate("number-1", 0.6, "number-2", 0.8, "number-3")


def _hesitation(scene: Scene) -> None:
    scene.dictate("table-1", 0.5, "table-2", 1.0, "table-3")
    scene.wait(REPLY)
    scene.dictate("remind-1", 0.4, "remind-2")


def _backchannels(scene: Scene) -> None:
    end = scene.ask("rome")
    for phrase, wait in (("yeah", 1.7), ("right", 0.9), ("okay", 0.8), ("uh-huh", 0.7)):
        scene.wait(wait)
        scene.say("backchannel", phrase, -6.0)
    scene.wait_for_reply(end, held=2.8)
    end = scene.ask("train")
    for phrase, wait in (("right", 1.6), ("okay", 0.9), ("yeah", 0.8)):
        scene.wait(wait)
        scene.say("backchannel", phrase, -6.0)
    scene.wait_for_reply(end, held=2.1)


def _coughs(scene: Scene) -> None:
    end = scene.ask("sunday")
    for seed, wait in ((1, 1.7), (3, 0.9), (5, 0.8)):
        scene.wait(wait)
        scene.add("tic", make_cough(seed))
    scene.wait_for_reply(end)
    end = scene.ask("train")
    for seed, wait in ((7, 1.6), (8, 1.0), (9, 0.8)):
        scene.wait(wait)
        scene.add("noise", make_slam(seed))
    scene.wait_for_reply(end)


def _interruptions(scene: Scene) -> None:
    scene.ask("rome")
    for phrase in ("meant", "instead"):
        scene.wait(2.2)
        scene.say("interruption", phrase)
    scene.wait(REPLY)


def _second_voice(scene: Scene) -> None:
    end = scene.ask("rome")
    scene.wait(1.8)
    (turn,) = load_labels(HERE / "librivox-0930.labels.yaml").spans
    other = load(HERE / "librivox-0930.wav")[round(turn.start * RATE) : round(turn.end * RATE)]
    scene.add("background", other, turn.text, -18.0)
    scene.wait_for_reply(end)
    end = scene.ask("sunday")
    scene.wait(1.8)
    scene.say("other", "aside", -9.0)
    scene.wait_for_reply(end)


def _noise(scene: Scene) -> None:
    scene.read("0880")


BUILDERS: Mapping[str, tuple[Callable[[Scene], None], float | None]] = {
    "pauses-recorded": (_pauses_recorded, None),
    "pauses-long": (_pauses_long, None),
    "dictation": (_dictation, None),
    "hesitation": (_hesitation, None),
    "backchannels": (_backchannels, None),
    "coughs": (_coughs, None),
    "interruptions": (_interruptions, None),
    "second-voice": (_second_voice, None),
    "noise-20db": (_noise, 20.0),
    "noise-10db": (_noise, 10.0),
    "noise-5db": (_noise, 5.0),
}
"""How each scene is built, and the signal-to-noise ratio of its noise."""


def build_scene(name: str) -> tuple[Signal, Labels]:
    """Build the scene ``name``."""
    build, snr_db = BUILDERS[name]
    scene = Scene(seed=1000 + list(BUILDERS).index(name))
    build(scene)
    return scene.finish(snr_db)


def write_scenes(folder: Path) -> None:
    """Write every scene and its label file into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in BUILDERS:
        samples, labels = build_scene(name)
        file = folder / f"{name}.flac"
        soundfile.write(file, to_int16(samples), RATE, "PCM_16", compression_level=1.0)
        (folder / f"{name}.labels.yaml").write_text(dump_labels(labels, file.name))


def to_int16(samples: Signal) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """Round to 16 bits."""
    return np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)


if __name__ == "__main__":
    write_scenes(Path(sys.argv[1]) if len(sys.argv) > 1 else SCENES)
