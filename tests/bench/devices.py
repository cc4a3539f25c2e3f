"""devices: ``talk`` through virtual devices, measured from outside; about ten minutes.

A recording of both devices shows what sounded when.  Users who speak in syllables of a tone are
detected by loudness (``audio.vad: energy``), recorded voices by the network (silero).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tests.bench.size import choose_size
from tests.bench.table import Check, format_table, print_checks
from tests.support.live_talk import (
    BargeIn,
    FalseAlarms,
    ask_questions,
    compare_waits,
    disturb_replies,
    interrupt_replies,
    load_sentence,
)
from tests.support.recorded_bus import HEARD_EARLY
from tests.support.virtual_audio import VirtualAudio
from voicecli.metrics.summary import describe

COUNT = choose_size(20, 3)
REPLIES = choose_size(10, 1)
ECHO_DB = -20
DELAYS_MS = choose_size((40, 80, 120), (40, 80))
SILERO = ("--set", "audio.vad=silero")
SPEAKERS = ("--set", "interrupt.policy=speakers")


@contextmanager
def open_virtual_audio() -> Iterator[VirtualAudio]:
    """Start a virtual sound card that child processes use."""
    with TemporaryDirectory() as folder:
        audio = VirtualAudio(Path(folder))
        audio.start()
        os.environ.update(audio.environment)
        try:
            yield audio
        finally:
            audio.stop()


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    print("devices: through virtual devices, by a recording of both.")
    numbers: dict[str, Any] = {}
    checks: list[dict[str, object]] = []
    for part in (_waits, _barge_ins, _false_alarms, _echo, _barge_ins_over_echo):
        with open_virtual_audio() as audio, TemporaryDirectory() as folder:
            kept, met = part(audio, Path(folder))
        numbers |= kept
        checks += print_checks(met)
    return numbers | {"checks": checks}


def _waits(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], list[Check]]:
    measured = compare_waits(ask_questions(audio, folder, COUNT))
    differences = [float(one.printed - one.heard) for one in measured]
    spread = describe(differences)
    early = round(1000 * HEARD_EARLY)
    print(
        "   Mouth to ear, printed minus heard, in ms; a null sink's microphone hears what is said"
    )
    print(f"   {early} before it sounds")
    print(
        format_table(
            ("", "n", "min", "P50", "max"), [("", spread.n, spread.min, spread.p50, spread.max)]
        )
    )
    worst = max(map(abs, differences))
    checks = [(f"printed and heard differ by {worst:.1f} ms at most, within 15", worst <= 15)]
    return {"printed_minus_heard_ms": [round(one, 1) for one in differences]}, checks


def _barge_ins(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], list[Check]]:
    results = {
        "energy": [one for _ in range(2) for one in interrupt_replies(audio, folder, COUNT // 2)],
        "silero": [
            one
            for _ in range(2)
            for one in interrupt_replies(
                audio, folder, COUNT // 2, *SILERO, words=load_sentence(1.8)
            )
        ],
    }
    print("   Barge-in, from the user's first voiced sample, in ms")
    rows = [row for name, found in results.items() for row in _stops(name, found)]
    print(format_table(("", "n", "P50", "P95", "max"), rows))
    checks: list[Check] = []
    for name, found in results.items():
        ducked, silent = _in_ms(found)
        for what, values, share, most in (
            ("ducked", ducked, 0.95, 120),
            ("silent", silent, 0.5, 300),
            ("silent", silent, 0.95, 350),
        ):
            value = float(np.percentile(values, 100 * share))
            text = f"{name}: {what} after {value:.0f} ms at P{100 * share:.0f}, <= {most}"
            checks.append((text, value <= most))
        stale = sum(one.stale for one in found)
        checks.append((f"{name}: {stale} replies heard again after a cut, want 0", not stale))
    kept = {
        name: [list(map(round, values)) for values in _in_ms(results[name])] for name in results
    }
    return {"barge_in_ducked_and_silent_ms": kept}, checks


def _in_ms(found: Iterable[BargeIn]) -> tuple[list[float], list[float]]:
    both = [(1000 * one.ducked, 1000 * one.silent) for one in found]
    return [ducked for ducked, _ in both], [silent for _, silent in both]


def _stops(name: str, found: Iterable[BargeIn]) -> Iterator[list[object]]:
    for what, values in zip(("ducked", "silent"), _in_ms(found), strict=True):
        spread = describe(values)
        yield [f"{name}: {what}", spread.n, spread.p50, spread.p95, spread.max]


def _false_alarms(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], list[Check]]:
    replies = -(-COUNT // 3)
    results = {
        "energy": disturb_replies(audio, folder, replies),
        "silero": disturb_replies(audio, folder, replies, *SILERO, words=load_sentence(0.45)),
    }
    checks = [_check_resumed(name, found) for name, found in results.items()]
    return {"false_alarms": {name: found.alarms for name, found in results.items()}}, checks


def _check_resumed(name: str, found: FalseAlarms) -> tuple[str, bool]:
    cut = sum(outcome != "answered" for outcome in found.outcomes)
    what = (
        f"{name}: {found.alarms} back-channels and coughs in {found.replies} replies cut {cut} of "
        f"them and paused {found.stopped} times; {1000 * found.repeated:+.0f} ms of sound, "
        f"0 to {1000 * found.fades:.0f}"
    )
    return what, not cut and len(found.outcomes) == found.replies and found.whole


def _echo(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], list[Check]]:
    checks: list[Check] = []
    for delay in DELAYS_MS:
        for name, options in (("echo cancelled", SPEAKERS), ("half duplex", ())):
            with audio.echoing(ECHO_DB, delay):
                held = ask_questions(audio, folder, REPLIES, *options, words=load_sentence(1.5))
            outcomes = [turn["outcome"] for turn in held.turns]
            what = (
                f"echo of {ECHO_DB} dB after {delay} ms, {name}: {REPLIES} questions, "
                f"{len(outcomes)} turns, {outcomes.count('answered')} answered"
            )
            checks.append((what, outcomes == ["answered"] * REPLIES))
    return {}, checks


def _barge_ins_over_echo(audio: VirtualAudio, folder: Path) -> tuple[dict[str, Any], list[Check]]:
    name, delay = "over a cancelled echo", DELAYS_MS[1]
    with audio.echoing(ECHO_DB, delay):
        found = interrupt_replies(audio, folder, COUNT // 2, *SPEAKERS, words=load_sentence(1.8))
    print(f"   Barge-in with an echo of {ECHO_DB} dB after {delay} ms, in ms")
    print(format_table(("", "n", "P50", "P95", "max"), list(_stops(name, found))))
    kept = [list(map(round, values)) for values in _in_ms(found)]
    stale = sum(one.stale for one in found)
    checks = [(f"{name}: {stale} replies heard again after a cut, want 0", not stale)]
    return {"barge_in_over_echo_ms": kept}, checks
