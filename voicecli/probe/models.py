"""Compares models of the LLM: the same prompts to each, one request after the other.

Every round asks each model once and begins with another one, so that a slow minute of the network
or of this machine, and the order, affect all alike; two models are compared round by round.  A
model that fails does not stop the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from voicecli.errors import CredentialsError, ServiceError, UsageError
from voicecli.metrics.changes import Change, Pair
from voicecli.metrics.stages import LLM_CLAUSE, LLM_TTFT
from voicecli.metrics.usage import Cost, add_costs, estimate_cost
from voicecli.pipeline.wiring import Services
from voicecli.probe.compare import compare_pairs
from voicecli.probe.llm import LlmProber
from voicecli.probe.results import ProbeResults, is_duration
from voicecli.probe.run import Observer, estimate_probe_cost
from voicecli.probe.schedule import (
    MAX_FAILURES,
    RETRY_PAUSE,
    FailedSample,
    Plan,
    Sample,
    make_failed_sample,
)
from voicecli.profile import Profile
from voicecli.services import find_provider
from voicecli.services.interfaces import LanguageModel
from voicecli.services.provider import LlmProvider
from voicecli.units import ms

COMPARED = (LLM_TTFT.name, LLM_CLAUSE.name, "llm.rate")
"""What does not depend on how long the replies are."""


def parse_models(text: str) -> list[str]:
    """Return the names in ``text``, separated by commas; raises UsageError."""
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < max(2, len(names)):
        raise UsageError(
            f"--models should be two or more different names, not {text!r}",
            hint="Separate them by commas.",
        )
    return names


@dataclass(slots=True)
class Candidate:
    """A model, and what was measured of it.

    profile: the run's, with this model.
    results: without cold samples.
    rounds: the samples by the number of their round.
    """

    name: str
    profile: Profile
    results: ProbeResults = field(default_factory=lambda: ProbeResults(wanted=("llm",)))
    rounds: dict[int, Sample] = field(default_factory=dict)

    @property
    def cost(self) -> Cost:
        """What its samples cost, at list prices."""
        return estimate_cost(self.results.count_usage(), self.profile.find_prices())

    @property
    def turn_price(self) -> float | None:
        """US dollars for a prompt and its reply, on average; None if they are not known."""
        cost, count = self.cost.llm, len(self.results.samples)
        if cost is None or not count or self.results.count_usage().uncounted:
            return None
        return cost / count


def list_candidates(profile: Profile, names: Sequence[str]) -> list[Candidate]:
    """List the models ``names``, each with the settings that it accepts."""
    provider: LlmProvider = find_provider("llm", profile.llm.provider)
    return [
        Candidate(name, replace(profile, llm=provider.choose_model(profile.llm, name)))
        for name in names
    ]


def estimate_comparison_cost(candidates: Sequence[Candidate], plan: Plan) -> Cost:
    """The cost of a comparison, at list prices."""
    return add_costs(estimate_probe_cost(one.profile, ("llm",), plan) for one in candidates)


def compare_candidates(base: Candidate, other: Candidate) -> list[Change]:
    """Compare COMPARED of two models, in the rounds that both answered."""
    both = sorted(base.rounds.keys() & other.rounds.keys())
    found: list[Change] = []
    for name in COMPARED:
        sides = [[one.rounds[number].values.get(name) for number in both] for one in (base, other)]
        scale = ms(1.0) if is_duration(name) else 1.0
        found += compare_pairs(
            name,
            [
                Pair([before * scale], [after * scale])
                for before, after in zip(*sides, strict=True)
                if before is not None and after is not None
            ],
        )
    return found


class Comparison:
    """Asks ``candidates`` in rounds, as ``plan`` says, and collects the samples in them.

    plan: its cold samples and workers do not apply.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        services: Services,
        plan: Plan,
        observer: Observer | None = None,
    ) -> None:
        self._candidates = candidates
        self._services = services
        self._plan = plan
        self._observer = observer or Observer()

    async def run(self) -> None:
        """Measure; raises VoiceError, before anything is asked, for a model that cannot be opened.

        Failures of requests are part of the results.
        """
        rounds, count = self._plan.count or 0, len(self._candidates)
        self._observer.service_started("llm", rounds * count)
        async with AsyncExitStack() as stack:
            asked = []
            for candidate in self._candidates:
                services = replace(self._services, profile=candidate.profile)
                llm = await stack.enter_async_context(services.open_llm())
                await llm.load()
                note = partial(self._note, candidate)
                prober = LlmProber(candidate.profile, services, note)
                asked.append(_Asked(candidate, prober, llm))
            for number in range(-self._plan.warmup, rounds):
                for place in range(count):
                    await self._ask(asked[(number + place) % count], number)
        for candidate in self._candidates:
            results = candidate.results
            if results.failures and not results.samples:
                results.given_up.setdefault("llm", results.failures[-1].error)
        self._observer.service_done("llm")

    async def _ask(self, asked: _Asked, number: int) -> None:
        """Take the sample of a round; those before round 0 warm up."""
        candidate, results = asked.candidate, asked.candidate.results
        if "llm" in results.given_up:
            return
        try:
            sample: Sample = await asked.prober.measure_reply(asked.llm, number)
        except (ServiceError, CredentialsError) as error:
            asked.failures += 1
            sample = make_failed_sample("llm", error)
            final = not isinstance(error, ServiceError) or error.final
            if final or asked.failures >= MAX_FAILURES:
                results.given_up["llm"] = error
            else:
                await asyncio.sleep(RETRY_PAUSE)
        else:
            asked.failures = 0
            if number < 0:
                return
            candidate.rounds[number] = sample
        results.add(sample)
        if number >= 0 or isinstance(sample, FailedSample):
            self._observer.sample_taken(sample)

    def _note(self, candidate: Candidate, text: str) -> None:
        candidate.results.note(text)
        self._observer.note(f"{candidate.name}: {text}")


@dataclass(slots=True)
class _Asked:
    """A model under way; failures: in a row."""

    candidate: Candidate
    prober: LlmProber
    llm: LanguageModel
    failures: int = 0
