"""Runs units: chooses what measures them, and where.

``run_units`` is a plain function from units to results, for any process that has the same files.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from voicecli import __version__, clock
from voicecli.corpus.dispatch import Note, check_key, dispatch_units
from voicecli.corpus.forecast import Forecaster
from voicecli.corpus.limits import Gate
from voicecli.corpus.pool import Pool, Task, count_cores
from voicecli.corpus.storage import is_url
from voicecli.corpus.unit import Unit
from voicecli.corpus.worker import MAX_SESSIONS, measure_alone, open_worker
from voicecli.errors import UsageError
from voicecli.profile import Profile

MIN_UNITS = 3
"""Units for each process; one takes as long to start as a short unit to be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a run may use.

    workers: processes on this machine; None: one for each core, and one for the local engine,
        whose models use all cores.
    concurrency: sessions side by side, in all; None: as many as the loops carry.
    scheduler: address of a Dask scheduler, whose workers are used; "": one of this machine; None:
        no Dask.
    limits: of the services, by name; see ``limits.LIMITS``.
    """

    workers: int | None = None
    concurrency: int | None = None
    scheduler: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


def run_units(
    units: Sequence[Unit],
    note: Note,
    *,
    sessions: str | None = None,
    resources: Resources = Resources(),
) -> None:
    """Measure ``units``; pass what each came to, failures included, to ``note``.

    sessions: see ``store.open_session_folder``.

    Raises CredentialsError, and what keeps the services of all units from starting;
    KeyboardInterrupt.  What was passed to ``note`` by then is complete.
    """
    for unit in units:
        if unit.version != __version__:
            raise UsageError(
                f"unit {unit.id} was planned by version {unit.version}, and this is {__version__}",
                hint="Plan it again.",
            )
    if sessions is not None and not is_url(sessions):
        os.makedirs(sessions, exist_ok=True)
        sessions = os.path.abspath(sessions)  # processes may run in another folder
    groups: dict[tuple[bool, str], list[Unit]] = {}
    for unit in units:
        engine = "" if unit.fast else _name_engine(unit)
        groups.setdefault((not unit.fast, engine), []).append(unit)
    for _, group in sorted(groups.items(), key=lambda item: item[0]):
        _run_group(group, note, sessions, resources)


def _name_engine(unit: Unit) -> str:
    """Name the engine that units share; one engine runs at a time."""
    standin = unit.settings["standin"]
    if standin is None or standin["engine"] == "scripted":
        return ""
    return repr((standin, unit.settings["local"], unit.settings["llm"]["system_prompt"]))


def _run_group(
    units: Sequence[Unit], note: Note, sessions: str | None, resources: Resources
) -> None:
    """Measure units that share an engine and a kind of time."""
    first = units[0].restore_profile()
    if resources.scheduler is not None:
        clock.run(
            _run_in_cluster(units, note, sessions, resources, _choose_workers(first, resources))
        )
        return
    processes = _count_processes(len(units), first, resources)
    if processes > 1:
        task = Task(
            settings=units[0].settings,
            fast=units[0].fast,
            sessions=sessions,
            concurrency=resources.concurrency,
        )
        clock.run(_run_in_pool(units, note, Pool(task, processes), resources))
    elif units[0].fast:
        for unit in units:
            result = measure_alone(unit, sessions)
            check_key(result)
            note(result)
    else:
        clock.run(_run_here(units, note, first, sessions, resources))


def _choose_workers(profile: Profile, resources: Resources) -> int:
    is_local = profile.standin is not None and profile.standin.engine == "local"
    return resources.workers or (1 if is_local else count_cores())


def _count_processes(units: int, profile: Profile, resources: Resources) -> int:
    wanted = _choose_workers(profile, resources)
    most = units if resources.workers is not None else units // MIN_UNITS
    return min(wanted, resources.concurrency or wanted, most)


async def _run_in_cluster(
    units: Sequence[Unit], note: Note, sessions: str | None, resources: Resources, workers: int
) -> None:
    from voicecli.corpus.cluster import open_cluster

    assert resources.scheduler is not None
    most = resources.concurrency
    threads = MAX_SESSIONS if most is None else -(-most // workers)
    opening = open_cluster(
        resources.scheduler,
        sessions,
        workers=workers,
        threads=1 if units[0].fast else threads,  # in virtual time, a session takes a core
        most=most,
    )
    async with opening as cluster:
        await dispatch_units(units, note, cluster, _create_gate(resources))


def _create_gate(resources: Resources) -> Gate:
    return Gate(resources.limits, Forecaster().forecast)


async def _run_in_pool(units: Sequence[Unit], note: Note, pool: Pool, resources: Resources) -> None:
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(pool.serve(), name="pool")
        await dispatch_units(units, note, pool, _create_gate(resources))
        serving.cancel()


async def _run_here(
    units: Sequence[Unit],
    note: Note,
    profile: Profile,
    sessions: str | None,
    resources: Resources,
) -> None:
    async with open_worker(profile, sessions, resources.concurrency) as worker:
        await dispatch_units(units, note, worker, _create_gate(resources))
