"""scale: one run of many replays, measured by one process, by several, by Dask, and in shards."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

from tests.bench.size import choose_size
from tests.bench.table import Check, format_table, print_checks
from tests.support import SPEECH
from tests.support.speech_like import alternate_speech
from voicecli.audio.pcm import samples_of
from voicecli.corpus.manifest import Recording
from voicecli.corpus.merge import merge_stores
from voicecli.corpus.plan import Conditions, Plan, Shard, load_variants, plan_units
from voicecli.corpus.run import Resources, run_units
from voicecli.corpus.store import Store, open_store
from voicecli.corpus.tally import CorpusTally, tally_results
from voicecli.metrics.stages import MOUTH_TO_EAR

RATE = 16_000

UNITS = choose_size(500, 8)
"""Replays in virtual time, of recordings with one or two questions."""

RECORDINGS = choose_size(25, 4)

LIVE_UNITS, SIDE_BY_SIDE = choose_size((48, 8), (2, 1))
"""Replays in real time, of a turn each, and how many side by side in each process."""

SHARDS = choose_size(4, 2)

MOST_APART = 10.0
"""Milliseconds between P50 and P95 of one process and of the others."""

LEAST_GAIN = 1.8
"""Times the throughput of one process that two have, with two free cores."""

SCRIPT = """
stt: {final_ms: {p50: 100, p95: 200}, hears: [One question here., Another question there.]}
llm: {ttft_ms: {p50: 150, p95: 400}, says: [This is short., And that is all.]}
tts: {ttfb_ms: {p50: 90, p95: 160}, char_ms: 10}
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to, and how long it took, in seconds of wall time."""

    name: str
    took: float
    tally: CorpusTally
    lags: Sequence[float]


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    numbers: dict[str, Any] = {"checks": []}
    print("scale: scripted services; start-up included.")
    for fast in (True, False):
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "script.yaml").write_text(SCRIPT)
            if fast:
                print(f"\n{UNITS} replays in virtual time.")
                outcomes = _run_all(folder, _list_fast(folder), UNITS // RECORDINGS, fast=True)
            else:
                print(f"\n{LIVE_UNITS} in real time, {SIDE_BY_SIDE} side by side in each process.")
                outcomes = _run_all(folder, [_make_live(folder)], LIVE_UNITS, fast=False)
        numbers["virtual" if fast else "real"] = _print_rows(outcomes)
        checks = [_compare(outcomes[0], one) for one in outcomes[1:]]
        if fast:  # in real time, the stand-ins need the other core
            checks.append(_compare_speed(*outcomes[:2]))
        numbers["checks"] += print_checks(checks)
    return numbers


def _list_fast(folder: Path) -> list[Path]:
    paths = []
    for number in range(RECORDINGS):
        pcm, _ = alternate_speech(*[0.4, 0.8 + number / 50] * (1 + (number % 5 == 0)), 0.2)
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], samples_of(pcm), RATE)
    return paths


def _make_live(folder: Path) -> Path:
    sentence, _ = soundfile.read(SPEECH / "librivox-0880.wav", dtype="int16")
    path = folder / "live.wav"
    soundfile.write(path, np.pad(sentence, (0, RATE)), RATE)
    return path


def _run_all(folder: Path, paths: Sequence[Path], repeats: int, *, fast: bool) -> list[Outcome]:
    sets = [f"standin.script={folder}/script.yaml", "audio.vad=energy", "turn.end_model=off"]
    variants = load_variants(["scripted"], sets)
    recordings = [Recording(path=path) for path in paths]
    conditions = Conditions(fast=fast, repeats=repeats)

    def plan(shard: Shard) -> Plan:
        return plan_units(recordings, variants, conditions, shard)

    one = None if fast else SIDE_BY_SIDE
    two = None if fast else 2 * SIDE_BY_SIDE
    engines = {
        "one process": Resources(workers=1, concurrency=one),
        "two processes": Resources(workers=2, concurrency=two),
        "Dask, two workers": Resources(workers=2, concurrency=two, scheduler=""),
    }
    place = folder / ("fast" if fast else "live")
    found = [
        _time(name, lambda name=name, used=used: [_fill(place / name, plan(Shard()), used)])
        for name, used in engines.items()
    ]
    if fast:
        shards = [Shard(number, SHARDS) for number in range(1, SHARDS + 1)]
        found.append(
            _time(
                f"{SHARDS} shards, merged",
                lambda: [
                    _fill(place / str(one.number), plan(one), Resources(workers=1))
                    for one in shards
                ],
            )
        )
    return found


def _fill(place: Path, plan: Plan, resources: Resources) -> Store:
    with open_store(place) as store:
        store.write_plan(plan)
        run_units(plan.units, store.write_result, resources=resources)
        return store


def _time(name: str, fill: Callable[[], list[Store]]) -> Outcome:
    print(f"… {name}", file=sys.stderr)
    began = time.monotonic()
    stores = fill()
    took = time.monotonic() - began
    merged = merge_stores(stores)
    lags = [one.lag_ms for one in merged.iterate_results(merged.units)]
    return Outcome(name, took, tally_results(merged.iterate_results(merged.units)), lags)


def _print_rows(outcomes: Sequence[Outcome]) -> list[list[Any]]:
    heads = ["", "units", "turns", "P50", "P95", "s", "units/s", "lag P50", "lag max", "repeated"]
    rows: list[list[Any]] = []
    for one in outcomes:
        whole = one.tally.whole
        spread = whole.summarize().distributions[MOUTH_TO_EAR.name]
        rate = round(whole.units / one.took, 2)
        lags = float(np.median(one.lags)), max(one.lags)
        counts = whole.units, whole.usage.turns
        waits = [1000 * wait if wait else wait for wait in (spread.p50, spread.p95)]
        rows.append([one.name, *counts, *waits, one.took, rate, *lags])
        rows[-1].append(whole.repeated)
    print(format_table(heads, rows))
    return rows


def _compare(alone: Outcome, other: Outcome) -> Check:
    counts = [(one.tally.whole.units, one.tally.whole.usage.turns) for one in (alone, other)]
    spreads = [
        one.tally.whole.summarize().distributions[MOUTH_TO_EAR.name] for one in (alone, other)
    ]
    pairs = [(one.p50 or 0.0, one.p95 or 0.0) for one in spreads]
    apart = 1000 * max(abs(a - b) for a, b in zip(*pairs, strict=True))
    met = counts[0] == counts[1] and apart <= MOST_APART
    what = f"{other.name}: {counts[1][0]} units, {counts[1][1]} turns as with one process"
    return f"{what}; P50 and P95 {apart:.1f} <= {MOST_APART:g} ms apart", met


def _compare_speed(alone: Outcome, other: Outcome) -> Check:
    gain = alone.took / other.took
    return f"{other.name}: {gain:.2f} >= {LEAST_GAIN:g} times one process", gain >= LEAST_GAIN
