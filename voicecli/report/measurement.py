"""Measures a session: its turns, what it used, its summary and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voicecli.audio.recorder import CONVERSATION, check_recording
from voicecli.metrics.summary import Summary, summarize
from voicecli.metrics.thresholds import Verdict
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.usage import Cost, SessionUsage, count_usage, estimate_cost
from voicecli.profile import Profile
from voicecli.report.json_result import build_result
from voicecli.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The numbers of one session, all computed from its timeline."""

    profile: Profile
    turns: Sequence[Turn]
    usage: SessionUsage
    summary: Summary
    cost: Cost

    def build_result(
        self,
        verdicts: Sequence[Verdict] = (),
        *,
        profile_name: str = "",
        environment: Mapping[str, str],
    ) -> dict[str, Any]:
        """Return everything as plain data; see ``json_result.build_result``."""
        return build_result(
            self.turns,
            self.usage,
            self.summary,
            self.profile.budgets,
            self.cost,
            verdicts,
            profile_name=profile_name,
            resolved=self.profile.resolved(),
            environment=environment,
        )


def measure_session(timeline: Timeline, profile: Profile, folder: Path | None) -> Measurement:
    """Measure the session of ``timeline``.

    folder: holds a recording that the turns are checked against; None: there is none.

    Raises InputError when the recording is not that of a session.
    """
    turns = measure_turns(timeline)
    if folder is not None:
        turns = check_recording(turns, folder / CONVERSATION)
    usage = count_usage(timeline, turns)
    return Measurement(
        profile=profile,
        turns=turns,
        usage=usage,
        summary=summarize(turns, usage),
        cost=estimate_cost(usage, profile.find_prices()),
    )
