"""Cuts a reply into pieces for the TTS while the LLM still writes it.  Pure.

The pieces are speakable text and add up to the whole reply; each includes the white space after it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Literal

from typing_extensions import override

from voicecli.text.markdown import CLOSERS, MarkdownFilter
from voicecli.turns.end_of_turn import HANGING, PARTICLES

FIRST_CLAUSE_MIN_WORDS = 3
"""A comma ends the first clause only after this many words; fewer sound chopped off."""

FIRST_CLAUSE_MAX_WORDS = 8
"""The first clause is cut after this many words, unless it would end in a word like "the"."""

FIRST_CLAUSE_HARD_MAX_WORDS = 12
"""The first clause is cut after this many words in any case."""

MIN_SENTENCE_CHARS = 40
"""A shorter later sentence is joined to the next one, because flushes are limited."""

MAX_SENTENCE_CHARS = 200
"""A longer later sentence is cut within; this is about 13 s of speech."""

_SENTENCE_MARKS = "!?。！？"
_CLAUSE_MARKS = ",;:—–…、，；："
_OPENERS = "\"'“‘([{«「『（【"

_CLOSING = f"[{re.escape(CLOSERS)}]*"

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
"""Characters that take as long to say as three Latin ones, usually without spaces between."""

_BREAK = re.compile(rf"\s|{_UNSPACED.pattern}|[。！？、，；：]")
"""A character after which no word continues."""

_LAST_BREAK = re.compile(rf".*(?:{_BREAK.pattern})", re.DOTALL)

_ALONE = re.compile(rf"[—…。！？、，；：]{_CLOSING}(?=[^\s.,!?…—。！？{re.escape(CLOSERS)}]\Z)")
"""A mark that needs no white space after it."""

_INNER_MARK = re.compile(rf"[,;:–—…]{_CLOSING}\s|[—…、，；：。！？]")

_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")  # J. S. Bach, U.S., e.g., p.m.
_ABBREVIATIONS = re.compile(
    r"(?:dr|mr|mrs|ms|prof|sr|jr|st|gen|col|lt|capt|sgt|rev|hon|gov|vs|etc|eg|ie|cf|approx|ca|fig|"
    r"vol|inc|ltd|co|corp|dept|est|ave|blvd|rd|jan|feb|apr|jun|jul|aug|sept?|oct|nov|dec|ph\.d)\.",
    re.IGNORECASE,
)

Boundary = Literal["sentence", "number", "clause", "abbreviation", "none"]


def find_boundary(text: str) -> Boundary:
    """Return what kind of boundary ``text`` ends with, if white space follows it.

    number: a full stop after a short number; it ends a sentence unless a small letter follows.
    abbreviation: a full stop that ends no sentence, as after initials or an item's number.
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
    short = _INITIALS.fullmatch(word) or _ABBREVIATIONS.fullmatch(word)
    return "abbreviation" if short and word != "I." else "sentence"


class Chunker(ABC):
    """Turns tokens into pieces to speak; where the tokens are cut makes no difference."""

    def __init__(self) -> None:
        self._filter = MarkdownFilter()
        self._text = ""
        self._is_first = True

    def push(self, token: str) -> list[str]:
        """Add ``token``; return the pieces that it completes."""
        return self._add(self._filter.push(token))

    def finish(self) -> list[str]:
        """Return the remaining pieces: no token follows."""
        pieces = self._add(self._filter.finish())
        return [*pieces, self._release(len(self._text))] if self._text else pieces

    def take(self) -> str | None:
        """Return the text so far for an LLM that stalls, or None; an open word stays."""
        match = _LAST_BREAK.match(self._text)
        cut = match.end() if match else 0
        rest = self._text[cut:].rstrip(CLOSERS)
        # "so." counts as a word and its mark, although it may become "so.me"; "3." does not.
        ended = find_boundary(self._text) in ("sentence", "clause")
        if ended and rest[-2:-1].isalpha() and "." not in rest[:-1]:
            cut = len(self._text)
        return self._release(cut) if _has_speech(self._text[:cut]) else None

    def _add(self, text: str) -> list[str]:
        pieces = []
        for character in text:
            self._text += character
            if cut := self._find_cut():
                pieces.append(self._release(cut))
        return pieces

    def _release(self, cut: int) -> str:
        piece, self._text = self._text[:cut], self._text[cut:]
        self._is_first = False
        return piece

    @abstractmethod
    def _find_cut(self) -> int:
        """Return where to cut the text, which has just grown by one character; 0 for nowhere."""


