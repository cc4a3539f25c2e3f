"""What an LLM writes, made fit to be spoken, while it is still being written.

Markdown goes and its text stays, a URL becomes its host ("example dot com"), emoji, HTML tags and
control characters go, white space is collapsed.  The end of a heading, of a list's item, of a
table's row and of a paragraph is the end of a sentence, and gets its full stop.

A table of rules, not a parser: what is decided is passed on at once, and only what the next
characters may turn into something else is held back, at most about 120 characters (of what looks
like an HTML tag), mostly one.  So a mark that is never closed costs no text, except the one word
after ``](``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal, TypeAlias

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
    "line": _rules(  # where a line begins
        (rf"{_SPACE}|>", Prose.drop, "line"),
        (r"\n", Prose.end_paragraph, "line"),
        (r"(?:#{1,6}|[-+*•◦‣▪·])(?!\S)", Prose.block, "line"),
        (r"\[[ x]\](?!\S)", Prose.drop, "line"),  # a box to tick
        (r"([-=_*])\1\1", Prose.drop, "ruler"),  # or the line under a heading
        (rf"\d{{1,3}}[.)](?={_SPACE})", Prose.number, "text"),
        (rf"(?:`{{3,}}|~{{3,}})[\w+.#-]{{0,20}}{_SPACE}*\n", Prose.space, "fence"),
        (r"\|", Prose.cell, "cell"),
        (r"", Prose.drop, "text"),
    ),
    "ruler": _rules((r"[-=_*]", Prose.drop, "ruler"), (r"", Prose.drop, "line")),
    "cell": _rules(  # where a table's cell begins
        (rf"{_SPACE}|\||[:-](?![^:\-|\s])", Prose.drop, "cell"),
        (r"\n", Prose.end_line, "line"),
        (r"", Prose.drop, "text"),
    ),
    "text": _rules(
        (r"\n", Prose.end_line, "line"),
        (r"`{1,3}", Prose.drop, "code"),
        (r"\\[!-/:-@[-`{-~]", Prose.escaped, "text"),
        (r"(?<=\s)\*(?!\S)|(?<=\d)\*{1,2}(?=\d)|(?<=[^\W_])_{1,2}(?=[^\W_])", Prose.say, "text"),
        (r"\]\(", Prose.drop, "target"),
        (r"\*|_|~~|(?<!\S)!\[|\[|\]", Prose.drop, "text"),
        (r"(?<![a-z0-9_@])(?:https?://(?:www\.)?|www\.)(?=[a-z0-9])", Prose.drop, "host"),
        (r"<(?=https?:|www\.)", Prose.drop, "text"),
        (rf"</?(?:{_BLOCK_TAGS})(?:[\s/][^<>\n]{{0,79}})?>", Prose.space, "text"),
        (r"<[/!]?[a-z-][\w-]{0,19}(?:[\s/][^<>\n]{0,79})?>", Prose.drop, "text"),
        (r"\|", Prose.cell, "cell"),
        (r".", Prose.say, "text"),
    ),
    "code": _rules(
        (r"`{1,3}", Prose.drop, "text"),
        (r"\n", Prose.end_line, "line"),
        (r".", Prose.say, "code"),
    ),
    "fence": _rules(
        (rf"(?<=\n){_SPACE}{{0,12}}(?:`{{3}}|~{{3}})", Prose.drop, "line"),
        (r".", Prose.say, "fence"),
    ),
    "host": _rules(
        (r"[a-z0-9-]", Prose.say, "host"),
        (r"\.(?=[a-z0-9])", Prose.dot, "host"),
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
        (_SPACE, Prose.space, "text"),
        (r".", Prose.drop, "target"),
    ),
    "nested": _rules((r"\)|(?=\s)", Prose.drop, "target"), (r".", Prose.drop, "nested")),
    "title": _rules(
        (r"\)", Prose.drop, "text"),
        (r"\n", Prose.end_line, "line"),
        (r".", Prose.drop, "title"),
    ),
}
"""What is to be done where: the first rule that fits what is held, and what the place is then."""

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
"""What is held back as long as it is all that is held: another rule may fit with what follows."""


class Speakable:
    """Text goes in as it comes, what can be spoken comes out.

    How the text is cut into pieces makes no difference to what comes out in the end.
    """

    def __init__(self) -> None:
        self._prose = Prose()
        self._mode: _Mode = "line"
        self._held = "\n"
        """What is not decided, after one character that is: rules look back at it."""

    def push(self, text: str) -> str:
        """What can be spoken now that ``text`` is known."""
        for character in text:
            self._held += character
            self._decide()
        return self._spoken()

    def finish(self) -> str:
        """What can be spoken now that nothing more comes."""
        self._decide(finished=True)
        return self._spoken()

    def _spoken(self) -> str:
        text, self._prose.text = self._prose.text, ""
        return text

    def _decide(self, *, finished: bool = False) -> None:
        while len(self._held) > 1:
            undecided = _UNDECIDED.get(self._mode)
            if not finished and undecided and undecided.fullmatch(self._held, 1):
                return
            for pattern, action, then in _RULES[self._mode]:
                if found := pattern.match(self._held, 1):
                    action(self._prose, found[0])
                    self._mode = then
                    self._held = self._held[found.end() - 1 :]
                    break
