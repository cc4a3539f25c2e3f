"""Processes that measure units: the same numbers as one, whatever happens to the processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import soundfile

from tests.support.speech_like import alternate_speech
from voicecli.audio.pcm import samples_of
from voicecli.corpus.dispatch import EngineError
from voicecli.corpus.manifest import find_recordings
from voicecli.corpus.plan import Conditions, load_variants, plan_units
from voicecli.corpus.pool import LOST_FAILURE, Pool, Task
from voicecli.corpus.run import Resources, run_units
from voicecli.corpus.unit import Unit, UnitResult

SETS = ("audio.vad=energy", "turn.end_model=off")

SCRIPT = """
seed: 3
stt: {final_ms: {p50: 100, p95: 200}, hears: [One question here.]}
llm: {ttft_ms: {p50: 150, p95: 400}, says: [This is short.]}
tts: {ttfb_ms: 90, char_ms: 10}
"""

TWO = Resources(workers=2)


def plan(folder: Path, repeats: int, *, fast: bool = True, pauses: int = 1) -> tuple[Unit, ...]:
    pcm, _ = alternate_speech(*[0.4, 0.9] * pauses, 0.2)
    soundfile.write(folder / "one.wav", samples_of(pcm), 16_000)
    (folder / "script.yaml").write_text(SCRIPT)
    variants = load_variants(["scripted"], [*SETS, f"standin.script={folder}/script.yaml"])
    recordings = find_recordings([str(folder / "one.wav")])
    return plan_units(recordings, variants, Conditions(fast=fast, repeats=repeats)).units


def measure(
    units: Sequence[Unit],
    resources: Resources = TWO,
    after: Callable[[list[UnitResult]], None] = lambda _: None,
) -> dict[str, UnitResult]:
    """Measure ``units``; call ``after`` with the results so far after each; none may come twice."""
    found: list[UnitResult] = []

    def note(result: UnitResult) -> None:
        found.append(result)
        after(found)

    run_units(units, note, resources=resources)
    assert sorted(one.unit.id for one in found) == sorted(unit.id for unit in units)
    return {one.unit.id: one for one in found}


def list_turns(results: dict[str, UnitResult]) -> dict[str, object]:
    return {id: one.result and one.result["turns"] for id, one in results.items()}


def list_workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [one for one in children if "voicecli.corpus.pool" in one.cmdline()]


def test_two_processes_come_to_the_same_as_one(tmp_path: Path) -> None:
    units = plan(tmp_path, 4)
    broken = replace(units[3], labels="missing.labels.yaml")
    alone = measure(units[:3], Resources(workers=1))
    found = measure([*units[:3], broken])
    assert list_turns({id: found[id] for id in alone}) == list_turns(alone)
    failure = found[broken.id].failure
    assert failure is not None
    assert failure.kind == "InputError"


def test_processes_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    units = plan(tmp_path, 12)
    killed: list[int] = []

    def kill_one(found: list[UnitResult]) -> None:
        if len(found) in (2, 4, 6):
            victim = list_workers()[0]
            killed.append(victim.pid)
            victim.send_signal(signal.SIGKILL)

    found = measure(units, after=kill_one)
    assert len(set(killed)) == 3
    assert not any(one.failure for one in found.values())
    assert list_turns(found) == list_turns(measure(units, Resources(workers=1)))
    assert not list_workers()


def test_processes_killed_in_real_time_lose_and_double_nothing(tmp_path: Path) -> None:
    units = plan(tmp_path, 6, fast=False)

    def kill_one(found: list[UnitResult]) -> None:
        if len(found) in (1, 2):
            list_workers()[0].send_signal(signal.SIGKILL)

    found = measure(units, Resources(workers=2, concurrency=4), after=kill_one)
    assert not any(one.failure for one in found.values())


def test_a_unit_that_ends_its_process_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel kills the process that opens its labels, as a crash would end it."""
    *units, fatal = plan(tmp_path, 5)
    trap = tmp_path / "sitecustomize.py"
    trap.write_text(
        "import os, sys\n"
        "def watch(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('fatal.labels.yaml'):\n"
        "        os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(watch)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fatal = replace(fatal, labels="fatal.labels.yaml")
    found = measure([fatal, *units])
    assert found.pop(fatal.id).failure == LOST_FAILURE
    assert not any(one.failure for one in found.values())


def test_processes_that_do_not_start_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = plan(tmp_path, 2)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ExceptionGroup) as caught:
        measure(units)
    assert caught.group_contains(EngineError, match="exit code 1 before it was ready", depth=2)


def test_sessions_are_shared_out_among_processes(tmp_path: Path) -> None:
    """Three sessions over two processes: one has two of them, the other one."""
    pool = Pool(Task(settings={}, fast=False, concurrency=3), 2)
    assert [task.concurrency for task in pool._tasks] == [2, 1]
