"""The names of metrics, and the sentence about the phases of connections."""

from __future__ import annotations

import pytest

from voicecli.metrics.summary import list_metrics
from voicecli.probe.results import COUNTS, METRICS, diagnose
from voicecli.probe.trace import ConnectionTrace


def test_every_name_is_one_that_can_be_expected_something_of() -> None:
    known = list_metrics(METRICS, COUNTS)
    assert len(known) == len(set(known))
    assert {"tts.ttfa.p95", "llm.ttft.p50", "stt.ttfs.p95", "mouth_to_ear.p95"} <= set(known)
    assert set(COUNTS) <= set(known)
    assert all(f"{name}.max" in known for name in METRICS)


# ── what the phases mean ─────────────────────────────────────────────────────

NEAR = {"dns": 0.004, "tcp": 0.012, "tls": 0.020, "open": 0.018, "trip": 0.012}


def make_trace(host: str = "api.deepgram.com", **phases: float) -> ConnectionTrace:
    return ConnectionTrace(service="stt", host=host, phases=NEAR | phases)


@pytest.mark.parametrize(
    ("traces", "sentence"),
    [
        ([make_trace()], "12 ms away, nothing in the way; a new connection costs 54 ms, once"),
        (
            [make_trace(tcp=0.150)],
            "the host is 150 ms away, and every answer takes that longer: look for a nearer one "
            "(api.eu.deepgram.com?)",
        ),
        (
            [make_trace(open=0.400)],
            "the service takes 388 ms to answer, beyond the round trip: it is busy",
        ),
        (
            [make_trace(tls=0.300)],
            "TLS takes 25.0 round trips: something in between decrypts, or this machine is busy",
        ),
        (
            [make_trace(dns=0.180)],
            "resolving the name takes 180 ms: only new connections pay for it, and a local cache "
            "helps",
        ),
        ([make_trace("127.0.0.1:80")], "this machine: there is no network in between"),
        ([make_trace("localhost")], "this machine: there is no network in between"),
        ([make_trace("[::1]:80")], "this machine: there is no network in between"),
        # The median counts: one slow connection of three means nothing.
        (
            [make_trace(), make_trace(tcp=0.3), make_trace()],
            "12 ms away, nothing in the way; a new connection costs 54 ms, once",
        ),
    ],
)
def test_one_sentence_says_what_the_phases_mean(
    traces: list[ConnectionTrace], sentence: str
) -> None:
    assert diagnose(traces) == sentence
