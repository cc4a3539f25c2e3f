"""One probe: the way to each service, then the service; what fails does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from voicecli.events import Service
from voicecli.pipeline.wiring import Services
from voicecli.probe.results import ProbeResults
from voicecli.probe.samples import FailedSample, Sample
from voicecli.probe.schedule import Plan, series
from voicecli.probe.settings import prober, visit
from voicecli.probe.trace import travel

if TYPE_CHECKING:
    from voicecli.profile import Profile

ROUTES = 3
"""New connections that are taken apart into phases."""


class Watcher(Protocol):
    """Somebody who follows a probe."""

    def begun(self, service: Service, steps: int | None) -> None:
        """``service`` is being probed, in so many steps; None: without end."""

    def found(self, one: Sample | FailedSample) -> None:
        """A step is done."""

    def noted(self, text: str) -> None:
        """Something that a user should know."""

    def done(self, service: Service) -> None:
        """Nothing more of ``service`` is coming."""


class Unwatched:
    """Nobody follows."""

    def begun(self, service: Service, steps: int | None) -> None:
        """Nothing."""

    def found(self, one: Sample | FailedSample) -> None:
        """Nothing."""

    def noted(self, text: str) -> None:
        """Nothing."""

    def done(self, service: Service) -> None:
        """Nothing."""


class Probe:
    """Probes services, and remembers what it finds.

    findings: so far.
    """

    def __init__(
        self,
        profile: Profile,
        services: Services,
        wanted: Sequence[Service],
        plan: Plan,
        watcher: Watcher | None = None,
    ) -> None:
        self._profile = profile
        self._services = services
        self._wanted = wanted
        self._plan = plan
        self._watcher = watcher or Unwatched()
        self.findings = ProbeResults(wanted=tuple(wanted))
        # A URL that is none, or a setting, is refused before anything is begun.
        self._visits = {service: visit(service, services) for service in wanted}
        self._probers = {
            service: prober(service, profile, services, self._note) for service in wanted
        }

    async def run(self) -> ProbeResults:
        """One service after the other, as a conversation uses them."""
        for service in self._wanted:
            await self.probe(service)
        return self.findings

    async def run_side_by_side(self) -> ProbeResults:
        """All services at once, to watch them."""
        async with asyncio.TaskGroup() as tasks:
            for service in self._wanted:
                tasks.create_task(self.probe(service), name=f"watch {service}")
        return self.findings

    async def probe(self, service: Service) -> None:
        """One service; what goes wrong is in the findings."""
        plan, prober = self._plan, self._probers[service]
        steps = None if plan.count is None else plan.cold + plan.count * prober.kinds
        self._watcher.begun(service, steps)
        await self._travel(service)
        error = await series(prober, plan, self._post)
        if error is not None:
            self.findings.given_up[service] = error
        self._watcher.done(service)

    async def _travel(self, service: Service) -> None:
        for _ in range(ROUTES):
            route = await travel(self._visits[service])
            self.findings.add(route)
            if route.failed:
                return

    def _post(self, found: Sample | FailedSample) -> None:
        self.findings.add(found)
        self._watcher.found(found)

    def _note(self, text: str) -> None:
        self.findings.note(text)
        self._watcher.noted(text)
