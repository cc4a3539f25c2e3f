"""Dictation: whether a transcript ends within something that is spelled or read out.  Pure.

People pause between the groups of a telephone number, between the letters of a name and at the
signs of an e-mail address; after a short wait they would be cut off.  The rules are for English, in
words ("john dot smith at") and as an STT formats them ("J. O. H. N.", "555 123", "john.smith@").
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

Dictation = Literal["within", "whole"]
"""within: more is to come; whole: it has as much as such things have."""

_LOOK_BACK = 300
"""Characters that are looked at, which bounds the cost: 0.1 ms."""


def classify_dictation(text: str) -> Dictation | None:
    """Classify what is dictated at the end of ``text``; None: nothing, or its end is unclear."""
    said = text[-_LOOK_BACK:].casefold().replace("’", "'").rstrip(' .,;:!…"”')
    return _classify_address(said) or _classify_spelling(said) or _classify_number(said)


# ── e-mail and web addresses ─────────────────────────────────────────────────

_SIGN = re.compile(r"(?<!\bthe )(?<!\ba )(?<!\bpolka )\b(dot|underscore|slash)\b")
_WRITTEN = {"dot": ".", "underscore": "_", "slash": "/"}

_DOMAINS = "com org net edu gov info biz app dev io ai me tv eu uk us de fr es it nl ch at ca au nz"
_WHOLE_HOST = re.compile(rf"(?:[\w-]+\.)+(?:{'|'.join(_DOMAINS.split())})(?:/\S+)?")
_PROVIDERS = frozenset({"gmail", "googlemail", "hotmail", "icloud", "protonmail", "gmx"})

_OPEN = re.compile(r"(?:[\w-][._/@]|://|\bwww)$")
_MARKED_HOST = re.compile(r"(?:\w ?@ ?|\bwww\.|://)[\w./-]+$")
_AT_HOST = re.compile(r"([\w.-]+) at ([\w.-]+)$")
_DOTTED = re.compile(r"\b[a-z]{2,}[._]\w|\w[._][a-z]{2,}")
"""Names with a sign in them: "john.smith", but not "p.m"."""

_EMAIL_IS = re.compile(r"\be-?mail(?: address)?(?: is|'s|:)\s+(.+)$")
_NO_ADDRESS = frozenset({
    "not", "no", "never", "broken", "down", "full", "gone", "slow", "working", "wrong", "the",
    "a", "in", "on", "too", "very", "fine", "okay",
})  # fmt: skip


def _classify_address(said: str) -> Dictation | None:
    spoken_sign = _SIGN.search(said)
    said = re.sub(r" ([._/])(?: |$)", r"\1", _SIGN.sub(lambda sign: _WRITTEN[sign[1]], said))
    if _WHOLE_HOST.fullmatch(said.rpartition(" ")[2].rpartition("@")[2]):
        return "whole"
    if _OPEN.search(said) or _MARKED_HOST.search(said):
        return "within"
    if spoken_sign and _DOTTED.search(said.rpartition(" ")[2]):
        return "within"
    asked = _EMAIL_IS.search(said)
    if at := _AT_HOST.search(said):
        return "within" if asked or _DOTTED.search(at[1]) or at[2] in _PROVIDERS else None
    words = asked[1].split() if asked else []
    return "within" if 0 < len(words) <= 3 and not _NO_ADDRESS.intersection(words) else None


# ── letters ──────────────────────────────────────────────────────────────────

_LETTER_WORDS = frozenset({
    "alpha", "alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india",
    "juliet", "juliett", "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo",
    "sierra", "tango", "uniform", "victor", "whiskey", "xray", "yankee", "zulu",
})  # fmt: skip
_INITIALISMS = frozenset({
    "us", "usa", "uk", "eu", "un", "uae", "tv", "id", "ok", "am", "pm", "ai", "pc", "dj", "cd",
    "dvd", "it", "hr", "la", "dc", "nyc", "ny", "pr", "qa", "ceo", "faq", "gps",
})  # fmt: skip
_CAPITAL = re.compile(r"\b(?:capital|upper ?case|lower ?case) [a-z]$")
_AS_IN = re.compile(r"\b[a-z] as in(?: [a-z']+)?$|(?:^|[,.] |\bis |'s )[b-hj-z] for [a-z]+$")
_SPELLED = re.compile(r"\bspel(?:led|t|ling is)[:,]? [a-z]$")
_POSTCODE_IS = re.compile(r"\bpost(?:al )?code(?: is|'s|:)\s+([a-z]{1,2}(?:\d[a-z\d ]*)?)$")
_POSTCODE = re.compile(r"[a-z]{1,2}\d[a-z\d]?\d[a-z]{2}|[a-z]\d[a-z]\d[a-z]\d")
"""British or Canadian, without spaces."""


def _classify_spelling(said: str) -> Dictation | None:
    if _CAPITAL.search(said) or _AS_IN.search(said) or _SPELLED.search(said):
        return "within"
    if found := _POSTCODE_IS.search(said):
        return "whole" if _POSTCODE.fullmatch(found[1].replace(" ", "")) else "within"
    words = re.split(r"[,.]? |-", said)
    run: list[str] = []
    while words and (words[-1] in _LETTER_WORDS or re.fullmatch(r"[a-z]|\d+", words[-1])):
        run.insert(0, words.pop())
    letters = [one[0] for one in run if not one.isdigit()]
    if len(letters) < 2 or set(letters) <= {"a", "i", "o"} or "".join(letters) in _INITIALISMS:
        return None
    spelled = "".join(one if one.isdigit() else one[0] for one in run)
    return "whole" if spelled in words or _POSTCODE.fullmatch(spelled) else "within"


# ── digits ───────────────────────────────────────────────────────────────────

_DIGIT = r"(?:(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple)\b|\d)"
_DIGITS = re.compile(
    # Single digits or groups of them; not 10:30, 3.5, 1,000 or May 5, 2024.
    rf"(?<!\S)(?:{_DIGIT}(?!\d)(?:(?:, ?|[ -]){_DIGIT}(?!\d))*|{_DIGIT}+(?:[ -]{_DIGIT}+)*)$"
)
_NUMBERED = re.compile(
    r"\b(?:(?:numbers?|phone|code|pin|zip|postcode|account|card|extension|digits)\b.*"
    r"\b(?:is|are|was|it's|that's)|dial)\s+$"
)
_REACHED = re.compile(r"\b(?:call|reach|text|ring) (?:me|us|him|her|them) (?:back )?(?:at|on)\s+$")
_LENGTHS: tuple[tuple[str, Collection[int]], ...] = (
    (r"\bcard\b", (15, 16)),
    (r"\bzip\b|\bpostal code\b|\bpostcode\b", (5, 9)),
    (r"\bpin\b|\bcode\b|\bextension\b", (4, 6)),
    (r"\bsocial security\b", (9,)),
)
"""How many digits the numbers have that are named so; all others are like telephone numbers."""

_SHORT_PHONE, _LONG_PHONE = 7, 10
"""Digits of a telephone number in North America, without and with its area code; elsewhere one may
end after any number of digits from ten on."""

_CLOCK = re.compile(r"(?:1[0-2]|[1-9]) [0-5]\d")
_DATE = re.compile(r"\d\d?[ -]\d\d?[ -](?:19|20)\d\d|(?:19|20)\d\d[ -]\d\d?[ -]\d\d?")
_MONTH = re.compile(r"\b(?:jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec)[a-z]* $")


def _classify_number(said: str) -> Dictation | None:
    said = re.sub(r"[()+]", "", said)
    found = _DIGITS.search(said)
    if found is None:
        return None
    number, before = found[0], said[: found.start()]
    digits, groups = len(re.findall(_DIGIT, number)), re.split(r"\W+", number)
    named = _NUMBERED.search(before) or (digits > 2 and _REACHED.search(before))
    if not named and (len(groups) == 1 or _CLOCK.fullmatch(number)):
        return None
    if _DATE.fullmatch(number) or _MONTH.search(before):
        return None
    for name, lengths in _LENGTHS:
        if re.search(name, before):
            return "whole" if digits in lengths or digits > max(lengths) else "within"
    sizes = [len(group) for group in groups if group.isdigit()]
    if len(sizes) > 1 and set(sizes) == {4}:  # a payment card
        return "whole" if digits == 16 else "within"
    if groups[0] == "1" and max(sizes) > 1:  # the country's code
        return "whole" if digits >= 11 else "within"
    if digits >= _LONG_PHONE:
        return "whole"
    return None if digits == _SHORT_PHONE and sizes[:2] != [3, 3] else "within"
