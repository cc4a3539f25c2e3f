"""Recordings as they come from the wild, made of real speech."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from tests.support import SPEECH
from voicecli.cli.app import run

RATE = 16_000

Sound = NDArray[np.float32]


def speech(name: str = "0880", dbfs: float | None = None) -> Sound:
    """A sentence as it was recorded, or with that root-mean-square level."""
    sound, _ = soundfile.read(SPEECH / f"librivox-{name}.wav", dtype="float32")
    if dbfs is None:
        return np.asarray(sound)
    return np.asarray(sound * 10 ** (dbfs / 20) / np.sqrt(np.mean(sound**2)))


def noise(count: int, dbfs: float) -> Sound:
    deviation = 10 ** (dbfs / 20)
    return np.random.default_rng(1).normal(0, deviation, count).astype(np.float32)


def delay(sound: Sound, seconds: float) -> Sound:
    count = round(seconds * RATE)
    return np.concatenate([np.zeros(count, np.float32), sound[: len(sound) - count]])


def write(path: Path, *channels: Sound, rate: int = RATE) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), rate, subtype="PCM_16")
    return path


def read_user(folder: Path, seconds: float) -> Sound:
    """The beginning of what was recorded of the user, before the agent answers."""
    both, rate = soundfile.read(folder / "conversation.wav", dtype="float32", always_2d=True)
    count = round(seconds * RATE)
    return np.asarray(soxr.resample(both[:, 0], rate, RATE)[:count])


def replay(
    path: Path, capsys: pytest.CaptureFixture[str], options: Sequence[str] = ()
) -> tuple[int, list[str]]:
    """Replay ``path`` with scripted services; return the exit code and the notices."""
    arguments = ["replay", str(path), "--profile", "scripted", "--fast", *options]
    code = run(["--no-env", *arguments])
    printed = "".join(capsys.readouterr()).replace(str(path), "FILE")
    return code, [line for line in printed.splitlines() if line.startswith(("!", "error"))]
