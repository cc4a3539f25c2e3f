"""Runs units: sessions side by side in real time, one after the other in virtual time.

``run_units`` is a plain function from units to results, for any process that has the same files.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from voicecli import __version__, clock
from voicecli.corpus.hearing import hear_labels
from voicecli.corpus.label_file import dump_labels, load_labels
from voicecli.corpus.throttle import Throttle
from voicecli.corpus.unit import Failure, Unit, UnitResult
from voicecli.corpus.worker import WorkerPool, count_cores
from voicecli.environment.files import write_text_file
from voicecli.errors import CredentialsError, UsageError, choose_failure, list_leaves
from voicecli.events import MAX_LAG
from voicecli.pipeline.recording import play_recording
from voicecli.pipeline.wiring import Services, open_services
from voicecli.profile import Profile, load_script, restore_profile
from voicecli.report.json_result import describe_environment, dump_result
from voicecli.report.measurement import measure_session
from voicecli.sanitize import sanitize_line
from voicecli.timeline import LABELS, RESULT, Timeline
from voicecli.units import ms

if TYPE_CHECKING:
    from voicecli.standin.script import Script

MAX_ATTEMPTS = 3
"""How often a unit is measured while the event loop is too late for its turns."""

MAX_SESSIONS, FIRST_SESSIONS = 32, 4
"""Side by side, at most and to begin with, where the command line does not say how many.  With the
scripted services in the same process one core carried 8, and not 16; see tests/bench/corpus.py."""

BUG, IO_FAILED = 70, 74
"""EX_SOFTWARE and EX_IOERR of sysexits.h: exit codes of errors that have none of their own."""

MIN_UNITS = 3
"""Units for each process; one takes as long to start as a short unit to be measured."""

Note = Callable[[UnitResult], None]
"""Takes each result as soon as it is there."""

_log = logging.getLogger(__name__)


def run_units(
    units: Sequence[Unit], note: Note, *, folder: Path | None = None, concurrency: int | None = None
) -> None:
    """Measure ``units``; pass what each came to, failures included, to ``note``.

    folder: where each unit's session is kept, in a folder named by its id; None: nowhere.
    concurrency: sessions side by side in real time, at most, or processes in virtual time; None:
        as many as the loop carries, and as there are cores.

    Raises CredentialsError, and what keeps the services of all units from starting;
    KeyboardInterrupt.  What was passed to ``note`` by then is complete.
    """
    for unit in units:
        if unit.version != __version__:
            raise UsageError(
                f"unit {unit.id} was planned by version {unit.version}, and this is {__version__}",
                hint="Plan it again.",
            )
    _run_in_virtual_time([one for one in units if one.fast], note, folder, concurrency)
    groups: dict[str, list[Unit]] = {}
    for unit in (one for one in units if not one.fast):
        groups.setdefault(_name_engine(_restore(unit)), []).append(unit)
    for group in groups.values():
        clock.run(_run_side_by_side(group, note, folder, concurrency))


def _run_in_virtual_time(
    units: Sequence[Unit], note: Note, folder: Path | None, concurrency: int | None
) -> None:
    """Measure ``units`` in as many processes as there are cores, or ``concurrency``."""
    processes = min(concurrency or count_cores(), len(units) // MIN_UNITS)
    if processes < 2:
        for unit in units:
            note(run_alone(unit, folder))
        return
    with WorkerPool(units, folder, processes) as results:
        for result in results:
            note(result)


def run_alone(unit: Unit, folder: Path | None) -> UnitResult:
    """Measure a unit in a loop of its own; in virtual time, it depends on nothing else."""
    return clock.run(_contain(unit, _measure(unit, None, folder)), virtual=unit.fast)


def _restore(unit: Unit) -> Profile:
    return restore_profile(unit.settings, f"unit {unit.id}")


def _name_engine(profile: Profile) -> str:
    """Name the engine that profiles share; one engine runs at a time."""
    if profile.standin is None or profile.standin.engine == "scripted":
        return ""
    return repr((profile.standin, profile.local, profile.llm.system_prompt))


# ── one unit ─────────────────────────────────────────────────────────────────


async def _measure(unit: Unit, shared: Services | None, folder: Path | None) -> UnitResult:
    """Replay the unit's recording, and measure it.

    shared: services that other units use, too; None: the unit starts its own.
    """
    profile = _restore(unit)
    labels = None if unit.labels is None else load_labels(Path(unit.labels))
    timeline = Timeline()
    began = time.monotonic()
    async with _open_unit_services(unit, profile, shared) as services:
        with _open_folder(unit, folder) as kept:
            warnings = await play_recording(
                Path(unit.recording),
                unit.channel,
                profile,
                services,
                kept,
                timeline,
                polite=unit.user == "polite",
                labels=labels,
            )
            took = time.monotonic() - began
            measured = await asyncio.to_thread(measure_session, timeline, profile, kept, labels)
            result = measured.build_result(
                profile_name=unit.profile, environment=describe_environment()
            )
            result["warnings"] = [sanitize_line(one) for one in warnings]
            if labels is not None:
                write_text_file(kept / LABELS, dump_labels(labels))
            (kept / RESULT).write_text(f"{dump_result(result)}\n", encoding="ascii")
    lag = max((turn.lag for turn in measured.turns), default=0.0)
    return UnitResult(unit=unit, result=result, lag_ms=round(ms(lag), 3), took_s=round(took, 3))


@asynccontextmanager
async def _open_unit_services(
    unit: Unit, profile: Profile, shared: Services | None
) -> AsyncGenerator[Services, None]:
    """Yield the services of a unit; scripted ones are its own, so that nothing else draws on them.

    Their latencies are drawn in turn, and their faults counted.
    """
    if shared is not None and (profile.standin is None or profile.standin.engine != "scripted"):
        yield replace(shared, profile=profile)
        return
    async with open_services(profile, script=_choose_script(unit, profile)) as services:
        yield services


def _choose_script(unit: Unit, profile: Profile) -> Script | None:
    """Return what scripted services follow: the profile's script, the labels' words, if any."""
    if profile.standin is None or profile.standin.engine != "scripted":
        return None
    script = replace(load_script(profile.standin.script or ""), seed=unit.seed)
    return script if unit.labels is None else hear_labels(script, load_labels(Path(unit.labels)))


@contextmanager
def _open_folder(unit: Unit, folder: Path | None) -> Iterator[Path]:
    """Make the folder for a unit's session; a temporary one if none is kept."""
    if folder is None:
        with TemporaryDirectory(prefix="voicecli-") as name:
            yield Path(name)
    else:
        kept = folder / unit.id
        kept.mkdir(parents=True, exist_ok=True)
        yield kept


