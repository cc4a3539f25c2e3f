"""τ-voice's block: its fields, and their definitions on scored events."""

from __future__ import annotations

from typing import Any

from voicecli.corpus.tally import Tally
from voicecli.corpus.tau_voice import build_interaction_metrics
from voicecli.metrics.interaction import Interaction, ScoredEvent, Subject


def events(subject: Subject, outcome: str, count: int, **values: Any) -> list[ScoredEvent]:
    return [
        ScoredEvent(subject=subject, outcome=outcome, start=float(n), end=n + 0.5, **values)
        for n in range(count)
    ]


def build(*found: list[ScoredEvent], **values: Any) -> dict[str, Any]:
    tally = Tally(units=3)
    every = tuple(event for some in found for event in some)
    tally.interaction.add(Interaction(events=every, labelled=True, **values))
    return build_interaction_metrics(tally)


def test_rates_and_counts_are_of_the_scored_events():
    block = build(
        events("turn", "answered", 3),
        events("turn", "no reply", 1),
        events("floor", "", 4),
        events("onset", "over the user", 2),
        events("interruption", "yielded", 3, stop=0.5),
        events("interruption", "spoke on", 1, stop=2.6),  # too late to be a yield
        events("backchannel", "held", 9),
        events("backchannel", "stopped", 1),
        events("tic", "ignored", 1),
        events("tic", "answered", 1),
    )
    panel = block["domains"]["recordings"]
    assert panel == {
        "response_latency_mean": None,
        "yield_latency_mean": 0.5,
        "response_rate": 0.75,
        "yield_rate": 0.75,
        "agent_interruption_rate": 0.5,
        "selectivity_backchannel": 0.9,
        "selectivity_vocal_tic": 0.5,
        "selectivity_non_directed": None,
        "counts": {
            "n_simulations": 3,
            "response_total": 4,
            "yield_total": 4,
            "backchannel_total": 10,
            "vocal_tic_total": 2,
            "non_directed_total": 0,
            "agent_interrupts_count": 2,
        },
    }
    assert block["overall"] == panel
    assert block["version"] == "1.0"


def test_what_cannot_be_scored_is_null():
    found = build(
        events("turn", "answered", 2), unscorable={"agent_interruption_rate": "one channel"}
    )
    assert found["overall"]["agent_interruption_rate"] is None
    assert found["overall"]["response_rate"] == 1.0
