"""The request for a reply, and what is left out of it because the server refuses it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from voicecli.services.interfaces import Message
from voicecli.services.openai.models import find_least_effort, list_refused
from voicecli.services.openai.problems import Problem
from voicecli.services.openai.settings import LIMITS, ChatSettings

_REQUIRED = ("model", "messages")

_UNKNOWN = re.compile(
    r"(un|not |n't |n.t be )(support|permit|allow|accept|recogni|expect)|unknown|cannot find field|"
    r"additional propert|extra (input|field)|no such|not a valid (field|param|arg)|deprecated",
    re.IGNORECASE,
)
"""How servers say that they do not take a field, whatever its value."""

_UNKNOWN_CODES = {
    "unsupported_parameter",
    "unsupported_value",
    "unknown_parameter",
    "extra_forbidden",
    "not_supported_error",
}


class ChatRequest:
    """The fields of a request, without those that the server has refused in this session.

    is_openai: whether the server is OpenAI's, whose models are known.
    advice: what is left out from the beginning, a sentence for the user each.
    """

    def __init__(self, settings: ChatSettings, *, is_openai: bool = False) -> None:
        self._extra = settings.extra
        self._fields: dict[str, Any] = {
            "model": settings.model,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if not any(limit in settings.extra for limit in LIMITS):
            self._fields[settings.max_tokens_name] = settings.max_tokens
        if settings.temperature is not None:
            self._fields["temperature"] = settings.temperature
        if is_openai and (effort := find_least_effort(settings)) is not None:
            self._fields["reasoning_effort"] = effort
        self._fields |= json.loads(json.dumps(settings.extra, default=str))  # a date becomes text
        self._fields = {name: value for name, value in self._fields.items() if value is not None}
        self._refused: set[str] = set()
        known = list_refused(settings) if is_openai else []
        self.advice = [self._drop(name) for name in known]

    def build(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Build the body of a request."""
        prompt = [{"role": item.role, "content": item.content} for item in messages]
        return {"messages": prompt, **self._fields}

    def adapt(self, sent: Mapping[str, Any], problem: Problem) -> list[str] | None:
        """Leave out what ``problem`` says the server does not take of the body ``sent``.

        Returns sentences for the user, none if another request had found out before; None if the
        problem names no field that could be left out: the same request would be refused again.
        """
        refused = find_refused(sent, problem)
        if not refused:
            return None
        return [self._drop(name) for name in refused if name not in self._refused]

    def find_ignored_limit(self, tokens: int) -> str:
        """Say which limit the server ignored if a reply has that many tokens; "" if none."""
        for name, other in zip(LIMITS, reversed(LIMITS), strict=True):
            limit = self._fields.get(name)
            if isinstance(limit, int) and tokens > limit:
                return f"the server ignores `{name}`. Try `llm.max_tokens_name: {other}`."
        return ""

    def _drop(self, name: str) -> str:
        self._refused.add(name)
        value = self._fields.pop(name)
        if name == "stream":
            self._fields.pop("stream_options", None)
        known = f"the server does not take `{name}`"
        other = next((limit for limit in LIMITS if limit != name), "")
        if name in LIMITS and name not in self._extra and other not in self._refused:
            self._fields[other] = value
            return f"{known}; `{other}` replaces it. Set `llm.max_tokens_name: {other}`."
        return f"{known}, which is left out. {self._advise(name)}"

    def _advise(self, name: str) -> str:
        """Say which setting saves the refused request next time."""
        if name in self._extra:
            return "Remove it from `llm.extra`."
        if name == "temperature":
            return "Set `llm.temperature: null`."
        return f"Set `llm.extra: {{{name}: null}}`."


def find_refused(sent: Mapping[str, Any], problem: Problem) -> list[str]:
    """Return the optional fields of ``sent`` that the server says it does not take."""
    optional = [name for name in sent if name not in _REQUIRED]
    named = [name for name in optional if name in problem.fields]
    named = named or find_names(optional, problem.message)[:1]
    if problem.codes & _UNKNOWN_CODES or _UNKNOWN.search(problem.message):
        return named
    return [name for name in named if name == "stream_options"]  # no setting has a wrong value


def find_names(names: Iterable[str], text: str) -> list[str]:
    """Return those of ``names`` that are words of ``text``, in the order of the text."""
    found = {name: re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names}
    places = [(match.start(), name) for name, match in found.items() if match]
    return [name for _, name in sorted(places)]