async def _contain(unit: Unit, measuring: Coroutine[Any, Any, UnitResult]) -> UnitResult:
    """Return the result, or why the unit failed; raise what would fail every unit."""
    try:
        return await measuring
    except Exception as error:
        failure = choose_failure(list_leaves(error))
        if isinstance(failure, CredentialsError):
            raise failure from error
        return UnitResult(unit=unit, failure=describe_failure(error))


def describe_failure(error: BaseException) -> Failure:
    """Describe why a unit failed; ``error`` may be a group."""
    leaves = list_leaves(error)
    error = choose_failure(leaves) or leaves[0]
    code = getattr(error, "exit_code", IO_FAILED if isinstance(error, OSError) else BUG)
    if code == BUG:
        _log.debug("a unit failed", exc_info=error)
    return Failure(kind=type(error).__name__, message=sanitize_line(str(error)), exit_code=code)


# ── side by side, in real time ───────────────────────────────────────────────


async def _run_side_by_side(
    units: Sequence[Unit], note: Note, folder: Path | None, concurrency: int | None
) -> None:
    first = _restore(units[0])
    throttle = _create_throttle(first, concurrency)
    async with (
        _open_shared_services(first) as shared,
        throttle.open(),
        asyncio.TaskGroup() as tasks,
    ):
        for unit in units:
            await throttle.acquire()
            running = _run_beside(unit, note, folder, shared, throttle)
            tasks.create_task(running, name=f"unit {unit.id}")


def _create_throttle(profile: Profile, concurrency: int | None) -> Throttle:
    """Admit one session at a time to the local engine: two would share its models' cores."""
    if concurrency is not None:
        return Throttle(concurrency)
    if profile.standin is not None and profile.standin.engine == "local":
        return Throttle(1)
    return Throttle(MAX_SESSIONS, FIRST_SESSIONS)


@asynccontextmanager
async def _open_shared_services(profile: Profile) -> AsyncGenerator[Services, None]:
    """Start what the units share: an engine takes seconds, and a GB, to load."""
    if profile.standin is not None and profile.standin.engine == "scripted":
        yield Services(profile=profile)
        return
    async with open_services(profile) as services:
        yield services


async def _run_beside(
    unit: Unit, note: Note, folder: Path | None, shared: Services, throttle: Throttle
) -> None:
    """Measure ``unit``; again if the loop was too late for one of its turns."""
    try:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            with throttle.measure() as meter:
                result = await _contain(unit, _measure(unit, shared, folder))
            late = result.lag_ms > ms(MAX_LAG)
            if not late or attempt == MAX_ATTEMPTS:
                break
            throttle.slow_down()
        note(replace(result, attempts=attempt, lag_ms=round(ms(meter.worst), 3)))
    finally:
        await throttle.release()
