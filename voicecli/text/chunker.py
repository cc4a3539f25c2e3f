"""Finds where a reply can be cut into pieces for the TTS while the LLM still writes it.  Pure.

A cut is a number of characters; what precedes it includes the white space there.  The best cuts are
natural boundaries: where a sentence or a clause ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

from typing_extensions import override

from voicecli.text.pacing import UNSPACED, Pacing
from voicecli.text.prose import CLOSERS
from voicecli.turns.end_of_turn import HANGING, PARTICLES

MIN_CLAUSE_WORDS = 3
"""A mark ends the first clause only after this many words; fewer sound chopped off."""

MIN_CONJUNCTION_WORDS = 4
"""A conjunction begins a new clause only after this many words: not in "ask me when"."""

LONGEST_PIECE = 500
"""Characters of a piece, 30 s of speech: what is synthesised too far ahead is paid for unheard."""

LONGEST_BATCH_EXCESS = 200
"""A batch that finds no end of a word within this many characters is cut in the middle of it."""

_SENTENCE_MARKS = "!?。！？"
_CLAUSE_MARKS = ",;:—–…、，；："
_OPENERS = "\"'“‘([{«「『（【"

_CLOSING = f"[{re.escape(CLOSERS)}]*"

_BREAK = re.compile(rf"\s|{UNSPACED.pattern}|[。！？、，；：]")
"""A character after which no word continues."""

_ALONE = re.compile(rf"[—…。！？、，；：]{_CLOSING}(?=[^\s.,!?…—。！？{re.escape(CLOSERS)}])")
"""A mark that needs no white space after it."""

_WHOLE = re.compile(r"[^\W\d_][,;!?]\Z")
"""A mark that is the last of its clause, whatever follows: not the one of "1,000" or "3.5"."""

_SUBJECT = (
    r"(?:i|you|he|she|it|we|they|there|this|these|those|then|let|please)(?:['’](?:m|re|s|ll|d|ve))?"
)
_CLAUSE_START = re.compile(
    # The cut shows as soon as the last word here has come: LLMs write words as common as these in
    # one token.  After "and" another noun may follow, so it takes one more word.
    r"(?<=\s)(?:(?P<conjunction>because|but|although|though|whereas|while|unless|until)"
    rf"|which|where|when|if|so\s+that|(?:and|or|so|yet|then)\s+{_SUBJECT})\b",
    re.IGNORECASE,
)
_PHRASE_START = re.compile(
    r"(?<=\s)(?:and|or|nor|that|than|as|to|for|with|from|of|at|in|on|into|onto|about|between|"
    r"without|during|against|by|after|before|since|around|through|under|over)(?=\s)",
    re.IGNORECASE,
)
"""Where a cut is heard less than elsewhere within a phrase: before "in", not after it."""


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PRONOUNS = _word_set("i you he she it we they who this that these those some any")
"""Words that may need the next one: "for you because …", but "ask you when …"."""

_NO_CUT_AFTER = (
    HANGING
    | PARTICLES
    | _word_set(
        "which what where when how why no not even only just exactly especially particularly is "
        "are was were am be been being do does did have has had can could will would shall should "
        "may might must i'd you'd he's she's we'd they'd you'll he'll she'll it'll we'll they'll "
        "you've we've they've don't doesn't didn't can't won't isn't aren't"
    )
)
"""Words that need the next one."""

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
    if bare.endswith(" -"):
        return "clause"
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


class Cut(NamedTuple):
    """A place where text can be cut, and what ends there."""

    end: int
    kind: Literal["sentence", "clause", "phrase"]


def find_cuts(text: str) -> list[Cut]:
    """List the natural places to cut ``text``, which may go on, in order.

    A mark counts once white space follows it, because "3." may become "3.5".
    """
    found: dict[int, Cut] = {}
    for cut in (*_find_marks(text), *_find_starts(text)):
        if _has_speech(text[: cut.end]):
            found.setdefault(cut.end, cut)
    return sorted(found.values())


def _find_marks(text: str) -> Iterator[Cut]:
    for space in re.finditer(r"\s", text):
        kind, after = find_boundary(text[: space.start()]), text[space.end() : space.end() + 1]
        if kind in ("sentence", "clause"):
            yield Cut(space.end(), kind)
        elif kind == "number" and after and not after.islower():
            yield Cut(space.end(), "sentence")
    for mark in _ALONE.finditer(text):
        if (kind := find_boundary(text[: mark.end()])) in ("sentence", "clause"):
            yield Cut(mark.end(), kind)
    if _WHOLE.search(text) and (kind := find_boundary(text)) in ("sentence", "clause"):
        yield Cut(len(text), kind)


def _find_starts(text: str) -> Iterator[Cut]:
    for start in _CLAUSE_START.finditer(text):
        before = text[: start.start()].split()
        if len(before) >= MIN_CONJUNCTION_WORDS:
            last = before[-1].lower()
            if last not in _NO_CUT_AFTER and (start["conjunction"] or last not in _PRONOUNS):
                yield Cut(start.start(), "clause")
    for start in _PHRASE_START.finditer(text):
        if _may_end(text[: start.start()]):
            yield Cut(start.start(), "phrase")


def _may_end(text: str) -> bool:
    """Whether the last word of ``text`` does not need the next one."""
    words = text.split()
    return bool(words) and words[-1].lower() not in _NO_CUT_AFTER | _PRONOUNS


class Chunker(Protocol):
    """Decides where the text of a reply is cut.

    longest: characters of a piece.
    """

    longest: int

    def find_first(self, text: str) -> int:
        """Return where the first piece of ``text``, which goes on, ends; 0 if not yet."""

    def find_next(self, text: str, *, stalled: bool = False) -> int:
        """Return where to cut ``text``, which goes on, if a piece is needed now; 0 for nowhere.

        stalled: whether it goes on late, so that a short piece is better than none.
        """


class BatchChunker(Chunker):
    """Pieces of at least ``chars`` characters, each up to the end of a word."""

    def __init__(self, chars: int) -> None:
        self._chars = chars
        self.longest = chars + LONGEST_BATCH_EXCESS

    @override
    def find_first(self, text: str) -> int:
        return self.find_next(text)

    @override
    def find_next(self, text: str, *, stalled: bool = False) -> int:
        if stalled:
            return max(_find_words(text), default=0)
        for end in range(self._chars, min(len(text), self.longest) + 1):
            if len(text[:end].rstrip()) >= self._chars and _BREAK.match(text[end - 1]):
                return end
        return self.longest if len(text) >= self.longest else 0


class ClauseChunker(Chunker):
    """A first piece that sounds until the next can arrive; then as much as there is.

    The first piece ends at the first natural boundary that leaves enough to sound.  Only a text
    that has no such boundary for long is cut within a phrase, at the least bad place.
    """

    longest = LONGEST_PIECE

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing

    @override
    def find_first(self, text: str) -> int:
        for cut in find_cuts(text):
            before = text[: cut.end]
            short = cut.kind == "clause" and _count_words(before) < MIN_CLAUSE_WORDS
            if cut.kind != "phrase" and not short and self._pacing.covers(before):
                return cut.end
        return self.find_next(text) if self._pacing.is_overdue(text) else 0

    @override
    def find_next(self, text: str, *, stalled: bool = False) -> int:
        """Return the last place of the best kind that leaves enough to sound.

        Where there is none, ``stalled`` allows one that leaves less, and then the end of any word.
        """
        text = text[: self.longest]
        places = _list_places(text)
        for enough in (self._pacing.covers, bool) if stalled else (self._pacing.covers,):
            for ends in places:
                if fitting := [end for end in ends if enough(text[:end])]:
                    return fitting[-1]
        if stalled:
            return max(_find_words(text), default=0)
        return len(text) if len(text) == self.longest else 0


def _list_places(text: str) -> list[list[int]]:
    """List the places to cut ``text`` that are equally good together, the best first."""
    cuts = find_cuts(text)
    if cut := _find_last_mark(text):
        cuts.append(cut)
    natural = [
        [cut.end for cut in cuts if cut.kind == kind] for kind in ("sentence", "clause", "phrase")
    ]
    return [*natural, [end for end in _find_words(text) if _may_end(text[:end])]]


def find_last_end(text: str) -> int:
    """Return where the last whole clause of ``text`` ends, at which the LLM was cut off.

    Without one, the last word that does not need the next one ends it; then the whole text does.
    """
    sentences, clauses, _, words = _list_places(text)
    return max([*sentences, *clauses], default=max(words, default=len(text)))


def _find_words(text: str) -> list[int]:
    """List where the words of ``text`` end; the last one may still be open."""
    ends = [match.end() for match in _BREAK.finditer(text)]
    return [end for end in ends if _has_speech(text[:end])]


def _find_last_mark(text: str) -> Cut | None:
    """Return the end of ``text`` if it is a boundary for an LLM that pauses there.

    "so." may become "so.me", but after a pause hardly; "3." may become "3.5".
    """
    word = text.rstrip(CLOSERS).rpartition(" ")[2]
    kind = find_boundary(text)
    if kind in ("sentence", "clause") and word[-2:-1].isalpha() and "." not in word[:-1]:
        return Cut(len(text), kind)
    return None


def _has_speech(text: str) -> bool:
    """Whether ``text`` contains anything to say."""
    return any(map(str.isalnum, text))


def _count_words(text: str) -> int:
    return len(text.split()) + len(UNSPACED.findall(text))
