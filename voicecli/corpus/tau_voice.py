"""Exports τ-voice's ``interaction_metrics`` block, the panel of the τ²-bench leaderboard.

The definitions are those of its version 1.0, ``docs/interaction-metrics.md`` in
github.com/sierra-research/tau2-bench, on other data: recordings instead of simulated callers, times
at the loudspeaker to the sample instead of ticks of 0.2 s.  So there is no ``tick_duration_sec``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from voicecli.corpus.tally import Tally
from voicecli.metrics.interaction import HOLD_WINDOW, QUIET_WINDOW, YIELD_WINDOW
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.metrics.summary import score
from voicecli.units import Seconds

VERSION = "1.0"

DOMAIN = "recordings"
"""A corpus is one domain; τ²-bench has airline, retail and telecom."""

CONFIG = {
    "no_yield_window_sec": YIELD_WINDOW,
    "backchannel_yield_window_sec": HOLD_WINDOW,
    "vocal_tic_yield_window_sec": HOLD_WINDOW,
    "non_directed_yield_window_sec": HOLD_WINDOW,
    "vocal_tic_response_window_sec": QUIET_WINDOW,
    "non_directed_response_window_sec": QUIET_WINDOW,
}


def build_interaction_metrics(tally: Tally) -> dict[str, Any]:
    """Return the block for one agent: seconds and shares, None where there is nothing to score.

    Rates of fewer than 10 events are in it, as in τ²-bench's own; its leaderboard hides them.
    """
    panel = _build_panel(tally)
    return {"version": VERSION, "config": CONFIG, "domains": {DOMAIN: panel}, "overall": panel}


def _build_panel(tally: Tally) -> dict[str, Any]:
    events, scores = tally.interaction, score(tally.interaction)

    def find_rate(name: str) -> float | None:
        found = scores[name]
        return None if not found.n or name in events.unscorable else found.hits / found.n

    turns = events.count(("turn", "answer"))
    silent = "agent_interruption_rate" in events.unscorable
    over_the_user = events.count(("onset",), ("over the user",))
    yields = [took for took in events.values.get("stop", ()) if took <= YIELD_WINDOW]
    return {
        "response_latency_mean": _mean(tally.list_durations(MOUTH_TO_EAR.name)),
        "yield_latency_mean": _mean(yields),
        "response_rate": find_rate("response_rate"),
        "yield_rate": find_rate("yield_rate"),
        "agent_interruption_rate": None if silent or not turns else over_the_user / turns,
        "selectivity_backchannel": find_rate("hold_rate.backchannel"),
        "selectivity_vocal_tic": find_rate("hold_rate.tic"),
        "selectivity_non_directed": find_rate("hold_rate.other"),
        "counts": {
            "n_simulations": tally.units,
            "response_total": turns,
            "yield_total": events.count(("interruption",)),
            "backchannel_total": events.count(("backchannel",)),
            "vocal_tic_total": events.count(("tic",)),
            "non_directed_total": events.count(("other",)),
            "agent_interrupts_count": over_the_user,
        },
    }


def _mean(values: Iterable[Seconds]) -> Seconds | None:
    found = list(values)
    return sum(found) / len(found) if found else None
