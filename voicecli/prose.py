"""Plain text as it is to be spoken: one space at most, a full stop where a block ends.  Pure."""

from __future__ import annotations

import re
import unicodedata

MARKS = ".,;:!?…—–。！？、，；："
"""What a pause in speech may follow."""

CLOSERS = "\"'”’)]}»」』）】"
"""What may come between a mark and the white space after it."""

_PICTOGRAPHS = re.compile("[\u2300-\u23ff\u2500-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_UNHEARD = re.compile("[\u20e3\ufe00-\ufe0f]")  # parts of emoji: keycap, variants
_UNHEARD_CATEGORIES = {"Cc", "Cf", "Co", "Cs"}  # control, format, private, half a character


class Prose:
    """Takes what is to be spoken, bit by bit, and sees to what is between the words.

    text: what was said since it was last emptied.

    A space after a mark is said at once: it tells that the mark was the last.  Another waits for
    what follows, because it may still become the end of a paragraph, or nothing.
    """

    def __init__(self) -> None:
        self.text = ""
        self._last = ""
        self._gap = ""
        self._ended = True
        """Whether the last word is followed by a mark."""
        self._block = False
        """Whether the end of this line ends a sentence."""
        self._removed = False
        """Whether a pictograph stood in the gap."""

    def drop(self, raw: str) -> None:
        """Not to be spoken."""

    def say(self, raw: str) -> None:
        """To be spoken as it stands."""
        for character in raw:
            if character.isspace():
                self.space()
            elif _PICTOGRAPHS.match(character):
                self._removed = True
                self.space()
            elif not _UNHEARD.match(character) and (
                unicodedata.category(character) not in _UNHEARD_CATEGORIES
            ):
                if self._removed and character in MARKS:
                    self._gap = ""
                self._write(self._gap + character)

    def escaped(self, raw: str) -> None:
        """A backslash, and what is to be spoken."""
        self.say(raw[1:])

    def dot(self, raw: str) -> None:
        """The dot in a host's name."""
        self._write(" dot ")

    def space(self, raw: str = "") -> None:
        """White space, or what takes its place."""
        if self._last in ("", " "):
            return
        if self._last in MARKS:
            self._write(" ")
        else:
            self._gap = self._gap or " "

    def block(self, raw: str) -> None:
        """The mark of a heading or an item; the line before it has ended."""
        self.end_paragraph(raw)
        self._block = True

    def number(self, raw: str) -> None:
        """The number of an item; it is spoken, for it may as well be an answer."""
        self.block(raw)
        self.say(raw)

    def cell(self, raw: str) -> None:
        """A pipe between a table's cells."""
        self._block = True
        self.space()
        if self._gap:
            self._gap = " " if self._ended else ", "

    def end_line(self, raw: str) -> None:
        """The end of a line that says something."""
        if self._block:
            self.end_paragraph(raw)
        else:
            self.space()

    def end_paragraph(self, raw: str) -> None:
        """The end of an empty line, or of one that is a block."""
        if self._ended:
            self.space()
        else:
            self._gap = ""
            self._write(". ")
        self._block = False

    def _write(self, text: str) -> None:
        self.text += text
        self._last = text[-1]
        self._gap, self._removed = "", False
        told = text.strip()
        if told and told[-1] not in CLOSERS:
            self._ended = told[-1] in MARKS
