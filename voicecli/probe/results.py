"""The metrics of the probe, and the results that a run collects.  Pure.

One table of names serves the text, JSON, CSV and ``--slo``.  A name that a conversation's turns
have, too (``llm.ttft``, ``tts.ttfa`` …) means the same here.  Durations are seconds inside and
milliseconds outside; a metric of another kind names its unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

import numpy as np

from voicecli.environment.network import is_loopback
from voicecli.errors import VoiceError
from voicecli.events import Service
from voicecli.metrics.stages import (
    LLM_CLAUSE,
    LLM_TTFT,
    MOUTH_TO_EAR,
    PLAYOUT,
    STT_TTFS,
    TTS_TTFA,
    TTS_TTFB,
    Metric,
    index_metrics,
)
from voicecli.metrics.summary import Summary, describe
from voicecli.metrics.usage import SessionUsage
from voicecli.probe.prediction import Measurements, Prediction, Times
from voicecli.probe.schedule import FailedSample, Sample
from voicecli.probe.trace import ConnectionTrace
from voicecli.turns.end_of_turn import classify_ending
from voicecli.units import Seconds, ms

# ── metrics ──────────────────────────────────────────────────────────────────

SERVICES: tuple[Service, ...] = ("stt", "llm", "tts")

PHASES: Mapping[str, str] = {
    "dns": "the name is resolved",
    "tcp": "a TCP connection is opened: one round trip",
    "proxy": "the proxy opens its own; for WebSockets, TCP to the proxy is in here, too",
    "tls": "TLS handshake: one or two round trips",
    "open": "WebSocket upgrade, or HTTP request to response",
    "message": "the service's first message",
    "trip": "once open: a ping, or another request, and its answer",
}
"""The phases of a connection to a service; those but the last are paid once per connection."""


SERVICE_METRICS: Mapping[str, Metric] = index_metrics(
    Metric("stt.open", "opening the connection (cold only)"),
    Metric("stt.final", "Finalize, sent at the end of the speech → final text"),
    Metric("stt.endpoint", "end of the speech → the service's own endpoint"),
    Metric("stt.interim", "end of the speech → interim with all its words, if one comes"),
    Metric("stt.turn", "start of the turn → end of the turn, both as the service finds them"),
    Metric("stt.eager", "end of the speech → the service expects the end of the turn"),
    Metric("stt.eager_lead", "the service expects the end of the turn → it has found it"),
    Metric("stt.noticed", "end of the speech → noticed by the local detector"),
    STT_TTFS,
    Metric("stt.lag", "audio sent − audio that the latest interim covers"),
    LLM_TTFT,
    LLM_CLAUSE,
    Metric("llm.total", "request → last token"),
    Metric("llm.gap", "longest pause between two tokens"),
    Metric("llm.rate", "tokens per second, from the first to the last", unit="tokens/s"),
    Metric("tts.open", "opening the connection (cold only)"),
    TTS_TTFB,
    TTS_TTFA,
    Metric("tts.lead", "silence before the first audible sample"),
    Metric("tts.rtf", "time to deliver ÷ time to play", unit="× real time"),
    Metric("tts.jitter", "longest gap between two chunks − the usual gap"),
    Metric("tts.buffer", "smallest playout buffer that would have prevented a dropout"),
    Metric("tts.clear", "Clear → Cleared"),
    PLAYOUT,
)
"""What the probers measure."""

COLD_PREFIX = "cold."

COLD = ("stt.open", "stt.final", LLM_TTFT.name, "tts.open", TTS_TTFB.name, TTS_TTFA.name)
"""Reported for the first use of a new connection; the LLM's includes opening it."""

NETWORK_METRICS: Mapping[str, Metric] = index_metrics(
    *(Metric(f"net.{service}.{phase}", PHASES[phase]) for service in SERVICES for phase in PHASES)
)

AUDIO_METRICS: Mapping[str, Metric] = index_metrics(
    Metric("audio.input", "microphone → program, according to the sound card"),
    Metric("audio.output", "program → loudspeaker, according to the sound card"),
    Metric("audio.jitter", "how late a callback comes, compared with the earliest"),
)

METRICS: Mapping[str, Metric] = {
    **SERVICE_METRICS,
    **{f"{COLD_PREFIX}{name}": SERVICE_METRICS[name] for name in COLD},
    **NETWORK_METRICS,
    **AUDIO_METRICS,
    **index_metrics(MOUTH_TO_EAR),
}
"""Everything that has a distribution."""

