"""What a session came to: its numbers, told or written, and the exit code they stand for."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from voicecli.errors import NoReplyError, ServiceError, ThresholdError, UnreliableError

if TYPE_CHECKING:
    from voicecli.metrics.thresholds import Threshold, Verdict
    from voicecli.metrics.turns import Turn
    from voicecli.profile import Profile
    from voicecli.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """What the user asks of a session.

    expectations: what is to hold of its numbers.
    strict: whether every measurement is to be reliable.
    predicted: what a probe predicted; None where nobody asked one.
    """

    profile_name: str
    expectations: Sequence[Threshold] = ()
    strict: bool = False
    predicted: Mapping[str, Any] | None = None


class SessionResult:
    """The numbers of one session."""

    def __init__(
        self, timeline: Timeline, turns: Sequence[Turn], profile: Profile, asked: ResultOptions
    ) -> None:
        from voicecli.events import SpeechStarted
        from voicecli.metrics.summary import summarize
        from voicecli.metrics.thresholds import evaluate
        from voicecli.metrics.usage import count_usage, estimate_cost

        self._profile = profile
        self._asked = asked
        self.turns = turns
        self._voiced = any(isinstance(record, SpeechStarted) for record in timeline)
        self._ledger = count_usage(timeline, turns)
        self._summary = summarize(turns, self._ledger)
        self._cost = estimate_cost(self._ledger, profile.find_prices())
        self._verdicts: list[Verdict] = [evaluate(one, self._summary) for one in asked.expectations]

    def lines(self) -> list[str]:
        """What is told at the end."""
        from voicecli.report.summary_lines import summary_lines

        budgets = self._profile.budgets
        lines = summary_lines(self.turns, self._ledger, self._summary, budgets, self._cost)
        for verdict in self._verdicts:
            mark = "✓" if verdict.met else "✗"
            lines.append(f"{mark} {verdict.expectation.text}: {verdict.why}")
        return [*lines, *self._predicted()]

    def _predicted(self) -> list[str]:
        """What a probe predicted, beside what was measured."""
        from voicecli.metrics.stages import MOUTH_TO_EAR
        from voicecli.report.format import exact_ms

        if (predicted := self._asked.predicted) is None:
            return []
        measured = self._summary.distributions[MOUTH_TO_EAR.name]
        both = [
            f"{name.upper()} {_ms(predicted[f'{name}_ms'])} predicted, {_ms(value)} measured"
            for name, value in (
                ("p50", exact_ms(measured.p50)),
                ("p95", exact_ms(measured.p95)),
            )
        ]
        return [f"mouth-to-ear: {'; '.join(both)} (n = {measured.n})"]

    def as_json(self) -> str:
        """The same as JSON, and every turn."""
        from voicecli.report.json_result import Setting, result, written

        environment: dict[str, Any] = {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
        }
        setting = Setting(
            profile=self._asked.profile_name,
            resolved=self._profile.resolved(),
            environment=environment,
        )
        numbers = result(
            self.turns,
            self._ledger,
            self._summary,
            self._profile.budgets,
            self._cost,
            setting=setting,
            verdicts=self._verdicts,
        )
        return written(numbers | {"predicted": self._asked.predicted})

    def write(self, file: Path) -> None:
        """Write the JSON to ``file``."""
        file.write_text(self.as_json() + "\n", encoding="ascii")

    def judge(self) -> None:
        """Raise the VoiceError that the session deserves, if any."""
        failures = [turn.failure for turn in self.turns if turn.failure is not None]
        if not any(turn.replied for turn in self.turns):
            if failures:
                raise ServiceError(failures[-1].service, _bare(failures[-1].reason))
            raise NoReplyError(f"the agent never answered: {self._why_silent()}")
        missed = [verdict for verdict in self._verdicts if not verdict.met]
        if missed:
            raise ThresholdError(
                "not as expected: "
                + "; ".join(f"{one.expectation.text} ({one.why})" for one in missed)
            )
        doubts = [why for turn in self.turns for why in turn.unreliable]
        if self._asked.strict and doubts:
            raise UnreliableError(f"measured, but not reliably: {doubts[0]}")

    def _why_silent(self) -> str:
        if self.turns:
            return "nothing of its replies was heard"
        return "what the user said was not understood" if self._voiced else "nobody spoke"


def say(line: str) -> None:
    """A line for whoever reads along, at once."""
    typer.echo(line)


def _bare(reason: str) -> str:
    """``reason`` without the name of the service that an error puts before it."""
    head, colon, rest = reason.partition(": ")
    return rest if colon and head in ("STT", "LLM", "TTS") else reason


def _ms(value: float | None) -> str:
    return "withheld" if value is None else f"{value:.0f} ms"
