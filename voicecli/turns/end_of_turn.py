"""What a transcript says about the floor: its ending, back-channels, echoes.  Pure.

The word lists are English.  In other languages punctuation decides whether a turn is complete, and
the profile lists the back-channels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import cache

from voicecli.events import Ending
from voicecli.turns.dictation import classify_dictation


def _word_set(text: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(text.split(separator))


HANGING = _word_set(
    # conjunctions
    "and or but nor because cuz if unless until while although whereas whether than as "
    # prepositions, except those that also end a phrase
    "to for with of from at into onto about between without during against per via toward towards "
    "among upon like except including regarding "
    # articles and other words before a noun
    "the a an my your our their every very "
    # fillers
    "um umm uh uhh uhm er erm hm hmm so "
    # contractions that need a complement
    "i'm you're we're they're it's that's there's what's where's who's let's i'll i've gonna wanna "
    "gotta"
)
"""Words that hardly ever end a turn, whatever punctuation the STT puts after them."""

PARTICLES = _word_set("on in up off out over down by through around before after since")
"""Prepositions that may also end a phrase: "I live in", but "Turn it on"."""

_OPEN = _word_set(
    "when where why how which who what that these some any is are was were am be do does did have "
    "has had can could will would should not just"
)
"""Words that may end a sentence; without punctuation after them, more is likely."""

_FILLERS = (["you", "know"], ["i", "mean"], ["let", "me", "see"], ["let", "me", "think"])

_LINKS = _word_set("is are was were am")
_SUBJECTS = _word_set(
    "i you he she it we they that this these those there here who what where how one"
)
_BELIEVE = _word_set("think hope guess believe suppose say said")

ASSENTING_HUMS = (
    "uh-huh", "uhhuh", "uh-hum", "aha", "ah-ha",
    "mm-hmm", "mm-hm", "mmhmm", "mmhm", "mhm", "mhmm", "mm-hum", "hm-hmm",
)  # fmt: skip
"""Yes, with a closed or an open mouth, in the spellings of STTs.