class BatchChunker(Chunker):
    """Pieces of at least ``chars`` characters, each up to the end of a word."""

    def __init__(self, chars: int) -> None:
        super().__init__()
        self._chars = chars

    @override
    def _find_cut(self) -> int:
        length = len(self._text)
        full = len(self._text.rstrip()) >= self._chars and _BREAK.match(self._text[-1])
        return length if full or length >= self._chars + MAX_SENTENCE_CHARS else 0


class ClauseChunker(Chunker):
    """A short first clause, so that speech starts soon; then whole sentences, which sound better.

    The first clause ends at the first mark after ``first_chars`` characters and 3 words, at the end
    of any sentence, or after 8 words.  Short sentences are joined, long ones cut.  A mark counts
    only once white space follows it, because "3." may become "3.5".
    """

    def __init__(self, first_chars: int) -> None:
        super().__init__()
        self._first_chars = first_chars

    @override
    def _find_cut(self) -> int:
        cut, kind = self._find_boundary()
        before = self._text[:cut].rstrip()
        if _has_speech(before) and self._ends_piece(before, kind):
            return cut
        return self._find_cut_within() if _size(self._text) > MAX_SENTENCE_CHARS else 0

    def _find_boundary(self) -> tuple[int, Boundary]:
        """Return where the last character shows a boundary, and its kind; 0 for nowhere."""
        text = self._text
        if text[-1].isspace():
            return len(text), find_boundary(text[:-1])
        goes_on = not text[-2:-1].isspace() or text[-1].islower()
        if not goes_on and find_boundary(text[:-2]) == "number":
            return len(text) - 1, "sentence"
        if match := _ALONE.search(text):
            return match.end(), find_boundary(text[: match.end()])
        return 0, "none"

    def _ends_piece(self, before: str, kind: Boundary) -> bool:
        if not self._is_first:
            return kind == "sentence" and _size(before) >= MIN_SENTENCE_CHARS
        words = len(before.split()) + len(_UNSPACED.findall(before))
        if kind == "clause":
            long = _size(before) >= self._first_chars and words >= FIRST_CLAUSE_MIN_WORDS
            return long or words >= FIRST_CLAUSE_MAX_WORDS
        if kind == "none":
            hanging = before.split()[-1].lower() in HANGING | PARTICLES
            return words >= (FIRST_CLAUSE_HARD_MAX_WORDS if hanging else FIRST_CLAUSE_MAX_WORDS)
        return kind == "sentence"

    def _find_cut_within(self) -> int:
        """Return the last good mark or else the end of the last word; 0 within a word."""
        marks = [match.end() for match in _INNER_MARK.finditer(self._text)]
        if marks and _size(self._text[: marks[-1]]) >= MIN_SENTENCE_CHARS:
            return marks[-1]
        if match := _LAST_BREAK.match(self._text):
            return match.end()
        return len(self._text) if len(self._text) >= 2 * MAX_SENTENCE_CHARS else 0


def _has_speech(text: str) -> bool:
    """Whether ``text`` contains anything to say."""
    return any(character.isalnum() for character in text)


def _size(text: str) -> int:
    """Count characters by how long they take to say."""
    return len(text) + 2 * len(_UNSPACED.findall(text))
