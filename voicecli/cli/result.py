"""What a session came to: its numbers, as lines or as JSON, and the exit code they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voicecli.audio.recorder import CONVERSATION, REPLY
from voicecli.cli.output import print_text
from voicecli.environment.files import write_text_file
from voicecli.errors import NoReplyError, ServiceError, ThresholdError, UnreliableError
from voicecli.events import ConnectionLost, SpeechStarted, UserQuit
from voicecli.metrics.labels import Labels
from voicecli.metrics.thresholds import Threshold, evaluate
from voicecli.profile import Profile
from voicecli.report.json_result import describe_environment, dump_result
from voicecli.report.measurement import measure_session
from voicecli.report.summary_lines import format_prediction, format_summary, format_verdict
from voicecli.timeline import LABELS, RESULT, TIMELINE, Entry, Timeline


@dataclass
class SessionResult:
    """The numbers of one session.

    folder: holds a recording that the measured turns are checked against; None: there is none.
    labels: of the recording that was replayed, if there are any.
    profile_name: "" where it is not known.
    expectations: thresholds that the numbers must meet.
    strict: whether every measurement must be reliable.
    predicted: the prediction of a probe, if one was given.
    environment: what else is reported of the session.

    Raises InputError when the recording is not that of a session.
    """

    timeline: Timeline
    folder: Path | None
    profile: Profile
    labels: Labels | None = None
    profile_name: str = ""
    expectations: Sequence[Threshold] = ()
    strict: bool = False
    predicted: Mapping[str, Any] | None = None
    environment: Mapping[str, str] = field(default_factory=describe_environment)

    def __post_init__(self) -> None:
        self._measured = measure_session(self.timeline, self.profile, self.folder, self.labels)
        self.verdicts = [evaluate(one, self._measured.summary) for one in self.expectations]

    def print_lines(self, out: Path | None = None) -> None:
        """Print the summary, the verdicts, the prediction, and what is kept in ``out``."""
        budgets = self.profile.budgets
        found = self._measured
        lines = format_summary(
            found.turns,
            found.usage,
            found.interaction,
            found.summary,
            budgets,
            found.cost,
            found.user,
        )
        for line in ("", *lines, *map(format_verdict, self.verdicts), *self._compare_prediction()):
            print_text(line)
        if out is not None:
            names = [CONVERSATION, REPLY, TIMELINE, RESULT, *([LABELS] if self.labels else [])]
            print_text(f"\nkept in {out}: {', '.join(names)}")

    def _compare_prediction(self) -> list[str]:
        if self.predicted is None:
            return []
        return [format_prediction(self.predicted, self._measured.summary)]

    def as_json(self) -> str:
        """Return everything as JSON, every turn included."""
        numbers = self._measured.build_result(
            self.verdicts, profile_name=self.profile_name, environment=self.environment
        )
        return dump_result(numbers | {"predicted": self.predicted})

    def write(self, folder: Path) -> None:
        """Write the JSON, and the labels if there are any, to ``folder``."""
        from voicecli.corpus.label_file import dump_labels

        write_text_file(folder / RESULT, self.as_json() + "\n")
        if self.labels is not None:
            write_text_file(folder / LABELS, dump_labels(self.labels))

    def write_page(
        self, file: Path, name: str, conditions: Sequence[str], baseline: Sequence[float] = ()
    ) -> None:
        """Write the report with pictures to ``file``.

        name: what was played, or the session's folder.
        conditions: how it was measured, a clause each.
        baseline: mouth-to-ear of the turns that it is compared with, in milliseconds.
        """
        from voicecli.report.html.conversation import read_conversation
        from voicecli.report.html.session import SessionPage

        found = self._measured
        profile = f"profile {self.profile_name}" if self.profile_name else ""
        user = f"{found.user} user" if found.user else ""
        machine = self.environment.get("platform", "")
        page = SessionPage(
            name=name,
            conditions=[one for one in (profile, *conditions, user, machine) if one],
            conversation=read_conversation(self.timeline, found, self.folder, self.labels),
            verdicts=[(one.met, format_verdict(one)) for one in self.verdicts],
            predicted=self.predicted,
            baseline=baseline,
        )
        write_text_file(file, page.render())

    def judge(self) -> None:
        """Raise the VoiceError that stands for the session's exit code, if it failed."""
        failures = [turn.failure for turn in self._measured.turns if turn.failure is not None]
        if not any(turn.replied for turn in self._measured.turns):
            if failures:
                raise ServiceError(failures[-1].service, _strip_service(failures[-1].reason))
            raise NoReplyError(f"the agent never answered: {self._explain_silence()}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        missed = [f"{one.threshold.text} ({one.why})" for one in self.verdicts if not one.met]
        if missed:
            raise ThresholdError(f"not as expected: {'; '.join(missed)}")
        doubts = [why for turn in self._measured.turns for why in turn.unreliable]
        if self.strict and doubts:
            raise UnreliableError(f"measured, but not reliably: {doubts[0]}")

    def judge_live(self) -> None:
        """Like ``judge``, for a conversation with a live user.

        It also fails when a connection was lost, and not when the user said nothing or left before
        the answer.
        """
        for entry in self.timeline:
            if isinstance(entry, ConnectionLost):
                raise ServiceError(entry.service, _strip_service(entry.reason))
        failed = any(turn.failure is not None for turn in self._measured.turns)
        if self._measured.turns and (failed or not self._has(UserQuit)):
            self.judge()
        else:
            self._check_numbers()

    def _explain_silence(self) -> str:
        if self._measured.turns:
            return "none of its replies was heard"
        if self._has(SpeechStarted):
            return "what the user said was not understood"
        return "nobody spoke"

    def _has(self, kind: type[Entry]) -> bool:
        return any(isinstance(entry, kind) for entry in self.timeline)


def _strip_service(reason: str) -> str:
    """Return ``reason`` without the name of the service, which the error puts before it."""
    head, colon, rest = reason.partition(": ")
    return rest if colon and head in ("STT", "LLM", "TTS") else reason
