"""soak: a conversation of half an hour through virtual devices, in real time."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.bench.devices import open_virtual_audio
from tests.bench.size import choose_size
from tests.bench.stalls import Gap, find_longest, record_gaps
from tests.bench.table import Check, print_checks
from tests.support.live_talk import QUESTIONS, Talk, speak, write_profile
from tests.support.recorded_bus import stretches
from tests.support.virtual_audio import RATE, VirtualAudio
from voicecli.units import Seconds

LENGTH: Seconds = float(os.environ.get("BENCH_SECONDS", choose_size("1800", "20")))
SETTLED: Seconds = choose_size(60.0, 0.0)
"""Of warming up, before memory counts."""

END_TURNS = 20
"""Turns at either end whose median gives the offset between the channels."""


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    with TemporaryDirectory() as folder, open_virtual_audio() as audio:
        with record_gaps() as stalls:
            memory = _hold_conversation(audio, Path(folder))
        xruns = _find_xruns(Path(folder) / "kept" / "timeline.jsonl", stalls)
        result = json.loads((Path(folder) / "kept" / "result.json").read_text(encoding="utf-8"))
        offsets = _measure_offsets(Path(folder))
    turns = result["turns"]
    answered = sum(turn["outcome"] == "answered" for turn in turns)
    steady = [size for at, size in memory if at >= SETTLED]
    drift = 1000 * (median(offsets[-END_TURNS:]) - median(offsets[:END_TURNS]))
    print(f"soak: {LENGTH / 60:.0f} minutes through virtual devices: {len(turns)} turns.")
    print(f"   Resident memory in MB, from the first minute on: {steady[0]:.1f} at first,")
    print(f"   {min(steady):.1f} to {max(steady):.1f}, {steady[-1]:.1f} at last.")
    for xrun in xruns:
        print(f"   After {xrun.at:.1f} s: {xrun}.")
    ours = sum(xrun.losses for xrun in xruns if not xrun.stall)
    checks: list[Check] = [
        (f"{answered} of {len(turns)} turns answered", answered == len(turns)),
        (
            f"memory from {min(steady) - steady[0]:+.1f} to {max(steady) - steady[0]:+.1f} MB, "
            "within 5",
            max(abs(size - steady[0]) for size in steady) <= 5,
        ),
        (f"recorded channels drift by {drift:.1f} ms, within 5", abs(drift) <= 5),
        (f"{ours} xruns without a stall of the machine, none", ours == 0),
    ]
    return {
        "seconds": LENGTH,
        "turns": len(turns),
        "memory_mb": [[round(at), round(size, 1)] for at, size in memory],
        "offset_ms": [round(1000 * one, 1) for one in offsets],
        "xruns": [[round(xrun.at, 1), xrun.losses, round(1000 * xrun.stall)] for xrun in xruns],
        "checks": print_checks(checks),
    }


class _Xrun(NamedTuple):
    """A loss of samples: when the session noticed, how often, and how long the machine had stalled
    in the second before.
    """

    at: Seconds
    losses: int
    stall: Seconds

    def __str__(self) -> str:
        stall = f"for {1000 * self.stall:.0f} ms" if self.stall else "never"
        return f"{self.losses} xruns; in the second before, the machine stalled {stall}"


def _find_xruns(timeline: Path, stalls: list[Gap]) -> list[_Xrun]:
    header, *records = map(json.loads, timeline.read_text(encoding="utf-8").splitlines())
    origin = header["clock_origin"]
    return [
        _Xrun(at, record["xruns"], find_longest(stalls, origin + at - 1.0, origin + at))
        for record in records
        if record.get("event") == "AudioGlitched"
        for at in [record["at"]]
    ]


def _hold_conversation(audio: VirtualAudio, folder: Path) -> list[tuple[Seconds, float]]:
    """Hold the conversation; return its memory in megabytes over time."""
    memory = []
    rng = random.Random(1)
    name = write_profile(folder, "questions", **QUESTIONS)
    recorder = audio.listen("--raw", "--format=s16le", str(folder / "bus.raw"))
    began = time.monotonic()
    with Talk("--out", str(folder / "kept"), profile=name) as talk:
        while (now := time.monotonic() - began) < LENGTH:
            talk.until("you can speak now")
            memory.append((now, _read_memory(talk.program.pid)))
            time.sleep(rng.uniform(0.5, 3.0))
            speak(audio)
        talk.until("you can speak now")
        time.sleep(1.0)
        talk.quit()
    recorder.terminate()
    recorder.wait()
    return memory


def _read_memory(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _measure_offsets(folder: Path) -> Sequence[Seconds]:
    """Return by how much each recorded wait exceeds the wait on the virtual devices."""
    bus = np.memmap(folder / "bus.raw", "<i2").reshape(-1, 2)
    kept, rate = soundfile.read(folder / "kept" / "conversation.wav", dtype="int16")
    played, recorded = _find_waits(bus, RATE), _find_waits(kept, rate)
    return [one - other for one, other in zip(recorded, played, strict=True)]


def _find_waits(both: NDArray[np.int16], rate: int) -> list[Seconds]:
    """Return the time from the end of each question (left) to the start of its reply (right)."""
    questions, sounds = (stretches(both[:, channel], 0.4, rate) for channel in (0, 1))
    begins = np.array([begin for begin, _ in sounds])
    return [float(begins[np.searchsorted(begins, end)] - end) for _, end in questions]
