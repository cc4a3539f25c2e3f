"""Measures a session: its turns, what it used, its summary and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from voicecli.audio.recorder import CONVERSATION, check_recording
from voicecli.metrics.interaction import Interaction
from voicecli.metrics.labels import Labels
from voicecli.metrics.recording import Recording, find_kept_start
from voicecli.metrics.scoring import measure_interaction
from voicecli.metrics.summary import Summary, summarize
from voicecli.metrics.thresholds import Verdict
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.usage import Cost, SessionUsage, count_usage, estimate_cost
from voicecli.profile import Profile
from voicecli.report.json_result import build_result
from voicecli.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The numbers of one session, all computed from its timeline.

    user: how a recorded user behaved in half duplex; None where it made no difference.
    """

    profile: Profile
    turns: Sequence[Turn]
    interaction: Interaction
    usage: SessionUsage
    summary: Summary
    cost: Cost
    user: Literal["polite", "oblivious"] | None = None

    def build_result(
        self,
        verdicts: Sequence[Verdict] = (),
        *,
        profile_name: str = "",
        environment: Mapping[str, str],
    ) -> dict[str, Any]:
        """Return everything as plain data; see ``json_result.build_result``."""
        result = build_result(
            self.turns,
            self.usage,
            self.interaction,
            self.summary,
            self.profile.budgets,
            self.cost,
            verdicts,
            profile_name=profile_name,
            resolved=self.profile.resolved(),
            environment=environment,
        )
        return result | {"user": self.user}


def measure_session(
    timeline: Timeline, profile: Profile, folder: Path | None, labels: Labels | None = None
) -> Measurement:
    """Measure the session of ``timeline``.

    folder: holds a recording that the turns are checked against; None: there is none.
    labels: of the recording that was replayed; None: there are none.

    Raises InputError when the recording is not that of a session.
    """
    turns = measure_turns(timeline)
    if folder is not None:
        turns = check_recording(turns, folder / CONVERSATION, find_kept_start(timeline))
    usage = count_usage(timeline, turns)
    interaction = measure_interaction(timeline, labels, turns)
    return Measurement(
        profile=profile,
        turns=turns,
        interaction=interaction,
        usage=usage,
        summary=summarize(turns, usage, interaction),
        cost=estimate_cost(usage, profile.find_prices()),
        user=None if profile.interrupt.allowed else _find_user(Recording(timeline), turns),
    )


def _find_user(
    recording: Recording, turns: Sequence[Turn]
) -> Literal["polite", "oblivious"] | None:
    """Tell how the user of a half-duplex session behaved."""
    if (paused := recording.first_pause) is not None:
        return "polite" if recording.has_speech_after(paused) else None
    heard = [turn.heard_at for turn in turns if turn.heard_at is not None]
    end = recording.end
    return "oblivious" if end is not None and any(at < end for at in heard) else None
