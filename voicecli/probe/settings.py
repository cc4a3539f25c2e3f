"""From a profile to what is measured, and what is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voicecli.audio.vad import create_detector
from voicecli.errors import CredentialsError
from voicecli.events import Service
from voicecli.metrics.usage import Cost, SessionUsage, estimate_cost
from voicecli.pipeline.wiring import Services
from voicecli.probe.llm import EXCHANGES, LlmProber, LlmSetting
from voicecli.probe.prediction import Waits
from voicecli.probe.results import SERVICES
from voicecli.probe.schedule import Plan, Prober
from voicecli.probe.stt import SttProber, SttSetting
from voicecli.probe.trace import ConnectionTarget
from voicecli.probe.tts import CLAUSES, CLEARS, TO_CLEAR, TtsProber, TtsSetting
from voicecli.services.endpoint import check_key, check_url
from voicecli.units import AudioFormat, Seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicecli.profile import Profile


def prober(
    service: Service, profile: Profile, services: Services, note: Callable[[str], None]
) -> Prober:
    """What measures ``service``; note: is told what a user should know."""
    if service == "stt":
        return _stt(profile, services)
    if service == "llm":
        return LlmProber(
            LlmSetting(open=services.open_llm, settings=profile.llm, speech=profile.tts)
        )
    setting = TtsSetting(
        open=services.open_tts,
        sample_rate=profile.tts.sample_rate,
        prebuffer=profile.audio.prebuffer,
    )
    return TtsProber(setting, note)


def _stt(profile: Profile, services: Services) -> SttProber:
    audio = profile.audio
    setting = SttSetting(
        open=services.open_stt,
        sample_rate=audio.sample_rate,
        block=audio.block,
        detect=profile.turn.detect,
        each_final=profile.turn.each_final_is_a_turn,
        timeout=profile.stt.finalize_timeout,
        endpoint=endpoint_matters(profile),
    )
    format = AudioFormat(audio.sample_rate)
    return SttProber(setting, create_detector(audio.vad, format, audio.hangover))


def endpoint_matters(profile: Profile) -> bool:
    """Whether the service's endpoint decides, or may come before the local detector's."""
    endpointing = profile.stt.endpointing
    if profile.turn.detect == "endpointing":
        return True
    return endpointing is not None and endpointing <= profile.audio.hangover + profile.audio.block


def find_target(service: Service, services: Services) -> ConnectionTarget:
    """How to get to ``service``; raises ProfileError where its URL is none."""
    address, handshake = services.find_address(service), services.describe_handshake(service)
    endpoint = check_url(service, address.url)
    try:
        check_key(service, endpoint, address.key, address.key_env)
    except CredentialsError:
        ask = False
    else:
        ask = True
    return ConnectionTarget(
        service=service,
        endpoint=endpoint,
        path=handshake.path,
        headers=handshake.headers if ask else {},
        websocket=handshake.websocket,
        farewell=handshake.goodbye,
        ask=ask,
        timeout=handshake.timeout,
    )


def find_waits(profile: Profile, output: Seconds = 0.0) -> Waits:
    """What the profile waits for; output: the loudspeaker's own latency."""
    return Waits(
        detect=profile.turn.detect,
        draft=profile.turn.draft,
        endpointing=profile.stt.endpointing,
        finalize=profile.stt.finalize_timeout,
        commit=profile.turn.commit,
        block=profile.audio.block,
        hedge=profile.llm.hedge,
        flush_each=profile.tts.flush == "clauses",
        output=output,
    )


def describe_basis(profile: Profile, services: Services, plan_workers: int) -> dict[str, Any]:
    """What two probes must have in common to be compared, flat: dotted keys and plain values."""
    resolved = profile.resolved()
    found: dict[str, Any] = {"workers": plan_workers}
    for section in ("audio", "stt", "llm", "tts", "turn", "standin"):
        for key, value in (resolved[section] or {"engine": None}).items():
            if key not in ("key_env", "microphone", "speaker", "tag", "apology"):
                found[f"{section}.{key}"] = value
    if profile.standin is None:
        for service in SERVICES:
            found[f"{service}.base_url"] = find_target(service, services).endpoint.authority
    return found


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
    prompt = sum(len(text) for pair in EXCHANGES for text in pair) / len(EXCHANGES) + 300
    clause = sum(map(len, CLAUSES)) / len(CLAUSES)
    llm, stt, tts = ("llm" in wanted), ("stt" in wanted), ("tts" in wanted)
    endpoints = samples if endpoint_matters(profile) else 0
    return estimate_cost(
        SessionUsage(
            listened=stt * SPEECH_PER_SAMPLE * (uses + endpoints),
            llm_requests=llm * uses,
            prompt_tokens=round(llm * uses * prompt / CHARACTERS_PER_TOKEN),
            tokens=llm * uses * profile.llm.max_tokens,
            characters=round(tts * (uses * clause + CLEARS * len(TO_CLEAR))),
        ),
        profile.find_prices(),
    )
