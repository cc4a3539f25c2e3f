"""Turns an LLM's Markdown into speakable text while it is still being written.  Pure.

Markup is removed and its text kept; a URL becomes its host ("example dot com"); of a block of code
remains that there is one; formulas and mathematical symbols become words; footnotes, citations,
actions ("*laughs*"), emoticons, emoji, HTML tags and control characters are dropped; white space is
collapsed.  The end of a heading, a list item, a table row or a paragraph ends a sentence and gets a
full stop.

A table of rules, not a parser.  Decided text is passed on at once; only what the next characters
may turn into something else is held back: mostly one character, at most about 120 (of a possible
HTML tag).  A mark that is never closed therefore loses no text, except the one word after ``](``
and code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Literal, TypeAlias

from voicecli.text.prose import Prose
from voicecli.text.words import ENGLISH, SpokenWords

_Mode: TypeAlias = Literal[
    "line",
    "ruler",
    "cell",
    "text",
    "math",
    "code",
    "fence",
    "quote",
    "host",
    "path",
    "target",
    "nested",
    "title",
    "silence",
]
_Action: TypeAlias = Callable[[Prose, str], None]
_Rules: TypeAlias = tuple[tuple[str, _Action, _Mode], ...]


def _rules(*rules: tuple[str, _Action, _Mode]) -> _Rules:
    return rules


def _prefixes(*words: str) -> str:
    """Return a pattern of all beginnings of ``words``."""
    found = {word[:length] for word in words for length in range(1, len(word) + 1)}
    return "|".join(map(re.escape, sorted(found, key=len, reverse=True)))


_URL_STARTS = ("https://www.", "http://www.", "www.")
_ACTIONS = (
    "laughs|laughing|chuckles|chuckling|giggles|sighs|sighing|smiles|smiling|grins|winks|nods|"
    "pauses|whispers|gasps|shrugs|coughs|yawns|blushes|hugs|waves|clears|thinks|beep"
)
"""Words that begin an action or a sound, as role-playing models write it."""

_SYMBOLS = "×÷±≈≠≤≥√∞"
_FORMULA = r"[^\s\d$](?:[^$\n]{0,60}[^\s$])?"
_IN_PATH = r"[a-z0-9/_~#@$&+=%-]"
_BLOCK_TAGS = r"br|p|pre|div|summary|details|table|li|ul|ol|tr|td|th|hr|h[1-6]"
_SPACE = r"[^\S\n]"
_FENCE_START = rf"(?<=\n){_SPACE}{{0,12}}(?:`{{0,8}}|~{{0,8}})"
_FENCE_END = rf"(?<=\n){_SPACE}{{0,12}}(?:`{{3,}}|~{{3,}})"
_CITATION = r"\[(?:\^[^\]\s]{1,20}|\d{1,3}(?:[,–-] ?\d{1,3}){0,5})\]"
_FACE = r"(?:[^\w\s()（）]|[_ωoДдಠツʖᴗ益])"
_EMOTICON = (
    r"(?:[:;]['-]?[)(DPp|]{1,3}|\^[_.]?\^|¯\\{0,2}_\\?\(ツ\)_/¯"
    rf"|[(（]{_FACE}{{2,7}}[)）])"
)

_RULES: dict[_Mode, _Rules] = {
    "line": _rules(  # at the start of a line
        (rf"{_SPACE}|>", Prose.drop, "line"),
        (r"\n", Prose.end_paragraph, "line"),
        (r"(?:#{1,6}|[-+*•◦‣▪·])(?!\S)", Prose.start_block, "line"),
        (r"\[[ x]\](?!\S)", Prose.drop, "line"),  # a box to tick
        (r"([-=_*])\1\1", Prose.drop, "ruler"),  # or the line under a heading
        (rf"\d{{1,3}}[.)](?={_SPACE})", Prose.start_numbered, "text"),
        (
            rf"(?:`{{3,}}|~{{3,}})(?:te?xt|plain\w*|md|markdown){_SPACE}*\n",
            Prose.add_space,
            "quote",
        ),
        (r"(?:`{3,}|~{3,})[^`\n]{0,40}\n", Prose.mention_code, "fence"),
        (r"\[(?:\^[^\]\s]{1,20}|\d{1,3})\]:", Prose.remove, "silence"),  # a footnote, a target
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
        (r"[^\W\d_hw²³]| ", Prose.write, "text"),  # most characters; h and w may begin a URL
        (r"\n", Prose.end_line, "line"),
        (r"`{1,3}", Prose.drop, "code"),
        (r"\\\(", Prose.drop, "math"),
        (r"\\\[|\$\$", Prose.start_formula, "math"),
        (rf"\$(?={_FORMULA}\$(?!\d))", Prose.drop, "math"),
        (r"\\(?=\n)", Prose.drop, "text"),
        (r"\\[!-/:-@[-`{-~]", Prose.write_escaped, "text"),
        (rf"[*_(\[](?:{_ACTIONS})\b[^*_)\]\n]{{0,40}}[*_)\]](?!\()", Prose.remove, "text"),
        (r"(?<=\d)\*{2}(?=\d)|(?<=[^\W_])\^(?:[23](?!\d)|(?=\d))", Prose.write_power, "text"),
        (r"(?<=\d)\*(?=\d)|(?<=\s)\*(?=\s\d)", Prose.write_times, "text"),
        (r"(?<=\s)\*(?!\S)|(?<=[^\W_])_{1,2}(?=[^\W_])", Prose.write, "text"),
        (r"[²³]", Prose.write_power, "text"),
        (rf"[{_SYMBOLS}]", Prose.write_symbol, "text"),
        (r"(?<!\S)~(?=\d)", Prose.write_about, "text"),
        (r"[→←↔⇒⇐⇔➜➡]|(?<!\S)=>(?!\S)", Prose.pause, "text"),
        (r"(?<=-)>", Prose.drop, "text"),
        (r"(?<!\S)==(?=\S)|(?<=\S)==(?![\w=])", Prose.drop, "text"),
        (rf"{_CITATION}\(", Prose.remove, "target"),
        (
            rf"{_CITATION}|【\d[^】\n]{{0,60}}】|\ue200[^\ue201\n]{{0,80}}\ue201",
            Prose.remove,
            "text",
        ),
        (r"\]\(", Prose.drop, "target"),
        (rf"(?<!\S){_EMOTICON}(?!\w)", Prose.remove, "text"),
        (r"\*|_|~~|(?<!\S)!\[|\[|\]", Prose.drop, "text"),
        (r"&(?:#\d{1,6}|#x[0-9a-f]{1,5}|[a-z][a-z0-9]{1,30});", Prose.write_entity, "text"),
        (r"(?<=[a-z0-9_+-])@(?=[a-z0-9])", Prose.write_at, "host"),
        (r"(?<![a-z0-9_@])(?:https?://(?:www\.)?|www\.)(?=[a-z0-9])", Prose.drop, "host"),
        (r"<(?=https?:|www\.)", Prose.drop, "text"),
        (rf"</?(?:{_BLOCK_TAGS})(?:[\s/][^<>\n]{{0,79}})?>", Prose.add_space, "text"),
        (r"<[/!]?[a-z-][\w-]{0,19}(?:[\s/][^<>\n]{0,79})?>", Prose.drop, "text"),
        (r"<[|｜][^<>|｜\n]{1,40}[|｜]>", Prose.drop, "text"),  # a control token
        (r"\|", Prose.start_cell, "cell"),
        (r".", Prose.write, "text"),
    ),
    "math": _rules(
        (r"\\[)\]]|\$\$?", Prose.drop, "text"),
        (r"\\(?:begin|end)\{[a-z*]{1,20}\}|[&{]", Prose.drop, "math"),
        (r"\\[dt]?frac(?![a-z])", Prose.drop, "math"),
        (r"\\sqrt(?![a-z])", Prose.write_root, "math"),
        (r"\\[a-z]+", Prose.write_symbol, "math"),
        (r"\n\n", Prose.end_paragraph, "line"),
        (r"\\\\|\n", Prose.pause, "math"),
        (r"\\.", Prose.drop, "math"),
        (r"\}[^\S\n]?\{", Prose.write_over, "math"),
        (r"\^\{?[23](?!\d)\}?|[²³]|\^\{?(?!\\circ)", Prose.write_power, "math"),
        (r"[\^}_~]", Prose.add_space, "math"),
        (rf"[-−+=<>/*{_SYMBOLS}]", Prose.write_symbol, "math"),
        (r".", Prose.write, "math"),
    ),
    "code": _rules(
        (r"`{1,3}", Prose.drop, "text"),
        (r"\n", Prose.end_line, "line"),
        (r".", Prose.write, "code"),
    ),
    "fence": _rules((_FENCE_END, Prose.drop, "line"), (r".", Prose.drop, "fence")),
    "quote": _rules((_FENCE_END, Prose.drop, "line"), (r".", Prose.write, "quote")),
    "silence": _rules((r"\n", Prose.end_line, "line"), (r".", Prose.drop, "silence")),
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

_UNDECIDED: dict[_Mode, str] = {
    "line": (
        r"#{1,6}|[-=_*]{1,2}|[+•◦‣▪·]|\[(?:[ x]\]?)?|\d{1,3}[.)]?"
        r"|\[(?:\^[^\]\s]{0,20}|\d{0,3})\]?"
        r"|`{1,2}|~{1,2}|(?:`{3,8}|~{3,8})[^`\n]{0,40}"
    ),
    "cell": r"[:-]",
    "text": (
        r"`{1,2}|\\|\*{1,2}|_{1,2}|~|\]|(?<!\S)!|@|={1,2}|(?<=[^\W_])\^[23]?|(?<=\s)\*\s"
        rf"|[*_(\[](?:{_prefixes(*_ACTIONS.split('|'))}|(?:{_ACTIONS})[^*_)\]\n]{{0,40}}[*_)\]]?)"
        r"|\$(?:[^\s\d$][^$\n]{0,61}\$?)?"
        r"|\[(?:\^[^\]\s]{0,20}|\d{1,3}(?:[,–-] ?\d{0,3}){0,5})?\]?|【(?:\d[^】\n]{0,60})?"
        r"|\ue200[^\ue201\n]{0,80}|&(?:#?[a-z0-9]{0,31})"
        r"|(?<!\S)(?:[:;]['-]?[)(DPp|]{0,3}|\^[_.]?\^?|¯[\\_/(ツ)¯]{0,9}"
        rf"|[(（]{_FACE}{{0,7}}[)）]?)"
        r"|<[|｜][^<>|｜\n]{0,40}[|｜]?|<[/!]?(?:[a-z-][\w-]{0,19}(?:[\s/][^<>\n]{0,79})?)?"
        rf"|(?<![a-z0-9_@])(?:{_prefixes(*_URL_STARTS)})"
    ),
    "math": (r"\\[a-z]{0,20}(?:\{[a-z*]{0,20})?|\$|\^(?:\{?[23]?|\\(?:c(?:ir?)?)?)|\}[^\S\n]?|\n"),
    "code": r"`{1,2}",
    "fence": _FENCE_START,
    "quote": _FENCE_START,
    "host": r"[.?#:@]",
    "path": r"[.,;:!?')]{1,3}",
    "target": rf"{_SPACE}{{1,3}}",
}
"""For each mode what is held back, because another rule may match once more characters follow."""


class _CompiledRules:
    """The rules of a mode.

    undecided: what is held back; None where nothing is.
    """

    def __init__(self, mode: _Mode) -> None:
        self.rules = [(_compile(one), action, then) for one, action, then in _RULES[mode]]
        held = _UNDECIDED.get(mode)
        self.undecided = None if held is None else _compile(held)


def _compile(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL | re.IGNORECASE)


_find_rules = cache(_CompiledRules)


def compile_rules() -> None:
    """Compile the rules of all modes, which takes 40 ms, ahead of the first text."""
    for mode in _RULES:
        _find_rules(mode)


class MarkdownFilter:
    """Turns Markdown, given in pieces, into speakable text; how it is cut makes no difference."""

    def __init__(self, words: SpokenWords = ENGLISH) -> None:
        self._prose = Prose(words)
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
            mode = _find_rules(self._mode)
            if not finished and mode.undecided and mode.undecided.fullmatch(self._held, 1):
                return
            for pattern, action, then in mode.rules:
                if match := pattern.match(self._held, 1):
                    action(self._prose, match[0])
                    self._mode = then
                    self._held = self._held[match.end() - 1 :]
                    break
