"""Removes what an LLM writes besides its answer: reasoning, tool calls, control tokens.  Pure.

Servers should send reasoning in a field of its own; many send it in the text, each model in a form
of its own (pipecat-ai/pipecat#4901, raullenchai/Rapid-MLX#447, odysseus-dev/odysseus#4522).

Decided text is passed on at once.  Held back is only what may become a mark, mostly the beginning
of a tag, and at the start of a reply the words "Okay, so the user", which begin no answer.

Some chat templates put the opening tag into the prompt, so that only the closing one comes
(ggml-org/llama.cpp#11861, vllm-project/vllm#31045, open-webui/open-webui#11259).  Text before it
cannot be known to be reasoning, except by such words.  What was passed on by then is revoked, and
from then on (``ReasoningHabit``) nothing of a reply is passed on before its closing tag.  A reply
without one is passed on as a whole at its end, and ends the habit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

# ── the marks ────────────────────────────────────────────────────────────────

_TAGS = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reason",
    "reasoning",
    "reflection",
    "analysis",
    "scratchpad",
    "inner_monologue",
    "antThinking",
    "seed:think",  # Seed-OSS
    "longcat_think",
)
_TOOL_TAGS = ("tool_call", "tool_calls", "function_call", "function_calls", "tool_response")

_PAIRS: dict[str, tuple[str, ...]] = {
    # Small models close <thinking> with </think>.
    **{f"<{tag}>": (f"</{tag}>", "</think>", "</thinking>") for tag in _TAGS},
    **{f"<{tag}>": (f"</{tag}>",) for tag in _TOOL_TAGS},
    "[THINK]": ("[/THINK]",),  # Magistral
    "◁think▷": ("◁/think▷",),  # Kimi
    "<|begin_of_thought|>": ("<|end_of_thought|>",),  # OpenThinker, Sky-T1
    "<|START_THINKING|>": ("<|END_THINKING|>",),  # Command A
    "<|inner_prefix|>": ("<|inner_suffix|>",),  # Apertus
    "<|channel>": ("<channel|>",),  # Gemma 4
    '<details type="reasoning"': ("</details>",),  # Open WebUI
    "<function=": ("</function>",),
    "<｜tool▁calls▁begin｜>": ("<｜tool▁calls▁end｜>",),  # DeepSeek
    "[TOOL_CALLS]": (),  # Mistral
    "<|python_tag|>": (),  # Llama
    "<|tool_call|>": ("<|/tool_call|>",),
}
"""What opens text that is not spoken, and what ends it."""

_FINAL = (  # gpt-oss: https://cookbook.openai.com/articles/openai-harmony
    "<|channel|>final<|message|>",
    "<|channel|>final <|message|>",
    "<|start|>assistant<|message|>",
    "<|channel|>final <|constrain|>json<|message|>",
)
_CHANNELS = ("<|channel|>", "<|start|>")
"""What opens another channel of gpt-oss, of which only the final one is spoken."""

_STARTS: dict[str, tuple[str, ...]] = {
    **{f"analysis{letter}": ("assistantfinal",) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
    "thought\n": ("<channel|>",),
    "Here is my thought process:": ("Here is my response:",),  # Granite 3.2
    "Thinking...\n": ("...done thinking.",),  # the ollama command
}
"""The same without special tokens: only at the start of a reply, and in this case."""

_REPLY_ENDS = (
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|start_header_id|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|user|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_turn>",
    "<start_of_turn>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "[INST]",
    "[/INST]",
    "\nUser:",
    "\nHuman:",
    "\n**User:**",
)
"""Control tokens after which a model without a working stop token writes the user's next turn."""

_ROLES = (
    "<|im_start|>assistant",
    "<|start_header_id|>assistant<|end_header_id|>",
    "<start_of_turn>model",
    "<|assistant|>",
    "Assistant:",
    "**Assistant:**",
    "**Assistant**:",
    "AI:",
    "AI Assistant:",
    "Voice Assistant:",
    "Agent:",
    "Bot:",
    "Chatbot:",
    "Asistente:",
    "Assistent:",
    "Assistente:",
    "アシスタント：",
    "assistantfinal",
    "<|start|>assistant<|message|>",
)
"""The speaker's label, dropped at the start of a reply."""

