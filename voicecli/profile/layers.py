"""Layers of settings: what one YAML file, environment variable or ``--set`` says, and where.

Layers are laid over each other; a problem with the result is reported at the place that caused it.
What no profile may contain, whatever the key, is refused while reading: aliases, secrets,
duplicate keys, anything but plain values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml

from voicecli.errors import ProfileError
from voicecli.sanitize import escape_controls, has_secret, replace_surrogates

Key = tuple[str | int, ...]
"""The path to a value: section, key, perhaps an index."""

MAX_PROBLEMS = 10
"""How many problems are reported at once."""


MAX_DEPTH = 20
"""Sections, keys and lists within each other; the settings have 4."""

TOO_DEEP = "brackets or sections are nested too deeply"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a setting was written: FILE:LINE, the name of a variable, or an option."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; ``what`` and ``hint`` are VoiceError's cause and hint."""

    place: Place | None
    what: str
    hint: str = ""

    @property
    def cause(self) -> str:
        """The place, then what is wrong there."""
        return f"{self.place}: {self.what}" if self.place else self.what


def profile_error(problems: Sequence[Problem]) -> ProfileError:
    """Create the error that lists ``problems``, a line each; its hint is the last one's."""
    *others, last = problems[:MAX_PROBLEMS]
    lines = [f"{one.cause}. {one.hint}".rstrip() for one in others]
    cause = "\n".join(map(escape_controls, [*lines, last.cause]))
    return ProfileError(cause, hint=escape_controls(last.hint))


@dataclass(frozen=True, slots=True)
class Layer:
    """Values, and the places of their keys in the order they were written."""

    values: dict[str, Any]
    places: dict[Key, Place]

    def over(self, base: Layer) -> Layer:
        """Return this layer laid over ``base``."""
        untouched = {key: at for key, at in base.places.items() if key not in self.places}
        return Layer(merge(base.values, self.values), untouched | self.places)

    def place(self, key: Key) -> Place:
        """Return where ``key`` was written, or else the section that contains it."""
        while key not in self.places and key:
            key = key[:-1]
        return self.places[key]


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return ``over`` laid over ``base``: maps merge, everything else replaces."""
    return base | {
        name: merge(base[name], value)
        if isinstance(value, dict) and isinstance(base.get(name), dict)
        else value
        for name, value in over.items()
    }


def join_key(key: Key) -> str:
    """Return ``stt.keyterms[0]`` for ("stt", "keyterms", 0)."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)[1:]


# ── reading YAML ─────────────────────────────────────────────────────────────

SECRET_NAME = re.compile(r"(^|[_-])(api_?key|token|secret|password|authorization)$", re.IGNORECASE)

SECRET_HINT = "Put it into the environment or into .env, and the variable's name into key_env."

TIMESTAMP = "tag:yaml.org,2002:timestamp"

FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml, where PyYAML was built with it: ten times as fast, but its messages are poorer."""


def read_yaml(text: str, source: str, kind: str = "profile") -> Layer:
    """Read the ``text`` of the YAML file ``source``; raises ProfileError.

    kind: what the file is, for errors: profile, script, …
    """
    reader = _Reader(source, numbered=True, kind=kind)
    values = reader.document(text, ())
    if not isinstance(values, dict | None):
        reader.refuse((), f"a {kind} must be a mapping of sections")
    return reader.layer(values or {})


def read_assignment(keys: Sequence[str], text: str, source: str) -> Layer:
    """Read ``text``, a YAML scalar or flow, as the value of ``keys``; raises ProfileError.

    source: the name of the variable or the option.
    """
    reader = _Reader(source, numbered=False)
    for depth in range(1, len(keys)):
        reader.note(tuple(keys[:depth]))
    value = reader.document(text, tuple(keys))
    for name in reversed(keys):
        value = {name: value}
    return reader.layer(value)


class _Reader:
    """Reads one text; notes places and problems on the way."""

    def __init__(self, source: str, *, numbered: bool, kind: str = "profile") -> None:
        self._source = source
        self._kind = kind
        self._numbered = numbered
        self._places: dict[Key, Place] = {}
        self._problems: dict[Key, Problem] = {}
        self._seen: set[yaml.Node] = set()

    def document(self, text: str, key: Key) -> Any:
        """Return the value of the only document in ``text``; its key is ``key``."""
        self.note(key)
        try:
            node = self._compose(text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            raise profile_error(
                [Problem(self._place(line), "this character is not allowed in YAML")]
            ) from None
        except RecursionError:
            raise profile_error([Problem(self._place(0), TOO_DEEP)]) from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line if error.problem_mark else 0
            raise profile_error([Problem(self._place(line), str(error.problem))]) from None
        if not self._numbered and isinstance(node, yaml.CollectionNode) and not node.flow_style:
            return text  # "Sorry: once more" is a sentence, not a mapping
        return None if node is None else self._value(node, key)

    def _compose(self, text: str) -> Any:
        """The root node; the loader that made it is kept for the scalars."""
        with suppress(yaml.YAMLError):
            self._loader = FAST_LOADER(text)
            return self._loader.get_single_node()
        self._check_depth(text)
        self._loader = yaml.SafeLoader(text)
        return self._loader.get_single_node()

    def _check_depth(self, text: str) -> None:
        """Refuse what PyYAML's own loader, which explains errors, needs too long for."""
        depth = 0
        with suppress(yaml.YAMLError):
            for event in yaml.parse(text, FAST_LOADER):
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if depth > MAX_DEPTH:
                    line = event.start_mark.line if event.start_mark else 0
                    raise profile_error([Problem(self._place(line), TOO_DEEP)])

    def layer(self, values: dict[str, Any]) -> Layer:
        """Return the layer that was read; raises ProfileError if there were problems."""
        if self._problems:
            raise profile_error(list(self._problems.values()))
        return Layer(values, self._places)

    def note(self, key: Key, line: int = 0) -> None:
        """Note that ``key`` is in ``line``."""
        first = self._places.get(key)
        self._places[key] = self._place(line)
        if first:
            self.refuse(key, f"{join_key(key)} is set twice, first at {first}")
        if key and SECRET_NAME.search(str(key[-1])):
            self._refuse_secret(key)

    def refuse(self, key: Key, what: str, hint: str = "") -> None:
        """Note a problem with ``key``."""
        self._problems[key] = Problem(self._places[key], what, hint)

    def _refuse_secret(self, key: Key) -> None:
        self.refuse(
            key,
            f"{join_key(key)} looks like a secret; {self._kind}s must not contain secrets",
            SECRET_HINT if self._kind in ("profile", "script") else "Leave it out.",
        )

    def _value(self, node: yaml.Node, key: Key) -> Any:
        if len(key) > MAX_DEPTH:
            raise profile_error([Problem(self._places[key], TOO_DEEP)])
        if node in self._seen:
            what = f"{join_key(key)} is an alias; {self._kind}s must not use aliases"
            self.refuse(key, what)
            return None
        self._seen.add(node)
        if isinstance(node, yaml.MappingNode):
            return {
                name: self._value(inner, (*key, name)) for name, inner in self._names(node, key)
            }
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.note((*key, index), item.start_mark.line)
            return [self._value(item, (*key, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, key)

    def _names(self, node: yaml.MappingNode, key: Key) -> Iterator[tuple[str, yaml.Node]]:
        for name, inner in node.value:
            text = name.value if isinstance(name, yaml.ScalarNode) else "?"
            self.note((*key, text), name.start_mark.line)
            self._check_text((*key, text), text)
            yield text, inner

    def _check_text(self, key: Key, text: str) -> None:
        r"""Refuse what YAML can write as \0 or \ud800, and no path, URL or service can take."""
        if "\0" in text or replace_surrogates(text) != text:
            self.refuse(key, f"{join_key(key)} contains a NUL or half a character")

    def _scalar(self, node: yaml.Node, key: Key) -> Any:
        try:
            value = node.value if node.tag == TIMESTAMP else self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            value = b""
        if isinstance(value, bytes):
            self.refuse(key, f"{join_key(key)} is not a plain YAML value")
            return None
        if isinstance(value, str):
            self._check_text(key, value)
            if has_secret(value):
                self._refuse_secret(key)
        return value

    def _place(self, line: int) -> Place:
        return Place(self._source, line + 1 if self._numbered else None)