COUNTS: Mapping[str, str] = {
    "stt.wer": "word error rate against the known text (0 to 1 and more)",
    "stt.finalize_rate": "share of Finalize messages that were answered (0 to 1)",
    "stt.false_eager_rate": "share of expected ends of turns that were taken back (0 to 1)",
    "stt.errors": "samples that failed",
    "llm.errors": "samples that failed",
    "llm.retries": "requests that followed a failed one",
    "llm.refusals": "requests that the service refused (4xx)",
    "llm.stalls": "replies with a pause of more than 2 s, before the first token or after it",
    "tts.errors": "samples that failed",
    "audio.xruns": "how often the sound card lost samples",
}
"""One number per run."""

SHARES = {
    "stt.wer": ("stt.wrong", "stt.words"),
    "stt.finalize_rate": ("stt.answered", "stt.asked"),
    "stt.false_eager_rate": ("stt.resumed", "stt.predicted"),
}
"""The ``COUNTS`` that are a quotient of two counts of the samples."""


def is_duration(name: str) -> bool:
    """Whether the metric ``name`` is measured in milliseconds."""
    return METRICS[name].unit == "ms"


# ── results ──────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class ProbeResults:
    """What a run has collected so far.

    wanted: the services to be probed.
    given_up: why a service was not probed to the end.
    audio: values by ``AUDIO_METRICS``; devices: one sentence on what was measured.
    word_errors: whether the transcripts can be compared with the words in the clips.
    notes: sentences for the user.
    """

    wanted: tuple[Service, ...] = SERVICES
    traces: list[ConnectionTrace] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    failures: list[FailedSample] = field(default_factory=list)
    given_up: dict[Service, VoiceError] = field(default_factory=dict)
    audio: dict[str, list[float]] = field(default_factory=dict)
    xruns: int | None = None
    devices: str = ""
    word_errors: bool = True
    notes: list[str] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Add a sample, taken or failed."""
        if isinstance(sample, FailedSample):
            self.failures.append(sample)
        else:
            self.samples.append(sample)

    def note(self, text: str) -> None:
        """Add a sentence for the user, once."""
        if text not in self.notes:
            self.notes.append(text)

    def traces_of(self, service: Service) -> list[ConnectionTrace]:
        """The connections to ``service``."""
        return [trace for trace in self.traces if trace.service == service]

    def values(self) -> dict[str, list[float]]:
        """The measured values by metric, in the order of ``METRICS``; no list is empty."""
        found: dict[str, list[float]] = {name: [] for name in METRICS}
        for trace in self.traces:
            for phase, took in trace.phases.items():
                found[f"net.{trace.service}.{phase}"].append(took)
        for sample in self.samples:
            for name, value in sample.values.items():
                if not sample.cold:
                    found[name].append(value)
                elif name in COLD:
                    found[f"{COLD_PREFIX}{name}"].append(value)
        for name, values in self.audio.items():
            found[name] += values
        return {name: values for name, values in found.items() if values}

    def counts(self) -> Mapping[str, float]:
        """The sum of all samples' counts."""
        sums: dict[str, float] = {}
        for sample in (*self.samples, *self.failures):
            for name, count in sample.counts.items():
                sums[name] = sums.get(name, 0) + count
        return sums

    def measurements(self) -> Measurements:
        """The warm samples, as a prediction needs them."""
        stt, endpoint, llm, tts = (
            [sample for sample in self.samples if not sample.cold and name in sample.values]
            for name in ("stt.noticed", "stt.endpoint", LLM_CLAUSE.name, TTS_TTFA.name)
        )
        return Measurements(
            noticed=_column(stt, "stt.noticed"),
            final=_column(stt, "stt.final"),
            endings=[classify_ending(sample.text) for sample in stt],
            endpoint=_column(endpoint, "stt.endpoint"),
            interim=_column(endpoint, "stt.interim"),
            eager=_column(endpoint, "stt.eager"),
            ttft=_column(llm, LLM_TTFT.name),
            clause=_column(llm, LLM_CLAUSE.name),
            total=_column(llm, "llm.total"),
            ttfa=_column(tts, TTS_TTFA.name),
            playout=_column(tts, PLAYOUT.name),
            output=describe(self.audio.get("audio.output", ())).p50 or 0.0,
        )

    def summarize(self, prediction: Prediction | None = None) -> Summary:
        """The numbers that ``--slo`` is checked against."""
        distributions = {name: describe(values) for name, values in self.values().items()}
        if prediction is not None:
            distributions[MOUTH_TO_EAR.name] = prediction.distribution
        known = dict(self._count_totals())
        for name, distribution in distributions.items():
            if not is_duration(name):  # a threshold is in the metric's unit
                known |= {f"{name}.{of}": value for of, value in asdict(distribution).items()}
        return Summary(distributions=distributions, counts=known)

    def _count_totals(self) -> Iterator[tuple[str, float | None]]:
        """``COUNTS``; None for a service that was not probed, or a share of nothing."""
        sums = self.counts()
        for name in COUNTS:
            service = name.partition(".")[0]
            if name == "audio.xruns":
                yield name, self.xruns
            elif service not in self.wanted or (name == "stt.wer" and not self.word_errors):
                yield name, None
            elif name in SHARES:
                part, whole = (sums.get(one, 0) for one in SHARES[name])
                yield name, part / whole if whole else None
            else:
                yield name, sums.get(name, 0)

    def count_usage(self) -> SessionUsage:
        """What was used of the services, for the cost."""
        sums = self.counts()
        return SessionUsage(
            listened=sums.get("stt.seconds", 0.0),
            llm_requests=int(sums.get("llm.requests", 0)),
            tokens=int(sums.get("llm.tokens", 0)),
            prompt_tokens=int(sums.get("llm.prompt_tokens", 0)),
            uncounted=int(sums.get("llm.uncounted", 0)),
            flushes=int(sums.get("tts.flushes", 0)),
            characters=int(sums.get("tts.characters", 0)),
        )

    def request_ids(self, service: Service) -> list[str]:
        """The service's ids of what was measured, each once, in order."""
        ids = (sample.request_id for sample in self.samples if sample.service == service)
        return list(dict.fromkeys(filter(None, ids)))


