"""Measures units in this process: in real time side by side, in virtual time one at a time.

``measure_alone`` is a plain function from a unit to its result, for any process that has the same
files; ``open_worker`` shares a loop, and the local engine, among units.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicecli import clock
from voicecli.corpus.cassettes import load_unit_cassette, open_unit_recorder
from voicecli.corpus.dispatch import Slot
from voicecli.corpus.hearing import hear_labels
from voicecli.corpus.label_file import load_labels
from voicecli.corpus.measuring import EndedSession, MeasuringProcess, open_measuring_process
from voicecli.corpus.store import open_session_folder
from voicecli.corpus.throttle import Throttle
from voicecli.corpus.unit import Unit, UnitResult, describe_failure
from voicecli.events import MAX_LAG
from voicecli.pipeline.recording import play_recording
from voicecli.pipeline.wiring import Services, open_services
from voicecli.profile import Profile, load_script
from voicecli.services import find_provider
from voicecli.services.provider import LlmProvider
from voicecli.timeline import Timeline
from voicecli.units import ms

if TYPE_CHECKING:
    from voicecli.standin.engines.scripted_process import ScriptedProcess
    from voicecli.standin.script import Script

MAX_ATTEMPTS = 3
"""How often a unit is measured while the event loop is too late for its turns."""

MAX_SESSIONS, FIRST_SESSIONS = 32, 4
"""Side by side, at most and to begin with, where the command line does not say how many.  See
tests/bench/corpus.py."""


def measure_alone(unit: Unit, sessions: str | None) -> UnitResult:
    """Measure a unit in a loop of its own; in virtual time, it depends on nothing else."""
    return clock.run(_contain(unit, _measure(unit, sessions)), virtual=unit.fast)


class Worker:
    """Measures units side by side in the running loop, as many as it carries.

    shared: the services that the units use.
    scripted: serves scripted stand-ins; None without any.
    measuring: measures the sessions that have ended.
    sessions: see ``open_session_folder``.
    """

    def __init__(
        self,
        shared: Services,
        scripted: ScriptedProcess | None,
        measuring: MeasuringProcess,
        sessions: str | None,
        throttle: Throttle,
    ) -> None:
        self._shared = shared
        self._scripted = scripted
        self._measuring = measuring
        self._sessions = sessions
        self._throttle = throttle

    async def acquire(self) -> Slot:
        """Wait until one more session may start; return what measures a unit."""
        await self._throttle.acquire()
        return self._measure

    async def _measure(self, unit: Unit) -> UnitResult:
        """Measure ``unit``; again if the loop was too late for one of its turns."""
        try:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                with self._throttle.measure() as meter:
                    measuring = _measure(
                        unit, self._sessions, self._shared, self._scripted, self._measuring
                    )
                    result = await _contain(unit, measuring)
                late = result.lag_ms > ms(MAX_LAG)
                if not late or attempt == MAX_ATTEMPTS:
                    break
                self._throttle.slow_down()
            return replace(result, attempts=attempt, lag_ms=round(ms(meter.worst), 3))
        finally:
            await self._throttle.release()


@asynccontextmanager
async def open_worker(
    profile: Profile, sessions: str | None, concurrency: int | None = None
) -> AsyncGenerator[Worker, None]:
    """Start what the units share: an engine takes seconds, and a GB, to load.

    profile: of one of the units, which all share an engine.
    concurrency: sessions side by side, at most; None: as many as the loop carries.
    """
    throttle = _create_throttle(profile, concurrency)
    async with AsyncExitStack() as stack:
        scripted = None
        if _is_scripted(profile):
            from voicecli.standin.engines.scripted_process import open_scripted_process

            shared = Services(profile=profile)
            scripted = await stack.enter_async_context(open_scripted_process())
        else:
            shared = await stack.enter_async_context(open_services(profile))
        measuring = await stack.enter_async_context(open_measuring_process())
        llm: LlmProvider = find_provider("llm", profile.llm.provider)
        await asyncio.to_thread(llm.load)  # beside sessions, it would make them late
        await stack.enter_async_context(throttle.open())
        yield Worker(shared, scripted, measuring, sessions, throttle)


def _is_scripted(profile: Profile) -> bool:
    return profile.standin is not None and profile.standin.engine == "scripted"


def _create_throttle(profile: Profile, concurrency: int | None) -> Throttle:
    """Admit one session at a time to the local engine: two would share its models' cores."""
    if concurrency is not None:
        return Throttle(concurrency)
    if profile.standin is not None and profile.standin.engine == "local":
        return Throttle(1)
    return Throttle(MAX_SESSIONS, FIRST_SESSIONS)


# ── one unit ─────────────────────────────────────────────────────────────────


async def _measure(
    unit: Unit,
    sessions: str | None,
    shared: Services | None = None,
    scripted: ScriptedProcess | None = None,
    measuring: MeasuringProcess | None = None,
) -> UnitResult:
    """Replay the unit's recording, and measure it.

    shared: services that other units use, too; None: the unit starts its own.
    scripted: serves the scripted ones; None: this loop does.
    measuring: measures the session; None: a thread does.
    """
    profile = unit.restore_profile()
    labels = None if unit.labels is None else load_labels(Path(unit.labels))
    timeline = Timeline()
    began = time.monotonic()
    async with (
        _open_unit_services(unit, profile, shared, scripted) as services,
        open_session_folder(sessions, unit) as kept,
    ):
        warnings = await play_recording(
            Path(unit.recording),
            unit.channel,
            profile,
            services,
            kept,
            timeline,
            polite=unit.user == "polite",
            labels=labels,
            survey=True,
        )
        took = time.monotonic() - began
        ended = EndedSession(unit=unit, folder=kept, warnings=warnings, took_s=took)
        if measuring is not None:
            return await measuring.measure(ended)
        return await asyncio.to_thread(ended.measure, timeline)


@asynccontextmanager
async def _open_unit_services(
    unit: Unit, profile: Profile, shared: Services | None, scripted: ScriptedProcess | None
) -> AsyncGenerator[Services, None]:
    """Yield the services of a unit; scripted ones are its own, so that nothing else draws on them.

    Their latencies are drawn in turn, and their faults counted.  A cassette is of one unit, too.
    """
    cassette = load_unit_cassette(unit)
    script = None if cassette is not None else _choose_script(unit, profile)
    with open_unit_recorder(unit) as recorder:
        if script is not None and profile.standin is not None and scripted is not None:
            require_key = profile.standin.require_key
            async with scripted.open(script, require_key=require_key) as endpoints:
                yield Services(profile=profile, standin=endpoints, recorder=recorder)
        elif script is None and cassette is None and shared is not None:
            yield replace(shared, profile=profile, recorder=recorder)
        else:
            async with open_services(
                profile, recorder=recorder, cassette=cassette, script=script
            ) as services:
                yield services


def _choose_script(unit: Unit, profile: Profile) -> Script | None:
    """Return what scripted services follow: the profile's script, the labels' words, if any."""
    if profile.standin is None or not _is_scripted(profile):
        return None
    script = replace(load_script(profile.standin.script or ""), seed=unit.seed)
    return script if unit.labels is None else hear_labels(script, load_labels(Path(unit.labels)))


async def _contain(unit: Unit, measuring: Coroutine[Any, Any, UnitResult]) -> UnitResult:
    """Return the result, or why the unit failed."""
    try:
        return await measuring
    except Exception as error:
        return UnitResult(unit=unit, failure=describe_failure(error))
