"""OpenAI's chat models: what each accepts, costs and is replaced by, and when it is shut down.

Only what differs from model to model and matters to a voice agent.  Models that are not listed, and
those of other servers, are taken to accept everything; what a server refuses is then left out when
it does (``request``).  Sources: OpenAI's deprecations page and model pages, and the docstrings of
``openai.types.shared.chat_model`` in openai 3.57, all as of 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from voicecli.errors import UsageError
from voicecli.services.openai.settings import ChatSettings

HOST = "api.openai.com"
"""The server that the table is about; Azure shuts models down at other dates."""

NOTICE = timedelta(days=60)
"""How long before its end a model is warned of."""

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatModel:
    """What is known of a model.

    efforts: the values of ``reasoning_effort``, from the least; () if it does not reason and
        refuses the field.
    any_temperature: whether it takes another one than 1.
    ends: the day on which it is shut down; None: not announced.
    replacement: the model that OpenAI names instead.
    price: US dollars per million prompt tokens and per million reply tokens; None: not known here.
    """

    efforts: tuple[str, ...] = ()
    any_temperature: bool = True
    ends: date | None = None
    replacement: str = ""
    price: tuple[float, float] | None = None


_LUNA = "gpt-6-luna"
_FROM_MINIMAL = ("minimal", "low", "medium", "high")
_FROM_NONE = ("none", "low", "medium", "high")


def _ended(year: int, month: int, day: int, **known: Any) -> ChatModel:
    """Declare a model with a day of its end."""
    return ChatModel(ends=date(year, month, day), replacement=_LUNA, **known)


_GONE = _ended(2026, 10, 23)
_GONE_REASONING = _ended(2026, 10, 23, efforts=("low", "medium", "high"), any_temperature=False)
_GPT_5 = _ended(2026, 12, 11, efforts=_FROM_MINIMAL, any_temperature=False)
_GPT_4 = _ended(2027, 1, 14)

MODELS = {
    "gpt-3.5-turbo": _GONE,
    "gpt-4": _GONE,
    "gpt-4.1-nano": _GONE,
    "o3-mini": _GONE_REASONING,
    "o4-mini": _GONE_REASONING,
    "o3": _ended(2026, 12, 11, efforts=("low", "medium", "high"), any_temperature=False),
    "gpt-5": _GPT_5,
    "gpt-5-mini": _GPT_5,
    "gpt-5-nano": _GPT_5,
    "gpt-4o": _GPT_4,
    "gpt-4o-mini": _ended(2027, 1, 14, price=(0.15, 0.60)),
    "gpt-4.1": _GPT_4,
    "gpt-4.1-mini": _GPT_4,
    "gpt-5.1": _ended(2027, 4, 1, efforts=_FROM_NONE),
    "gpt-5.4-nano": _ended(2027, 4, 1, efforts=_FROM_NONE),
    # Nobody has confirmed yet whether it takes a temperature; the profile ``luna`` sends none.
    _LUNA: ChatModel(
        efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"), price=(0.10, 0.50)
    ),
}
"""Every known model by name; its snapshots (``gpt-4o-mini-2024-07-18``) are like it."""


def find_model(name: str) -> ChatModel | None:
    """Return what is known of the model or snapshot ``name``."""
    return MODELS.get(_SNAPSHOT.sub("", name))


def check_model(settings: ChatSettings, today: date) -> Iterator[str]:
    """Yield warnings about OpenAI's model of ``settings``, a sentence each.

    Raises UsageError for a model that has ended, and for an effort that it does not know.
    """
    model = find_model(settings.model)
    if model is None:
        return
    effort = settings.extra.get("reasoning_effort")
    if effort is not None and model.efforts and effort not in model.efforts:
        raise UsageError(
            f"LLM: {settings.model} does not know `reasoning_effort: {effort}`",
            hint=f"Set llm.extra to one of {', '.join(model.efforts)}.",
        )
    if model.ends is None:
        return
    instead = f"Use {model.replacement}: --profile luna, or set llm.model."
    if today >= model.ends:
        raise UsageError(
            f"LLM: OpenAI has shut {settings.model} down on {model.ends}", hint=instead
        )
    if today >= model.ends - NOTICE:
        days = (model.ends - today).days
        yield (
            f"OpenAI shuts {settings.model} down on {model.ends}, in "
            f"{days} day{'s' if days > 1 else ''}. {instead}"
        )


def list_refused(settings: ChatSettings) -> list[str]:
    """List the fields of a request that OpenAI's model of ``settings`` would refuse."""
    model = find_model(settings.model)
    if model is None:
        return []
    sent = {"temperature": settings.temperature, **settings.extra}
    refused = []
    if not model.any_temperature and sent["temperature"] not in (None, 1):
        refused.append("temperature")
    if not model.efforts and sent.get("reasoning_effort") is not None:
        refused.append("reasoning_effort")
    return refused


def choose_model(settings: ChatSettings, name: str) -> ChatSettings:
    """Return ``settings`` for the model ``name``, without the values that it is known to refuse."""
    model = find_model(name)
    if model is None:
        return replace(settings, model=name)
    extra = dict(settings.extra)
    if extra.get("reasoning_effort") not in (None, *model.efforts):
        del extra["reasoning_effort"]
    temperature = settings.temperature if model.any_temperature else None
    return replace(settings, model=name, temperature=temperature, extra=extra)


def find_least_effort(settings: ChatSettings) -> str | None:
    """Return the least effort of OpenAI's model of ``settings``, unless they choose one.

    Such models think by default, which the user of a voice agent would wait for.
    """
    model = find_model(settings.model)
    if model is None or not model.efforts or "reasoning_effort" in settings.extra:
        return None
    return model.efforts[0]
