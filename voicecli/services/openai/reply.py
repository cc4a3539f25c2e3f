"""Reads the chunks of one reply; does no I/O.

Any field of a chunk may be missing or odd: OpenAI's is not the only server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from voicecli.events import Truncation
from voicecli.sanitize import replace_surrogates, sanitize_short
from voicecli.services.interfaces import Usage
from voicecli.services.openai.body import Frame

_TRUNCATED: dict[str, Truncation] = {
    "length": "length",
    "max_tokens": "length",  # Anthropic, Google
    "model_length": "length",  # Mistral: the context is full
    "content_filter": "content_filter",
    "safety": "content_filter",  # Google, and the next three
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
}
"""The finish reasons that mean a reply is not complete, by what servers call them."""


@dataclass(slots=True)
class ReplyReader:
    """What the chunks of a reply have said so far.

    usage: the last counts of tokens.
    finish: the finish reason; "" before one.
    said: whether a word has come.
    done: whether the server has said that no chunk follows.
    tools: the tools that the model called.
    odd: the first chunk that was not understood; "" if all were.
    """

    usage: Usage | None = None
    finish: str = ""
    said: bool = False
    done: bool = False
    tools: list[str] = field(default_factory=list)
    odd: str = ""
    _index: object = None

    @property
    def truncated(self) -> Truncation | None:
        """Why the reply ended early."""
        return _TRUNCATED.get(self.finish.lower())

    def describe_tools(self) -> str:
        """Say which tools the model called."""
        return f"calls the tool {', '.join(dict.fromkeys(self.tools))}, and there are none"

    def read(self, frame: Frame) -> str:
        """Take the next chunk; return its text, but none before the first word."""
        if frame.done:
            self.done = True
            return ""
        chunk = frame.data
        if not isinstance(chunk, dict):
            return self._skip(chunk)
        self.usage = _read_usage(chunk.get("usage")) or self.usage
        choices = chunk.get("choices")
        if choices is None and ("choices" in chunk or chunk.get("usage")):
            return ""
        if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
            return self._skip(chunk)
        text = "".join(self._read_choice(one) for one in choices if self._is_chosen(one))
        self.said = self.said or bool(text.strip())
        return replace_surrogates(text) if self.said else ""

    def _is_chosen(self, choice: dict[str, object]) -> bool:
        """Whether ``choice`` continues the first one that came; ``n`` may be more than 1."""
        index = choice.get("index")
        self._index = index if self._index is None else self._index
        return index is None or index == self._index

    def _read_choice(self, choice: dict[str, object]) -> str:
        if isinstance(finish := choice.get("finish_reason"), str):
            self.finish = finish or self.finish
        if isinstance(text := choice.get("text"), str):  # the older completions
            return text
        part = choice.get("delta", None if self.said else choice.get("message"))
        if part is None:
            return ""
        if not isinstance(part, dict):
            return self._skip(choice)
        self._note_tools(part)
        return self._read_content(part.get("content")) + self._read_content(part.get("refusal"))

    def _read_content(self, content: object) -> str:
        """Text, or a list of parts of which only those of text are spoken."""
        match content:
            case None:
                return ""
            case str():
                return content
            case list():
                texts = (part.get("text") for part in content if isinstance(part, dict))
                return "".join(text for text in texts if isinstance(text, str))
        return self._skip(content)

    def _note_tools(self, part: dict[str, object]) -> None:
        calls = part.get("tool_calls")
        for call in [*calls, part] if isinstance(calls, list) else [part]:
            function = call.get("function", part.get("function_call"))
            if isinstance(function, dict) and isinstance(name := function.get("name"), str):
                self.tools.append(sanitize_short(name))

    def _skip(self, what: object) -> str:
        self.odd = self.odd or sanitize_short(what if isinstance(what, str) else json.dumps(what))
        return ""


def _read_usage(usage: object) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    prompt, reply = (usage.get(f"{of}_tokens") for of in ("prompt", "completion"))
    return Usage(prompt, reply) if isinstance(prompt, int) and isinstance(reply, int) else None
