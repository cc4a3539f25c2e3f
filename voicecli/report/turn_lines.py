"""Writes a conversation as lines of text, turn by turn.

#1 you   "What is the time?"
#1 agent "It is noon."
#1 ⏱ mouth-to-ear 815 ms = stt.ttfs 300 + llm.ttft 200 + … + pipeline 1   [speech_final]

On a terminal the last line becomes a bar of the stages, in proportion and coloured:

#1 ⏱ ██████████▓▓▓▓▓▓███▓▓▓▓██ 815 ms  [speech_final]
     stt.ttfs 300 · llm.ttft 200 · … · pipeline 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal, NamedTuple

from voicecli.events import (
    GREETING,
    CommitReply,
    ConnectionLost,
    ReplyCancelled,
    ReplyFinished,
    Truncation,
    Warned,
)
from voicecli.metrics.stages import BUDGETED, MOUTH_TO_EAR
from voicecli.metrics.summary import Budgets, find_overruns
from voicecli.metrics.turns import Turn, TurnReader
from voicecli.report.format import format_measured, format_ms, round_parts
from voicecli.sanitize import sanitize_line
from voicecli.services.interfaces import CUT
from voicecli.timeline import Entry
from voicecli.units import ms

BAR_COLUMNS = 40
"""The longest bar."""


class StyledText(NamedTuple):
    """A piece of a line.

    style: whether what it shows met its budget, exceeded it, or has none.
    """

    text: str
    style: Literal["met", "over", ""] = ""


_TRUNCATED: dict[Truncation, str] = {
    "length": "reply cut: limit of tokens",
    "content_filter": "reply cut: content filter",
}
_COLOURS = {"met": "\x1b[32m", "over": "\x1b[31m"}  # green, red


@dataclass(slots=True)
class TurnLines:
    """A follower of a timeline that writes the lines of each entry.

    write: takes one line, without its end.
    columns: the width of the terminal; None for plain text.
    """

    write: Callable[[str], None]
    budgets: Budgets = Budgets()
    columns: int | None = None
    _reader: TurnReader = field(default_factory=TurnReader, init=False)

    def __call__(self, entry: Entry) -> None:
        """Write the lines of the next entry."""
        turn = self._reader.note(entry)
        for line in format_entry(entry, turn, self.budgets, self.columns):
            self.write(line)


def format_entry(
    entry: Entry, ended_turn: Turn | None, budgets: Budgets, columns: int | None = None
) -> list[str]:
    """Return the lines for one entry of a timeline, and for the turn that ended with it."""
    match entry:
        case CommitReply():
            return [format_user(entry.turn, entry.user_text)]
        case ReplyFinished() | ReplyCancelled() if entry.turn == GREETING:
            return format_greeting(entry)
        case Warned():
            return [format_notice(entry.service, entry.text)]
        case ConnectionLost():
            return [format_notice(entry.service, entry.reason)]
    return [] if ended_turn is None else format_reply(ended_turn, budgets, columns)


def format_greeting(end: ReplyFinished | ReplyCancelled) -> list[str]:
    """Return what was heard of the greeting."""
    cut = CUT if isinstance(end, ReplyCancelled) else ""
    return [f'agent "{said}{cut}"'] if (said := sanitize_line(end.said)) else []


def format_user(number: int, text: str) -> str:
    """Return what the user said."""
    return f'#{number} you   "{sanitize_line(text)}"'


def format_reply(turn: Turn, budgets: Budgets, columns: int | None = None) -> list[str]:
    """Return what was heard of the reply, and how long it took.

    columns: the width of a terminal, for a coloured bar; None for plain text.
    """
    lines = []
    if said := sanitize_line(turn.said):
        cut = CUT if turn.outcome == "interrupted" else ""
        lines.append(f'#{turn.turn} agent "{said}{cut}"')
    if columns is not None and turn.mouth_to_ear:
        return [*lines, *map(paint, draw_stages(turn, budgets, columns))]
    marks = "  ".join(list_marks(turn, budgets))
    return [*lines, f"#{turn.turn} ⏱ {_explain_wait(turn)}   {marks}"]


def format_notice(service: str, text: str) -> str:
    """Return a warning as a line; some texts begin with the service themselves."""
    prefix = f"{service.upper()}: "
    return f"! {prefix}{sanitize_line(text).removeprefix(prefix)}"


def draw_stages(turn: Turn, budgets: Budgets, columns: int) -> list[list[StyledText]]:
    """Lay the stages of a measured turn out as lines: a bar, the total and marks, then the numbers.

    columns: the width of a line; a mark that does not fit is longer.
    """
    assert turn.mouth_to_ear
    missed = {one.metric for one in find_overruns(turn, budgets)}
    limited = {metric.name for metric in BUDGETED.values()}

    def style(name: str) -> Literal["met", "over", ""]:
        return "over" if name in missed else "met" if name in limited else ""

    head = f"#{turn.turn} ⏱ "
    total = StyledText(format_measured(turn.mouth_to_ear, turn.error), style(MOUTH_TO_EAR.name))
    length = min(BAR_COLUMNS, max(columns - len(head) - len(total.text) - 1, 0))
    cells = round_parts(turn.stages, turn.mouth_to_ear, length / turn.mouth_to_ear)
    glyphs = cycle("█▓")
    bar = [StyledText(next(glyphs) * count, style(name)) for name, count in cells.items() if count]
    took = round_parts(turn.stages, turn.mouth_to_ear, 1000)
    numbers = [StyledText(f"{name} {one}", style(name)) for name, one in took.items() if one]
    marks = [StyledText(mark) for mark in list_marks(turn, budgets)]
    first = [StyledText(head), *bar, StyledText(" "), total]
    indent = " " * len(head)
    return [
        *_wrap(first, marks, "  ", indent, columns),
        *_wrap([StyledText(indent)], numbers, " · ", indent, columns),
    ]


def _wrap(
    line: list[StyledText], items: Iterable[StyledText], between: str, indent: str, columns: int
) -> list[list[StyledText]]:
    """Append ``items`` to ``line``, and go on in further lines when it is full."""
    lines = [line]
    for item in items:
        text = "".join(one.text for one in lines[-1])
        if not text.strip():
            lines[-1].append(item)
        elif len(text) + len(between) + len(item.text) <= columns:
            lines[-1] += [StyledText(between), item]
        else:
            lines.append([StyledText(indent), item])
    return lines


def paint(line: Iterable[StyledText]) -> str:
    """Return ``line`` with the colours of a terminal."""
    return "".join(
        f"{_COLOURS[one.style]}{one.text}\x1b[0m" if one.style else one.text for one in line
    )


def _explain_wait(turn: Turn) -> str:
    """Mouth-to-ear as the sum of its stages, or why it was not measured."""
    if turn.mouth_to_ear is not None:
        parts = round_parts(turn.stages, turn.mouth_to_ear, 1000)
        terms = " + ".join(f"{name} {took}" for name, took in parts.items() if took)
        return f"mouth-to-ear {format_measured(turn.mouth_to_ear, turn.error)} = {terms or 0}"
    unmeasured = "not measured: typed, not spoken" if turn.reason == "typed" else "not measured"
    reasons = {
        "discarded": "not answered: the user continued, and the words are in a later turn",
        "failed": "no reply",
        "silent": "no reply: no audio was played",
    }
    return reasons.get(turn.outcome, unmeasured)


def _describe_cut_off(turn: Turn) -> str:
    if turn.went_on is None:
        return "cut off"
    return f"cut off: the user goes on after {format_ms(turn.went_on)} ms"


def list_marks(turn: Turn, budgets: Budgets) -> list[str]:
    """List what else there is to know of a turn, first the rule that ended the user's."""
    marks = [f"[{sanitize_line(turn.reason)}]"]
    if turn.end_score is not None:
        marks.append(f"end score {turn.end_score:.2f}")
    if turn.outcome == "interrupted":
        within = ", last words estimated" if turn.said_estimated else ""
        marks.append(f"interrupted after {turn.heard:.1f} s{within}")
    if turn.truncated is not None:
        marks.append(_TRUNCATED[turn.truncated])
    if turn.failure is not None:
        marks.append(f"{turn.failure.service.upper()} failed: {sanitize_line(turn.failure.reason)}")
    for one in find_overruns(turn, budgets):
        took, budget = round(ms(one.took), 1), round(ms(one.budget), 1)
        marks.append(f"over budget: {one.metric} {took:g} > {budget:g}")
    counts = {"retried": turn.retries, "hedged": turn.hedges, "ran dry": turn.underruns}
    for what, count in counts.items():
        if count:
            marks.append(f"{what} {'once' if count == 1 else f'{count} times'}")
    if turn.cut_off and turn.outcome != "discarded":
        marks.append(_describe_cut_off(turn))
    if turn.cold:
        marks.append("cold")
    return [*marks, *(f"unreliable: {why}" for why in turn.unreliable)]
