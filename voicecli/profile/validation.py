"""The check of a profile; the JSON schema, and what it says in words when the check fails."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from voicecli.errors import suggest
from voicecli.profile.model import Profile
from voicecli.profile.overlay import Key, Layer, Place, Problem, dotted, profile_error

Node = Mapping[str, Any]


@cache
def json_schema() -> dict[str, Any]:
    """The JSON schema of a profile, for editors."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **Profile.model_json_schema()}


def validate(layer: Layer) -> Profile:
    """The profile that ``layer`` describes; raises ProfileError that tells all that is wrong."""
    try:
        return Profile.model_validate(layer.values)
    except ValidationError as error:
        found: dict[Key, Problem] = {}
        for detail in error.errors(include_url=False):
            key, value = _written(detail["loc"], layer.values)
            found.setdefault(key, _complaint(detail, key, value, layer))  # a union has several
    raise profile_error(sorted(found.values(), key=lambda one: one.place or Place("")))


def _written(loc: Key, value: Any) -> tuple[Key, Any]:
    """The part of pydantic's ``loc`` that somebody wrote, and the value there.

    Where a value may be of several types, the rest of ``loc`` names the type.
    """
    for depth, part in enumerate(loc):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return loc[:depth], value
    return loc, value


def _complaint(detail: ErrorDetails, key: Key, value: Any, layer: Layer) -> Problem:
    place = layer.place(key)
    match detail["type"]:
        case "conflict":
            keys = [(*key, name) for name in detail["ctx"]["keys"]]
            written = [name for name in layer.places if name in keys]
            what = f"{dotted(key)}.{detail['ctx']['rule']}"
            return Problem(layer.place(written[-1] if written else key), what)
        case "missing":
            return Problem(place, f"{dotted(detail['loc'])} is missing")
        case "extra_forbidden":
            return Problem(place, f"unknown key {dotted(key)}", _suggestion(key))
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text if len(text) <= 40 else f"{text[:39]}…"
    return Problem(place, f"{dotted(key)} should be {_words(_at(key))}, not {text}")


def _suggestion(key: Key) -> str:
    """What an unknown key may have been meant to be."""
    *parent, name = key
    siblings = list(_at(parent).get("properties", ()))
    elsewhere = [
        (section, name)
        for section in json_schema()["properties"]
        if name in _at([section]).get("properties", ())
    ]
    if elsewhere:
        return f"Did you mean {' or '.join(map(dotted, elsewhere))}?"
    prefix = dotted((*parent, ""))
    return suggest(str(name), siblings, prefix=prefix) or f"Known here: {', '.join(siblings)}."


def _at(key: Sequence[str | int]) -> Node:
    """The schema of the value at ``key``; empty where anything may be."""
    node: Node = json_schema()
    for part in key:
        free = node.get("items") or node.get("additionalProperties") or {}
        node = _followed(node.get("properties", {}).get(part, free))
    return node


def _followed(node: Node) -> Node:
    """The section that ``node`` refers to, or else itself."""
    for option in node.get("anyOf", [node]):
        if "$ref" in option:
            section: Node = json_schema()["$defs"][option["$ref"].rpartition("/")[2]]
            return section
    return node


def _words(node: Node) -> str:
    """What a schema allows, for a person."""
    match node:
        case {"anyOf": [*options, last]}:
            return f"{', '.join(map(_words, options))} or {_words(last)}"
        case {"const": value}:
            return json.dumps(value)
        case {"enum": [*values, last]}:
            return f"{', '.join(map(str, values))} or {last}"
        case {"type": "string", "examples": [example, *_]}:
            return f"text like {example}"
        case {"type": "string", "maxLength": most}:
            return f"text of at most {most} characters"
        case {"type": "string", "minLength": _}:
            return "non-empty text"
        case {"type": "integer"}:
            return f"a whole number{_range(node)}"
        case {"type": "number"}:
            return f"a number{_range(node)}"
    kinds = {"string": "text", "boolean": "true or false", "null": "null", "array": "a list"}
    return kinds.get(str(node.get("type")), "a mapping of keys")


def _range(node: Node) -> str:
    match node:
        case {"minimum": least, "maximum": most}:
            return f" from {least:g} to {most:g}"
        case {"minimum": least}:
            return f" of at least {least:g}"
    return ""
