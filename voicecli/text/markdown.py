"""Turns an LLM's Markdown into speakable text while it is still being written.  Pure.

Markup is removed and its text kept; a URL becomes its host ("example dot com"); emoji, HTML tags
and control characters are dropped; white space is collapsed.  The end of a heading, a list item, a
table row or a paragraph ends a sentence and gets a full stop.

A table of rules, not a parser.  Decided text is passed on at once; only what the next characters
may turn into something else is held back: mostly one character, at most about 120 (of a possible
HTML tag).  A mark that is never closed therefore loses no text, except the one word after ``](``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeAlias
from unicodedata import category

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

    Each rule of the table below calls one of its methods with the characters that matched.
    """

    def __init__(self) -> None:
        self.text = ""
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

    def write_dot(self, raw: str) -> None:
        """Write the dot in a host name."""
        self._write(" dot ")

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

    def _write(self, text: str) -> None:
        self.text += text
        self._last = text[-1]
        self._gap, self._removed = "", False
        bare = text.strip()
        if bare and bare[-1] not in CLOSERS:
            self._ended = bare[-1] in MARKS


_Mode: TypeAlias = Literal[
    "line", "ruler", "cell", "text", "code", "fence", "host", "path", "target", "nested", "title"
]
_Rule: TypeAlias = tuple[re.Pattern[str], Callable[[Prose, str], None], _Mode]


def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL | re.IGNORECASE)


def _rules(*rules: tuple[str, Callable[[Prose, str], None], _Mode]) -> list[_Rule]:
    return [(_pattern(expression), action, then) for expression, action, then in rules]


_URL_STARTS = ("https://www.", "http://www.", "www.")
_URL_PREFIXES = "|".join(
    re.escape(start[:length]) for start in _URL_STARTS for length in range(1, len(start) + 1)
)
_IN_PATH = r"[a-z0-9/_~#@$&+=%-]"
_BLOCK_TAGS = r"br|p|div|li|ul|ol|tr|td|th|hr|h[1-6]"
_SPACE = r"[^\S\n]"

_RULES: dict[_Mode, list[_Rule]] = {
    "line": _rules(  # at the start of a line
        (rf"{_SPACE}|>", Prose.drop, "line"),
        (r"\n", Prose.end_paragraph, "line"),
        (r"(?:#{1,6}|[-+*•◦‣▪·])(?!\S)", Prose.start_block, "line"),
        (r"\[[ x]\](?!\S)", Prose.drop, "line"),  # a box to tick
        (r"([-=_*])\1\1", Prose.drop, "ruler"),  # or the line under a heading
        (rf"\d{{1,3}}[.)](?={_SPACE})", Prose.start_numbered, "text"),
        (rf"(?:`{{3,}}|~{{3,}})[\w+.#-]{{0,20}}{_SPACE}*\n", Prose.add_space, "fence"),
        (r"\|", Prose.start_cell, "cell"),
        (r"", Prose.drop, "text"),
    ),
    "ruler": _rules((r"[-=_*]", Prose.drop, "ruler"), (r"", Prose.drop, "line")),
    "cell": _rules(  # at the start of a table cell
        (rf"{_SPACE}|\||[:-](?![^:\-|\s])", Prose.drop, "cell"),
        (r"\n", Prose.end_line, "line"),
        (r"", Prose.drop, "text"),
    ),
    "text": _rules(
        (r"\n", Prose.end_line, "line"),
        (r"`{1,3}", Prose.drop, "code"),
        (r"\\[!-/:-@[-`{-~]", Prose.write_escaped, "text"),
        (r"(?<=\s)\*(?!\S)|(?<=\d)\*{1,2}(?=\d)|(?<=[^\W_])_{1,2}(?=[^\W_])", Prose.write, "text"),
        (r"\]\(", Prose.drop, "target"),
        (r"\*|_|~~|(?<!\S)!\[|\[|\]", Prose.drop, "text"),
        (r"(?<![a-z0-9_@])(?:https?://(?:www\.)?|www\.)(?=[a-z0-9])", Prose.drop, "host"),
        (r"<(?=https?:|www\.)", Prose.drop, "text"),
        (rf"</?(?:{_BLOCK_TAGS})(?:[\s/][^<>\n]{{0,79}})?>", Prose.add_space, "text"),
        (r"<[/!]?[a-z-][\w-]{0,19}(?:[\s/][^<>\n]{0,79})?>", Prose.drop, "text"),
        (r"\|", Prose.start_cell, "cell"),
        (r".", Prose.write, "text"),
    ),
    "code": _rules(
        (r"`{1,3}", Prose.drop, "text"),
        (r"\n", Prose.end_line, "line"),
        (r".", Prose.write, "code"),
    ),
    "fence": _rules(
        (rf"(?<=\n){_SPACE}{{0,12}}(?:`{{3}}|~{{3}})", Prose.drop, "line"),
        (r".", Prose.write, "fence"),
    ),
    "host": _rules(
        (r"[a-z0-9-]", Prose.write, "host"),
        (r"\.(?=[a-z0-9])", Prose.write_dot, "host"),
        (rf"/|[?#:@](?={_IN_PATH})", Prose.drop, "path"),
        (r">?", Prose.drop, "text"),
    ),
    "path": _rules(
        (rf"{_IN_PATH}|\(|[.,;:!?')]{{1,3}}(?={_IN_PATH})", Prose.drop, "path"),
        (r">?", Prose.drop, "text"),
    ),
    "target": _rules(  # of a link
        (r"\)", Prose.drop, "text"),
        (r"\(", Prose.drop, "nested"),
        (r"\n", Prose.end_line, "line"),
        (rf"{_SPACE}{{1,3}}(?=[\"'(])", Prose.drop, "title"),
        (_SPACE, Prose.add_space, "text"),
        (r".", Prose.drop, "target"),
    ),
    "nested": _rules((r"\)|(?=\s)", Prose.drop, "target"), (r".", Prose.drop, "nested")),
    "title": _rules(
        (r"\)", Prose.drop, "text"),
        (r"\n", Prose.end_line, "line"),
        (r".", Prose.drop, "title"),
    ),
}
"""For each mode the rules, of which the first that matches applies: pattern, action, next mode."""

