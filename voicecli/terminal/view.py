"""The state of a live conversation, folded from its timeline, and the live region that shows it.

you   What is the capital of
● listening  ████████░░░░  m mute · Enter answer me · Esc stop · q quit
"""

from __future__ import annotations

import re
from typing import Literal

from rich.cells import cell_len, chop_cells, set_cell_size

from voicecli import events
from voicecli.metrics.turns import Turn, TurnReader
from voicecli.sanitize import sanitize_line
from voicecli.timeline import Entry
from voicecli.turns.transcript import TurnTranscript
from voicecli.units import AudioBlock, Seconds

State = Literal["connecting", "listening", "thinking", "speaking", "ended"]

MAX_ROWS = 3
"""Rows of the live region for what is being said; of longer text, the end is shown."""

METER_CELLS = 12
METER_FLOOR = -60.0
"""Width of the level meter, and the dBFS that its first cell starts from."""

RESET, BOLD, DIM, RED, GREEN, YELLOW, CYAN = 0, 1, 2, 31, 32, 33, 36
_COLOURS = {"listening": GREEN, "speaking": CYAN, "muted": RED, "ended": DIM}
"""Colours of the states; the others, in which the user waits, are yellow."""


class Display:
    """Shows a conversation while it is held; a follower of its timeline."""

    def __call__(self, entry: Entry) -> None:
        """Show the next entry."""

    def announce(self, at: Seconds, text: str) -> None:
        """Show a line of the program's own."""

    def feed(self, block: AudioBlock) -> None:
        """Show a block of the microphone."""


class LiveView:
    """The state of a conversation after the latest entry; a follower of its timeline.

    state: who has the floor.
    muted: whether the user has muted the microphone.
    heard: of the current reply; level: of the microphone, in dBFS; typing: the line so far.  They
        change without an entry.  level and typing are None without a microphone and a keyboard.
    ended_turn: the turn that ended with the latest entry, if one did.
    turns: the turns so far.
    invites_user: whether the latest entry gives the floor to a user who has not taken it.
    """

    def __init__(self) -> None:
        self.state: State = "connecting"
        self.muted = False
        self.heard = ""
        self.level: float | None = None
        self.typing: str | None = None
        self.ended_turn: Turn | None = None
        self.invites_user = False
        self.turns = TurnReader()
        self._turn: events.TurnId = 0
        self._transcript = TurnTranscript()
        self._committed = ""
        self._stopped = False
        self._input_ended = False

    @property
    def words(self) -> str:
        """What the user has said in this turn so far."""
        return sanitize_line(self._transcript.text)

    def __call__(self, entry: Entry) -> None:
        """Take in the next entry."""
        self.ended_turn = self.turns.note(entry)
        replying = self._turn if self.state in ("thinking", "speaking") else None
        match entry:
            case events.ConnectionOpened() if self.state == "connecting":
                self.state = "listening"
            case events.MicrophoneMuted():
                self.muted = entry.muted
            case events.AgentStopped():
                self._stopped = True
            case events.InputEnded():
                self._input_ended = True
            case events.EndSession():
                self.state = "ended"
            case events.ReplyFinished() | events.ReplyFailed() if entry.turn == replying:
                self.state = "listening"
                self._transcript.drop()
            case events.PlaybackStarted() if entry.turn == replying:
                self.state, self._stopped = "speaking", False
            case _:
                self._follow_words(entry)
        ended = isinstance(entry, events.ReplyFinished | events.ReplyFailed)
        greeted = ended and replying == events.GREETING
        gives_floor = bool(self.ended_turn) and (ended or self._stopped)
        self.invites_user = (gives_floor or greeted) and not self._input_ended

    def _follow_words(self, entry: Entry) -> None:
        match entry:
            case events.InterimTranscript() | events.FinalTranscript():
                self._transcript.update(entry)
            case events.Greet():
                self.state, self._turn = "thinking", events.GREETING
            case events.CommitReply():
                self.state, self._turn, self._committed = "thinking", entry.turn, entry.user_text
                self._transcript.take()
            case events.CancelReply(committed=True):
                self.state = "listening"
                if entry.heard_nothing:  # the words before and those after are one turn
                    self._transcript.put_back(self._committed, None)
            case events.Resume():  # a back-channel
                self._transcript.drop()


def render_region(view: LiveView, width: int, keys: str = "") -> list[str]:
    """Return the rows of the live region, each narrower than ``width`` cells, with colours.

    keys: what the keys do.
    """
    rows = []
    if view.words:
        rows += _render_speech("you", view.words, width)
    if view.state == "speaking" and view.heard:
        rows += _render_speech("agent", sanitize_line(view.heard), width)
    rows.append(_render_status(view, keys, width))
    if (typing := view.typing) is not None:
        while cell_len(typing) > max(width - 4, 1):
            typing = typing[1:]
        rows.append(f"{style('›', BOLD)} {typing}{style('▏', BOLD)}")
    return rows


def _render_speech(who: str, text: str, width: int) -> list[str]:
    """Return the last rows of what is being said, beside who says it."""
    rows = wrap(text, max(width - 7, 1))
    label = f"{who:6}" if len(rows) <= MAX_ROWS else f"{who:5}…"
    margins = [label, *[" " * 6] * (MAX_ROWS - 1)]
    pairs = zip(margins, rows[-MAX_ROWS:], strict=False)
    return [style(margin[: width - 1], DIM) + row for margin, row in pairs]


def _render_status(view: LiveView, keys: str, width: int) -> str:
    """Show who has the floor, how loud the microphone is, and what the keys do."""
    muted = view.muted and view.level is not None and view.state == "listening"
    state = "muted" if muted else view.state
    parts = [(f"● {state:10}", _COLOURS.get(state, YELLOW))]
    if view.level is not None:
        cells = 0 if view.muted else meter_cells(view.level)
        parts += [(" ", RESET), ("█" * cells, GREEN), ("░" * (METER_CELLS - cells), DIM)]
    row, room = "", width - 1
    for text, number in [*parts, (f"  {keys}", DIM)]:
        text = set_cell_size(text, min(cell_len(text), room))
        room -= cell_len(text)
        row += style(text, number)
    return row


def meter_cells(level: float) -> int:
    """Return how many cells of the meter a level in dBFS fills."""
    return min(max(round(METER_CELLS * (1 - level / METER_FLOOR)), 0), METER_CELLS)


def style(text: str, number: int) -> str:
    """Return ``text`` in the colour or weight with this ANSI number; RESET changes nothing."""
    return f"\x1b[{number}m{text}\x1b[{RESET}m" if number and text else text


def wrap(text: str, width: int, indent: int = 0) -> list[str]:
    """Break ``text`` into rows of at most ``width`` cells; split only words wider than a row.

    indent: of all rows but the first.
    """
    rows = [""]
    for space, word in re.findall(r"(\s*)(\S+)", text):
        longer = rows[-1] + " " * len(space) + word
        if not cell_len(word):  # combining characters by themselves: they take no room
            rows[-1] += word
            continue
        if cell_len(longer) <= width:
            rows[-1] = longer
            continue
        if rows == [""]:  # the first row has no indent
            rows = chop_cells(word, width)[:1]
            word = word[len(rows[0]) :]
        rows += [" " * indent + part for part in chop_cells(word, width - indent) if part]
    return [row for row in rows if row]
