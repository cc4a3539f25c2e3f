"""Whether two transcripts say the same, though the STT writes them differently.  Pure.

A final transcript often differs from the interim before it in case, punctuation, hyphens and
numerals only: "twenty five dollars" becomes "$25.", "ten thirty" 10:30, "five five five" 555.
Both are spelled as characters and joints, where a joint is what lies between two characters: a
space, nothing, or either.  "e-mail" has a joint that may be either, and so has every number written
in digits; within a number in words there is nothing: so "1030" is both "ten thirty" and "one
thousand thirty", and "10:30" is the former only.

In doubt two texts differ, which costs a draft.  Number words and units are English; in other
languages numerals must be written alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

Joint = Literal[" ", "=", "?"]
"""What lies between two characters: a space, nothing, or either."""

MATCH_WINDOW = 8
"""Words by which a match may differ from what is expected: numerals, and errors of the times."""


def _list(words: str) -> list[str]:
    return words.split()


_SMALL = _list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = _list("twenty thirty forty fifty sixty seventy eighty ninety")
_CARDINALS = {word: value for value, word in enumerate(_SMALL)} | {
    word: 10 * value for value, word in enumerate(_TENS, 2)
}
_IRREGULAR = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_ORDINALS = {
    _IRREGULAR.get(word, f"{word.removesuffix('y')}{'ie' if word.endswith('y') else ''}th"): value
    for word, value in _CARDINALS.items()
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_SUFFIXES = ("st", "nd", "rd", "th")
_REPEATS = {"double": 2, "triple": 3}

_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}
_SYNONYMS = {
    "ok": "okay", "dollar": "dollars", "pound": "pounds", "euro": "euros", "cent": "cents",
    "degree": "degrees",
}  # fmt: skip
_MONTHS = _list(
    "january february march april may june july august september october november december"
)

_AMOUNT = re.compile(rf"([$£€])(\d[\d,]*)(?:\.(\d\d))?(?: ({'|'.join(_SCALES)}))?(?!\w)")
_WRITTEN_OUT = [
    (re.compile(pattern), said)
    for pattern, said in (
        (r"(?<=\d):00(?=\s*[ap]\.? ?m\b)", ""),
        (r"(?<=\d):00\b", " o'clock"),
        (r"(?<=\d),(?=\d{3}(?!\d))", ""),
        (r"(?<=\d)\.(?=\d)", " point "),
        (r"(?<!\S)[-−](?=\d)", " minus "),
        (r"(?<=[^\W\d_]{2})\.(?=[^\W\d_])", " dot "),
        (r"%|\bper cent\b", " percent "),
        (r"&", " and "),
        (r"@", " at "),
        (r"#", " number "),
        (r"\+", " plus "),
        (r"/", " slash "),
        (r"°", " degrees "),
        (r"\b([ap])\.? ?m\b\.?", r"\1m"),
        (r"\balright\b", "all right"),
    )
]
_TOKEN = re.compile(r"(\s*)(\d+|[^\s\d.'-]+(?:'[^\s\d.'-]+)*|[.'-])")
_HYPHENS = str.maketrans("’‐‑", "'--")


class _Word(NamedTuple):
    """A word or a number; ``before`` and ``inside`` are its joints."""

    text: str
    before: Joint
    inside: Joint = "="


def says_same(text: str, other: str) -> bool:
    """Whether both texts have the same words, however they are written."""
    if text == other:
        return True
    characters, joints = _spell(text)
    other_characters, other_joints = _spell(other)
    return characters == other_characters and all(
        "?" in (one, two) or one == two
        for one, two in zip(joints[1:], other_joints[1:], strict=True)
    )


def count_restated(words: Sequence[str], said: Sequence[str], expected: int) -> int:
    """Return how many of the first ``words`` restate the end of ``said``, or all of it.

    expected: how many do, by their times; the match nearest to it counts.  Without a match, as many
    do if the texts resemble each other, for then the STT has corrected them; else none.
    """
    for count in sorted(range(1, len(words) + 1), key=lambda count: abs(count - expected)):
        if abs(count - expected) > MATCH_WINDOW:
            break
        first = " ".join(words[:count])
        lengths = {len(said), count}
        if re.search(r"\d", first) or re.search(r"\d", " ".join(said)):  # "$3" is "three dollars"
            lengths |= set(range(max(1, count - MATCH_WINDOW), count + MATCH_WINDOW + 1))
        if any(says_same(first, " ".join(said[-length:])) for length in lengths):
            return count
    restated = words[:expected]
    return len(restated) if resembles(" ".join(restated), " ".join(said)) else 0


def resembles(text: str, said: str) -> bool:
    """Whether ``text`` has half of the words of ``said``, all of it, or begins as its half does."""
    words, known = (Counter(re.findall(r"\w+", one.casefold())) for one in (text, said))
    if said and 2 * (words & known).total() >= known.total():
        return True
    spelled, looked_for = _spell(text)[0], _spell(said)[0]
    half = looked_for[: (len(looked_for) + 1) // 2]
    return bool(half) and (spelled.startswith(half) or looked_for in spelled)


@lru_cache(maxsize=64)  # a draft's text is compared with every transcript that follows
def _spell(text: str) -> tuple[str, str]:
    """Return the characters of ``text`` and the joint before each."""
    words = list(_order_dates(list(_read_numbers(_split(text)))))
    return (
        "".join(word.text for word in words),
        "".join(word.before + word.inside * (len(word.text) - 1) for word in words),
    )


def _split(text: str) -> list[_Word]:
    """Split into words and digits, without punctuation and with symbols written out."""
    text = unicodedata.normalize("NFKC", text).casefold().translate(_HYPHENS)
    text = _AMOUNT.sub(_write_amount_out, text)
    for pattern, said in _WRITTEN_OUT:
        text = pattern.sub(said, text)
    text = "".join(
        " " if unicodedata.category(one)[0] in "PZC" and one not in "-.'" else one for one in text
    )
    words: list[_Word] = []
    joint: Joint = " "
    for space, token in _TOKEN.findall(text):
        if token in ".-'":
            # The hyphen of "e-mail", the dots of "U.S."
            inner = not space and bool(words) and not words[-1].text.isdigit() and token != "'"
            joint = "?" if inner else " "
            continue
        digits = token.isdigit()
        before: Joint = " " if space or digits else joint
        words.append(_Word(_SYNONYMS.get(token, token), before, "?" if digits else "="))
        joint = " "
    return words


def _write_amount_out(match: re.Match[str]) -> str:
    symbol, whole, cents, scale = match.groups()
    amount = f"{whole} {scale or ''} {_CURRENCIES[symbol]}"
    return f"{amount} and {cents} cents" if cents and cents != "00" else amount


# ── numbers ──────────────────────────────────────────────────────────────────


def _read_numbers(words: list[_Word]) -> Iterator[_Word]:
    """Replace number words by digits; an ordinal is followed by "th"."""
    index, after_digit = 0, False
    while index < len(words):
        word, following = words[index].text, words[index + 1 : index + 2]
        next_is_digit = bool(following) and _is_digit(following[0].text)
        repeat = _REPEATS.get(word, 0) if next_is_digit else 0
        number = _Number()
        read = number.read(words[index:])
        if repeat or (word == "oh" and (after_digit or next_is_digit)):
            digit = "0" if word == "oh" else _to_digit(following[0].text)
            yield from [_Word(digit, " ")] * (repeat or 1)
            index, after_digit = index + (2 if repeat else 1), True
        elif read:
            written = read == 1 and word.isdigit()
            yield words[index] if written else _Word(str(number.value), " ")
            index, after_digit = index + read, True
            suffix = int(written and index < len(words) and words[index].text in _SUFFIXES)
            if number.ordinal or suffix:
                yield _Word("th", " ")
                index, after_digit = index + suffix, False
        else:
            yield words[index]
            index, after_digit = index + 1, False


class _Number:
    """A number in words, such as "two thousand and six" or "5 million", read word by word."""

    def __init__(self) -> None:
        self.ordinal = False
        self._total = 0
        self._scale = 10**12  # a further scale must be smaller
        self._part: int | None = None  # below the next scale
        self._room = 10**12  # what may be added must be smaller

    @property
    def value(self) -> int:
        return self._total + (self._part or 0)

    def read(self, words: list[_Word]) -> int:
        """Read the longest number at the start of ``words``; return how many words it has."""
        read = 0
        for index, word in enumerate(words):
            after = words[index + 1].text if index + 1 < len(words) else ""
            if index == 0 and word.text == "a" and (after == "hundred" or after in _SCALES):
                self._part = 1
            elif index and word.text == "and" and self._allows_and(words[index - 1].text, after):
                pass
            elif self.ordinal or not self._take(word.text, first=index == 0):
                break
            else:
                read = index + 1
        return read

    def _allows_and(self, before: str, after: str) -> bool:
        return (before == "hundred" or before in _SCALES) and after in _CARDINALS

    def _take(self, word: str, *, first: bool) -> bool:
        """Add ``word``; return False where it begins another number, or is none."""
        if word.isdigit():
            if first:
                self._part, self._room = int(word), 0
            return first
        if word in _CARDINALS or word in _ORDINALS:
            self.ordinal = word in _ORDINALS
            value = _ORDINALS[word] if self.ordinal else _CARDINALS[word]
            if not (first or 0 < value < self._room):
                self.ordinal = False
                return False
            self._part = (self._part or 0) + value
            self._room = 10 if value >= 20 else 0
            return True
        if word == "hundred" and self._part is not None and 0 < self._part < 100:
            self._part, self._room = 100 * self._part, 100
            return True
        scale = _SCALES.get(word, self._scale)
        if scale < self._scale and self._part:
            self._total, self._part = self._total + scale * self._part, None
            self._scale, self._room = scale, 100
            return True
        return False


def _is_digit(word: str) -> bool:
    return word == "oh" or word.isdigit() or _CARDINALS.get(word, 10) < 10


def _to_digit(word: str) -> str:
    return "0" if word == "oh" else str(_CARDINALS.get(word, word))


def _order_dates(words: list[_Word]) -> Iterator[_Word]:
    """Write "the first of May" and "May the first" as "May 1st"."""
    texts = [word.text for word in words]
    index = 0
    while index < len(words):
        start = index + (texts[index] == "the")
        match texts[start : start + 4]:
            case [day, "th", "of", month] if day.isdigit() and month in _MONTHS:
                yield from (words[start + 3], words[start], words[start + 1])
                index = start + 4
            case [day, "th", *_] if day.isdigit() and index and texts[index - 1] in _MONTHS:
                yield from words[start : start + 2]
                index = start + 2
            case _:
                yield words[index]
                index += 1
