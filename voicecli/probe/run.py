"""Runs the probe: traces connections to each service, then takes samples of it.

A service that fails does not stop the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from voicecli.events import Service
from voicecli.pipeline.wiring import Services
from voicecli.probe.results import ProbeResults
from voicecli.probe.schedule import FailedSample, Plan, Sample, take_samples
from voicecli.probe.settings import find_target, prober
from voicecli.probe.trace import trace_connection

if TYPE_CHECKING:
    from voicecli.profile import Profile

TRACES = 3
"""Connections to trace per service."""


class Observer:
    """Follows a run of the probe; ignores everything unless a method is overridden."""

    def service_started(self, service: Service, steps: int | None) -> None:
        """``service`` is going to be probed in ``steps`` samples; None: until interrupted."""

    def sample_taken(self, sample: Sample | FailedSample) -> None:
        """A sample was taken, or failed."""

    def note(self, text: str) -> None:
        """There is something to tell the user."""

    def service_done(self, service: Service) -> None:
        """The last sample of ``service`` was taken."""


class Probe:
    """Probes services and collects the results; results: up to now.

    Raises ProfileError when a URL of the profile is invalid.
    """

    def __init__(
        self,
        profile: Profile,
        services: Services,
        wanted: Sequence[Service],
        plan: Plan,
        observer: Observer | None = None,
    ) -> None:
        self._wanted = wanted
        self._plan = plan
        self._observer = observer or Observer()
        self.results = ProbeResults(wanted=tuple(wanted))
        self._targets = {service: find_target(service, services) for service in wanted}
        self._probers = {
            service: prober(service, profile, services, self._note) for service in wanted
        }

    async def run(self) -> ProbeResults:
        """Probe one service after the other, as a conversation uses them."""
        for service in self._wanted:
            await self.probe(service)
        return self.results

    async def run_side_by_side(self) -> ProbeResults:
        """Probe all services at once, to watch them."""
        async with asyncio.TaskGroup() as tasks:
            for service in self._wanted:
                tasks.create_task(self.probe(service), name=f"watch {service}")
        return self.results

    async def probe(self, service: Service) -> None:
        """Probe one service; failures are part of the results."""
        plan, prober = self._plan, self._probers[service]
        steps = None if plan.count is None else plan.cold + plan.count * prober.kinds
        self._observer.service_started(service, steps)
        await self._trace(service)
        error = await take_samples(prober, plan, self._post)
        if error is not None:
            self.results.given_up[service] = error
        self._observer.service_done(service)

    async def _trace(self, service: Service) -> None:
        for _ in range(TRACES):
            trace = await trace_connection(self._targets[service])
            self.results.add(trace)
            if trace.failed:
                return

    def _post(self, sample: Sample | FailedSample) -> None:
        self.results.add(sample)
        self._observer.sample_taken(sample)

    def _note(self, text: str) -> None:
        self.results.note(text)
        self._observer.note(text)
