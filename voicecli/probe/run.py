"""Runs the probe: measures the sound card, traces connections to each service, and samples it.

A service that fails does not stop the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from importlib.util import find_spec
from typing import Any

from voicecli import clock
from voicecli.errors import CredentialsError, DeviceError
from voicecli.events import Service
from voicecli.metrics.usage import Cost, SessionUsage, estimate_cost
from voicecli.pipeline.wiring import Services
from voicecli.probe.llm import DIALOGUE, LlmProber
from voicecli.probe.results import SERVICES, ProbeResults
from voicecli.probe.schedule import Plan, Prober, Sample, take_samples
from voicecli.probe.stt import SttProber, endpoint_matters
from voicecli.probe.trace import ConnectionTarget, trace_connection
from voicecli.probe.tts import CLAUSES, MAX_CLEARS, TO_CLEAR, TtsProber
from voicecli.profile import Profile
from voicecli.services.endpoint import check_key, check_url
from voicecli.units import Seconds

TRACES = 3
"""Connections to trace per service."""


class Observer:
    """Follows a run of the probe; ignores everything unless a method is overridden."""

    def service_started(self, service: Service, steps: int | None) -> None:
        """``service`` is going to be probed in ``steps`` samples; None: until interrupted."""

    def sample_taken(self, sample: Sample) -> None:
        """A sample was taken, or failed."""

    def note(self, text: str) -> None:
        """There is something to tell the user."""

    def service_done(self, service: Service) -> None:
        """The last sample of ``service`` was taken."""


class Probe:
    """Probes the services that ``results`` wants, and collects the samples there.

    Raises ProfileError when a URL of the profile is invalid.
    """

    def __init__(
        self,
        profile: Profile,
        services: Services,
        results: ProbeResults,
        plan: Plan,
        observer: Observer | None = None,
    ) -> None:
        self._results = results
        self._plan = plan
        self._observer = observer or Observer()
        self._targets = {service: find_target(service, services) for service in results.wanted}
        self._probers = {
            service: _create_prober(service, profile, services, self._note)
            for service in results.wanted
        }

    async def run(self) -> ProbeResults:
        """Probe one service after the other, as a conversation uses them."""
        for service in self._results.wanted:
            await self.probe(service)
        return self._results

    async def run_side_by_side(self) -> ProbeResults:
        """Probe all services at once, to watch them."""
        async with asyncio.TaskGroup() as tasks:
            for service in self._results.wanted:
                tasks.create_task(self.probe(service), name=f"watch {service}")
        return self._results

    async def probe(self, service: Service) -> None:
        """Probe one service; failures are part of the results."""
        plan, prober = self._plan, self._probers[service]
        steps = None if plan.count is None else plan.cold + plan.count * prober.kinds
        self._observer.service_started(service, steps)
        await self._trace(service)
        if (error := await take_samples(prober, plan, self._post)) is not None:
            self._results.given_up[service] = error
        self._observer.service_done(service)

    async def _trace(self, service: Service) -> None:
        for _ in range(TRACES):
            trace = await trace_connection(self._targets[service])
            self._results.traces.append(trace)
            if trace.failed:
                return

    def _post(self, sample: Sample) -> None:
        self._results.add(sample)
        self._observer.sample_taken(sample)

    def _note(self, text: str) -> None:
        self._results.note(text)
        self._observer.note(text)


# ── from a profile ───────────────────────────────────────────────────────────


def _create_prober(
    service: Service, profile: Profile, services: Services, note: Callable[[str], None]
) -> Prober:
    if service == "stt":
        return SttProber(profile, services)
    if service == "llm":
        return LlmProber(profile, services, note)
    return TtsProber(profile, services, note)


def find_target(service: Service, services: Services) -> ConnectionTarget:
    """What to connect to for ``service``; raises ProfileError if its URL is invalid."""
    address = services.find_address(service)
    endpoint = check_url(service, address.url)
    handshake, may_ask = services.describe_handshake(service), False
    with suppress(CredentialsError):
        check_key(service, endpoint, address.key, address.key_env)
        may_ask = True
    return ConnectionTarget(service, endpoint, handshake, may_ask)


def describe_basis(profile: Profile, services: Services, workers: int) -> dict[str, Any]:
    """What two runs must have in common to be compared: dotted keys and plain values."""
    resolved = profile.resolved()
    basis: dict[str, Any] = {"workers": workers}
    for section in ("audio", "stt", "llm", "tts", "turn", "standin"):
        for key, value in (resolved[section] or {"engine": None}).items():
            if key not in ("key_env", "microphone", "speaker", "tag", "apology"):
                basis[f"{section}.{key}"] = value
    if profile.standin is None:
        for service in SERVICES:
            basis[f"{service}.base_url"] = find_target(service, services).endpoint.authority
    return basis


SPEECH_PER_SAMPLE: Seconds = 3.3
"""Audio sent per sample of the STT."""

CHARACTERS_PER_TOKEN = 4
"""Of English."""


def estimate_probe_cost(profile: Profile, wanted: Sequence[Service], plan: Plan) -> Cost:
    """The cost of a run, or of an hour of watching, at list prices.

    Replies of the LLM are assumed to be as long as they may be.
    """
    samples = plan.count if plan.count is not None else round(3600 / (plan.every or 1))
    uses = samples + plan.warmup * plan.workers + plan.cold
    prompt = sum(len(text) for pair in DIALOGUE for text in pair) / len(DIALOGUE) + 300
    clause = sum(map(len, CLAUSES)) / len(CLAUSES)
    llm, stt, tts = ("llm" in wanted), ("stt" in wanted), ("tts" in wanted)
    endpoints = samples if endpoint_matters(profile) else 0
    return estimate_cost(
        SessionUsage(
            listened=stt * SPEECH_PER_SAMPLE * (uses + endpoints),
            llm_requests=llm * uses,
            prompt_tokens=round(llm * uses * prompt / CHARACTERS_PER_TOKEN),
            tokens=llm * uses * profile.llm.max_tokens,
            characters=round(tts * (uses * clause + MAX_CLEARS * len(TO_CLEAR))),
        ),
        profile.find_prices(),
    )


# ── the sound card ───────────────────────────────────────────────────────────

CARD_TEST: Seconds = 2.0
"""How long the microphone is measured; its audio is not kept."""

SETTLING: Seconds = 0.5
"""Left out at the start: sound servers first deliver what they have stored."""


async def measure_audio(profile: Profile, results: ProbeResults) -> None:
    """Add ``AUDIO_METRICS`` to ``results``, or the reason why not; never fails.

    The loudspeaker's latency is what PortAudio reports.  ``voicecli devices test --loopback``
    measures it, with an audible sound.
    """
    if clock.monotonic_origin() is None:
        return
    if find_spec("pyaudio") is None:
        results.devices = "not measured: PyAudio is not installed (pip install 'voicecli[mic]')"
        return
    try:
        await _measure_card(profile, results)
    except DeviceError as error:
        results.devices = f"not measured: {error.cause}"


async def _measure_card(profile: Profile, results: ProbeResults) -> None:
    from voicecli.audio.devices import host, open_microphone
    from voicecli.audio.devices.select import choose_device

    audio = profile.audio
    with host.open_portaudio() as library:
        speaker = choose_device(host.list_devices(library), "output", audio.speaker)
    ages: list[Seconds] = []
    delays: list[Seconds] = []
    async with open_microphone(audio.microphone, audio.sample_rate, audio.block) as microphone:
        began, received = clock.now(), 0.0
        async with aclosing(microphone.blocks()) as blocks:
            async for block in blocks:
                length = microphone.format.seconds(len(block.pcm))
                received += length
                if clock.now() > began + SETTLING:
                    ages.append(clock.now() - (block.at + length))
                    delays.append(clock.now() - received)
                if clock.now() > began + CARD_TEST:
                    break
        results.xruns, name = microphone.xruns, microphone.name
    results.audio = {
        "audio.input": ages,
        "audio.output": [speaker.latency["output"]],
        "audio.jitter": [delay - min(delays) for delay in delays],
    }
    lost = f", samples lost {results.xruns} times" if results.xruns else ""
    results.devices = f"microphone {name!r}, loudspeaker {speaker.name!r}{lost}"