_THOUGHT_ENDS = (
    *dict.fromkeys(f"</{tag}>" for tag in _TAGS),
    "[/THINK]",
    "◁/think▷",
    "<|end_of_thought|>",
    "<|END_THINKING|>",
    "<|inner_suffix|>",
    "assistantfinal",
)
"""Closing marks that tell that the text before them was reasoning, even without an opening one."""


class _Marks:
    """Finds the first of some marks in text that goes on; in any case, but not where quoted."""

    def __init__(self, *marks: str) -> None:
        self._marks = marks
        self._prefixes = {mark.lower()[:end] for mark in marks for end in range(1, len(mark))}
        self._longest = max(map(len, marks), default=0)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._marks, key=len, reverse=True)
        pattern = "|".join(re.escape(mark) for mark in longest_first) or "(?!)"
        return re.compile(rf"(?<!`)(?:{pattern})", re.IGNORECASE)

    def find(
        self, text: str, start: int = 1, *, finished: bool = False
    ) -> tuple[re.Match[str] | None, int]:
        """Return the first mark from ``start`` on, and up to where ``text`` is decided.

        A mark that may become a longer one is not decided, unless ``text`` is finished.
        """
        found = self._pattern.search(text, start)
        decided = len(text) if finished else self._find_undecided(text)
        return (found if found and found.start() < decided else None), decided

    def _find_undecided(self, text: str) -> int:
        for start in range(max(1, len(text) - self._longest + 1), len(text)):
            if text[start:].lower() in self._prefixes:
                return start
        return len(text)


_OPENINGS = {opening.lower(): _Marks(*closings) for opening, closings in _PAIRS.items()}
_FINALS = _Marks(*_FINAL, "assistantfinal")
_OPENINGS |= dict.fromkeys(_CHANNELS, _FINALS)
_CLOSINGS = _Marks(*_THOUGHT_ENDS, *_FINAL)
_ANY = _Marks(*_PAIRS, *_CHANNELS, *_THOUGHT_ENDS, *_FINAL, *_REPLY_ENDS)
_SILENT_ENDS = frozenset(mark.lower() for mark in _REPLY_ENDS)
_SILENT_FINALS = frozenset(mark.lower() for mark in _FINAL)

# ── words that begin no answer ───────────────────────────────────────────────

_EARLY = "okay ok alright hmm hm so well now first right let me see the user"
_VERBS = (
    "is was has just wants want asks asked asking says said greets greeted wrote writes seems "
    "might may would needs mentioned gave provided sent wishes requests requested input message "
    "query question started simply only probably"
)
_LONGEST_CLUE = 6
_CLUE = re.compile(
    r"(?:(?:okay|ok|alright|hmm?|so|well|now|first|right|let me see)\W+){0,3}(?:the\s+)?user"
    rf"(?:['’]s\s|\s+(?:{_VERBS.replace(' ', '|')})\W)"
    "|(?:好的|好|嗯)?[，,]?用户(?:[问说想询让要]|希望|打招呼)",
    re.IGNORECASE,
)
_CHINESE_CLUE = re.compile("(?:好的|好|嗯)?[，,]?(?:用户?)?(?:希|打招?)?")


def find_clue(text: str) -> Literal["no", "undecided", "yes"]:
    """Tell whether ``text``, the start of a reply, speaks about the user, as reasoning does."""
    if _CLUE.match(text):
        return "yes"
    *whole, last = re.split(r"[\s,.!…]+", text.lower())
    early = _EARLY.split()
    known = len(whole) <= _LONGEST_CLUE and all(word in early for word in whole)
    expected = (*early, "user's ", "user’s ", *(_VERBS.split() if whole[-1:] == ["user"] else ()))
    open_ended = known and any(word.startswith(last) for word in expected)
    return "undecided" if open_ended or _CHINESE_CLUE.fullmatch(text) else "no"


# ── the filter ───────────────────────────────────────────────────────────────


@dataclass
class ReasoningHabit:
    """How the LLM marks its reasoning, as far as it is known; outlives the replies.

    setting: "unopened" if replies always begin within reasoning.
    unopened: whether they do, so that only a closing tag comes.
    """

    setting: Literal["auto", "unopened"] = "auto"
    unopened: bool = False

    def __post_init__(self) -> None:
        self.unopened = self.unopened or self.setting == "unopened"