Deepgram writes "mhmm" and "uh-huh" (developers.deepgram.com/docs/filler-words), AssemblyAI "mhm"
and "uh-huh" (assemblyai.com/docs, Filler Words), Whisper "mhm" and "mm" (what its normalizer
removes: arXiv:2212.04356, appendix C).  Moonshine hears a spoken "uh-huh" as "aha".
"""

_DENYING_HUMS = re.compile(r"\b(?:m+[- ]m+|n?uh+[- ]uh+|nah[- ]ah+)\b(?![- ]h)")
"""No: "mm-mm", "uh-uh", "nuh-uh" (Deepgram's spellings).  "Mm, mm-hmm" is yes."""

_LETTERS = re.compile(r"([^\W\d_])\1*")

_SHORT_ANSWERS = _word_set(
    "yes|yeah|yep|yup|ya|no|nope|nah|please|thanks|thank you|thank you very much|okay|ok|sure|"
    "right|all right|alright|correct|exactly|absolutely|definitely|certainly|of course|maybe|"
    "perhaps|probably|hello|hi|hey|goodbye|bye|good|great|fine|perfect|cool|nice|awesome|stop|"
    "cancel|continue|go on|go ahead|nothing|never|always|never mind|nevermind|not really|not yet|"
    "not at all|i do|i don't|i did|i am|i can|i can't|it is|it does|it's fine|that's it|"
    "that's all|that's right|that's fine|i don't know|i think so|i guess so|i hope so|i see|"
    "got it|sounds good|me too|so do i|uh uh|nuh uh|mm mm|good morning|good evening|good night",
    "|",
)

_WORD = re.compile(r"[^\W_]+(?:['.][^\W_]+)*")
_TRAILING = re.compile(r"(?:[,;:–—…-]|\.\.)[\s\"'”’)]*$")
_FINAL = re.compile(r"[.!?。！？][\s\"'”’)\]」』]*$")


FINISHED, GOES_ON = 0.9, 0.1
"""From which score on the sound is sure that a turn has ended, and up to which that it goes on.

Of 261 complete sentences of two speakers and a synthetic voice, 76 % were surely finished and 2 %
surely not; of 45 that broke off, 49 % and 16 % (Smart Turn v3.2, 0.1 s after the voice): the sound
corrects the words, and does not replace them.
"""


def split_words(text: str) -> list[str]:
    """Split ``text`` into lower-case words without punctuation; a hyphen separates words."""
    return _WORD.findall(text.casefold().replace("’", "'"))


_ANSWERS = [split_words(answer) for answer in (*_SHORT_ANSWERS, *ASSENTING_HUMS)]


def classify_ending(text: str) -> Ending:
    """Classify how ``text`` ends.

    complete: the user has probably finished.
    incomplete: the user will probably go on, even after a full stop by the STT.
    default: unclear.
    """
    words = split_words(text)
    if not words:
        return "default"
    if _TRAILING.search(text):
        return "incomplete"
    if _consists_of(words, _ANSWERS):
        return "complete"
    final = _FINAL.search(text)
    if final and final[0][0] in "?？":
        return "complete"  # "What are you looking for?"
    if _ends_hanging(words, text):
        return "incomplete"
    if (dictated := classify_dictation(text)) is not None:
        return "complete" if dictated == "whole" else "incomplete"
    if words[-1] in PARTICLES | _OPEN and not final:
        return "incomplete"
    return "complete" if final and words[-1] not in PARTICLES else "default"


def weigh_sound(ending: Ending, end_score: float | None) -> Ending:
    """Correct the class of an ending, as the words have it, by its sound.

    end_score: the probability that the turn has ended, by the sound; None: unknown.

    Words that hang stay incomplete: people sound finished after "and", too.
    """
    if end_score is None or ending == "incomplete":
        return ending
    if end_score <= GOES_ON:
        return "incomplete"
    return "complete" if end_score >= FINISHED else ending


def is_backchannel(text: str, known: Collection[str], *, begun: bool = False) -> bool:
    """Whether ``text`` consists of ``known`` back-channel phrases only.

    Drawn-out words count as well: "hmmm", "yeahh".  A hum that means no does not.

    begun: whether the last phrase may be incomplete.
    """
    if _DENYING_HUMS.search(text.casefold()):
        return False
    phrases = [split_words(phrase) for phrase in known]
    vocabulary = {word for phrase in phrases for word in phrase}
    words = [_shorten_drawl(word, vocabulary) for word in split_words(text)]
    return bool(words) and _consists_of(words, phrases, begun)


def _shorten_drawl(word: str, vocabulary: Collection[str]) -> str:
    """Return the known word that ``word`` is, some of its letters drawn out; else ``word``."""
    if word in vocabulary:
        return word
    return next((known for known in vocabulary if _draw_out(known).fullmatch(word)), word)


@cache
def _draw_out(word: str) -> re.Pattern[str]:
    """Compile a pattern of ``word`` with any letter longer; "uhhuh" is not "uhuh"."""
    drawn = _LETTERS.sub(lambda found: f"{found[1]}{{{len(found[0])},}}", re.escape(word))
    return re.compile(drawn)


def is_echo(text: str, said: str) -> bool:
    """Whether ``text`` is an echo of the agent: its words occur together in ``said``.

    One word in four may be wrong, missing or added; one to three words must match exactly.
    """
    echo, source = split_words(text), split_words(said)
    return bool(echo) and _distance(echo, source) <= len(echo) // 4


def _ends_hanging(words: list[str], text: str) -> bool:
    """Whether the last word needs another after it."""
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "so" and before in _BELIEVE:
        return False
    if last == "a" and re.search(r"\w\s+A\W*$", text):
        return False  # the letter: "Plan A."
    if last in _LINKS and before and before not in _SUBJECTS:
        return True  # "My name is", but not "Yes, it is"
    return last in HANGING or any(words[-len(filler) :] == filler for filler in _FILLERS)


def _consists_of(words: list[str], phrases: Collection[list[str]], begun: bool = False) -> bool:
    """Whether ``words`` is a sequence of ``phrases``; with ``begun`` the last may be cut off."""
    reached = [True] + [False] * len(words)
    for start in range(len(words)):
        for phrase in phrases if reached[start] else ():
            end = start + len(phrase)
            if phrase and words[start:end] == phrase:
                reached[end] = True
            elif begun and words[start:] == phrase[: len(words) - start]:
                return True
    return reached[-1]


def _distance(echo: Sequence[str], source: Sequence[str]) -> int:
    """Return how many word edits make ``echo`` a part of ``source`` (Sellers 1980)."""
    above = [0] * (len(source) + 1)  # the part may begin anywhere
    for row, word in enumerate(echo, 1):
        here = [row]
        for column, other in enumerate(source, 1):
            here.append(
                min(above[column - 1] + (word != other), above[column] + 1, here[column - 1] + 1)
            )
        above = here
    return min(above)
