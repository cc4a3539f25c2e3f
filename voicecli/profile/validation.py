"""The check of YAML values against the declared settings, and the messages for what is wrong.

A schema of pydantic's core derives from the declarations (``voicecli.settings``): it checks a
profile in its own units and builds the frozen dataclasses that the program uses.  The rest of
pydantic only writes the JSON schema; importing it takes 50 ms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic_core import (
    CoreConfig,
    CoreSchema,
    ErrorDetails,
    PydanticCustomError,
    SchemaValidator,
    ValidationError,
    core_schema,
)

from voicecli.errors import suggest
from voicecli.profile.layers import Key, Layer, Place, Problem, join_key, profile_error
from voicecli.profile.model import DEFAULT_PROVIDERS, SERVICE_SETTINGS, Profile
from voicecli.services import PROVIDERS, find_provider
from voicecli.settings import Setting, SettingsConflict, list_settings

Node = Mapping[str, Any]

CONFIG = CoreConfig(strict=True, allow_inf_nan=False, extra_fields_behavior="forbid")
"""Nothing is converted silently, and no unknown key is allowed."""

# ── schemas ──────────────────────────────────────────────────────────────────


@cache
def create_schema(kind: Any) -> CoreSchema:
    """Create the schema of a dataclass of settings, with the keys and units of a profile."""
    return _create_schema(kind, {})


def _create_schema(kind: Any, services: Mapping[str, Any]) -> CoreSchema:
    """Create it for a dataclass whose sections ``services``, by name, depend on a provider."""
    roles = [role for role, base in SERVICE_SETTINGS.items() if issubclass(kind, base)]
    hints = get_type_hints(kind) | dict(services)
    if roles:
        hints["provider"] = Literal[tuple(PROVIDERS[roles[0]])]
    defaults = {one.name: _find_default(one) for one in fields(kind)}
    defaults |= {name: service() for name, service in services.items()}
    arguments = []
    for name, key, declared in list_settings(kind):
        schema = _allow(hints[name], declared)
        schema = core_schema.no_info_after_validator_function(declared.decode, schema)
        document = {"description": declared.doc} if declared.doc else {}
        if (default := defaults[name]) is not MISSING:
            schema = core_schema.with_default_schema(schema, default=default)
            document["default"] = declared.encode(default)
        arguments.append(
            core_schema.dataclass_field(
                name, schema, validation_alias=key, metadata=_annotate(document)
            )
        )
    title = roles[0].capitalize() if roles else kind.__name__.removesuffix("Settings")
    document = {"title": title, "description": (kind.__doc__ or "").splitlines()[0]}
    schema = core_schema.dataclass_schema(
        kind,
        core_schema.dataclass_args_schema(title, arguments),
        list(hints),
        slots=True,
        strict=False,  # profiles have mappings
        config=CONFIG,
        metadata=_annotate(document),
    )
    if hasattr(kind, "check"):
        return core_schema.no_info_after_validator_function(_check_conflicts, schema)
    return schema


def _find_default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _annotate(document: dict[str, Any]) -> dict[str, Any]:
    """The metadata that adds ``document`` to the JSON schema."""
    return {"pydantic_js_updates": document}


def _check_conflicts(section: Any) -> Any:
    try:
        section.check()
    except SettingsConflict as error:
        context = {"rule": error.rule, "keys": error.keys}
        raise PydanticCustomError("conflict", "{rule}", context) from None
    return section


def _allow(hint: Any, declared: Setting) -> CoreSchema:
    """The schema of what a profile may say for an attribute of the type ``hint``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _create_schema(hint, {})
    if origin in (Union, UnionType):
        if arguments[1:] == (NoneType,) and declared.off is None:
            # A union would not take a mapping for a section.
            return core_schema.nullable_schema(_allow(arguments[0], declared))
        return core_schema.union_schema([_allow(one, declared) for one in arguments])
    if origin is Literal:
        return _allow_words(*arguments)
    if origin is tuple:
        items = [_allow(one, declared) for one in arguments if one is not ...]
        variadic = 0 if ... in arguments else None
        # Not strict, for YAML has lists.
        return core_schema.tuple_schema(items, variadic_item_index=variadic, strict=False)
    if origin is list:
        return core_schema.list_schema(_allow(arguments[0], declared))
    if arguments:  # a mapping, of texts that may be empty
        values = _allow(arguments[1], Setting(doc="", empty=True))
        return core_schema.dict_schema(core_schema.str_schema(), values)
    return _allow_scalar(hint, declared)


