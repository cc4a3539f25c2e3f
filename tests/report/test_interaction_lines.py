"""The scores of turn-taking as lines."""

from __future__ import annotations

from voicecli.metrics.interaction import INTERACTION_METRICS, InteractionTally
from voicecli.metrics.summary import score
from voicecli.report.interaction_lines import format_score


def test_a_metric_without_events_has_no_value():
    """A table of several profiles has a cell for each metric that one of them has."""
    tally = InteractionTally()
    tally.unscorable |= dict.fromkeys(INTERACTION_METRICS, "nothing is labelled")
    cells = {name: format_score(one) for name, one in score(tally).items()}
    assert set(cells) == {row[0] for row in cells.values()}
    assert cells["dead_air_s"][1:] == ["", ""]
    assert cells["stop_ms"][1:] == ["0", ""]
    assert cells["yield_rate"][1:] == ["0 of 0", "n < 10"]
