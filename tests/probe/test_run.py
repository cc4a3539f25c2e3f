"""Each service's figures against the script of its stand-in; the sound card; local engines."""

from __future__ import annotations

import re
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.probes import SENTENCES, run_probe, run_with_services, scripted
from tests.support.sound_cards import running_virtual_audio  # noqa: F401
from tests.support.virtual_audio import VirtualAudio
from voicecli import clock
from voicecli.errors import RefusedError, ServiceError, StalledError
from voicecli.metrics.accuracy import VIRTUAL
from voicecli.metrics.summary import describe
from voicecli.pipeline.wiring import Services, open_services
from voicecli.probe.results import ProbeResults
from voicecli.probe.run import Probe, measure_audio
from voicecli.probe.schedule import Plan
from voicecli.probe.tts import CLAUSES, take_unflushed
from voicecli.profile import load_profile

CLOSE = 0.005
SHARE = 0.03
"""A figure is within 5 ms of the script, or 3 %."""

LATENCIES = [
    {"final": 100, "finalize": 50, "ttft": 200, "token": 15, "ttfb": 120, "speed": 4, "lead": 0},
    {"final": 250, "finalize": 180, "ttft": 650, "token": 40, "ttfb": 310, "speed": 2, "lead": 90},
    {"final": 30, "finalize": 20, "ttft": 90, "token": 5, "ttfb": 60, "speed": 8, "lead": 45},
]

SAYS = "The capital of Australia is Canberra. It was chosen as a compromise long ago."
"""The first clause is complete when the seventh token has come."""


def script(latencies: dict[str, float], **more: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "stt": {
            "final_ms": latencies["final"],
            "finalize_ms": latencies["finalize"],
            "hears": SENTENCES,
        },
        "llm": {"ttft_ms": latencies["ttft"], "token_ms": latencies["token"], "says": [SAYS]},
        "tts": {
            "ttfb_ms": latencies["ttfb"],
            "speed": latencies["speed"],
            "lead_ms": latencies["lead"],
        },
    }
    return parts | more


USUAL = script(LATENCIES[0])


def median(findings: ProbeResults, name: str) -> float:
    value = describe(findings.values()[name]).p50
    assert value is not None
    return value


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=CLOSE, rel=SHARE)


FLUX_TTS = ("tts.provider=deepgram-flux", "tts.model=flux-alexis-en")

# ── against the script ───────────────────────────────────────────────────────