def _allow_scalar(hint: Any, declared: Setting) -> CoreSchema:
    limits: Any = {name: getattr(declared, name) for name in ("ge", "gt", "le")}
    if hint is NoneType:
        return core_schema.none_schema() if declared.off is None else _allow_words(False)
    if hint is bool:
        return core_schema.bool_schema()
    if hint is int or (hint is float and declared.unit == "_ms" and declared.whole):
        return core_schema.int_schema(**limits)
    if hint is float:
        return core_schema.float_schema(**limits)
    if hint is str:
        return core_schema.str_schema(
            min_length=None if declared.empty else 1,
            max_length=declared.max_length,
            pattern=declared.pattern,
            metadata=_annotate({"examples": [declared.example]} if declared.example else {}),
        )
    assert hint is Any
    return core_schema.no_info_after_validator_function(_check_json, core_schema.any_schema())


def _allow_words(*words: Any) -> CoreSchema:
    def read(value: Any) -> Any:
        if isinstance(value, bool):  # YAML 1.1 reads a bare ``on`` or ``off`` so
            word = "on" if value else "off"
            return word if word in words else value
        return None if value == 0 else value  # 0 would pass as False

    return core_schema.no_info_before_validator_function(read, core_schema.literal_schema([*words]))


def _check_json(value: Any) -> Any:
    json.dumps(value, allow_nan=False)  # raises ValueError
    return value


def create_json_schema(schema: CoreSchema) -> dict[str, Any]:
    """Create the JSON schema of what ``schema`` accepts, for editors."""
    from pydantic.json_schema import GenerateJsonSchema

    dialect = GenerateJsonSchema.schema_dialect
    return {"$schema": dialect, **GenerateJsonSchema().generate(schema)}


# ── check ────────────────────────────────────────────────────────────────────


@cache
def _create_profile_schema(stt: str, llm: str, tts: str) -> CoreSchema:
    chosen = {"stt": stt, "llm": llm, "tts": tts}
    services = {role: find_provider(role, name).settings for role, name in chosen.items()}
    return _create_schema(Profile, services)


def json_schema() -> dict[str, Any]:
    """Make the JSON schema of a profile, for editors; of services, the default providers'."""
    return create_json_schema(_create_profile_schema(**DEFAULT_PROVIDERS))


def validate_profile(layer: Layer) -> Profile:
    """Build the profile that ``layer`` describes; raises ProfileError that lists every problem."""
    profile = validate_layer(layer, _create_profile_schema(**_find_providers(layer.values)))
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


def validate_layer(layer: Layer, schema: CoreSchema) -> Any:
    """Build the dataclass that ``schema`` stands for from the values of ``layer``.

    Raises ProfileError that lists every problem, at the place where its key was written.
    """
    try:
        return SchemaValidator(schema, CONFIG).validate_python(layer.values)
    except ValidationError as error:
        report = _Report(layer, create_json_schema(schema))
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
                keys = [(*key, *name.split(".")) for name in detail["ctx"]["keys"]]
                written = [name for name in self._layer.places if name in keys]
                what = ".".join(filter(None, (join_key(key), detail["ctx"]["rule"])))
                return Problem(self._layer.place(written[-1] if written else key), what)
            case "missing":
                return Problem(place, f"{join_key(detail['loc'])} is missing")
            case "unexpected_keyword_argument":
                return Problem(place, f"unknown key {join_key(key)}", self._suggest(key))
        text = json.dumps(value, ensure_ascii=False, default=str)
        text = text if len(text) <= 40 else f"{text[:39]}…"
        return Problem(
            place, f"{join_key(key)} should be {describe_type(self._at(key))}, not {text}"
        )

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
            return f"Did you mean {' or '.join(map(join_key, elsewhere))}?"
        prefix = join_key((*parent, ""))
        return suggest(str(name), siblings, prefix=prefix) or f"Known here: {', '.join(siblings)}."

    def _at(self, key: Sequence[str | int]) -> Node:
        """The schema of the value at ``key``; empty where anything is allowed."""
        node = self._schema
        for part in key:
            free = node.get("items") or node.get("additionalProperties")
            node = node.get("properties", {}).get(part, free)
            if not isinstance(node, Mapping):  # true or false
                return {}
            # A section may be null.
            node = next((one for one in node.get("anyOf", ()) if "properties" in one), node)
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
