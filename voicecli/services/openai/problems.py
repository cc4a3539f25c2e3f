"""Reads what chat servers say of an error, in JSON of many shapes, plain text or a web page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

from voicecli.sanitize import sanitize_short
from voicecli.services.openai.body import Frame, parse_json

DEPTH = 8
"""How deep messages are looked for."""

_MESSAGES = ("error", "errors", "message", "Message", "detail", "msg", "error_description")
_CODES = ("code", "type", "status", "reason", "error_type")

_PAGE = re.compile(r"\s*<(!doctype|html|head|body|h1|\?xml)", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)


class Problem(NamedTuple):
    """An error as its server describes it.

    message: in its words, sanitized; may be empty.
    codes: every code, type and status in it, in lower case.
    fields: the fields of the request that it names as such.
    page: whether it is a web page, which no chat server sends.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    page: bool = False

    @property
    def status(self) -> int | None:
        """The HTTP status that it names, if it does."""
        statuses = [int(code) for code in self.codes if re.fullmatch("[45][0-9][0-9]", code)]
        return min(statuses, default=None)


def read_problem(body: object) -> Problem:
    """Read the body of a refusal: bytes, or parsed JSON."""
    if isinstance(body, bytes):
        body = parse_json(body.decode(errors="replace"))
    if isinstance(body, str) and _PAGE.match(body):
        return Problem(sanitize_short(_find_title(body)), page=True)
    parts = list(_walk(body))
    return Problem(
        message=sanitize_short(_find_message(body)),
        codes=frozenset(
            str(part[key]).lower()
            for part in parts
            for key in _CODES
            if isinstance(part.get(key), str | int)
        ),
        fields=frozenset(name for part in parts for name in _list_fields(part)),
    )


def find_error(frame: Frame) -> Problem | None:
    """Return the error that an event reports instead of a part of the reply, or None."""
    data = frame.data
    if isinstance(data, list) and data and isinstance(data[0], dict) and data[0].get("error"):
        return read_problem(data)
    if frame.name == "error":
        return read_problem(data)
    if not isinstance(data, dict):
        return None
    if data.get("error") or "error" in (data.get("object"), data.get("type")):
        return read_problem(data)
    if "choices" not in data and "detail" in data:  # FastAPI
        return read_problem(data)
    return None


def _find_title(page: str) -> str:
    found = _TITLE.search(page)
    return html.unescape(found[2]) if found else ""


def _find_message(body: object, depth: int = DEPTH) -> str:
    """The text that describes the error: the first that ``_MESSAGES`` name, of each level."""
    if depth == 0:
        return ""
    match body:
        case str():
            parsed = parse_json(body) if body[:1] in ("{", "[") else body
            return body if isinstance(parsed, str) else _find_message(parsed, depth - 1) or body
        case list():
            return "; ".join(filter(None, (_find_message(one, depth - 1) for one in body[:3])))
        case dict():
            found = (_find_message(body.get(key), depth - 1) for key in _MESSAGES)
            texts = list(dict.fromkeys(filter(None, found)))
            if isinstance(body.get("error"), dict | list):
                texts = texts[:1]
            if isinstance(metadata := body.get("metadata"), dict):  # OpenRouter
                texts += filter(None, [_find_message(metadata.get("raw"), depth - 1)])
            message = ": ".join(texts)
            if message and isinstance(place := body.get("loc"), list):  # FastAPI
                return f"{'.'.join(map(str, place))}: {message}"
            return message
    return ""


def _walk(body: object, depth: int = DEPTH) -> Iterator[dict[str, object]]:
    """Every object in ``body``, JSON within strings included."""
    if depth == 0:
        return
    if isinstance(body, dict):
        yield body
        body = list(body.values())
    elif isinstance(body, str) and body[:1] in ("{", "["):
        parsed = parse_json(body)
        body = [] if isinstance(parsed, str) else [parsed]
    if isinstance(body, list):
        for one in body:
            yield from _walk(one, depth - 1)


def _list_fields(part: dict[str, object]) -> Iterator[str]:
    """The fields of a request that ``part`` names; the first of FastAPI's place is "body"."""
    if isinstance(name := part.get("param"), str):
        yield name.partition(".")[0]
    if isinstance(place := part.get("loc"), list):
        yield from (str(name) for name in place[1:2])
