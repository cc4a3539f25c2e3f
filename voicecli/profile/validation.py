"""The check of YAML values against the declared settings, and the messages for what is wrong.

The pydantic models derive from the declarations (``voicecli.settings``): they check a profile in
its own units, then build the frozen dataclasses that the program uses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import GenericAlias, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.types import Strict
from pydantic_core import ErrorDetails, PydanticCustomError

from voicecli.errors import suggest
from voicecli.profile.layers import Key, Layer, Place, Problem, join_key, profile_error
from voicecli.profile.model import DEFAULT_PROVIDERS, Profile
from voicecli.services import PROVIDERS, find_provider
from voicecli.settings import Setting, SettingsConflict, encode_section, list_settings

Node = Mapping[str, Any]

# ── models ───────────────────────────────────────────────────────────────────


class Section(BaseModel):
    """The model of a section.  It converts nothing silently and allows no unknown key.

    built_type: the dataclass that it checks the values of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    built_type: ClassVar[type[Any]]

    def build(self) -> Any:
        """The section as the program uses it."""
        values = {}
        for name, key, declared in list_settings(self.built_type):
            value = getattr(self, key)
            values[name] = _build(value, declared)
        return self.built_type(**values)

    @model_validator(mode="after")
    def _check_conflicts(self) -> Self:
        if (check := getattr(self.built_type, "check", None)) is not None:
            try:
                check(self.build())
            except SettingsConflict as error:
                context = {"rule": error.rule, "keys": error.keys}
                raise PydanticCustomError("conflict", "{rule}", context) from None
        return self


def _build(value: Any, declared: Setting) -> Any:
    if isinstance(value, Section):
        return value.build()
    if isinstance(value, tuple) and any(isinstance(one, Section) for one in value):
        return tuple(_build(one, declared) for one in value)
    return declared.decode(value)


@cache
def create_section(kind: Any) -> type[Section]:
    """Create the model of a dataclass of settings."""
    return _create(kind, kind.__name__.removesuffix("Settings"))


@cache
def create_profile(stt: str, llm: str, tts: str) -> type[Section]:
    """Create the model of a profile whose services are of these providers."""
    chosen = {"stt": stt, "llm": llm, "tts": tts}
    services = {
        role: _create(find_provider(role, name).settings, role.capitalize(), role)
        for role, name in chosen.items()
    }
    return _create(Profile, "Profile", services=services)


def _create(
    kind: Any, title: str, role: str = "", services: Mapping[str, type[Section]] | None = None
) -> type[Section]:
    """Create a model.

    role: the service whose section it is; its ``provider`` is one of the names in the registry.
    services: the models of the sections that the dataclass leaves open, by name.
    """
    hints = get_type_hints(kind)
    defaults = {one.name: one for one in fields(kind)}
    definitions: dict[str, Any] = {}
    for name, key, declared in list_settings(kind):
        if services is not None and name in services:
            definitions[key] = (services[name], services[name]())
            continue
        default = defaults[name].default
        if default is MISSING and (factory := defaults[name].default_factory) is not MISSING:
            default = factory()
        given = ... if default is MISSING else _default(default, declared)
        names_provider = role and name == "provider"
        hint = Literal[tuple(PROVIDERS[role])] if names_provider else hints[name]
        described = Field(given, description=declared.doc or None)
        definitions[key] = (_allowed(hint, declared), described)
    summary = (kind.__doc__ or "").splitlines()[0]
    model = create_model(title, __base__=Section, __doc__=summary, **definitions)
    model.built_type = kind
    return model


def _default(value: Any, declared: Setting) -> Any:
    """The default of a setting as a profile would say it."""
    if is_dataclass(value):
        kind: Any = type(value)
        return create_section(kind).model_validate(encode_section(value))
    encoded = declared.encode(value)
    return tuple(encoded) if isinstance(value, tuple) else encoded


def _allowed(hint: Any, declared: Setting) -> Any:
    """What a profile may say for an attribute of the type ``hint``."""
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(_allowed(one, declared) for one in get_args(hint))]  # noqa: UP007
    if hint is NoneType:
        return None if declared.off is None else Annotated[Literal[False], _NO_ZERO]
    if is_dataclass(hint):
        kind: Any = hint
        return create_section(kind)
    limits = {name: getattr(declared, name) for name in ("ge", "gt", "le")}
    if hint is float:
        number = int if declared.unit == "_ms" and declared.whole else float
        return Annotated[number, Field(**limits)]
    if hint is int:
        return Annotated[int, Field(**limits)]
    if hint is str:
        return Annotated[
            str,
            Field(
                min_length=None if declared.empty else 1,
                max_length=declared.max_length,
                pattern=declared.pattern,
                examples=[declared.example] if declared.example else None,
            ),
        ]
    if get_origin(hint) is Literal:
        return Annotated[hint, BeforeValidator(_read_switch(get_args(hint)))]
    if get_origin(hint) is tuple:
        items = [one if one is ... else _allowed(one, declared) for one in get_args(hint)]
        return Annotated[GenericAlias(tuple, tuple(items)), Strict(False)]  # YAML has lists
    if get_args(hint):  # a mapping
        values = get_args(hint)[1]
        return GenericAlias(dict, (str, JsonValue if values is Any else values))
    return hint


_NO_ZERO = BeforeValidator(lambda value: value if value is False else None)
"""0 would pass as False."""


def _read_switch(words: tuple[Any, ...]) -> Any:
    """YAML 1.1 reads a bare ``on`` or ``off`` as true or false."""

    def read(value: Any) -> Any:
        word = "on" if value is True else "off" if value is False else None
        return word if word in words else value

    return read


# ── check ────────────────────────────────────────────────────────────────────


@cache
def json_schema() -> dict[str, Any]:
    """Make the JSON schema of a profile, for editors; of services, the default providers'."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **create_profile(**DEFAULT_PROVIDERS).model_json_schema()}


def validate_profile(layer: Layer) -> Profile:
    """Build the profile that ``layer`` describes; raises ProfileError that lists every problem."""
    profile = validate_layer(layer, create_profile(**_find_providers(layer.values)))
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


def validate_layer(layer: Layer, model: type[Section]) -> Any:
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
                what = f"{join_key(key)}.{detail['ctx']['rule']}"
                return Problem(self._layer.place(written[-1] if written else key), what)
            case "missing":
                return Problem(place, f"{join_key(detail['loc'])} is missing")
            case "extra_forbidden":
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
