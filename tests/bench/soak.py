"""Part f: a conversation of half an hour through virtual devices; takes as long."""

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
from tests.bench.stalls import Gap, gaps, worst
from tests.bench.table import verdict
from tests.support.live_talk import QUESTIONS, Talk, profile, say
from tests.support.recorded_bus import stretches
from tests.support.virtual_audio import RATE, VirtualAudio
from voicecli.units import Seconds

LENGTH: Seconds = float(os.environ.get("BENCH_SECONDS", "1800"))
SETTLED: Seconds = 60.0
"""Memory counts from here on."""

FEW = 20
"""Turns at either end whose median tells how far the channels are apart."""


def run() -> dict[str, Any]:
    """Print the numbers; the same, for bench.json."""
    with TemporaryDirectory() as folder, open_virtual_audio() as audio:
        with gaps() as still:
            used = _held(audio, Path(folder))
        xruns = _xruns(Path(folder) / "kept" / "timeline.jsonl", still)
        result = json.loads((Path(folder) / "kept" / "result.json").read_text(encoding="utf-8"))
        apart = _apart(Path(folder))
    turns = result["turns"]
    answered = sum(turn["outcome"] == "answered" for turn in turns)
    steady = [size for at, size in used if at >= SETTLED]
    drift = 1000 * (median(apart[-FEW:]) - median(apart[:FEW]))
    print(f"f. {LENGTH / 60:.0f} minutes through virtual devices: {len(turns)} turns.")
    print(f"   Resident memory in MB, from the first minute on: {steady[0]:.1f} at first,")
    print(f"   {min(steady):.1f} to {max(steady):.1f}, {steady[-1]:.1f} at last.")
    for xrun in xruns:
        print(f"   After {xrun.at:.1f} s {xrun}.")
    ours = sum(xrun.count for xrun in xruns if not xrun.still)
    judged = [
        (f"{answered} of {len(turns)} turns answered", answered == len(turns)),
        (
            f"memory from {min(steady) - steady[0]:+.1f} to {max(steady) - steady[0]:+.1f} MB, "
            "within 5",
            max(abs(size - steady[0]) for size in steady) <= 5,
        ),
        (f"recorded channels drift by {drift:.1f} ms, within 5", abs(drift) <= 5),
        (f"{ours} xruns while the machine ran, none", ours == 0),
    ]
    for what, met in judged:
        print(verdict(what, met))
    return {
        "seconds": LENGTH,
        "turns": len(turns),
        "memory_mb": [[round(at), round(size, 1)] for at, size in used],
        "apart_ms": [round(1000 * one, 1) for one in apart],
        "xruns": [[round(xrun.at, 1), xrun.count, round(1000 * xrun.still)] for xrun in xruns],
        "judged": [{"what": what, "met": bool(met)} for what, met in judged],
    }


class _Xrun(NamedTuple):
    """Samples were lost: when the session noticed, how often, and how long the machine had stood
    still in the second before.
    """

    at: Seconds
    count: int
    still: Seconds

    def __str__(self) -> str:
        still = f"{1000 * self.still:.0f} ms of standing still" if self.still else "no gap"
        return f"{self.count} xruns, the machine having had {still} in the second before"


def _xruns(timeline: Path, still: list[Gap]) -> list[_Xrun]:
    header, *records = map(json.loads, timeline.read_text(encoding="utf-8").splitlines())
    origin = header["clock_origin"]
    return [
        _Xrun(at, record["xruns"], worst(still, origin + at - 1.0, origin + at))
        for record in records
        if record.get("event") == "AudioGlitched"
        for at in [record["at"]]
    ]


def _held(audio: VirtualAudio, folder: Path) -> list[tuple[Seconds, float]]:
    """Hold the conversation; megabytes of memory over time."""
    used = []
    chance = random.Random(1)
    name = profile(folder, "questions", **QUESTIONS)
    recorder = audio.listen("--raw", "--format=s16le", str(folder / "bus.raw"))
    began = time.monotonic()
    with Talk("--out", str(folder / "kept"), profile=name) as talk:
        while (now := time.monotonic() - began) < LENGTH:
            talk.until("you can speak now")
            used.append((now, _resident(talk.program.pid)))
            time.sleep(chance.uniform(0.5, 3.0))
            say(audio)
        talk.until("you can speak now")
        time.sleep(1.0)
        talk.quit()
    recorder.terminate()
    recorder.wait()
    return used


def _resident(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _apart(folder: Path) -> Sequence[Seconds]:
    """In each turn, how much longer the reply is away from the question than it sounded."""
    bus = np.memmap(folder / "bus.raw", "<i2").reshape(-1, 2)
    kept, rate = soundfile.read(folder / "kept" / "conversation.wav", dtype="int16")
    heard, recorded = _waits(bus, RATE), _waits(kept, rate)
    return [one - other for one, other in zip(recorded, heard, strict=True)]


def _waits(both: NDArray[np.int16], rate: int) -> list[Seconds]:
    """From the end of each question on the left to the beginning of the reply on the right."""
    questions, sounds = (stretches(both[:, channel], 0.4, rate) for channel in (0, 1))
    begins = np.array([begin for begin, _ in sounds])
    return [float(begins[np.searchsorted(begins, end)] - end) for _, end in questions]