def _column(samples: Sequence[Sample], name: str) -> Times:
    return np.array([sample.values.get(name, np.nan) for sample in samples])


# ── what the phases mean ─────────────────────────────────────────────────────

SLOW_NAMES: Seconds = 0.1
LONG_ROUND_TRIP: Seconds = 0.1
"""Between continents; Deepgram has hosts in the EU, Australia, India."""

SLOW_TLS = 3.5
"""Round trips: TLS 1.2 takes two, 1.3 takes one.  More is computing, or something in between."""

SLOW_ANSWER: Seconds = 0.25
"""Beyond the round trip."""

_FAILURES = {
    "dns": "the name {host} is not resolved ({why}): check the network and the URL",
    "tcp": "{host} accepts no connection ({why}): check the network, the URL and any firewall",
    "proxy": "the proxy {proxy} opens no connection ({why}): check {variable}",
    "tls": "no secure connection ({why}): this machine does not trust the server's certificate; "
    "an intercepting proxy or a wrong clock may be the cause",
    "open": "{host} is reached, but does not answer as the service would ({why}): check the URL, "
    "and any proxy in between",
    "trip": "the connection was lost as soon as it was open ({why})",
    "message": "it opens, and then sends nothing ({why})",
}


def diagnose(traces: Sequence[ConnectionTrace]) -> str:
    """Explain ``traces``, at least one and all to the same host, in one sentence."""
    for trace in traces:
        if trace.failed:
            return _FAILURES[trace.failed].format(
                host=trace.host, proxy=trace.proxy, variable=trace.proxy_variable, why=trace.why
            )
    host = traces[0].host.rpartition(":")[0] or traces[0].host
    if is_loopback(host.strip("[]")):
        return "this machine: there is no network in between"
    phases = ("dns", "tcp", "proxy", "tls", "open", "trip")
    dns, tcp, proxy, tls, opened, trip = (_median(traces, phase) for phase in phases)
    round_trip = tcp or trip
    if round_trip >= LONG_ROUND_TRIP:
        nearer = " (api.eu.deepgram.com?)" if "deepgram" in host else ""
        return (
            f"the host is {ms(round_trip):.0f} ms away, and every answer takes that longer: "
            f"look for a nearer one{nearer}"
        )
    if (beyond := opened - round_trip) >= SLOW_ANSWER:
        return f"the service takes {ms(beyond):.0f} ms to answer, beyond the round trip: it is busy"
    if tls > max(SLOW_TLS * round_trip, 0.1):
        return (
            f"TLS takes {tls / max(round_trip, 1e-3):.1f} round trips: something in between "
            "decrypts, or this machine is busy"
        )
    if dns >= SLOW_NAMES:
        return (
            f"resolving the name takes {ms(dns):.0f} ms: only new connections pay for it, "
            "and a local cache helps"
        )
    away, new = ms(trip or tcp), ms(dns + tcp + proxy + tls + opened)
    return f"{away:.0f} ms away, nothing in the way; a new connection costs {new:.0f} ms, once"


def _median(traces: Sequence[ConnectionTrace], phase: str) -> Seconds:
    """The median of a phase; 0 if it was never completed."""
    took = [trace.phases[phase] for trace in traces if phase in trace.phases]
    return median(took) if took else 0.0
