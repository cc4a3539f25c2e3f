"""Collects the text that is spoken, with its spaces and marks in order.  Pure."""

from __future__ import annotations

import html
import re
from unicodedata import category

from voicecli.text.words import ENGLISH, SpokenWords

MARKS = ".,;:!?…—–。！？、，；："
"""Marks that a pause in speech may follow."""

CLOSERS = "\"'”’)]}»」』）】"
"""Characters that may stand between a mark and the white space after it."""

_PICTOGRAPHS = re.compile("[\u2300-\u23ff\u2500-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_SILENT = re.compile("[\u20e3\ufe00-\ufe0f]")  # parts of emoji: keycap, variants
_SILENT_CATEGORIES = {"Cc", "Cf", "Co", "Cs"}  # control, format, private, half a character


class Prose:
    """Collects speakable text and normalises the spaces and marks between words.

    text: the text since it was last emptied.

    A space after a mark is written at once, because it shows that the mark was the last.  Any other
    space waits for what follows: it may still become the end of a paragraph, or nothing.

    Each rule of the Markdown filter calls one of its methods with the characters that matched.
    """

    def __init__(self, words: SpokenWords = ENGLISH) -> None:
        self.text = ""
        self._words = words
        self._last = ""
        self._gap = ""
        self._ended = True
        """Whether a mark follows the last word."""
        self._block = False
        """Whether the end of this line ends a sentence."""
        self._removed = False
        """Whether a pictograph was dropped in the gap."""

    def drop(self, raw: str) -> None:
        """Drop markup."""

    def write(self, raw: str) -> None:
        """Write text as it stands."""
        for character in raw:
            if character.isspace():
                self.add_space()
            elif _PICTOGRAPHS.match(character):
                self._removed = True
                self.add_space()
            elif not _SILENT.match(character) and category(character) not in _SILENT_CATEGORIES:
                if self._removed and character in MARKS:
                    self._gap = ""
                self._write(self._gap + character)

    def write_escaped(self, raw: str) -> None:
        """Write the character after a backslash."""
        self.write(raw[1:])

    def write_entity(self, raw: str) -> None:
        """Write the character that an HTML entity stands for."""
        self.write(html.unescape(raw))

    def write_dot(self, raw: str) -> None:
        """Write the dot in a host name."""
        self._write_word(self._words.dot)

    def write_at(self, raw: str) -> None:
        """Write the sign in an e-mail address."""
        self._write_word(self._words.at)

    def write_symbol(self, raw: str) -> None:
        """Write a mathematical symbol, or a LaTeX command without its backslash, as a word."""
        name = raw.strip().strip("\\{}").strip()
        self._write_word(self._words.symbols.get(name, "" if name in _LAYOUT else name))

    def write_times(self, raw: str) -> None:
        """Write an asterisk between numbers."""
        self.write_symbol("×")

    def write_about(self, raw: str) -> None:
        """Write a tilde before a number."""
        self.write_symbol("≈")

    def write_power(self, raw: str) -> None:
        """Write an exponent: of 2 and 3 with it, of others what precedes it."""
        exponent = raw.strip("^{}* ").translate({ord("²"): "2", ord("³"): "3"})
        words = {"2": self._words.squared, "3": self._words.cubed}
        self._write_word(words.get(exponent, f"{self._words.power} {exponent}".strip()))

    def write_root(self, raw: str) -> None:
        """Write what precedes the argument of a root."""
        self._write_word(self._words.root)

    def write_over(self, raw: str) -> None:
        """Write what stands between the two parts of a fraction."""
        self._write_word(self._words.over)

    def start_formula(self, raw: str) -> None:
        """Start a displayed formula; the end of its line ends a sentence."""
        self._block = True

    def mention_code(self, raw: str) -> None:
        """Say that there is code, in its place."""
        if self._last:
            self.end_paragraph(raw)
        self._write(self._words.code)
        self.end_paragraph(raw)

    def pause(self, raw: str) -> None:
        """Write a short pause."""
        if self._last and not self._ended:
            self._gap = ", "

    def remove(self, raw: str) -> None:
        """Drop something that is no text, and the space before a mark that follows."""
        self._removed = True

    def add_space(self, raw: str = "") -> None:
        """Write white space, or what replaces it."""
        if self._last in ("", " "):
            return
        if self._last in MARKS:
            self._write(" ")
        else:
            self._gap = self._gap or " "

    def start_block(self, raw: str) -> None:
        """Start a heading or a list item, which ends the line before it."""
        self.end_paragraph(raw)
        self._block = True

    def start_numbered(self, raw: str) -> None:
        """Start a numbered item; the number is spoken, because it may be an answer."""
        self.start_block(raw)
        self.write(raw)

    def start_cell(self, raw: str) -> None:
        """Start the next cell of a table row."""
        self._block = True
        self.add_space()
        if self._gap:
            self._gap = " " if self._ended else ", "

    def end_line(self, raw: str) -> None:
        """End a line that is not empty."""
        if self._block:
            self.end_paragraph(raw)
        else:
            self.add_space()

    def end_paragraph(self, raw: str) -> None:
        """End an empty line, or one that is a block."""
        if self._ended:
            self.add_space()
        else:
            self._gap = ""
            self._write(". ")
        self._block = False

    def _write_word(self, word: str) -> None:
        self.add_space()
        if word:
            self._write(self._gap + word)
        self.add_space()
        self._removed = True  # no space between the word and a mark

    def _write(self, text: str) -> None:
        self.text += text
        self._last = text[-1]
        self._gap, self._removed = "", False
        bare = text.strip()
        if bare and bare[-1] not in CLOSERS:
            self._ended = bare[-1] in MARKS


_LAYOUT = frozenset(
    ("left", "right", "big", "text", "mathrm", "mathbf", "operatorname", "quad", "boxed", "cdots")
)
"""LaTeX commands that say nothing."""