class ReasoningFilter:
    """Passes on the answer within an LLM's text, given in pieces; how it is cut does not matter.

    begins: where the answer begins in the LLM's text; None before it.
    hidden: whether there was reasoning, or anything else that is not passed on.
    revoked: whether all that was passed on before the last ``push`` was reasoning.
    """

    def __init__(self, habit: ReasoningHabit | None = None) -> None:
        self.begins: int | None = None
        self.hidden = False
        self.revoked = False
        self._habit = habit or ReasoningHabit()
        self._state: Literal["start", "doubtful", "silent", "answer"] = "start"
        self._ends = _CLOSINGS
        """What ends the silent or the doubtful text."""
        self._opened = False
        """Whether a mark has opened reasoning."""
        self._held = "\n"
        """The undecided text, after one decided character that marks look back at."""
        self._position = -1
        """Where ``_held`` begins in the LLM's text."""
        self._searched = 1
        """Up to where ``_held`` is known to contain no end."""

    def push(self, text: str) -> str:
        """Add ``text``; return what is known by now to belong to the answer."""
        self.revoked = False
        self._held += text
        return self._decide(finished=False)

    def finish(self, *, cut: bool = False) -> str:
        """Return the rest of the answer: nothing follows.

        cut: whether the LLM was cut off, so that doubtful text may be reasoning without its end.
        """
        self.revoked = False
        passed = self._decide(finished=True)
        if self._state == "doubtful":
            if cut or self._habit.setting == "unopened":
                self.hidden = True
            else:
                self._habit.unopened = False
                self._state = "answer"
                passed += self._decide(finished=True)
        return passed

    def _decide(self, *, finished: bool) -> str:
        """Return what is passed on until the rest is undecided."""
        passed: list[str] = []
        while True:
            if self._state == "start":
                decided = self._read_start(finished)
            elif self._state == "answer":
                decided = self._read_answer(passed, finished)
            else:
                decided = self._find_end()
            if not decided:
                return "".join(passed)

    def _read_start(self, finished: bool) -> bool:
        """Decide how the reply starts, if it can be decided."""
        start = self._held[1:].lstrip()
        space = len(self._held) - len(start)
        if not finished and (
            not start
            or any(mark.startswith(start) for mark in (*_ROLES, *_STARTS) if mark != start)
            or (not self._habit.unopened and find_clue(start) == "undecided")
        ):
            return False
        if role := next(filter(start.startswith, _ROLES), None):
            self._drop(space + len(role))
        elif opening := next(filter(start.startswith, _STARTS), None):
            self._silence(_Marks(*_STARTS[opening]))
        elif self._habit.unopened or find_clue(start) == "yes":
            self._state, self._ends = "doubtful", _CLOSINGS
        else:
            self._state = "answer"
        return True

    def _read_answer(self, passed: list[str], finished: bool) -> bool:
        """Pass on the answer up to a mark, and heed it; return whether there was one."""
        found, decided = _ANY.find(self._held, finished=finished)
        if found is None:
            passed.append(self._pass(decided))
            return False
        passed.append(self._pass(found.start()))
        mark = found[0].lower()
        self._drop(1 + len(mark))
        if mark in _SILENT_ENDS:
            self._silence(_FINALS)
        elif mark in _OPENINGS:
            self._opened = True
            self._silence(_OPENINGS[mark])
        elif mark not in _SILENT_FINALS:
            if not self._opened and self.begins is not None:
                passed.clear()
                self.begins, self.revoked = None, True
                self._habit.unopened = True
            self._opened = self.hidden = True
        return True

    def _find_end(self) -> bool:
        """Drop what is silent up to its end; return whether that is there."""
        found, decided = self._ends.find(self._held, self._searched)
        if found:
            if self._state == "doubtful":
                self._habit.unopened = True
            self.hidden = self._opened = True
            self._drop(found.end())
            self._state = "answer"
            return True
        if self._state == "silent":
            self._drop(decided)
        else:
            self._searched = decided
        return False

    def _silence(self, ends: _Marks) -> None:
        self._state, self._ends, self.hidden = "silent", ends, True

    def _pass(self, end: int) -> str:
        text = self._held[1:end]
        if self.begins is None and (bare := text.lstrip()):
            self.begins = self._position + end - len(bare)
        self._drop(end)
        return text

    def _drop(self, end: int) -> None:
        """Note that the held text before ``end`` is decided."""
        self._held = self._held[end - 1 :]
        self._position += end - 1
        self._searched = 1
