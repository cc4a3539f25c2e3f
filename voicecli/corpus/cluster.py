"""Measures units with Dask: on a cluster of this machine, or by the workers of a scheduler.

Dask restarts what a worker was measuring when it died; a unit has one future, hence one result.
Tasks hold units, which hold no key: workers read keys from their own environment.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from voicecli import __version__
from voicecli.corpus.dispatch import EngineError, Slot
from voicecli.corpus.host import describe_process, ignore_interrupts, measure_chunk
from voicecli.corpus.pool import LOST_FAILURE
from voicecli.corpus.storage import is_url
from voicecli.corpus.unit import Failure, Unit, UnitResult, decode, encode
from voicecli.errors import UsageError
from voicecli.sanitize import sanitize_short
from voicecli.units import Seconds

RESOURCE = "sessions"
"""Dask resource that says how many sessions a worker takes; without it, as many as its threads."""

PATIENCE: Seconds = 60.0
"""How long a scheduler may be away, and a cluster without workers."""

COMPARED = ("python", "distributed", "dask", "cloudpickle", "msgpack")
"""Packages whose versions must agree: what they exchange depends on them."""

WORKER_ENVIRONMENT = "distributed.nanny.pre-spawn-environ"

_log = logging.getLogger(__name__)


class Cluster:
    """Workers of a Dask scheduler; an engine.

    client: connected.
    address: of the scheduler, to which a lost connection is opened again.
    most: sessions side by side, at most; None: as many as the workers take.
    """

    def __init__(self, client: Any, address: str, sessions: str | None, most: int | None) -> None:
        self._client = client
        self._address = address
        self._sessions = sessions
        self._most = most
        self._slots = 0
        self._running = 0
        self._changed = asyncio.Condition()
        self._connecting = asyncio.Lock()
        self._has_resource = False

    async def prepare(self) -> None:
        """Wait for workers; check that they are of the same versions and see the same folder.

        Raises EngineError where there are none, UsageError where they do not fit.
        """
        try:
            await self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            text = f"the scheduler at {self._address} has no workers"
            hint = f"Start some: dask worker {self._address} --nthreads 8"
            raise EngineError(_describe(text), hint=hint) from None
        await self._check_versions()
        await self._check_folder()
        await self._count_slots()

    async def leave_interrupts(self) -> None:
        """Have the workers, which are of this terminal, leave Ctrl-C to this process."""
        await self._client.run(ignore_interrupts)

    async def close(self) -> None:
        """Leave the scheduler."""
        await self._client.close()

    async def acquire(self) -> Slot:
        """Wait until a worker has room for one more session."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < self._slots)
            self._running += 1
        return self._measure

    async def _measure(self, unit: Unit) -> UnitResult:
        try:
            return await self._compute(unit)
        finally:
            await self._count_slots()
            async with self._changed:
                self._running -= 1
                self._changed.notify_all()

    async def _compute(self, unit: Unit) -> UnitResult:
        """Have a worker measure ``unit``; again if the scheduler is lost meanwhile."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        while True:
            client = self._client
            try:
                function, *arguments = describe_task(unit, self._sessions)
                future = client.submit(
                    function,
                    *arguments,
                    key=f"voicecli-{unit.id}",
                    pure=False,
                    resources={RESOURCE: 1} if self._has_resource else None,
                )
                (values,) = await future
            except (FutureCancelledError, OSError) as error:
                _log.info("the scheduler was lost: %s", sanitize_short(str(error)))
                await self._connect_again(client)
                continue
            except KilledWorker:
                return UnitResult(unit=unit, failure=LOST_FAILURE)
            result: UnitResult = decode(values, UnitResult)
            return replace(result, unit=unit)

    async def _connect_again(self, lost: Any) -> None:
        """Connect to the scheduler, which has been lost, unless another unit has done so."""
        async with self._connecting:
            if self._client is lost:
                await lost.close()
                self._client = await connect(self._address)

    async def _count_slots(self) -> None:
        """Count how many sessions the workers take now."""
        try:
            found = await self._client.scheduler.identity(n_workers=-1)
        except (OSError, AttributeError):  # it is being lost, which ``_compute`` notices
            return
        workers = found["workers"].values()
        self._has_resource = any(RESOURCE in one["resources"] for one in workers)
        slots = sum(
            min(one["nthreads"], int(one["resources"].get(RESOURCE, 0)))
            if self._has_resource
            else one["nthreads"]
            for one in workers
        )
        self._slots = min(slots, self._most or slots)

    async def _check_versions(self) -> None:
        """Raise UsageError unless all workers run this version; warn of other packages."""
        try:
            processes = await self._client.run(describe_process)
        except ImportError as error:
            text = f"a worker cannot import what it needs: {sanitize_short(str(error))}"
            hint = "Install the same version of voicecli on all machines."
            raise EngineError(_describe(text), hint=hint) from error
        for worker, found in processes.items():
            if found["voicecli"] != __version__:
                raise UsageError(
                    f"worker {worker} has voicecli {found['voicecli']}, and this is {__version__}",
                    hint="Install the same version on all machines.",
                )
        versions = await self._client.get_versions(check=False)
        here = versions["client"]["packages"]
        others = {"the scheduler": versions["scheduler"], **versions["workers"]}
        for name, found in others.items():
            there = found["packages"] if found else {}
            for package in COMPARED:
                if there.get(package) != here.get(package):
                    _log.warning(
                        "%s has %s %s, and this is %s",
                        sanitize_short(name),
                        package,
                        there.get(package),
                        here.get(package),
                    )

    async def _check_folder(self) -> None:
        """Raise UsageError if sessions are kept in a folder that a worker does not have."""
        if self._sessions is None or is_url(self._sessions):
            return
        for worker, seen in (await self._client.run(os.path.isdir, self._sessions)).items():
            if not seen:
                raise UsageError(
                    f"worker {worker} has no folder {self._sessions} for the sessions",
                    hint="Name an --out on a file system that all machines share, or a URL.",
                )


def describe_task(unit: Unit, sessions: str | None) -> tuple[Any, ...]:
    """Return the function that a worker calls, and its arguments: paths are absolute."""
    placed = replace(
        unit,
        recording=str(Path(unit.recording).absolute()),
        labels=None if unit.labels is None else str(Path(unit.labels).absolute()),
    )
    return measure_chunk, [encode(placed)], sessions


def _describe(text: str) -> Failure:
    return replace(LOST_FAILURE, kind="EngineError", message=text)


async def connect(address: str, patience: Seconds = PATIENCE) -> Any:
    """Connect to the scheduler; raises EngineError if nothing answers for ``patience``."""
    from distributed import Client

    try:
        return await Client(address, asynchronous=True, timeout=patience)
    except (OSError, ValueError) as error:
        raise EngineError(
            _describe(f"no Dask scheduler answers at {sanitize_short(address)}"),
            hint="What is done is kept; the same command goes on.",
        ) from error


@asynccontextmanager
async def open_cluster(
    scheduler: str, sessions: str | None, *, workers: int, threads: int, most: int | None
) -> AsyncGenerator[Cluster, None]:
    """Connect to ``scheduler``, an address; "": start one, and workers, on this machine.

    sessions: see ``store.open_session_folder``.
    workers, threads: of the cluster of this machine; a thread for each session.
    most: sessions side by side, at most; None: as many as the workers take.

    Raises UsageError if Dask is missing, EngineError if nothing answers.
    """
    try:
        import dask
        from distributed import LocalCluster
    except ImportError as error:
        raise UsageError(
            "--engine dask needs a package that is not installed",
            hint="pip install 'voicecli[cluster]'",
        ) from error
    logging.getLogger("distributed").setLevel(logging.ERROR)  # it tells each connection
    async with AsyncExitStack() as stack:
        address = scheduler
        if not scheduler:
            # Its workers tell of connections that close as they end.
            dask.config.set({f"{WORKER_ENVIRONMENT}.DASK_LOGGING__DISTRIBUTED": "critical"})
            local = LocalCluster(
                n_workers=workers,
                threads_per_worker=threads,
                resources={RESOURCE: threads},
                dashboard_address=None,
                silence_logs=logging.ERROR,
                asynchronous=True,
            )
            address = (await stack.enter_async_context(local)).scheduler_address
        cluster = Cluster(await connect(address), address, sessions, most)
        stack.push_async_callback(cluster.close)
        if not scheduler:
            await cluster.leave_interrupts()
        await cluster.prepare()
        yield cluster


def parse_engine(text: str) -> str:
    """Return the scheduler's address that ``dask`` or ``dask=tcp://HOST:PORT`` names; "": none."""
    name, given, address = text.partition("=")
    if name != "dask" or (given and "://" not in address):
        raise UsageError(
            f"--engine {sanitize_short(text)!r} is not known", hint="dask, or dask=tcp://HOST:PORT."
        )
    return address
