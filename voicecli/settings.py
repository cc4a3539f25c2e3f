"""Settings: declared once, as fields of the frozen dataclasses that use them.

    endpointing: Seconds | None = milliseconds(200, "…", ge=10, le=5000, off=False)

declares the key ``endpointing_ms`` of a profile, a whole number from 10 to 5000 or false, and the
attribute ``endpointing``, in seconds or None; they are converted here and nowhere else.  The check
of a profile, its JSON schema, ``default.yaml`` and the table of settings derive from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal

PER_SECOND = {"_ms": 1000.0, "_s": 1.0, "minutes": 1 / 60}
"""Units of time, by the suffix of the key (or the whole of it): how many make a second."""


class SettingsConflict(ValueError):
    """Settings of one section contradict each other.

    rule: what is broken, a clause that begins with a key.
    keys: those involved, SECTION.KEY for another section's; the one set last is to blame.
    """

    def __init__(self, rule: str, *keys: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.keys = keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is declared of a setting beside its name, type and default.

    doc: what it means, one line.
    key: its name in a profile; None: the attribute's name.
    unit: a key of PER_SECOND, for a duration; "" for everything else.
    ge, gt, le: limits of a number, in the unit of the profile.
    whole: whether a duration must be a whole number of its unit.
    empty: whether a text may be empty.
    max_length, pattern, example: of a text.
    off: what a profile says for None: null or false.
    """

    doc: str
    key: str | None = None
    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    whole: bool = True
    empty: bool = False
    max_length: int | None = None
    pattern: str | None = None
    example: str | None = None
    off: Literal[False] | None = None

    def decode(self, value: Any) -> Any:
        """The attribute's value for what a profile says."""
        if value is False and self.off is False:
            return None
        if isinstance(value, list | tuple):
            return tuple(map(self.decode, value))
        if self.unit and isinstance(value, int | float):
            return value / PER_SECOND[self.unit]
        return value

    def encode(self, value: Any) -> Any:
        """What a profile says for the attribute's value: the opposite of ``decode``."""
        if is_dataclass(value):
            return encode_section(value)
        if value is None:
            return self.off
        if isinstance(value, tuple):
            return [self.encode(item) for item in value]
        if self.unit and isinstance(value, float):
            number = round(value * PER_SECOND[self.unit], 6)
            return round(number) if self.unit == "_ms" and number.is_integer() else number
        return value


def setting(default: Any = MISSING, doc: str = "", **declared: Any) -> Any:
    """Declare a setting; see ``Setting``.  Without a default, a profile must give it."""
    metadata = {"setting": Setting(doc=doc, **declared)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def milliseconds(default: Any = MISSING, doc: str = "", **declared: Any) -> Any:
    """Declare a duration; its default in milliseconds, or a word or None where it may be one."""
    number = isinstance(default, int | float)
    return setting(default / 1000 if number else default, doc, unit="_ms", **declared)


def timeout(default: int, doc: str) -> Any:
    """Declare a duration of 50 ms to a minute; its default in milliseconds."""
    return milliseconds(default, doc, ge=50, le=60_000)


def section(kind: Any, *, key: str | None = None) -> Any:
    """Declare a section: a dataclass of settings, by default with all its defaults."""
    return field(default_factory=kind, metadata={"setting": Setting(doc="", key=key)})


def list_settings(kind: Any) -> Iterator[tuple[str, str, Setting]]:
    """List (attribute, key in a profile, declaration) of each setting of a section."""
    for one in fields(kind):
        if (declared := one.metadata.get("setting")) is not None:
            suffix = declared.unit if declared.unit.startswith("_") else ""
            yield one.name, declared.key or f"{one.name}{suffix}", declared


def encode_section(instance: Any) -> dict[str, Any]:
    """A section as a profile would spell it out: plain values by key."""
    return {
        key: declared.encode(getattr(instance, name))
        for name, key, declared in list_settings(type(instance))
    }
