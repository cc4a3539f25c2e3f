"""From a profile to what is measured, and what is waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from voicecli.audio.vad import create_detector
from voicecli.errors import CredentialsError
from voicecli.events import Service
from voicecli.metrics.summary import Budgets
from voicecli.metrics.usage import Cost, PricedModels, SessionUsage, estimate_cost, find_prices
from voicecli.pipeline.wiring import Services, reply_options, turn_policy
from voicecli.probe.llm import EXCHANGES, LlmProber, LlmSetting
from voicecli.probe.prediction import Waits
from voicecli.probe.results import SERVICES
from voicecli.probe.schedule import Plan, Prober
from voicecli.probe.stt import SttProber, SttSetting
from voicecli.probe.trace import ConnectionTarget
from voicecli.probe.tts import CLAUSES, CLEARS, TO_CLEAR, TtsProber, TtsSetting
from voicecli.services.deepgram.aura import build_aura_query
from voicecli.services.deepgram.nova import build_nova_query
from voicecli.services.endpoint import Endpoint, check_key, check_url
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
        return _llm(profile, services)
    setting = TtsSetting(options=services.speak(), prebuffer=profile.audio.prebuffer_ms / 1000)
    return TtsProber(setting, note)


def _stt(profile: Profile, services: Services) -> SttProber:
    options, policy = services.listen(), turn_policy(profile)
    block, hangover = profile.audio.block_ms / 1000, profile.audio.hangover_ms / 1000
    setting = SttSetting(
        options=options,
        block=block,
        detect=policy.detect,
        each_final=policy.each_final_is_a_turn,
        timeout=policy.finalize_timeout,
        endpoint=endpoint_matters(profile),
    )
    format = AudioFormat(options.sample_rate)
    return SttProber(setting, create_detector(profile.audio.vad, format, hangover))


def endpoint_matters(profile: Profile) -> bool:
    """Whether the service's endpoint decides, or may come before the local detector's."""
    endpointing = profile.stt.endpointing_ms
    if profile.turn.detect == "endpointing":
        return True
    noticed = profile.audio.hangover_ms + profile.audio.block_ms
    return bool(endpointing) and endpointing <= noticed


def _llm(profile: Profile, services: Services) -> LlmProber:
    reply = reply_options(profile)
    setting = LlmSetting(
        options=services.chat(),
        system_prompt=profile.llm.system_prompt,
        pieces=reply.create_chunker,
        stall=reply.stall,
    )
    return LlmProber(setting)


def find_target(service: Service, services: Services) -> ConnectionTarget:
    """How to get to ``service``; raises ProfileError where its URL is none."""
    if service == "llm":
        chat = services.chat()
        endpoint = check_url("llm", chat.base_url)
        asked, headers = _key(service, endpoint, chat.key, chat.key_env, "Bearer")
        return ConnectionTarget(
            service=service,
            endpoint=endpoint,
            path=f"/models/{chat.model}",
            headers=headers,
            websocket=False,
            ask=asked,
            timeout=max(chat.connect_timeout, 5.0),
        )
    options = services.listen() if service == "stt" else services.speak()
    query = (
        build_nova_query(services.listen())
        if service == "stt"
        else build_aura_query(services.speak())
    )
    endpoint = check_url(service, options.url)
    asked, headers = _key(service, endpoint, options.key, options.key_env, "Token")
    return ConnectionTarget(
        service=service,
        endpoint=endpoint,
        path=f"/v1/{'listen' if service == 'stt' else 'speak'}?{urlencode(query)}",
        headers=headers,
        websocket=True,
        farewell='{"type":"CloseStream"}' if service == "stt" else "",
        ask=asked,
        timeout=options.connect_timeout,
    )


def _key(
    service: Service, endpoint: Endpoint, key: str, key_env: str, scheme: str
) -> tuple[bool, Mapping[str, str]]:
    """Whether the service may be asked anything, and the headers to ask it with."""
    try:
        check_key(service, endpoint, key, key_env)
    except CredentialsError:
        return False, {}
    return True, {"Authorization": f"{scheme} {key}"} if key else {}


def find_waits(profile: Profile, output: Seconds = 0.0) -> Waits:
    """What the profile waits for; output: the loudspeaker's own latency."""
    policy, reply = turn_policy(profile), reply_options(profile)
    hedge = profile.llm.hedge_ms
    return Waits(
        detect=policy.detect,
        draft=profile.turn.draft,
        endpointing=profile.stt.endpointing_ms / 1000 if profile.stt.endpointing_ms else None,
        finalize=policy.finalize_timeout,
        commit=policy.commit,
        block=profile.audio.block_ms / 1000,
        hedge=hedge / 1000 if isinstance(hedge, int) else hedge,
        flush_each=reply.flush_each,
        output=output,
    )


def models(profile: Profile) -> PricedModels:
    """Who does the work, for the bill."""
    return PricedModels(
        stt=profile.stt.model,
        language=profile.stt.language,
        llm=profile.llm.model,
        tts=profile.tts.model,
        standin=profile.standin is not None,
    )


def budgets(profile: Profile) -> Budgets:
    """In seconds."""
    limits = profile.budgets
    return Budgets(
        stt=limits.stt_ms / 1000,
        llm=limits.llm_ms / 1000,
        tts=limits.tts_ms / 1000,
        total=limits.total_ms / 1000,
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
        find_prices(models(profile)),
    )
