"""corpus: memory over many recordings, and what sessions side by side do to each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

from tests.bench.load import read_memory
from tests.bench.size import choose_size
from tests.bench.table import Check, format_table, print_checks
from tests.support import SPEECH
from tests.support.speech_like import alternate_speech
from voicecli.audio.interfaces import AudioSettings
from voicecli.audio.pcm import samples_of
from voicecli.corpus.manifest import Recording
from voicecli.corpus.plan import Conditions, load_variants, plan_units
from voicecli.corpus.run import Resources, run_units
from voicecli.corpus.store import open_store
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.metrics.summary import Distribution, describe

RATE = 16_000

RECORDINGS = choose_size(2000, 6)
SETTLED = choose_size(20, 3)
"""Recordings after which memory counts."""

MOST_GROWTH = 10.0
"""Megabytes from then to the end."""

COUNTS = choose_size((1, 8, 16, 32), (1, 2))
"""Sessions side by side."""

DETECTORS = (AudioSettings().vad, "energy")
"""The one that users get, and the one that costs less."""

LEAST = choose_size(8, 1)
"""Replays of the recording, with three turns each."""

MOST_APART = 15.0
"""Milliseconds between P50 and P95 of one session alone and of those side by side."""

SCRIPT = """
stt: {hears: [One question here.]}
llm: {says: [This is short.]}
tts: {char_ms: 60}
"""


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.yaml").write_text(SCRIPT)
        memory = _measure_memory(folder)
        waits = {
            (vad, count): _measure_side_by_side(folder, vad, count)
            for vad in DETECTORS
            for count in COUNTS
        }
    first, last = memory[SETTLED], memory[RECORDINGS]
    print(f"corpus: {RECORDINGS} recordings in virtual time, in one process; energy detector.")
    print(format_table(["recordings", "MB"], list(memory.items())))
    print(
        "\nThe same recording side by side in one process, the services in another, in real time."
    )
    rows = [
        [f"{count}, {vad}", spread.n, spread.p50, spread.p95, spread.max, late]
        for (vad, count), (spread, late) in waits.items()
    ]
    print(format_table(["sessions", "turns", "P50", "P95", "max", "unreliable"], rows))
    grown = last - first
    checks: list[Check] = [
        (f"memory grows by {grown:.1f} <= {MOST_GROWTH:g} MB", grown <= MOST_GROWTH),
        *(
            _compare(f"{count} sessions, {vad}", waits[vad, 1][0], waits[vad, count][0])
            for vad in DETECTORS
            for count in COUNTS[1:]
        ),
    ]
    return {
        "memory": {str(count): size for count, size in memory.items()},
        "side_by_side": {str(row[0]): row[1:] for row in rows},
        "checks": print_checks(checks),
    }


def _compare(what: str, alone: Distribution, beside: Distribution) -> Check:
    pairs = ((alone.p50, beside.p50), (alone.p95, beside.p95))
    apart = max(abs((a or 0.0) - (b or 0.0)) for a, b in pairs)
    return f"{what}: P50 and P95 {apart:.0f} <= {MOST_APART:g} ms", apart <= MOST_APART


def _plan(
    folder: Path, recordings: Sequence[Path], vad: str, **conditions: Any
) -> tuple[Unit, ...]:
    sets = [f"standin.script={folder}/script.yaml", "turn.settle_ms=0", f"audio.vad={vad}"]
    variants = load_variants(["scripted"], sets)
    found = [Recording(path=path) for path in recordings]
    return plan_units(found, variants, Conditions(**conditions)).units


def _measure_memory(folder: Path) -> dict[int, float]:
    """Replay RECORDINGS short recordings, each another one; return the memory after some."""
    pcm, _ = alternate_speech(0.2, 0.6, 1.2)
    paths = []
    for number in range(RECORDINGS):
        samples = samples_of(pcm).copy()
        samples[:2] = number % 1000, number // 1000
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], samples, RATE)
    sizes: dict[int, float] = {}
    done = 0
    with open_store(folder / "out") as store:

        def note(result: UnitResult) -> None:
            nonlocal done
            store.write_result(result)
            done += 1
            if done in (1, SETTLED, 100, 500, 1000, RECORDINGS):
                sizes[done] = round(read_memory(), 1)

        run_units(_plan(folder, paths, "energy", fast=True), note, resources=Resources(workers=1))
    return sizes


def _measure_side_by_side(folder: Path, vad: str, count: int) -> tuple[Distribution, int]:
    """Return mouth-to-ear in milliseconds, and how many turns are not reliable."""
    sentence, _ = soundfile.read(SPEECH / "librivox-0880.wav", dtype="int16")
    path = folder / "three.wav"
    soundfile.write(path, np.tile(np.pad(sentence, (0, RATE)), 3), RATE)
    found: list[UnitResult] = []
    units = _plan(folder, [path], vad, repeats=max(count, LEAST))
    run_units(units, found.append, resources=Resources(workers=1, concurrency=count))
    turns = [turn for one in found if one.result for turn in one.result["turns"]]
    waits = [turn["mouth_to_ear_ms"] for turn in turns if turn["mouth_to_ear_ms"] is not None]
    return describe(waits), sum(not turn["reliable"] for turn in turns)
