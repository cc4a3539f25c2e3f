"""Part e: ``talk`` through virtual devices, measured from outside; ten minutes.

A recording of both devices at once says what sounded when.  Users who speak in syllables of a tone
are told from silence by loudness (``audio.vad: energy``), recorded voices by the network (silero).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.table import table, verdict
from tests.support.live_talk import (
    BargeIn,
    FalseAlarms,
    barge_ins,
    false_alarms,
    questions,
    recorded,
    waits,
)
from tests.support.recorded_bus import HEARD_EARLY
from tests.support.virtual_audio import VirtualAudio
from voicecli.metrics.summary import compute_percentile, describe

COUNT = 20
REPLIES = 10
ECHO_DB = -20
DELAYS_MS = (40, 80, 120)
SILERO = ("--set", "audio.vad=silero")
SPEAKERS = ("--set", "interrupt.policy=speakers")

Judged = list[tuple[str, bool]]


@contextmanager
def open_virtual_audio() -> Iterator[VirtualAudio]:
    """A virtual sound card that programs started from here find."""
    with TemporaryDirectory() as folder:
        audio = VirtualAudio(Path(folder))
        audio.start()
        os.environ.update(audio.environment)
        try:
            yield audio
        finally:
            audio.stop()


def run() -> dict[str, Any]:
    """Print the tables; the numbers, for bench.json."""
    print("e. Through virtual devices, by a recording of both of them.")
    numbers: dict[str, Any] = {}
    judged: Judged = []
    for part in (_waits, _barge_ins, _false_alarms, _echo, _barge_ins_over_echo):
        with open_virtual_audio() as audio, TemporaryDirectory() as folder:
            kept, met = part(audio, Path(folder))
        numbers |= kept
        judged += met
        for line in met:
            print(verdict(*line))
    return numbers | {"judged": [{"what": what, "met": bool(met)} for what, met in judged]}


def _waits(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], Judged]:
    told = waits(questions(audio, folder, COUNT))
    off = [float(one.printed - one.heard) for one in told]
    of = describe(off)
    early = round(1000 * HEARD_EARLY)
    print(
        "   Mouth to ear, printed minus heard, in ms; a null sink's microphone hears what is said"
    )
    print(f"   {early} before it sounds")
    print(table(("", "n", "min", "P50", "max"), [("", of.n, of.min, of.p50, of.max)]))
    worst = max(map(abs, off))
    judged = [(f"printed and heard differ by {worst:.1f} ms at most, within 15", worst <= 15)]
    return {"printed_minus_heard_ms": [round(one, 1) for one in off]}, judged


def _barge_ins(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], Judged]:
    tried = {
        "energy": [one for _ in range(2) for one in barge_ins(audio, folder, COUNT // 2)],
        "silero": [
            one
            for _ in range(2)
            for one in barge_ins(audio, folder, COUNT // 2, *SILERO, words=recorded(1.8))
        ],
    }
    print("   Barge-in, from the user's first voiced sample, in ms")
    rows = [row for name, found in tried.items() for row in _stops(name, found)]
    print(table(("", "n", "P50", "P95", "max"), rows))
    judged: Judged = []
    for name, found in tried.items():
        ducked, silent = _in_ms(found)
        for what, values, share, most in (
            ("ducked", ducked, 0.95, 120),
            ("silent", silent, 0.5, 300),
            ("silent", silent, 0.95, 350),
        ):
            value = compute_percentile(sorted(values), share)
            told = f"{name}: {what} after {value:.0f} ms at P{100 * share:.0f}, <= {most}"
            judged.append((told, value <= most))
        stale = sum(one.stale for one in found)
        judged.append((f"{name}: heard again after a cut {stale} times, never", not stale))
    kept = {name: [list(map(round, values)) for values in _in_ms(tried[name])] for name in tried}
    return {"barge_in_ducked_and_silent_ms": kept}, judged


def _in_ms(found: Iterable[BargeIn]) -> tuple[list[float], list[float]]:
    both = [(1000 * one.ducked, 1000 * one.silent) for one in found]
    return [ducked for ducked, _ in both], [silent for _, silent in both]


def _stops(name: str, found: Iterable[BargeIn]) -> Iterator[list[object]]:
    for what, values in zip(("ducked", "silent"), _in_ms(found), strict=True):
        of = describe(values)
        yield [f"{name}: {what}", of.n, of.p50, of.p95, of.max]


def _false_alarms(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], Judged]:
    replies = -(-COUNT // 3)
    tried = {
        "energy": false_alarms(audio, folder, replies),
        "silero": false_alarms(audio, folder, replies, *SILERO, words=recorded(0.45)),
    }
    judged = [_resumed(name, found) for name, found in tried.items()]
    return {"false_alarms": {name: found.alarms for name, found in tried.items()}}, judged


def _resumed(name: str, found: FalseAlarms) -> tuple[str, bool]:
    cut = sum(outcome != "answered" for outcome in found.outcomes)
    what = (
        f"{name}: {found.alarms} back-channels and coughs in {found.replies} replies cut {cut} of "
        f"them and paused {found.stopped} times; {1000 * found.repeated:+.0f} ms of sound, "
        f"0 to {1000 * found.fades:.0f}"
    )
    return what, not cut and len(found.outcomes) == found.replies and found.whole


def _echo(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], Judged]:
    judged: Judged = []
    for delay in DELAYS_MS:
        for name, options in (("echo cancelled", SPEAKERS), ("half duplex", ())):
            with audio.echoing(ECHO_DB, delay):
                held = questions(audio, folder, REPLIES, *options, words=recorded(1.5))
            outcomes = [turn["outcome"] for turn in held.turns]
            what = (
                f"echo of {ECHO_DB} dB after {delay} ms, {name}: {REPLIES} questions, "
                f"{len(outcomes)} turns, {outcomes.count('answered')} answered"
            )
            judged.append((what, outcomes == ["answered"] * REPLIES))
    return {}, judged


def _barge_ins_over_echo(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], Judged]:
    name, delay = "over a cancelled echo", DELAYS_MS[1]
    with audio.echoing(ECHO_DB, delay):
        found = barge_ins(audio, folder, COUNT // 2, *SPEAKERS, words=recorded(1.8))
    print(f"   Barge-in with an echo of {ECHO_DB} dB after {delay} ms, in ms")
    print(table(("", "n", "P50", "P95", "max"), _stops(name, found)))
    kept = [list(map(round, values)) for values in _in_ms(found)]
    stale = sum(one.stale for one in found)
    judged = [(f"{name}: heard again after a cut {stale} times, never", not stale)]
    return {"barge_in_over_echo_ms": kept}, judged
