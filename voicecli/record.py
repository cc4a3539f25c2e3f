"""One event or action as a JSON object, and back; strict, and exact to the last bit of a time.

{"event": "FinalTranscript", "at": 3.25, "text": "Hello.", …}
{"action": "CommitReply", "at": 3.25, "turn": 1, …}
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from voicecli import events
from voicecli.events import Action, Event, ReplyEvent

T = TypeVar("T")

Record = Event | Action

KINDS: Mapping[str, type[Record]] = {
    name: kind
    for name, kind in vars(events).items()
    if isinstance(kind, type)
    and issubclass(kind, Event | Action)
    and kind not in (Event, Action, ReplyEvent)
}
"""Every record there is, by name."""


def encoded(record: Record) -> str:
    """``record`` as one line of JSON, without its end.

    ASCII only: what a service said can then neither break a line nor command a terminal.
    """
    what = "event" if isinstance(record, Event) else "action"
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return json.dumps({what: type(record).__name__, **values}, allow_nan=False)


def decoded(line: str) -> Record:
    """The record that ``line`` holds; raises ValueError with a clause that says what is wrong."""
    values = json_object(line)
    return filled(_kind(values), values)


def filled(kind: type[T], values: dict[str, Any]) -> T:
    """The ``kind`` (a dataclass) with ``values``; raises ValueError where they do not fit it."""
    hints = _hints(cast(Hashable, kind))
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{kind.__name__} has no {name!r}{_meant(name, hints)}")
        if not _fits(value, hints[name]):
            raise ValueError(f"{kind.__name__}.{name} cannot be {_shown(value)}")
    needed = (one.name for one in fields(cast(Any, kind)) if _needed(one))
    if missing := [name for name in needed if name not in values]:
        raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**values)


def _needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def json_object(line: str) -> dict[str, Any]:
    """The JSON object in ``line``; raises ValueError with a clause that says what is wrong."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("this is no JSON") from None
    if not isinstance(values, dict):
        raise ValueError("this is no JSON object")
    return values


def _kind(values: dict[str, Any]) -> type[Record]:
    """The class that ``values`` names; its name is taken out."""
    if ("event" in values) == ("action" in values):
        raise ValueError("a record has an event or an action")
    what, base = ("event", Event) if "event" in values else ("action", Action)
    name = values.pop(what)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not issubclass(kind, base):
        raise ValueError(f"there is no {what} {_shown(name)}{_meant(name, KINDS)}")
    return kind


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, hint: Any) -> bool:
    """Whether ``value`` is of the type ``hint``; a whole number may stand for a float."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if hint is float:
        return type(value) in (int, float) and _finite(value)
    return value is None if hint is NoneType else type(value) is (get_origin(hint) or hint)


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # 1 and 400 zeros is a whole number, and no float
        return False


def _meant(name: object, known: Mapping[str, object]) -> str:
    near = get_close_matches(str(name), known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
