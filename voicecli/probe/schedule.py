"""Takes samples of one service: how many, on how many connections, and when to give up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from voicecli import clock
from voicecli.errors import CredentialsError, ServiceError, VoiceError
from voicecli.events import Service
from voicecli.units import Seconds

MAX_FAILURES = 3
"""In a row; then the service is given up."""

RETRY_PAUSE: Seconds = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured use of a service.

    values: by metric (``results.SERVICE_METRICS``), durations in seconds; only what happened.
    counts: what adds up over samples: usage, and what ``results.COUNTS`` derive from.
    cold: the first use of a new connection.
    text: the STT's transcript.
    request_id: the service's id of the connection or request, or "".
    """

    service: Service
    at: Seconds
    values: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    cold: bool = False
    text: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSample(Sample):
    """A sample that failed; it has counts, but no values."""

    error: VoiceError


Post = Callable[[Sample], None]


class TicketCounter:
    """Hands out sample numbers, from 0.

    count: how many; None for no limit.
    every: seconds from the start of one sample to the start of the next; None for no pause.
    """

    def __init__(self, count: int | None, every: Seconds | None = None) -> None:
        self._count = count
        self._every = every
        self._next = 0
        self._began: Seconds | None = None

    async def take(self) -> int | None:
        """Wait until the next sample is due and return its number; None if none is left."""
        if self._count is not None and self._next >= self._count:
            return None
        number = self._next
        self._next += 1
        if self._every is not None:
            self._began = clock.now() if self._began is None else self._began
            await asyncio.sleep(max(0.0, self._began + number * self._every - clock.now()))
        return number

    def stop(self) -> None:
        """Hand out no more numbers."""
        self._count = self._next


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure.

    count: samples of each service; None for no limit.
    warmup: uncounted samples before them, on each connection.
    cold: samples on new connections.
    workers: connections at once; accounts have as few as five to a service.
    every: as in TicketCounter.
    """

    count: int | None = 20
    warmup: int = 2
    cold: int = 3
    workers: int = 1
    every: Seconds | None = None


class Prober(Protocol):
    """Measures one service.  Raises VoiceError when a sample fails."""

    service: Service
    kinds: int = 1
    """How many samples, of different kinds, make one sample of the plan."""

    async def measure_cold(self, number: int) -> Sample:
        """Take one sample on a new connection."""

    async def measure_warm(self, warmup: int, tickets: TicketCounter, post: Post) -> None:
        """Take samples on one connection until ``tickets`` run out; discard ``warmup`` first."""


async def take_samples(prober: Prober, plan: Plan, post: Post) -> VoiceError | None:
    """Take all samples of one service, cold ones first; returns why it was given up, if it was."""
    if (error := await _take_cold(prober, plan.cold, post)) is not None:
        return error
    count = None if plan.count is None else plan.count * prober.kinds
    tickets = TicketCounter(count, plan.every)
    errors: list[VoiceError] = []
    async with asyncio.TaskGroup() as tasks:
        for worker in range(plan.workers):
            tasks.create_task(
                _take_warm(prober, plan.warmup, tickets, post, errors),
                name=f"probe {prober.service} {worker + 1}",
            )
    return errors[0] if errors else None


async def _take_cold(prober: Prober, count: int, post: Post) -> VoiceError | None:
    """Take the cold samples; returns an error if it is final or all of them failed."""
    failures = 0
    for number in range(count):
        try:
            post(await prober.measure_cold(number))
        except (ServiceError, CredentialsError) as error:
            failures += 1
            post(make_failed_sample(prober.service, error, cold=True))
            if not isinstance(error, ServiceError) or error.final or failures == count:
                return error
            await asyncio.sleep(RETRY_PAUSE)
    return None


async def _take_warm(
    prober: Prober, warmup: int, tickets: TicketCounter, post: Post, errors: list[VoiceError]
) -> None:
    """Work on one connection, and on another when it fails."""
    failures = 0

    def post_success(sample: Sample) -> None:
        nonlocal failures
        failures = 0
        post(sample)

    while True:
        try:
            await prober.measure_warm(warmup, tickets, post_success)
            return
        except (ServiceError, CredentialsError) as error:
            failures += 1
            post(make_failed_sample(prober.service, error))
            if not isinstance(error, ServiceError) or error.final or failures >= MAX_FAILURES:
                tickets.stop()
                errors.append(error)
                return
            await asyncio.sleep(RETRY_PAUSE)


def make_failed_sample(service: Service, error: VoiceError, *, cold: bool = False) -> FailedSample:
    """Make the sample that ``error`` prevented."""
    counts = {f"{service}.errors": 1, f"{service}.refusals": int(is_refusal(error))}
    return FailedSample(service=service, at=clock.now(), error=error, counts=counts, cold=cold)


def is_refusal(error: VoiceError | None) -> bool:
    """Whether the service refused the request (4xx)."""
    return isinstance(error, ServiceError) and 400 <= (error.status or 0) < 500
