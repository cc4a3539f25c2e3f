"""The session that the cassette in ``local`` was made of, and how to make it again.

    python -m tests.cassette.session

It needs the models and a machine that is otherwise idle.  How late the event loop was is part of
what a session measures, and not of its cassette: a session that its cassette does not repeat to
within TOLERANCE is not kept.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import yaml

from tests.support import SPEECH
from voicecli.cli.app import run
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.timeline import TIMELINE, load
from voicecli.units import Seconds

FOLDER = Path(__file__).parent / "local"
SPOKEN = ("librivox-0890.wav", "librivox-0880.wav")
RATE = 16_000
PAUSE = np.zeros(RATE, np.int16)

TOLERANCE: Seconds = 0.020


def write_spoken(file: Path) -> Path:
    """Write what the user says: two sentences, a second apart."""
    first, second = (soundfile.read(SPEECH / name, dtype="int16")[0] for name in SPOKEN)
    soundfile.write(file, np.concatenate([first, PAUSE, second]), RATE, subtype="PCM_16")
    return file


def write_profile(timeline: Path, file: Path) -> Path:
    """Write the settings of a session as a profile: its cassette outlives what profiles say."""
    settings = {**load(timeline).header.profile, "extends": None}
    file.write_text(yaml.safe_dump({key: one for key, one in settings.items() if one is not None}))
    return file


def replay(spoken: Path, profile: Path | str, out: Path, *options: str | Path) -> int:
    """Replay ``spoken``, keep the session in ``out``; return the exit code."""
    arguments = [spoken, "--profile", profile, "--out", out, "--force", *options]
    return run(["--no-env", "replay", *map(str, arguments)])


def find_turns(timeline: Path) -> list[Turn]:
    """Return the turns that were answered."""
    return [turn for turn in measure_turns(load(timeline).timeline) if turn.outcome != "discarded"]


def compare_turns(recorded: Sequence[Turn], replayed: Sequence[Turn]) -> list[Seconds]:
    """Return how much longer each mouth-to-ear is; what was said must be the same."""
    said = [[(turn.user_text, turn.said) for turn in turns] for turns in (recorded, replayed)]
    assert said[0] == said[1]
    waits = [[turn.mouth_to_ear or 0.0 for turn in turns] for turns in (recorded, replayed)]
    return [after - before for before, after in zip(*waits, strict=True)]


def main() -> int:
    with TemporaryDirectory() as name:
        home = Path(name)
        spoken, made = write_spoken(home / "spoken.wav"), home / "made"
        if code := replay(spoken, "local", home / "out", "--record-services", made):
            return code
        shutil.copy(home / "out" / TIMELINE, made)
        profile = write_profile(made / TIMELINE, home / "same.yaml")
        if code := replay(spoken, profile, home / "again", "--services", made, "--fast"):
            return code
        turns = (find_turns(folder / TIMELINE) for folder in (made, home / "again"))
        differences = compare_turns(*turns)
        print("differences:", *(f"{1000 * one:+.0f} ms" for one in differences))
        if max(map(abs, differences)) > TOLERANCE:
            print("not kept", file=sys.stderr)
            return 1
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(made, FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
