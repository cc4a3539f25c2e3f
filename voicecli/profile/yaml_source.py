"""From YAML to a layer; what no profile may hold, whatever its keys mean, is refused here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from voicecli.profile.overlay import Key, Layer, Place, Problem, dotted, profile_error
from voicecli.sanitize import has_secret

SECRET_NAME = re.compile(r"(^|[_-])(api_?key|token|secret|password|authorization)$", re.IGNORECASE)

TIMESTAMP = "tag:yaml.org,2002:timestamp"


def read_file(text: str, source: str, kind: str = "profile") -> Layer:
    """The layer that the YAML file ``source`` with ``text`` is; raises ProfileError."""
    reading = _Reading(source, numbered=True)
    values = reading.document(text, ())
    if not isinstance(values, dict | None):
        reading.complain((), f"a {kind} is a mapping of sections")
    return reading.layer(values or {})


def read_assignment(keys: Sequence[str], text: str, source: str) -> Layer:
    """The layer that sets ``keys`` to the YAML scalar or flow ``text``; raises ProfileError.

    source: the variable or the option that says so.
    """
    reading = _Reading(source, numbered=False)
    for depth in range(1, len(keys)):
        reading.note(tuple(keys[:depth]))
    value = reading.document(text, tuple(keys))
    for name in reversed(keys):
        value = {name: value}
    return reading.layer(value)


class _Reading:
    """Reads one text, and notes places and complaints on the way."""

    def __init__(self, source: str, *, numbered: bool) -> None:
        self._source = source
        self._numbered = numbered
        self._places: dict[Key, Place] = {}
        self._complaints: dict[Key, Problem] = {}
        self._seen: set[yaml.Node] = set()

    def document(self, text: str, key: Key) -> Any:
        """The value of the one document in ``text``, which stands at ``key``."""
        self.note(key)
        try:
            self._loader = yaml.SafeLoader(text)
            node = self._loader.get_single_node()
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            raise profile_error(
                [Problem(self._place(line), "YAML forbids this character")]
            ) from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line if error.problem_mark else 0
            raise profile_error([Problem(self._place(line), str(error.problem))]) from None
        if not self._numbered and isinstance(node, yaml.CollectionNode) and not node.flow_style:
            return text  # "Sorry: once more" is a sentence, not a mapping
        return None if node is None else self._value(node, key)

    def layer(self, values: dict[str, Any]) -> Layer:
        """What was read; raises ProfileError if anything was wrong with it."""
        if self._complaints:
            raise profile_error(list(self._complaints.values()))
        return Layer(values, self._places)

    def note(self, key: Key, line: int = 0) -> None:
        """``key`` stands in ``line``."""
        first = self._places.get(key)
        self._places[key] = self._place(line)
        if first:
            self.complain(key, f"{dotted(key)} is set twice, first at {first}")
        if key and SECRET_NAME.search(str(key[-1])):
            self._complain_of_secret(key)

    def complain(self, key: Key, what: str, hint: str = "") -> None:
        """Something is wrong with ``key``."""
        self._complaints[key] = Problem(self._places[key], what, hint)

    def _complain_of_secret(self, key: Key) -> None:
        self.complain(
            key,
            f"{dotted(key)} looks like a secret, and profiles hold none",
            "Put it into the environment or into .env, and its variable's name into key_env.",
        )

    def _value(self, node: yaml.Node, key: Key) -> Any:
        if node in self._seen:
            self.complain(key, f"{dotted(key)} is an alias, which profiles do without")
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
            yield text, inner

    def _scalar(self, node: yaml.Node, key: Key) -> Any:
        try:
            value = node.value if node.tag == TIMESTAMP else self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.complain(key, f"{dotted(key)} is no plain YAML value")
            return None
        if isinstance(value, str) and has_secret(value):
            self._complain_of_secret(key)
        return value

    def _place(self, line: int) -> Place:
        return Place(self._source, line + 1 if self._numbered else None)
