"""What a live display shows of a conversation: a fold over its timeline, and lines of a terminal.

you   What is the capital of
● listening  ████████░░░░  m mute · Enter answer me · Esc stop · q quit
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len, set_cell_size

from voicecli.events import (
    CancelReply,
    CommitReply,
    ConnectionOpened,
    EndSession,
    FinalTranscript,
    InterimTranscript,
    MicrophoneMuted,
    PlaybackStarted,
    ReplyEvent,
    ReplyFailed,
    ReplyFinished,
    Resume,
    TurnId,
)
from voicecli.sanitize import sanitize_line
from voicecli.timeline import Entry

State = Literal["connecting", "listening", "thinking", "speaking", "ended"]

ROWS = 3
"""Of what is being said, the end is shown: so many rows of it."""

METER = 12
QUIETEST = -60.0
"""Cells of the level meter, and the dBFS where it begins."""

RESET, BOLD, DIM, RED, GREEN, YELLOW, CYAN = 0, 1, 2, 31, 32, 33, 36
_COLOURS: dict[str, int] = {
    "connecting": YELLOW,
    "listening": GREEN,
    "thinking": YELLOW,
    "speaking": CYAN,
    "muted": RED,
    "ended": DIM,
}


class LiveView:
    """What is going on; a follower of a timeline.

    state: who has the floor.
    muted: whether the user has muted the microphone.
    """

    def __init__(self) -> None:
        self.state: State = "connecting"
        self.muted = False
        self._turn: TurnId = 0
        self._finals: list[str] = []
        self._interim = ""
        self._answering = ""

    @property
    def words(self) -> str:
        """What the user has said in this turn so far."""
        return " ".join(filter(None, [*self._finals, self._interim]))

    def note(self, record: Entry) -> None:
        """``record`` is what comes next."""
        match record:
            case ConnectionOpened() if self.state == "connecting":
                self.state = "listening"
            case MicrophoneMuted():
                self.muted = record.muted
            case EndSession():
                self.state = "ended"
            case ReplyFinished() | ReplyFailed() if self._is_spoken_of(record):
                self.state = "listening"
                self._forget()
            case PlaybackStarted() if self._is_spoken_of(record):
                self.state = "speaking"
            case _:
                self._note_words(record)

    def _is_spoken_of(self, event: ReplyEvent) -> bool:
        """Whether it is of the reply that has the floor."""
        return event.turn == self._turn and self.state in ("thinking", "speaking")

    def _note_words(self, record: Entry) -> None:
        match record:
            case InterimTranscript():
                self._interim = sanitize_line(record.text)
            case FinalTranscript():
                self._finals.append(sanitize_line(record.text))
                self._interim = ""
            case CommitReply():
                self.state, self._turn = "thinking", record.turn
                self._answering = sanitize_line(record.user_text)
                self._forget()
            case CancelReply(committed=True):
                self.state = "listening"
                if record.heard_nothing:  # the words before and those after are one turn
                    self._finals.insert(0, self._answering)
            case Resume():  # it was nothing
                self._forget()

    def _forget(self) -> None:
        self._finals, self._interim = [], ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is shown beside the view, and changes without an event.

    heard: of the reply so far.
    level: of the microphone, in dBFS; None: there is none.
    typing: what the user has typed so far; None: nobody types here.
    keys: what they do.
    """

    heard: str = ""
    level: float | None = None
    typing: str | None = None
    keys: str = ""


def region(view: LiveView, moment: Moment, width: int) -> list[str]:
    """The lines of the live region, each narrower than ``width`` cells, with colours."""
    rows = []
    if view.words:
        rows += _speech("you", view.words, width)
    if view.state == "speaking" and moment.heard:
        rows += _speech("agent", sanitize_line(moment.heard), width)
    rows.append(_status(view, moment, width))
    if moment.typing is not None:
        rows.append(_typing(moment.typing, width))
    return rows


def styled(text: str, style: int) -> str:
    """``text`` in a colour or weight, by its number in ANSI."""
    return f"\x1b[{style}m{text}\x1b[{RESET}m"


def _speech(who: str, text: str, width: int) -> list[str]:
    """The end of what is being said, word-wrapped beside who says it."""
    indent = 6
    rows = wrapped(text, max(width - 1 - indent, 1))
    first = f"{who:{indent}}" if len(rows) <= ROWS else f"{who:{indent - 1}}…"
    margins = [first[: width - 1], *[" " * min(indent, width - 1)] * ROWS]
    return [
        f"{styled(margin, DIM)}{row}" for margin, row in zip(margins, rows[-ROWS:], strict=False)
    ]


def _status(view: LiveView, moment: Moment, width: int) -> str:
    """Whose turn it is, how loud the microphone is, and what the keys do."""
    muted = view.muted and moment.level is not None and view.state == "listening"
    state = "muted" if muted else view.state
    parts = [(f"● {state:10}", _COLOURS[state])]
    if moment.level is not None:
        cells = 0 if view.muted else meter(moment.level)
        parts += [(" ", RESET), ("█" * cells, GREEN), ("░" * (METER - cells), DIM)]
    return fitted([*parts, (f"  {moment.keys}", DIM)], width - 1)


def _typing(text: str, width: int) -> str:
    """The end of what is being typed, and a caret."""
    room = max(width - 4, 1)
    while cell_len(text) > room:
        text = text[1:]
    return f"{styled('›', BOLD)} {text}{styled('▏', BOLD)}"


def meter(level: float) -> int:
    """Cells of the meter that a level in dBFS fills."""
    return min(max(round(METER * (1 - level / QUIETEST)), 0), METER) if level > QUIETEST else 0


def fitted(parts: list[tuple[str, int]], width: int) -> str:
    """``parts``, each a text and its style, cut off after ``width`` cells."""
    shown = []
    for text, style in parts:
        text = text if cell_len(text) <= width else set_cell_size(text, max(width, 0))
        width -= cell_len(text)
        if text:
            shown.append(styled(text, style))
    return "".join(shown)


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in rows of at most ``width`` cells, broken at spaces where there are any."""
    rows, row = [], ""
    for word in text.split():
        candidate = f"{row} {word}" if row else word
        if cell_len(candidate) <= width:
            row = candidate
            continue
        if row:
            rows.append(row)
        row = ""
        for character in word:
            if cell_len(row + character) > width and row:
                rows.append(row)
                row = ""
            row += character
    return [*rows, row] if row else rows
