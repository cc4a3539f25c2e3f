"""What words say about the floor: whether more will come, and whether they mean anything.  Pure.

English.  In another language the ends are told by punctuation, and back-channels are what the
profile lists.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal

Ending = Literal["complete", "default", "incomplete"]


def _listed(text: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(text.split(separator))


HANGING = _listed(
    # conjunctions
    "and or but nor because cuz if unless until while although whereas whether than as "
    # prepositions, but not those that also end a phrase
    "to for with of from at into onto about between without during against per via toward towards "
    "among upon like except including regarding "
    # articles and what else wants a noun
    "the a an my your our their every very "
    # fillers
    "um umm uh uhh uhm er erm hm hmm so "
    # contractions that want a complement
    "i'm you're we're they're it's that's there's what's where's who's let's i'll i've gonna wanna "
    "gotta"
)
"""Words that hardly ever end what somebody has to say, whatever mark the STT puts after them."""

PARTICLES = _listed("on in up off out over down by through around before after since")
"""Prepositions that may also end a phrase: "I live in", but "Turn it on"."""

_OPEN = _listed(
    "when where why how which who what that these some any is are was were am be do does did have "
    "has had can could will would should not just"
)
"""Words that may end a sentence; without a mark after them more is likely."""

_FILLERS = (["you", "know"], ["i", "mean"], ["let", "me", "see"], ["let", "me", "think"])

_LINKS = _listed("is are was were am")
_SUBJECTS = _listed(
    "i you he she it we they that this these those there here who what where how one"
)
_BELIEVE = _listed("think hope guess believe suppose say said")

_DIGIT = r"(?:(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple)\b|\d)"
_DIGITS = re.compile(
    # One by one, or in groups; not 10:30, 3.5, 1,000 or May 5, 2024.
    rf"(?<!\S)(?:{_DIGIT}(?!\d)(?:(?:, ?|[ -]){_DIGIT}(?!\d))*|{_DIGIT}+(?:[ -]{_DIGIT}+)*)\W*$"
)
_NUMBERED = re.compile(
    r"\b(?:(?:numbers?|phone|code|pin|zip|postcode|account|card|extension|digits)\b.*"
    r"\b(?:is|are|was|it's|that's|at)|dial)\s+$"
)
_WHOLE_NUMBERS = (7, 10)
"""Digits that a telephone number has; with more than ten it may end anywhere."""

_SHORT_ANSWERS = _listed(
    "yes|yeah|yep|yup|ya|no|nope|nah|please|thanks|thank you|thank you very much|okay|ok|sure|"
    "right|all right|alright|correct|exactly|absolutely|definitely|certainly|of course|maybe|"
    "perhaps|probably|hello|hi|hey|goodbye|bye|good|great|fine|perfect|cool|nice|awesome|stop|"
    "cancel|continue|go on|go ahead|nothing|never|always|never mind|nevermind|not really|not yet|"
    "not at all|i do|i don't|i did|i am|i can|i can't|it is|it does|it's fine|that's it|"
    "that's all|that's right|that's fine|i don't know|i think so|i guess so|i hope so|i see|"
    "got it|sounds good|me too|so do i|uh huh|mm hmm|mhm|uh uh|good morning|good evening|"
    "good night",
    "|",
)

_WORD = re.compile(r"[^\W_]+(?:['.][^\W_]+)*")
_TRAILING = re.compile(r"(?:[,;:–—…-]|\.\.)[\s\"'”’)]*$")
_FINAL = re.compile(r"[.!?。！？][\s\"'”’)\]」』]*$")


def split_words(text: str) -> list[str]:
    """The words of ``text``, in small letters and without punctuation; a hyphen parts two."""
    return _WORD.findall(text.casefold().replace("’", "'"))


_ANSWERS = [split_words(answer) for answer in _SHORT_ANSWERS]


def classify_ending(text: str) -> Ending:
    """What a pause after ``text`` means.

    complete: the user has probably said all.
    incomplete: the user will probably go on, even if the STT has put a full stop there.
    default: neither is clear.
    """
    spoken = split_words(text)
    if not spoken:
        return "default"
    if _TRAILING.search(text):
        return "incomplete"
    if _made_of(spoken, _ANSWERS):
        return "complete"
    final = _FINAL.search(text)
    if final and final[0][0] in "?？":
        return "complete"  # "What are you looking for?"
    if _hangs(spoken, text) or _counts_on(text):
        return "incomplete"
    if spoken[-1] in PARTICLES | _OPEN and not final:
        return "incomplete"
    return "complete" if final and spoken[-1] not in PARTICLES else "default"


def is_backchannel(text: str, known: Collection[str], *, begun: bool = False) -> bool:
    """Whether ``text`` consists of ``known`` back-channels, of one word or several, and no else.

    begun: the last of them may lack words that are still to come.
    """
    spoken = split_words(text)
    return bool(spoken) and _made_of(spoken, [split_words(phrase) for phrase in known], begun)


def is_echo(heard: str, said: str) -> bool:
    """Whether ``heard`` is an echo of what the agent says: its words occur together in ``said``.

    One word in four may have been misheard, missed or made up; so one to three words must be
    exact.
    """
    echo, source = split_words(heard), split_words(said)
    return bool(echo) and _distance(echo, source) <= len(echo) // 4


def _hangs(spoken: list[str], text: str) -> bool:
    """Whether the last word wants another."""
    last, before = spoken[-1], spoken[-2] if len(spoken) > 1 else ""
    if last == "so" and before in _BELIEVE:
        return False
    if last == "a" and re.search(r"\w\s+A\W*$", text):
        return False  # the letter: "Plan A."
    if last in _LINKS and before and before not in _SUBJECTS:
        return True  # "My name is", but not "Yes, it is"
    return last in HANGING or any(spoken[-len(filler) :] == filler for filler in _FILLERS)


def _counts_on(text: str) -> bool:
    """Whether the text ends within a number that is said digit by digit."""
    found = _DIGITS.search(text.casefold())
    if found is None:
        return False
    digits = len(re.findall(_DIGIT, found[0]))
    if digits in _WHOLE_NUMBERS or digits > max(_WHOLE_NUMBERS):
        return False
    in_groups = re.search(r"\w[^\w]+\w", found[0])
    return bool(in_groups or _NUMBERED.search(text[: found.start()].casefold()))


def _made_of(spoken: list[str], phrases: Collection[list[str]], begun: bool = False) -> bool:
    """Whether ``spoken`` is some of ``phrases``, one after the other."""
    reached = [True] + [False] * len(spoken)
    for start in range(len(spoken)):
        for phrase in phrases if reached[start] else ():
            end = start + len(phrase)
            if phrase and spoken[start:end] == phrase:
                reached[end] = True
            elif begun and spoken[start:] == phrase[: len(spoken) - start]:
                return True
    return reached[-1]


def _distance(echo: Sequence[str], source: Sequence[str]) -> int:
    """Words to change, add or leave out so that ``source`` contains ``echo`` (Sellers 1980)."""
    above = [0] * (len(source) + 1)  # a part may begin anywhere
    for row, word in enumerate(echo, 1):
        here = [row]
        for column, other in enumerate(source, 1):
            here.append(
                min(above[column - 1] + (word != other), above[column] + 1, here[column - 1] + 1)
            )
        above = here
    return min(above)