_UNDECIDED: dict[_Mode, re.Pattern[str]] = {
    "line": _pattern(
        r"#{1,6}|[-=_*]{1,2}|[+•◦‣▪·]|\[(?:[ x]\]?)?|\d{1,3}[.)]?"
        rf"|`{{1,2}}|~{{1,2}}|(?:`{{3,8}}|~{{3,8}})[\w+.#-]{{0,20}}{_SPACE}{{0,8}}"
    ),
    "cell": _pattern(r"[:-]"),
    "text": _pattern(
        r"`{1,2}|\\|\*{1,2}|_{1,2}|~|\]|(?<!\S)!"
        r"|<[/!]?(?:[a-z-][\w-]{0,19}(?:[\s/][^<>\n]{0,79})?)?"
        rf"|(?<![a-z0-9_@])(?:{_URL_PREFIXES})"
    ),
    "code": _pattern(r"`{1,2}"),
    "fence": _pattern(rf"(?<=\n){_SPACE}{{0,12}}(?:`{{0,2}}|~{{0,2}})"),
    "host": _pattern(r"[.?#:@]"),
    "path": _pattern(r"[.,;:!?')]{1,3}"),
    "target": _pattern(rf"{_SPACE}{{1,3}}"),
}
"""For each mode what is held back, because another rule may match once more characters follow."""


class MarkdownFilter:
    """Turns Markdown, given in pieces, into speakable text; how it is cut makes no difference."""

    def __init__(self) -> None:
        self._prose = Prose()
        self._mode: _Mode = "line"
        self._held = "\n"
        """The undecided characters, after one decided character that rules look back at."""

    def push(self, text: str) -> str:
        """Add ``text``; return the speakable text that is decided by now."""
        for character in text:
            self._held += character
            self._decide()
        return self._take_text()

    def finish(self) -> str:
        """Return the remaining speakable text: nothing follows."""
        self._decide(finished=True)
        return self._take_text()

    def _take_text(self) -> str:
        text, self._prose.text = self._prose.text, ""
        return text

    def _decide(self, *, finished: bool = False) -> None:
        while len(self._held) > 1:
            undecided = _UNDECIDED.get(self._mode)
            if not finished and undecided and undecided.fullmatch(self._held, 1):
                return
            for pattern, action, then in _RULES[self._mode]:
                if match := pattern.match(self._held, 1):
                    action(self._prose, match[0])
                    self._mode = then
                    self._held = self._held[match.end() - 1 :]
                    break
