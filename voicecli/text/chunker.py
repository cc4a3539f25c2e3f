"""A reply cut into pieces for the TTS while the LLM still writes it.  Pure.

The pieces are speakable text; one after the other they are the whole reply.  A piece ends with the
white space that follows it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Literal

from voicecli.text.markdown import CLOSERS, Speakable
from voicecli.turns.end_of_turn import HANGING, PARTICLES

FIRST_WORDS = 3
"""A first clause that a comma ends has so many words; fewer sound chopped off."""

ENOUGH_WORDS = 8
"""A first clause is not waited for longer, nor, where it would end in "the", than MOST_WORDS."""

MOST_WORDS = 12

SHORT = 40
"""A later sentence of fewer characters is joined to the next: flushes are few (20 a minute)."""

LONG = 200
"""A later sentence of more characters is cut within; they are about 13 s of speech."""

_SENTENCE_MARKS = "!?。！？"
_CLAUSE_MARKS = ",;:—–…、，；："
_OPENERS = "\"'“‘([{«「『（【"

_CLOSING = f"[{re.escape(CLOSERS)}]*"

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
"""Characters of which each takes as long to say as three Latin ones; few have spaces between."""

_BREAK = re.compile(rf"\s|{_UNSPACED.pattern}|[。！？、，；：]")
"""After which no word goes on."""

_LAST_BREAK = re.compile(rf".*(?:{_BREAK.pattern})", re.DOTALL)

_ALONE = re.compile(rf"[—…。！？、，；：]{_CLOSING}(?=[^\s.,!?…—。！？{re.escape(CLOSERS)}]\Z)")
"""A mark that counts without white space after it."""

_INNER_MARK = re.compile(rf"[,;:–—…]{_CLOSING}\s|[—…、，；：。！？]")

_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")  # J. S. Bach, U.S., e.g., p.m.
_ABBREVIATIONS = re.compile(
    r"(?:dr|mr|mrs|ms|prof|sr|jr|st|gen|col|lt|capt|sgt|rev|hon|gov|vs|etc|eg|ie|cf|approx|ca|fig|"
    r"vol|inc|ltd|co|corp|dept|est|ave|blvd|rd|jan|feb|apr|jun|jul|aug|sept?|oct|nov|dec|ph\.d)\.",
    re.IGNORECASE,
)

Boundary = Literal["sentence", "number", "clause", "abbreviation", "none"]


def find_boundary(text: str) -> Boundary:
    """What ``text``, if white space follows, ends with.

    number: a full stop after a short number; it ends a sentence unless a small letter follows.
    abbreviation: a full stop that ends no sentence, such as that of initials or an item's number.
    """
    bare = text.rstrip(CLOSERS)
    last = bare[-1:]
    if not last or last not in _SENTENCE_MARKS + _CLAUSE_MARKS + ".":
        return "none"
    if last in _SENTENCE_MARKS:
        return "sentence"
    if last in _CLAUSE_MARKS or bare.endswith(".."):
        return "clause"
    before, _, word = bare.rpartition(" ")
    word = word.lstrip(_OPENERS)
    if re.fullmatch(r"\d{1,3}\.", word):
        counted = not before or before[-1] in _SENTENCE_MARKS + _CLAUSE_MARKS + "."
        return "abbreviation" if counted else "number"
    if word == "I.":
        return "sentence"
    if _INITIALS.fullmatch(word) or _ABBREVIATIONS.fullmatch(word):
        return "abbreviation"
    return "sentence"


class Chunker(ABC):
    """Tokens go in, pieces to be spoken come out, however the tokens are cut."""

    def __init__(self) -> None:
        self._speakable = Speakable()
        self._text = ""

    def push(self, token: str) -> list[str]:
        """The pieces that ``token`` completes."""
        return self._add(self._speakable.push(token))

    def finish(self) -> list[str]:
        """The pieces that are left, now that nothing more comes."""
        pieces = self._add(self._speakable.finish())
        return [*pieces, self._release(len(self._text))] if self._text else pieces

    def take(self) -> str | None:
        """What is there now, because the LLM has stalled; a word that may go on stays."""
        found = _LAST_BREAK.match(self._text)
        cut = found.end() if found else 0
        rest = self._text[cut:].rstrip(CLOSERS)
        # "so." is taken for a word and its mark, though it may become "so.me"; "3." is not.
        if rest[-2:-1].isalpha() and "." not in rest[:-1] and _ends(find_boundary(self._text)):
            cut = len(self._text)
        return self._release(cut) if _speaks(self._text[:cut]) else None

    def _add(self, text: str) -> list[str]:
        pieces = []
        for character in text:
            self._text += character
            if cut := self._cut():
                pieces.append(self._release(cut))
        return pieces

    def _release(self, cut: int) -> str:
        piece, self._text = self._text[:cut], self._text[cut:]
        return piece

    @abstractmethod
    def _cut(self) -> int:
        """Where the text in hand, one character longer now, is to be cut; 0 for nowhere."""


class BatchChunker(Chunker):
    """Pieces of at least ``chars`` characters, each up to the end of a word."""

    def __init__(self, chars: int = 180) -> None:
        super().__init__()
        self._chars = chars

    def _cut(self) -> int:
        length = len(self._text)
        full = len(self._text.rstrip()) >= self._chars and _BREAK.match(self._text[-1])
        return length if full or length >= self._chars + LONG else 0


class ClauseChunker(Chunker):
    """A short first clause, to be heard soon; then whole sentences, which sound better.

    The first clause ends at the first mark after ``first_chars`` characters and 3 words, at the end
    of a sentence however short, or after 8 words.  Short sentences are joined, long ones cut.  A
    mark counts once white space has followed it, for "3." may become "3.5".
    """

    def __init__(self, first_chars: int = 12) -> None:
        super().__init__()
        self._first_chars = first_chars
        self._first = True

    def _release(self, cut: int) -> str:
        self._first = False
        return super()._release(cut)

    def _cut(self) -> int:
        cut, kind = self._boundary()
        before = self._text[:cut].rstrip()
        ends = self._ends_first if self._first else self._ends_later
        if _speaks(before) and ends(before, kind):
            return cut
        return self._cut_within() if _size(self._text) > LONG else 0

    def _boundary(self) -> tuple[int, Boundary]:
        """Where something has ended, as the last character shows, and what; 0 for nowhere."""
        text = self._text
        if text[-1].isspace():
            return len(text), find_boundary(text[:-1])
        if (
            text[-2:-1].isspace()
            and not text[-1].islower()
            and find_boundary(text[:-2]) == "number"
        ):
            return len(text) - 1, "sentence"
        if found := _ALONE.search(text):
            return found.end(), find_boundary(text[: found.end()])
        return 0, "none"

    def _ends_first(self, before: str, kind: Boundary) -> bool:
        words = _count_words(before)
        if kind == "clause":
            long = _size(before) >= self._first_chars and words >= FIRST_WORDS
            return long or words >= ENOUGH_WORDS
        if kind == "none":
            hanging = before.split()[-1].lower() in HANGING | PARTICLES
            return words >= (MOST_WORDS if hanging else ENOUGH_WORDS)
        return kind == "sentence"

    def _ends_later(self, before: str, kind: Boundary) -> bool:
        return kind == "sentence" and _size(before) >= SHORT

    def _cut_within(self) -> int:
        """After the last mark that leaves no short piece, or the last word; 0 within a word."""
        marks = [found.end() for found in _INNER_MARK.finditer(self._text)]
        if marks and _size(self._text[: marks[-1]]) >= SHORT:
            return marks[-1]
        if found := _LAST_BREAK.match(self._text):
            return found.end()
        return len(self._text) if len(self._text) >= 2 * LONG else 0


def _ends(kind: Boundary) -> bool:
    return kind in ("sentence", "clause")


def _speaks(text: str) -> bool:
    """Whether there is anything in it to be heard."""
    return any(character.isalnum() for character in text)


def _size(text: str) -> int:
    """Characters, counted by how long they take to say."""
    return len(text) + 2 * len(_UNSPACED.findall(text))


def _count_words(text: str) -> int:
    return len(text.split()) + len(_UNSPACED.findall(text))
