"""What a session came to: its numbers, as lines or as JSON, and the exit code they stand for."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicecli.errors import NoReplyError, ServiceError, ThresholdError, UnreliableError

if TYPE_CHECKING:
    from voicecli.metrics.thresholds import Threshold, Verdict
    from voicecli.metrics.turns import Turn
    from voicecli.profile import Profile
    from voicecli.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """What the user asks of a session.

    profile_name: "" where it is not known.
    expectations: thresholds that its numbers must meet.
    strict: whether every measurement must be reliable.
    predicted: the prediction of a probe, if one was given.
    """

    profile_name: str = ""
    expectations: Sequence[Threshold] = ()
    strict: bool = False
    predicted: Mapping[str, Any] | None = None


class SessionResult:
    """The numbers of one session.

    environment: what else is reported of it: platform and versions.
    """

    def __init__(
        self,
        timeline: Timeline,
        turns: Sequence[Turn],
        profile: Profile,
        options: ResultOptions,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        from voicecli.metrics.summary import summarize
        from voicecli.metrics.thresholds import evaluate
        from voicecli.metrics.usage import count_usage, estimate_cost

        self._timeline = timeline
        self._profile = profile
        self._options = options
        self._environment = describe_environment() if environment is None else environment
        self.turns = turns
        self._usage = count_usage(timeline, turns)
        self._summary = summarize(turns, self._usage)
        self._cost = estimate_cost(self._usage, profile.find_prices())
        self._verdicts: list[Verdict] = [
            evaluate(one, self._summary) for one in options.expectations
        ]

    def format_lines(self) -> list[str]:
        """Return the summary, the verdicts and the prediction."""
        from voicecli.report.summary_lines import format_summary, format_verdict

        budgets = self._profile.budgets
        lines = format_summary(self.turns, self._usage, self._summary, budgets, self._cost)
        return [*lines, *map(format_verdict, self._verdicts), *self._compare_prediction()]

    def _compare_prediction(self) -> list[str]:
        from voicecli.metrics.stages import MOUTH_TO_EAR
        from voicecli.report.format import to_ms

        if (predicted := self._options.predicted) is None:
            return []
        measured = self._summary.distributions[MOUTH_TO_EAR.name]
        both = [
            f"{name.upper()} {_ms(predicted[f'{name}_ms'])} predicted, "
            f"{_ms(to_ms(getattr(measured, name)))} measured"
            for name in ("p50", "p95")
        ]
        return [f"mouth-to-ear: {'; '.join(both)} (n = {measured.n})"]

    def as_json(self) -> str:
        """Return everything as JSON, every turn included."""
        from voicecli.report.json_result import SessionContext, build_result, dump_result

        numbers = build_result(
            self.turns,
            self._usage,
            self._summary,
            self._profile.budgets,
            self._cost,
            context=SessionContext(
                profile=self._options.profile_name,
                resolved=self._profile.resolved(),
                environment=self._environment,
            ),
            verdicts=self._verdicts,
        )
        return dump_result(numbers | {"predicted": self._options.predicted})

    def write(self, file: Path) -> None:
        """Write the JSON to ``file``."""
        file.write_text(self.as_json() + "\n", encoding="ascii")

    def judge(self) -> None:
        """Raise the VoiceError that stands for the session's exit code, if it failed."""
        failures = [turn.failure for turn in self.turns if turn.failure is not None]
        if not any(turn.replied for turn in self.turns):
            if failures:
                raise ServiceError(failures[-1].service, _strip_service(failures[-1].reason))
            raise NoReplyError(f"the agent never answered: {self._explain_silence()}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        missed = [verdict for verdict in self._verdicts if not verdict.met]
        if missed:
            raise ThresholdError(
                "not as expected: "
                + "; ".join(f"{one.threshold.text} ({one.why})" for one in missed)
            )
        doubts = [why for turn in self.turns for why in turn.unreliable]
        if self._options.strict and doubts:
            raise UnreliableError(f"measured, but not reliably: {doubts[0]}")

    def judge_live(self) -> None:
        """Like ``judge``, for a conversation with a live user.

        It also fails when a connection was lost, and not when the user said nothing or left before
        the answer.
        """
        from voicecli.events import ConnectionLost, UserQuit

        for entry in self._timeline:
            if isinstance(entry, ConnectionLost):
                raise ServiceError(entry.service, _strip_service(entry.reason))
        left = any(isinstance(entry, UserQuit) for entry in self._timeline)
        failed = any(turn.failure is not None for turn in self.turns)
        if self.turns and (failed or not left):
            self.judge()
        else:
            self._check_numbers()

    def _explain_silence(self) -> str:
        from voicecli.events import SpeechStarted

        if self.turns:
            return "none of its replies was heard"
        spoken = any(isinstance(entry, SpeechStarted) for entry in self._timeline)
        return "what the user said was not understood" if spoken else "nobody spoke"


def describe_environment() -> dict[str, str]:
    """Return what a result reports of this machine."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def find_columns() -> int | None:
    """Return the width of standard output; None unless it is a terminal that may show colours."""
    if sys.stdout is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return None
    return None if os.environ.get("TERM", "dumb") == "dumb" else shutil.get_terminal_size().columns


def _strip_service(reason: str) -> str:
    """Return ``reason`` without the name of the service, which the error puts before it."""
    head, colon, rest = reason.partition(": ")
    return rest if colon and head in ("STT", "LLM", "TTS") else reason


def _ms(value: float | None) -> str:
    return "withheld" if value is None else f"{value:.0f} ms"
