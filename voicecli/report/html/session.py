"""Composes the page of one session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from htpy import Node, div, h3, p

from voicecli.metrics.summary import find_overruns
from voicecli.report.html.conversation import Conversation
from voicecli.report.html.ecdf import Line, Sample, draw_ecdf
from voicecli.report.html.numbers import (
    Predicted,
    compose_counts,
    compose_percentiles,
    compose_prediction,
    compose_verdicts,
    list_facts,
    list_predicted_lines,
)
from voicecli.report.html.page import (
    compose_definitions,
    compose_facts,
    compose_section,
    render_page,
)
from voicecli.report.html.turn_taking import compose_faults, compose_scores
from voicecli.report.html.waterfall import draw_stacks
from voicecli.report.summary_lines import format_cost
from voicecli.sanitize import sanitize_line
from voicecli.units import ms


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """What the page of a session shows.

    name: what was played, or the session's folder.
    conditions: how it was measured, a clause each.
    verdicts: the lines of the expectations, as (met, text).
    predicted: the prediction of a saved probe.
    baseline: mouth-to-ear of the turns that it is compared with, in milliseconds.
    """

    name: str
    conditions: Sequence[str]
    conversation: Conversation
    verdicts: Sequence[tuple[bool, str]] = ()
    predicted: Predicted | None = None
    baseline: Sequence[float] = ()

    def render(self) -> str:
        """Return the page."""
        conversation = self.conversation
        found = conversation.measured
        turns = [turn for turn in conversation.encode_turns() if turn["mouth_to_ear_ms"]]
        doubted = sum(bool(turn.unreliable) for turn in found.turns)
        error = max((turn.error for turn in found.turns if turn.error is not None), default=None)
        recording = conversation.compose_recording()
        cost = p(".note")[format_cost(found.cost)]
        content = div(data_session=True)[
            compose_facts(dict(list_facts(found.summary, found.usage, doubted, error))),
            compose_verdicts(self.verdicts),
            compose_section("recording", "Recording", recording) if recording else None,
            compose_section("latency", "Mouth-to-ear", self._compose_latency(turns)),
            compose_prediction(self.predicted, turns, found.summary),
            compose_section("turns", "Turns", conversation.compose_turns()),
            compose_section(
                "turn-taking",
                "Turn-taking",
                compose_scores({"": found.interaction.tally}),
                compose_faults(found.interaction),
            ),
            compose_section("session", "Session", compose_counts(found.usage), cost),
            compose_definitions([*found.summary.distributions, *found.summary.counts]),
        ]
        return render_page(self.name, " · ".join(map(sanitize_line, self.conditions)), content)

    def _compose_latency(self, turns: Sequence[Mapping[str, Any]]) -> Node:
        if not turns:
            return p["No turn was measured: no mouth-to-ear, no picture."]
        found = self.conversation.measured
        budgets = found.profile.budgets
        names = [f"#{turn['turn']}" for turn in turns]
        values = [turn["mouth_to_ear_ms"] for turn in turns]
        samples = [
            Sample(name="measured", values=values, origins=names),
            Sample(name="baseline", values=self.baseline, kind="baseline"),
        ]
        lines = [
            Line(name="budget", value=ms(budgets.total)),
            *list_predicted_lines(self.predicted),
        ]
        missed = (one.metric for turn in found.turns for one in find_overruns(turn, budgets))
        return [
            p(".note")[
                "From the end of the user's voice to the first audible sample of the reply."
            ],
            h3["Where the time of each turn went"],
            draw_stacks(turns, names, ms(budgets.total)),
            h3["Distribution"],
            draw_ecdf(samples, lines),
            h3["Percentiles"],
            compose_percentiles(found.summary, budgets, Counter(missed)),
        ]
