"""Readings one after the other: how many, by how many at once, and when to give up.

The tasks of a probe are made here and in ``ear``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from voicecli import clock
from voicecli.errors import CredentialsError, ServiceError, VoiceError
from voicecli.events import Service
from voicecli.probe.samples import FailedSample, Sample
from voicecli.units import Seconds

GIVE_UP = 3
"""So many failures in a row are no accident."""

PAUSE: Seconds = 0.5
"""After a failure."""

MOST_WORKERS = 10
"""At once; accounts have as few as five connections to a service."""

Post = Callable[[Sample | FailedSample], None]


class Turns:
    """Hands out the numbers of the readings, from 0, to whoever is ready for one.

    count: so many; None for no end.
    every: seconds from the beginning of one to that of the next; None for at once.
    """

    def __init__(self, count: int | None, every: Seconds | None = None) -> None:
        self._count = count
        self._every = every
        self._next = 0
        self._begun: Seconds | None = None

    async def take(self) -> int | None:
        """The next number, when it is time for it; None when there is none left."""
        if self._count is not None and self._next >= self._count:
            return None
        number = self._next
        self._next += 1
        if self._begun is None:
            self._begun = clock.now()
        if self._every is not None:
            await asyncio.sleep(max(0.0, self._begun + number * self._every - clock.now()))
        return number

    def stop(self) -> None:
        """There are no more."""
        self._count = self._next


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured.

    count: readings; None for no end.  warmup: before them, on each connection, that do not count.
    cold: readings of new connections.  workers: connections at once.  every: as in Turns.
    """

    count: int | None = 20
    warmup: int = 2
    cold: int = 3
    workers: int = 1
    every: Seconds | None = None


class Prober(Protocol):
    """Measures one service.  Raises VoiceError where it fails."""

    service: Service

    @property
    def kinds(self) -> int:
        """Readings of different kinds that one reading of the plan consists of."""

    async def cold(self, number: int) -> Sample:
        """One reading on a new connection."""

    async def warm(self, warmup: int, turns: Turns, post: Post) -> None:
        """Readings on one connection, after ``warmup`` that do not count, until there are none."""


async def series(prober: Prober, plan: Plan, post: Post) -> VoiceError | None:
    """All readings of one service, cold ones first; why it was given up, or None."""
    error = await _cold(prober, plan.cold, post)
    if error is not None:
        return error
    count = None if plan.count is None else plan.count * prober.kinds
    turns = Turns(count, plan.every)
    errors: list[VoiceError] = []
    async with asyncio.TaskGroup() as tasks:
        for worker in range(min(plan.workers, MOST_WORKERS)):
            tasks.create_task(
                _work(prober, plan.warmup, turns, post, errors),
                name=f"probe {prober.service} {worker + 1}",
            )
    return errors[0] if errors else None


async def _cold(prober: Prober, count: int, post: Post) -> VoiceError | None:
    """Readings of new connections; why there is no hope for others, if none succeeded."""
    failures = 0
    for number in range(count):
        try:
            post(await prober.cold(number))
        except (ServiceError, CredentialsError) as error:
            failures += 1
            post(mishap(prober.service, error, cold=True))
            if hopeless(error) or failures == count:
                return error
            await asyncio.sleep(PAUSE)
    return None


async def _work(
    prober: Prober, warmup: int, turns: Turns, post: Post, errors: list[VoiceError]
) -> None:
    failures = 0

    def counted(reading: Sample | FailedSample) -> None:
        nonlocal failures
        failures = 0
        post(reading)

    while True:
        try:
            await prober.warm(warmup, turns, counted)
            return
        except (ServiceError, CredentialsError) as error:
            failures += 1
            post(mishap(prober.service, error))
            if hopeless(error) or failures >= GIVE_UP:
                turns.stop()
                errors.append(error)
                return
            await asyncio.sleep(PAUSE)


def hopeless(error: VoiceError) -> bool:
    """Whether the same call will never succeed."""
    if isinstance(error, ServiceError):
        return error.final
    return True


def mishap(service: Service, error: VoiceError, *, cold: bool = False) -> FailedSample:
    """``error`` as it counts."""
    refused = isinstance(error, ServiceError) and 400 <= (error.status or 0) < 500
    return FailedSample(
        service=service,
        at=clock.now(),
        error=error,
        counts={f"{service}.errors": 1, f"{service}.refusals": int(refused)},
        cold=cold,
    )
