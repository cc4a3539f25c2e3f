"""Cut-offs, stop times and holds of a kept session, from its sound and the labels alone.

An independent check of ``voicecli.metrics``: this imports nothing of voicecli, and looks at neither
timeline nor result.  It knows that the user is on the left of ``conversation.wav`` and the agent on
the right, and that the recording was played without a pause (full duplex); where it begins, the
user's first sound shows.

    python -m tests.independent OUT [x.labels.yaml]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray

STEP = 0.001
LOUD_DB = 40.0
"""Below the loudest millisecond of its channel, a millisecond is silent."""

LONGEST_DIP = 0.12
"""A longer silence is a stop: speech has shorter ones within it."""

PAUSE = (0.2, 5.0)
YIELD = 2.0
RESUMED = 0.4
"""An agent that fell silent at a back-channel and speaks on does so by then, after its end; a reply
to it would begin later: a turn is committed after 450 ms at least."""


@dataclass(frozen=True)
class Heard:
    """What a person with a stopwatch would note; times in seconds.

    cutoffs: for each labelled pause, whether the agent began to speak in it.
    stops: for each interruption of a reply, from its first sample to the agent's last before it is
        silent for good; None if that takes more than YIELD.
    holds: for each back-channel over a reply, whether the agent spoke on.
    """

    cutoffs: list[bool]
    stops: list[float | None]
    holds: list[bool]


def listen(folder: Path, labels: Path) -> Heard:
    sound, rate = soundfile.read(folder / "conversation.wav", dtype="float64", always_2d=True)
    spans = yaml.safe_load(labels.read_text())["spans"]
    first = min(span["start"] for span in spans if span["kind"] in ("turn", "interruption"))
    user = find_loud(sound[:, 0], rate)
    agent = find_loud(sound[:, 1], rate)
    shift = float(np.argmax(user)) * STEP - first
    runs = find_runs(agent)

    def find(kind: str) -> list[tuple[float, float]]:
        found = [span for span in spans if span["kind"] == kind]
        return [(span["start"] + shift, span["end"] + shift) for span in found]

    pauses = [one for one in find("pause") if PAUSE[0] <= one[1] - one[0] <= PAUSE[1]]
    over = [one for one in find("interruption") if speaks(runs, one[0])]
    return Heard(
        cutoffs=[any(start <= begin < end for begin, _ in runs) for start, end in pauses],
        stops=[find_stop(runs, start) for start, _ in over],
        holds=[
            any(begin <= end + RESUMED and last > end for begin, last in runs)
            for start, end in find("backchannel")
            if speaks(runs, start)
        ],
    )


def find_loud(channel: NDArray[np.float64], rate: int) -> NDArray[np.bool_]:
    """Whether each millisecond is loud."""
    size = round(rate * STEP)
    steps = channel[: len(channel) // size * size].reshape(-1, size)
    level = np.sqrt(np.square(steps).mean(axis=1))
    loud: NDArray[np.bool_] = level > level.max() * 10 ** (-LOUD_DB / 20)
    return loud


def find_runs(loud: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Find stretches without a silence longer than LONGEST_DIP."""
    at = np.flatnonzero(loud)
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(at) * STEP > LONGEST_DIP)
    begins, ends = at[np.r_[0, breaks + 1]], at[np.r_[breaks, len(at) - 1]] + 1
    return [
        (float(begin) * STEP, float(end) * STEP) for begin, end in zip(begins, ends, strict=True)
    ]


def speaks(runs: list[tuple[float, float]], at: float) -> bool:
    return any(begin <= at < end for begin, end in runs)


def find_stop(runs: list[tuple[float, float]], start: float) -> float | None:
    """From ``start`` to the end of the agent's speech there, with what it resumes within YIELD."""
    end = next(end for begin, end in runs if begin <= start < end)
    return end - start if end - start <= YIELD else None


if __name__ == "__main__":
    kept = Path(sys.argv[1])
    print(listen(kept, Path(sys.argv[2]) if len(sys.argv) > 2 else kept / "labels.yaml"))
