"""The parts of a page that show how the parties took turns: the metrics, and what is behind."""

from __future__ import annotations

from collections.abc import Mapping

from htpy import Node, li, p, ul

from voicecli.metrics.interaction import INTERACTION_METRICS, WINDOWS, Interaction, InteractionTally
from voicecli.metrics.summary import score
from voicecli.report.html.page import compose_name, compose_table
from voicecli.report.interaction_lines import (
    format_score,
    list_faults,
    list_unscorable,
    list_word_errors,
)


def compose_scores(tallies: Mapping[str, InteractionTally]) -> Node:
    """Return a table of the metrics that were scored, a column for each of ``tallies``."""
    scores = {name: score(tally) for name, tally in tallies.items()}
    rows: list[list[Node]] = []
    for metric in INTERACTION_METRICS:
        found = [one[metric] for one in scores.values()]
        if any(one.n or one.value for one in found):
            cells = [" · ".join(filter(None, format_score(one)[1:])) or "–" for one in found]
            rows.append([compose_name(metric), *cells])
    if not rows:
        return p["Nothing was scored."]
    heads = ["turn-taking", *(scores if len(scores) > 1 else ["events · value"])]
    unscorable = {line: None for one in scores.values() for line in list_unscorable(one.values())}
    windows = ", ".join(f"{name} {_show_window(value)}" for name, value in WINDOWS.items())
    return [
        compose_table(heads, rows, kind="numbers"),
        [p(".note")[line] for line in unscorable],
        p(".note")[f"Windows and limits: {windows}."],
    ]


def compose_faults(interaction: Interaction) -> Node:
    """Return what the agent did wrong, where, and the words that differ from the labels.

    Where: in the recording of the session, as the picture shows it.
    """
    lines = [*list_faults(interaction, in_session=True), *list_word_errors(interaction)]
    return ul(".plain")[(li[line] for line in lines)] if lines else None


def _show_window(value: object) -> str:
    return "–".join(map(str, value)) if isinstance(value, list) else str(value)
