"""A conversation as lines of text, turn by turn.

#1 you   "What is the time?"
#1 agent "It is noon."
#1 ⏱ mouth-to-ear 815 ms = stt.ttfs 300 + llm.ttft 200 + … + pipeline 1   [speech_final]
"""

from __future__ import annotations

from collections.abc import Callable

from voicecli.events import CommitReply, ConnectionLost, Warned
from voicecli.metrics.summary import Budgets, find_overruns
from voicecli.metrics.turns import Turn, TurnReader
from voicecli.pipeline.history import CUT
from voicecli.report.format import rounded
from voicecli.sanitize import sanitize_line
from voicecli.timeline import Entry


class TurnLines:
    """A follower of a timeline, which writes what is worth reading when it happens.

    write: is given one line, without its end.
    """

    def __init__(self, write: Callable[[str], None], budgets: Budgets | None = None) -> None:
        self._write = write
        self._budgets = budgets or Budgets()
        self._reader = TurnReader()

    def __call__(self, entry: Entry) -> None:
        """``entry`` is what comes next."""
        turn = self._reader.note(entry)
        match entry:
            case CommitReply():
                self._write(user_line(entry.turn, entry.user_text))
            case Warned():
                self._write(notice(entry.service, entry.text))
            case ConnectionLost():
                self._write(notice(entry.service, entry.reason))
        if turn is not None:
            for line in reply_lines(turn, self._budgets):
                self._write(line)


def turn_lines(turn: Turn, budgets: Budgets) -> list[str]:
    """All lines of one turn."""
    return [user_line(turn.turn, turn.user_text), *reply_lines(turn, budgets)]


def user_line(number: int, text: str) -> str:
    """What the user said."""
    return f'#{number} you   "{sanitize_line(text)}"'


def reply_lines(turn: Turn, budgets: Budgets) -> list[str]:
    """What was heard of the reply, and how long it took."""
    lines = []
    if said := sanitize_line(turn.said):
        cut = CUT if turn.outcome == "interrupted" else ""
        lines.append(f'#{turn.turn} agent "{said}{cut}"')
    return [*lines, f"#{turn.turn} ⏱ {_measured(turn)}   {'  '.join(_marks(turn, budgets))}"]


def notice(service: str, text: str) -> str:
    """What the user should know; a refusal names its service itself."""
    prefix = f"{service.upper()}: "
    return f"! {prefix}{sanitize_line(text).removeprefix(prefix)}"


def _measured(turn: Turn) -> str:
    """The waterfall, or why there is none."""
    if turn.mouth_to_ear is not None:
        parts = rounded(turn.stages, turn.mouth_to_ear, per_second=1000)
        terms = " + ".join(f"{name} {took}" for name, took in parts.items() if took)
        return f"mouth-to-ear {round(turn.mouth_to_ear * 1000)} ms = {terms or 0}"
    match turn.outcome:
        case "discarded":
            return "not answered: the user went on, and the words are in a later turn"
        case "failed":
            return "no reply"
        case "silent":
            return "no reply: nothing of it was heard"
    if turn.reason == "typed":
        return "not measured: typed, not spoken"
    return "not measured"


def _marks(turn: Turn, budgets: Budgets) -> list[str]:
    """What else a reader should know, the rule that ended the user's turn first."""
    marks = [f"[{sanitize_line(turn.reason)}]"]
    if turn.outcome == "interrupted":
        marks.append(f"interrupted after {turn.heard:.1f} s")
    if turn.failure is not None:
        marks.append(f"{turn.failure.service.upper()} failed: {sanitize_line(turn.failure.reason)}")
    for one in find_overruns(turn, budgets):
        took, budget = round(one.took * 1000, 1), round(one.budget * 1000, 1)
        marks.append(f"over budget: {one.metric} {took:g} > {budget:g}")
    if turn.retries:
        marks.append(f"retried {_times(turn.retries)}")
    if turn.hedges:
        marks.append(f"hedged {_times(turn.hedges)}")
    if turn.underruns:
        marks.append(f"ran dry {_times(turn.underruns)}")
    if turn.cut_off and turn.outcome != "discarded":
        marks.append("cut off")
    if turn.cold:
        marks.append("cold")
    marks += [f"unreliable: {why}" for why in turn.unreliable]
    return marks


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
