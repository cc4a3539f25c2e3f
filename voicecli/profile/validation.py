"""The check of a profile against the declared settings, and the messages for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from voicecli.errors import suggest
from voicecli.profile.model import DEFAULT_PROVIDERS, Profile, Section, create_profile
from voicecli.profile.overlay import Key, Layer, Place, Problem, dotted, profile_error
from voicecli.services import PROVIDERS

Node = Mapping[str, Any]


@cache
def json_schema() -> dict[str, Any]:
    """The JSON schema of a profile, for editors."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **create_profile(**DEFAULT_PROVIDERS).model_json_schema()}


def validate(layer: Layer) -> Profile:
    """Build the profile that ``layer`` describes; raises ProfileError that lists every problem."""
    profile = check_layer(layer, create_profile(**_find_providers(layer.values)))
    assert isinstance(profile, Profile)
    return profile


def _find_providers(values: Mapping[str, Any]) -> dict[str, str]:
    """The provider of each service; the default one where the profile names none that exists."""
    found = {}
    for role, default in DEFAULT_PROVIDERS.items():
        section = values.get(role)
        name = section.get("provider") if isinstance(section, dict) else None
        found[role] = name if isinstance(name, str) and name in PROVIDERS[role] else default
    return found


def check_layer(layer: Layer, model: type[Section]) -> Any:
    """Build the dataclass that ``model`` stands for from the values of ``layer``.

    Raises ProfileError that lists every problem, at the place where its key was written.
    """
    try:
        return model.model_validate(layer.values).build()
    except ValidationError as error:
        report = _Report(layer, model.model_json_schema())
        found: dict[Key, Problem] = {}
        for detail in error.errors(include_url=False):
            key, value = _find_written(detail["loc"], layer.values)
            found.setdefault(key, report.describe(detail, key, value))  # a union has several
    raise profile_error(sorted(found.values(), key=lambda one: one.place or Place("")))


def _find_written(loc: Key, value: Any) -> tuple[Key, Any]:
    """The part of pydantic's ``loc`` that somebody wrote, and the value there.

    Where a value may be of several types, the rest of ``loc`` names the type.
    """
    for depth, part in enumerate(loc):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return loc[:depth], value
    return loc, value


class _Report:
    """Puts the problems of a layer into words, with what its schema allows."""

    def __init__(self, layer: Layer, schema: Node) -> None:
        self._layer = layer
        self._schema = schema

    def describe(self, detail: ErrorDetails, key: Key, value: Any) -> Problem:
        place = self._layer.place(key)
        match detail["type"]:
            case "conflict":
                keys = [(*key, name) for name in detail["ctx"]["keys"]]
                written = [name for name in self._layer.places if name in keys]
                what = f"{dotted(key)}.{detail['ctx']['rule']}"
                return Problem(self._layer.place(written[-1] if written else key), what)
            case "missing":
                return Problem(place, f"{dotted(detail['loc'])} is missing")
            case "extra_forbidden":
                return Problem(place, f"unknown key {dotted(key)}", self._suggest(key))
        text = json.dumps(value, ensure_ascii=False, default=str)
        text = text if len(text) <= 40 else f"{text[:39]}…"
        return Problem(place, f"{dotted(key)} should be {describe_type(self._at(key))}, not {text}")

    def _suggest(self, key: Key) -> str:
        """What an unknown key may have been meant to be."""
        *parent, name = key
        siblings = list(self._at(parent).get("properties", ()))
        elsewhere = [
            (section, name)
            for section in self._schema["properties"]
            if name in self._at([section]).get("properties", ())
        ]
        if elsewhere:
            return f"Did you mean {' or '.join(map(dotted, elsewhere))}?"
        prefix = dotted((*parent, ""))
        return suggest(str(name), siblings, prefix=prefix) or f"Known here: {', '.join(siblings)}."

    def _at(self, key: Sequence[str | int]) -> Node:
        """The schema of the value at ``key``; empty where anything is allowed."""
        node = self._schema
        for part in key:
            free = node.get("items") or node.get("additionalProperties") or {}
            node = resolve(node.get("properties", {}).get(part, free), self._schema)
        return node


def resolve(node: Node, schema: Node) -> Node:
    """The section that ``node`` refers to, or else itself."""
    for option in node.get("anyOf", [node]):
        if "$ref" in option:
            section: Node = schema["$defs"][option["$ref"].rpartition("/")[2]]
            return section
    return node


def describe_type(node: Node) -> str:
    """What a schema allows, in words."""
    match node:
        case {"anyOf": [*options, last]}:
            return f"{', '.join(map(describe_type, options))} or {describe_type(last)}"
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
            return f"a whole number{_describe_range(node)}"
        case {"type": "number"}:
            return f"a number{_describe_range(node)}"
    kinds = {"string": "text", "boolean": "true or false", "null": "null", "array": "a list"}
    return kinds.get(str(node.get("type")), "a mapping of keys")


def _describe_range(node: Node) -> str:
    match node:
        case {"minimum": least, "maximum": most}:
            return f" from {least:g} to {most:g}"
        case {"minimum": least}:
            return f" of at least {least:g}"
        case {"exclusiveMinimum": least}:
            return f" above {least:g}"
    return ""