@pytest.mark.parametrize("latencies", LATENCIES)
@pytest.mark.parametrize("tts", [(), FLUX_TTS], ids=["flushed", "unflushed"])
def test_every_figure_is_that_of_the_script(
    tmp_path: Path, latencies: dict[str, float], tts: tuple[str, ...]
) -> None:
    found = run_probe(scripted(tmp_path, script(latencies), *tts), count=6, warmup=1)

    values = found.values()
    assert {name: len(values[name]) for name in ("stt.final", "llm.ttft", "tts.ttfa")} == {
        "stt.final": 6, "llm.ttft": 6, "tts.ttfa": 6,
    }  # fmt: skip
    ms = {name: one / 1000 for name, one in latencies.items()}
    lead = ms["lead"]
    first_loud = 0.08 / latencies["speed"] * (lead // 0.08)  # frames of 80 ms, faster than played
    expected = {
        "stt.final": ms["finalize"],
        "stt.endpoint": 0.2 + ms["final"],
        "stt.ttfs": 0.2 + ms["final"],
        "llm.ttft": ms["ttft"],
        "llm.clause": 6 * ms["token"],
        "llm.total": ms["ttft"] + 13 * ms["token"],
        "llm.gap": ms["token"],
        "tts.ttfb": ms["ttfb"],
        "tts.ttfa": ms["ttfb"] + first_loud,
        "tts.lead": lead,
        "tts.jitter": 0.0,
        "tts.buffer": 0.0,
        "tts.clear": 0.0,
    }
    assert {name: median(found, name) for name in expected} == {
        name: about(value) for name, value in expected.items()
    }
    assert median(found, "llm.rate") == pytest.approx(1 / ms["token"], rel=SHARE)
    assert median(found, "tts.rtf") == pytest.approx(1 / latencies["speed"], rel=SHARE)


def test_reasoning_counts_as_waiting_for_the_first_token(tmp_path: Path) -> None:
    says = {"ttft_ms": 200, "token_ms": 15, "says": [f"<think>One two three.</think> {SAYS}"]}
    found = run_probe(scripted(tmp_path, script(LATENCIES[0], llm=says)), ("llm",), count=4)
    assert median(found, "llm.ttft") == about(0.2 + 3 * 0.015)
    assert median(found, "llm.clause") == about(6 * 0.015)
    assert median(found, "llm.rate") == pytest.approx(1 / 0.015, rel=SHARE)


def test_with_the_local_detector_the_text_is_there_after_hangover_and_finalize(
    tmp_path: Path,
) -> None:
    found = run_probe(scripted(tmp_path, USUAL, "turn.detect=vad"), ("stt",), count=8)

    noticed, took = found.values()["stt.noticed"], found.values()["stt.ttfs"]
    latest = 0.2 + 0.02 + 0.025  # hangover, block, frame
    # The detector counts from where it takes the end to be, the metric from where it is measured.
    assert all(0.2 - 2 * VIRTUAL.error <= one <= latest + VIRTUAL.error for one in noticed)
    assert took == pytest.approx([one + 0.05 for one in noticed], abs=CLOSE)


def test_interims_lag_by_what_they_do_not_cover(tmp_path: Path) -> None:
    found = run_probe(scripted(tmp_path, USUAL), ("stt",), count=4)

    assert max(found.values()["stt.lag"]) <= 0.02  # a block: the stand-in is never late
    assert len(found.values()["stt.lag"]) == 4


# ── cold and warm ────────────────────────────────────────────────────────────


def test_cold_samples_are_kept_apart(tmp_path: Path) -> None:
    faults = [
        *({"service": "llm", "kind": "stall", "on": n, "for_ms": 700} for n in (1, 2, 3)),
        *({"service": "tts", "kind": "stall", "on": n, "for_ms": 400} for n in (1, 2, 3)),
    ]
    found = run_probe(scripted(tmp_path, {**USUAL, "faults": faults}), ("llm", "tts"), count=5)

    assert median(found, "cold.llm.ttft") == about(
        0.7 + 0.2
    )  # the first chunk is held up, and has no token
    assert median(found, "llm.ttft") == about(0.2)
    assert median(found, "cold.tts.ttfa") == about(0.4)
    assert median(found, "tts.ttfa") == about(0.12)
    assert len(found.values()["cold.llm.ttft"]) == len(found.values()["cold.tts.ttfa"]) == 3


def test_warm_ups_do_not_count(tmp_path: Path) -> None:
    faults = [{"service": "llm", "kind": "stall", "on": n, "for_ms": 900} for n in (4, 5)]
    found = run_probe(scripted(tmp_path, {**USUAL, "faults": faults}), ("llm",), count=5, warmup=2)

    assert max(found.values()["llm.ttft"]) == about(0.2)


# ── what else is counted ─────────────────────────────────────────────────────


def test_words_are_counted_against_the_known_ones(tmp_path: Path) -> None:
    only_finalize = ("turn.detect=vad", "stt.endpointing_ms=false")
    profile = scripted(tmp_path, USUAL, *only_finalize)
    found = run_probe(profile, ("stt",), count=4, warmup=0, cold=0)
    assert [one.text for one in found.samples] == SENTENCES * 2
    assert found.summarize().counts["stt.wer"] == 0.0

    wrong = {**USUAL, "stt": {"hears": ["He was an ill disposed young woman."]}}
    found = run_probe(scripted(tmp_path, wrong), ("stt",), count=1, warmup=0)
    first = found.samples[0].counts
    assert (first["stt.wrong"], first["stt.words"]) == (2, 8)  # one missing, one for another


def test_a_finalize_that_is_not_answered_is_counted(tmp_path: Path) -> None:
    lost = [{"service": "stt", "kind": "finalize_lost", "on": on} for on in (1, 5)]
    found = run_probe(scripted(tmp_path, {**USUAL, "faults": lost}), ("stt",), count=5, warmup=0)

    sums = found.counts()
    assert (sums["stt.asked"], sums["stt.answered"]) == (8, 6)  # three of them cold
    assert found.summarize().counts["stt.finalize_rate"] == 0.75
    assert len(found.values()["stt.final"]) == 4
    assert np.isnan(found.measurements().final).sum() == 1


def test_a_retried_request_is_counted_and_measured(tmp_path: Path) -> None:
    busy = {"service": "llm", "kind": "refuse", "status": 503, "on": 5}
    found = run_probe(scripted(tmp_path, {**USUAL, "faults": [busy]}), ("llm",), count=3, warmup=0)

    counts = found.summarize().counts
    assert (counts["llm.retries"], counts["llm.refusals"], counts["llm.errors"]) == (1, 0, 0)
    assert found.values()["llm.ttft"] == [about(0.2)] * 3


def test_a_rate_limit_is_a_refusal(tmp_path: Path) -> None:
    limit = {"service": "llm", "kind": "refuse", "status": 429, "on": 4}
    found = run_probe(scripted(tmp_path, {**USUAL, "faults": [limit]}), ("llm",), count=3, warmup=0)

    counts = found.summarize().counts
    assert (counts["llm.retries"], counts["llm.refusals"], counts["llm.errors"]) == (1, 1, 0)


def test_a_stall_is_counted(tmp_path: Path) -> None:
    slow = {**USUAL, "llm": {"ttft_ms": 2500, "says": [SAYS]}}
    found = run_probe(scripted(tmp_path, slow), ("llm",), count=2, warmup=0)

    assert found.summarize().counts["llm.stalls"] == 5  # three of them cold


def test_an_error_is_counted_and_the_others_are_measured(tmp_path: Path) -> None:
    lost = {"service": "tts", "kind": "drop", "on": 5, "after_ms": 50}
    found = run_probe(scripted(tmp_path, {**USUAL, "faults": [lost]}), ("tts",), count=4, warmup=0)

    assert found.summarize().counts["tts.errors"] == 1
    assert len(found.values()["tts.ttfa"]) == 3
    assert not found.given_up
    assert "connection was lost" in str(found.failures[0].error)


def test_a_service_that_always_fails_is_given_up(tmp_path: Path) -> None:
    lost = {"service": "stt", "kind": "drop", "on": "every", "after_ms": 1500}
    found = run_probe(scripted(tmp_path, {**USUAL, "faults": [lost]}), count=3, warmup=0)

    assert isinstance(found.given_up["stt"], ServiceError)
    assert found.summarize().counts["stt.errors"] == 3
    assert len(found.values()["llm.ttft"]) == len(found.values()["tts.ttfa"]) == 3


def test_a_service_that_fails_later_keeps_what_was_measured(tmp_path: Path) -> None:
    refused = [{"service": "llm", "kind": "refuse", "status": 401, "on": n} for n in (6,)]
    found = run_probe(scripted(tmp_path, {**USUAL, "faults": refused}), ("llm",), count=9, warmup=0)

    assert isinstance(found.given_up["llm"], RefusedError)
    assert len(found.values()["llm.ttft"]) == 2


def test_a_tts_that_waits_for_the_flush_has_no_first_audio_without_one(tmp_path: Path) -> None:
    """The stand-in begins at a mark; the clauses have one, these words have none."""
    profile = scripted(tmp_path, USUAL, *FLUX_TTS)
    assert all(clause.strip()[-1] in ".:," for clause in CLAUSES)

    async def main(services: Services) -> str:
        async with services.open_tts() as tts:
            await tts.send("No mark is here", flush=False)
            async with aclosing(tts.audio()) as audio:
                with pytest.raises(StalledError) as caught:
                    await take_unflushed(audio)
        return caught.value.cause

    cause = run_with_services(profile, main)
    assert cause == "TTS: no audio within 3 s of a clause without a flush"


def test_flushes_are_paced_within_the_limit_and_that_is_said(tmp_path: Path) -> None:
    found = run_probe(scripted(tmp_path, USUAL), ("tts",), count=22, warmup=1)

    assert found.values()["tts.ttfa"] == [about(0.12)] * 22
    assert len(found.notes) == 1
    assert "20 flushes" in found.notes[0]


def test_several_connections_share_the_readings(tmp_path: Path) -> None:
    found = run_probe(scripted(tmp_path, USUAL), count=6, warmup=0, workers=3)

    warm = [one for one in found.samples if not one.cold and one.service == "stt"]
    assert len(found.values()["llm.ttft"]) == 6
    assert len({one.request_id for one in warm}) == 3
    assert median(found, "stt.final") == about(0.05)


def test_request_ids_are_kept(tmp_path: Path) -> None:
    found = run_probe(scripted(tmp_path, USUAL), ("stt", "llm", "tts"), count=2, warmup=0)

    assert len(found.request_ids("stt")) == 4  # three cold connections and a warm one
    assert len(found.request_ids("tts")) == 5  # and the one that was cleared
    assert all(re.fullmatch("req_[0-9a-f]{32}", one) for one in found.request_ids("llm"))
    assert len(found.request_ids("llm")) == 5  # three on cold connections and two on a warm one


# ── the sound card ───────────────────────────────────────────────────────────


def measure_card(*overrides: str, virtual: bool = False) -> ProbeResults:
    results = ProbeResults()
    profile = load_profile("default", overrides=overrides)
    clock.run(measure_audio(profile, results), virtual=virtual)
    return results


@pytest.mark.soundcard
def test_what_a_card_adds_is_measured(virtual_audio: VirtualAudio) -> None:
    results = measure_card()

    assert results.devices == "microphone 'default', loudspeaker 'default'"
    assert results.xruns == 0
    assert len(results.audio["audio.input"]) >= 50
    assert all(0 <= one < 0.2 for one in results.audio["audio.input"])
    assert len(results.audio["audio.output"]) == 1
    assert min(results.audio["audio.jitter"]) == 0.0
    assert results.summarize().counts["audio.xruns"] == 0


@pytest.mark.soundcard
def test_a_missing_card_is_reported(virtual_audio: VirtualAudio) -> None:
    results = measure_card("audio.speaker=Nowhere")

    assert results.devices.startswith("not measured: ")
    assert "Nowhere" in results.devices
    assert not results.audio


def test_in_virtual_time_there_is_no_card() -> None:
    results = measure_card(virtual=True)

    assert (results.devices, results.audio, results.xruns) == ("", {}, None)


# ── the local engines ────────────────────────────────────────────────────────


@pytest.mark.local
@pytest.mark.realtime
def test_the_local_engines_are_probed_without_a_key() -> None:
    profile = load_profile("local")

    async def main() -> ProbeResults:
        async with open_services(profile, environ={}) as services:
            plan = Plan(count=1, warmup=0, cold=1)
            return await Probe(profile, services, ProbeResults(), plan).run()

    found = clock.run(main())

    assert not found.given_up
    assert found.measurements().count(profile) == 1
    assert (found.summarize().counts["stt.wer"] or 0) < 0.3
    assert 0 < median(found, "tts.ttfb") <= median(found, "tts.ttfa") < 2
