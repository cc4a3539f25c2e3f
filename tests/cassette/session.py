"""The session that the cassette in ``local`` was made of, and how to make it again.

    python -m tests.cassette.session

It needs the models and a machine that is otherwise idle: a session in which the event loop was late
is not what its cassette replays, and is not kept.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from tests.support import SPEECH
from voicecli.cli.app import run
from voicecli.metrics.turns import measure_turns
from voicecli.timeline import TIMELINE, load

FOLDER = Path(__file__).parent / "local"
SPOKEN = ("librivox-0890.wav", "librivox-0880.wav")
RATE = 16_000
PAUSE = np.zeros(RATE, np.int16)


def write_spoken(file: Path) -> Path:
    """Write what the user says: two sentences, a second apart."""
    first, second = (soundfile.read(SPEECH / name, dtype="int16")[0] for name in SPOKEN)
    soundfile.write(file, np.concatenate([first, PAUSE, second]), RATE, subtype="PCM_16")
    return file


def main() -> int:
    with TemporaryDirectory() as name:
        home = Path(name)
        spoken, made = write_spoken(home / "spoken.wav"), home / "made"
        options = ["--profile", "local", "--out", home / "out", "--record-services", made]
        if code := run(["--no-env", "replay", *map(str, (spoken, *options))]):
            return code
        timeline = home / "out" / TIMELINE
        for turn in measure_turns(load(timeline).timeline):
            if late := [why for why in turn.unreliable if "event loop" in why]:
                print(f"not kept: {late[0]} in turn {turn.turn}", file=sys.stderr)
                return 1
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(made, FOLDER)
        shutil.copy(timeline, FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
