"""A line that is being typed.  Pure."""

from __future__ import annotations

from voicecli.sanitize import strip_controls
from voicecli.terminal.keys import BACKSPACE, ENTER, ERASE_LINE, ERASE_WORD


class LineEditor:
    """Edits at the end of the line only.

    text: so far.
    """

    def __init__(self) -> None:
        self.text = ""

    def press(self, key: str) -> str | None:
        """The line, if ``key`` completes one that says something."""
        match key:
            case _ if key == ENTER:
                line, self.text = strip_controls(self.text), ""
                return line or None
            case _ if key == BACKSPACE:
                self.text = self.text[:-1]
            case _ if key == ERASE_LINE:
                self.text = ""
            case _ if key == ERASE_WORD:
                self.text = self.text.rstrip().rpartition(" ")[0]
                self.text += " " if self.text else ""
            case _:
                self.text += "".join(c for c in key.replace("\n", " ") if c.isprintable())
        return None
