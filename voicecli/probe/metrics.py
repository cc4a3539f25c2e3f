"""What is measured, by name: the one table behind tables, JSON, CSV and ``--slo``.  Pure.

A name that a conversation's turns have too (``llm.ttft``, ``tts.ttfa`` …) means the same here.
Durations are seconds inside and milliseconds outside; what has another unit says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from voicecli.events import Service
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.metrics.summary import STATISTICS

SERVICES: tuple[Service, ...] = ("stt", "llm", "tts")

PHASES: Mapping[str, str] = {
    "dns": "the name is resolved",
    "tcp": "a connection is opened: one round trip",
    "proxy": "the proxy opens its own",
    "tls": "it is encrypted: one or two round trips",
    "open": "WebSocket upgrade, or HTTP request to response",
    "message": "the service's first message",
    "trip": "once open: a ping, or another request, and its answer",
}
"""The phases of reaching a service, in order; those but the last are of a new connection."""


class Metric(NamedTuple):
    """unit: "ms", or what it is instead; meaning: a clause."""

    unit: str
    meaning: str


OF_SERVICES: Mapping[str, Metric] = {
    "stt.open": Metric("ms", "opening the connection (cold only)"),
    "stt.final": Metric("ms", "Finalize, sent where the voice ends → final text"),
    "stt.endpoint": Metric("ms", "end of the voice → the service's own endpoint"),
    "stt.noticed": Metric("ms", "end of the voice → the local detector says so"),
    "stt.ttfs": Metric("ms", "end of the voice → final text, the way the profile has it"),
    "stt.lag": Metric("ms", "audio sent − audio that the latest interim covers"),
    "llm.ttft": Metric("ms", "request → first content token"),
    "llm.clause": Metric("ms", "first token → first clause complete"),
    "llm.total": Metric("ms", "request → last token"),
    "llm.gap": Metric("ms", "longest pause between two tokens"),
    "llm.rate": Metric("tokens/s", "tokens per second, from the first to the last"),
    "tts.open": Metric("ms", "opening the connection (cold only)"),
    "tts.ttfb": Metric("ms", "flush → first audio"),
    "tts.ttfa": Metric("ms", "flush → first audible sample arrived"),
    "tts.lead": Metric("ms", "silence before the first audible sample"),
    "tts.rtf": Metric("× real time", "time to deliver ÷ time to play"),
    "tts.jitter": Metric("ms", "longest gap between two chunks − the usual gap"),
    "tts.buffer": Metric("ms", "playout buffer that would just have prevented a dropout"),
    "tts.clear": Metric("ms", "Clear → Cleared"),
    "playout": Metric("ms", "first audible sample arrived → it sounds"),
}
"""What the probers measure."""

COLD_PREFIX = "cold."

COLD = ("stt.open", "stt.final", "llm.ttft", "tts.open", "tts.ttfb", "tts.ttfa")
"""What is worth telling of the first use of a new connection; the LLM's includes opening it."""

NETWORK: Mapping[str, Metric] = {
    f"net.{service}.{phase}": Metric("ms", meaning)
    for service in SERVICES
    for phase, meaning in PHASES.items()
}

AUDIO: Mapping[str, Metric] = {
    "audio.input": Metric("ms", "microphone → program, as the sound card has it"),
    "audio.output": Metric("ms", "program → loudspeaker, as the sound card has it"),
    "audio.jitter": Metric("ms", "how late a callback comes, against the earliest"),
}

PREDICTED: Mapping[str, Metric] = {
    MOUTH_TO_EAR: Metric("ms", "predicted: end of the user's voice → first sound of the reply"),
}

METRICS: Mapping[str, Metric] = {
    **OF_SERVICES,
    **{f"{COLD_PREFIX}{name}": OF_SERVICES[name] for name in COLD},
    **NETWORK,
    **AUDIO,
    **PREDICTED,
}
"""Everything that has a spread."""

COUNTS: Mapping[str, str] = {
    "stt.wer": "word error rate against the known text (0 to 1 and more)",
    "stt.finalize_rate": "share of Finalize that were answered (0 to 1)",
    "stt.errors": "readings that failed",
    "llm.errors": "readings that failed",
    "llm.retries": "requests that followed one that failed",
    "llm.refusals": "requests that the service refused (4xx)",
    "llm.stalls": "replies with a pause of more than 2 s, before the first token or after it",
    "tts.errors": "readings that failed",
    "audio.xruns": "how often the sound card lost samples",
}
"""What is counted once for a probe."""


def metric_of(name: str) -> str:
    """The metric of ``cold.llm.ttft`` is ``llm.ttft``, and so is that of ``llm.ttft``."""
    return name.removeprefix(COLD_PREFIX)


def in_milliseconds(name: str) -> bool:
    """Whether the metric ``name`` is a duration."""
    return METRICS[name].unit == "ms"


def expectable() -> list[str]:
    """Every name that ``--slo`` knows, statistics included."""
    return [*(f"{metric}.{one}" for metric in METRICS for one in STATISTICS), *COUNTS]
