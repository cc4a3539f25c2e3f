"""The state of a live conversation, folded from its timeline, and the live region that shows it.

you   What is the capital of
● listening  ████████░░░░  m mute · Enter answer me · Esc stop · q quit
"""

from __future__ import annotations

import re
from typing import Literal

from rich.cells import cell_len, set_cell_size

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
_COLOURS: dict[str, int] = {
    "connecting": YELLOW,
    "listening": GREEN,
    "thinking": YELLOW,
    "speaking": CYAN,
    "muted": RED,
    "ended": DIM,
}


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
    ttft: the LLM's time to first token, if that is the latest entry.
    invites_user: whether the latest entry gives the floor to a user who has not taken it.
    """

    def __init__(self) -> None:
        self.state: State = "connecting"
        self.muted = False
        self.heard = ""
        self.level: float | None = None
        self.typing: str | None = None
        self.ended_turn: Turn | None = None
        self.ttft: Seconds | None = None
        self.invites_user = False
        self._turns = TurnReader()
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
        self.ended_turn = self._turns.note(entry)
        self.ttft = None
        match entry:
            case events.ConnectionOpened() if self.state == "connecting":
                self.state = "listening"
            case events.MicrophoneMuted():
                self.muted = entry.muted
            case events.AgentStopped():
                self._stopped = True
            case events.InputEnded():
                self._input_ended = True
            case events.FirstToken():
                self.ttft = self._turns.measure_raw(entry.turn).get("llm.ttft")
            case events.EndSession():
                self.state = "ended"
            case events.ReplyFinished() | events.ReplyFailed() if self._has_floor(entry):
                self.state = "listening"
                self._transcript = TurnTranscript()
            case events.PlaybackStarted() if self._has_floor(entry):
                self.state, self._stopped = "speaking", False
            case _:
                self._follow_words(entry)
        gives_floor = isinstance(entry, events.ReplyFinished | events.ReplyFailed) or self._stopped
        self.invites_user = bool(self.ended_turn) and gives_floor and not self._input_ended

    def _has_floor(self, event: events.ReplyEvent) -> bool:
        """Whether ``event`` concerns the reply that has the floor."""
        return event.turn == self._turn and self.state in ("thinking", "speaking")

    def _follow_words(self, entry: Entry) -> None:
        match entry:
            case events.InterimTranscript() | events.FinalTranscript():
                self._transcript.update(entry)
            case events.CommitReply():
                self.state, self._turn, self._committed = "thinking", entry.turn, entry.user_text
                self._transcript.take()
            case events.CancelReply(committed=True):
                self.state = "listening"
                if entry.heard_nothing:  # the words before and those after are one turn
                    self._transcript.put_back(self._committed, None)
            case events.Resume():  # a back-channel
                self._transcript = TurnTranscript()


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
    if view.typing is not None:
        rows.append(_render_typing(view.typing, width))
    return rows


def _render_speech(who: str, text: str, width: int) -> list[str]:
    """The last rows of what is being said, beside who says it."""
    indent = 6
    rows = wrap(text, max(width - 1 - indent, 1))
    first = f"{who:{indent}}" if len(rows) <= MAX_ROWS else f"{who:{indent - 1}}…"
    rows = rows[-MAX_ROWS:]
    margins = [first, *[" " * indent] * (len(rows) - 1)]
    return [style(m[: width - 1], DIM) + row for m, row in zip(margins, rows, strict=True)]


def _render_status(view: LiveView, keys: str, width: int) -> str:
    """Who has the floor, how loud the microphone is, and what the keys do."""
    muted = view.muted and view.level is not None and view.state == "listening"
    state = "muted" if muted else view.state
    parts = [(f"● {state:10}", _COLOURS[state])]
    if view.level is not None:
        cells = 0 if view.muted else meter_cells(view.level)
        parts += [(" ", RESET), ("█" * cells, GREEN), ("░" * (METER_CELLS - cells), DIM)]
    return _crop([*parts, (f"  {keys}", DIM)], width - 1)


def _render_typing(text: str, width: int) -> str:
    """The end of what is being typed, and a caret."""
    room = max(width - 4, 1)
    while cell_len(text) > room:
        text = text[1:]
    return f"{style('›', BOLD)} {text}{style('▏', BOLD)}"


def meter_cells(level: float) -> int:
    """Return how many cells of the meter a level in dBFS fills."""
    cells = round(METER_CELLS * (1 - level / METER_FLOOR)) if level > METER_FLOOR else 0
    return min(max(cells, 0), METER_CELLS)


def style(text: str, number: int) -> str:
    """Return ``text`` in the colour or weight with this ANSI number."""
    return f"\x1b[{number}m{text}\x1b[{RESET}m"


def _crop(parts: list[tuple[str, int]], width: int) -> str:
    """Join ``parts``, each a text and its style; drop what lies beyond ``width`` cells."""
    kept = []
    for text, number in parts:
        text = text if cell_len(text) <= width else set_cell_size(text, max(width, 0))
        width -= cell_len(text)
        if text:
            kept.append(style(text, number))
    return "".join(kept)


def wrap(text: str, width: int, indent: int = 0) -> list[str]:
    """Break ``text`` between words into rows of at most ``width`` cells.

    Words wider than a row are broken inside.

    indent: of all rows but the first.
    """
    rows, row = [], ""
    margin = " " * indent
    for space, word in re.findall(r"(\s*)(\S+)", text):
        longer = row + " " * len(space) + word
        if cell_len(longer) <= width:
            row = longer
            continue
        if row.strip():
            rows.append(row)
            row = margin
        for character in word:
            if cell_len(row + character) > width and row.strip():
                rows.append(row)
                row = margin
            row += character
    return [*rows, row] if row else rows
