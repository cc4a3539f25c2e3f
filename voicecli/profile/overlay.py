"""Settings as somebody wrote them: plain values, and where each of them stands.

A layer is one YAML file, one environment variable or one ``--set``.  Layers are laid over each
other, and what is wrong with the result is said at the place it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voicecli.errors import ProfileError
from voicecli.sanitize import escape_controls

Key = tuple[str | int, ...]
"""The way to a value: section, key, perhaps an index."""

COMPLAINTS = 10
"""So many are told at once."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a setting was written: FILE:LINE, the name of a variable, or an option."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; ``what`` and ``hint`` as in VoiceError's cause and hint."""

    place: Place | None
    what: str
    hint: str = ""

    @property
    def cause(self) -> str:
        """The place, then what is wrong there."""
        return f"{self.place}: {self.what}" if self.place else self.what


def profile_error(complaints: Sequence[Problem]) -> ProfileError:
    """All that is wrong, a line each, as an error whose hint is the last line's."""
    *others, last = complaints[:COMPLAINTS]
    lines = [f"{one.cause}. {one.hint}".rstrip() for one in others]
    cause = "\n".join(map(escape_controls, [*lines, last.cause]))
    return ProfileError(cause, hint=escape_controls(last.hint))


@dataclass(frozen=True, slots=True)
class Layer:
    """Values, and the places of their keys; those written last come last."""

    values: dict[str, Any]
    places: dict[Key, Place]

    def over(self, base: Layer) -> Layer:
        """This layer laid over ``base``."""
        untouched = {key: at for key, at in base.places.items() if key not in self.places}
        return Layer(merge(base.values, self.values), untouched | self.places)

    def place(self, key: Key) -> Place:
        """Where ``key`` was written, or else what it is part of."""
        while key not in self.places and key:
            key = key[:-1]
        return self.places[key]


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``: maps merge, everything else replaces.  Changes neither."""
    return base | {
        name: merge(base[name], value)
        if isinstance(value, dict) and isinstance(base.get(name), dict)
        else value
        for name, value in over.items()
    }


def dotted(key: Key) -> str:
    """``stt.keyterms[0]`` for ("stt", "keyterms", 0)."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)[1:]
