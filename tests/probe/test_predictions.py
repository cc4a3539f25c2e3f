"""What the probe says of an STT that finds the ends of turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from voicecli import clock
from voicecli.events import EndOfTurnPredicted, TurnResumed, TurnStarted
from voicecli.pipeline.wiring import open_services
from voicecli.probe.results import ProbeResults
from voicecli.probe.run import Probe
from voicecli.probe.schedule import Plan
from voicecli.probe.stt import measure_predictions
from voicecli.profile import load_profile


def test_the_last_prediction_counts_unless_it_was_taken_back() -> None:
    start = TurnStarted(at=1.0)
    first, second = (EndOfTurnPredicted(at=at, confidence=0.4) for at in (2.5, 4.1))
    resumed = TurnResumed(at=3.0, confidence=0.1)

    found = measure_predictions([start, first, resumed, second], 4.0, 4.4)
    assert found == pytest.approx({"stt.turn": 3.4, "stt.eager": 0.1, "stt.eager_lead": 0.3})
    assert measure_predictions([start, first, resumed], 4.0, 4.4) == pytest.approx(
        {"stt.turn": 3.4}
    )
    assert measure_predictions([], 4.0, 4.4) == {}


def test_flux_is_measured_from_the_start_of_a_turn_to_its_end(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("stt: {turn_end_ms: 300, final_ms: 100, hears: [He was not ill.]}\n")
    overrides = ["standin.engine=scripted", f"standin.script={script}", "audio.vad=energy"]
    profile = load_profile("flux-stt", overrides=overrides, environ={})

    async def main() -> ProbeResults:
        results = ProbeResults(wanted=("stt",))
        async with open_services(profile, {}) as services:
            await Probe(profile, services, results, Plan(count=4, warmup=0, cold=0)).run()
        return results

    results = clock.run(main(), virtual=True)
    values, counts = results.values(), results.counts()
    assert not results.failures
    # 0.424 of the silence that ends the turn, and as late as the end itself
    assert values["stt.eager_lead"] == pytest.approx([0.173] * 4, abs=0.02)
    assert all(turn > 2.0 for turn in values["stt.turn"])
    assert counts["stt.predicted"] >= 4
    rate = results.summarize().counts["stt.false_eager_rate"]
    assert rate == counts["stt.resumed"] / counts["stt.predicted"]
