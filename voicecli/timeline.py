"""The entry of a session: every event and every action, in order.  Append, follow, save, load.

A session is its timeline: metrics, transcript, what the LLM remembers and the report are folds over
it.  On disk it is JSON lines, a header first:

    {"schema_version": 1, "program": "voicecli", "version": "0.1.0", "profile": {…},
     "clock_origin": 5231.07, "started": "2026-11-25T15:02:11+00:00"}
    {"event": "SpeechStarted", "at": 0.62, "speech_start": 0.5}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    TextIO,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from voicecli import __version__, events
from voicecli.errors import InputError, UsageError, suggest
from voicecli.events import Action, Event, ReplyEvent
from voicecli.sanitize import sanitize_short
from voicecli.units import Seconds

T = TypeVar("T")

Entry = Event | Action

KINDS: Mapping[str, type[Entry]] = {
    name: kind
    for name, kind in vars(events).items()
    if isinstance(kind, type)
    and issubclass(kind, Event | Action)
    and kind not in (Event, Action, ReplyEvent)
}
"""Every entry there is, by name."""


def encode(entry: Entry) -> str:
    """``entry`` as one line of JSON, without its end.

    ASCII only: what a service said can then neither break a line nor command a terminal.
    """
    what = "event" if isinstance(entry, Event) else "action"
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    return json.dumps({what: type(entry).__name__, **values}, allow_nan=False)


def decode(line: str) -> Entry:
    """The entry that ``line`` holds; raises ValueError with a clause that says what is wrong."""
    values = parse_object(line)
    return build_instance(_kind(values), values)


def build_instance(kind: type[T], values: dict[str, Any]) -> T:
    """The ``kind`` (a dataclass) with ``values``; raises ValueError where they do not fit it."""
    hints = _hints(cast(Hashable, kind))
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{kind.__name__} has no {name!r}{_suggest(name, hints)}")
        if not _fits(value, hints[name]):
            raise ValueError(f"{kind.__name__}.{name} cannot be {_shown(value)}")
    needed = (one.name for one in fields(cast(Any, kind)) if _needed(one))
    if missing := [name for name in needed if name not in values]:
        raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**values)


def _needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def parse_object(line: str) -> dict[str, Any]:
    """The JSON object in ``line``; raises ValueError with a clause that says what is wrong."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("this is no JSON") from None
    if not isinstance(values, dict):
        raise ValueError("this is no JSON object")
    return values


def _kind(values: dict[str, Any]) -> type[Entry]:
    """The class that ``values`` names; its name is taken out."""
    if ("event" in values) == ("action" in values):
        raise ValueError("an entry has an event or an action")
    what, base = ("event", Event) if "event" in values else ("action", Action)
    name = values.pop(what)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not issubclass(kind, base):
        raise ValueError(f"there is no {what} {_shown(name)}{_suggest(name, KINDS)}")
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


def _suggest(name: object, known: Mapping[str, object]) -> str:
    hint = suggest(str(name), known)
    return f". {hint}" if hint else ""


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


SCHEMA_VERSION = 1
"""Raised when a file of before can no longer be read; new entries and optional fields do not."""

PROGRAM = "voicecli"

Follower = Callable[[Entry], None]


class Timeline:
    """What happened and what was done about it, in order; it only grows."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = list(entries)
        self._followers: list[Follower] = []

    def append(self, entry: Entry) -> None:
        """``entry`` is what comes next; every follower is told, in the order they came."""
        self._entries.append(entry)
        for follower in self._followers:
            follower(entry)

    def follow(self, follower: Follower) -> None:
        """``follower`` is told of every entry from now on.  It must not block, nor raise."""
        self._followers.append(follower)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._entries[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a timeline on disk says of itself.

    profile: the resolved settings, as plain data without secrets.
    clock_origin: CLOCK_MONOTONIC at time 0 of the session, in seconds; None in virtual time.
    started: wall time at its beginning, ISO 8601.
    version: of the program that wrote it.
    """

    profile: dict[str, Any] = field(default_factory=dict)
    clock_origin: Seconds | None = None
    started: str = ""
    version: str = __version__


@dataclass(frozen=True, slots=True)
class SavedTimeline:
    """A timeline that was read from a file.

    torn: whether the file ends in the middle of a line, which was left out: the program that wrote
        it did not end well.
    """

    header: Header
    timeline: Timeline
    torn: bool = False


class TimelineWriter:
    """Writes entries to ``file`` as they come: a follower of a timeline.

    A full disk must not end a conversation: after the first failure nothing more is written.

    failure: why not all was written; None when all was.
    """

    def __init__(self, file: TextIO, header: Header) -> None:
        self._file = file
        self.failure: str | None = None
        what = {"schema_version": SCHEMA_VERSION, "program": PROGRAM}
        self._write(json.dumps(what | asdict(header), allow_nan=False))

    def __call__(self, entry: Entry) -> None:
        """``entry`` is what comes next."""
        if self.failure is None:
            self._write(encode(entry))

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or error.strerror or str(error)

    def _write(self, line: str) -> None:
        try:
            self._file.write(f"{line}\n")
        except OSError as error:
            self.failure = error.strerror or str(error)


@contextmanager
def open_writer(path: Path, header: Header) -> Iterator[TimelineWriter]:
    """A writer to ``path``, which is made anew; each line is handed to the system when written.

    Raises UsageError when the file cannot be opened, and at the end when not all was written.
    """
    try:
        file = path.open("w", encoding="ascii", newline="\n", buffering=1)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    writer = TimelineWriter(file, header)
    try:
        yield writer
    finally:
        writer.close()
    if writer.failure is not None:
        raise _unwritable(path, writer.failure)


def save(timeline: Iterable[Entry], path: Path, header: Header) -> None:
    """Write the whole of ``timeline`` to ``path``; raises UsageError when that fails."""
    with open_writer(path, header) as writer:
        for entry in timeline:
            writer(entry)


def load(path: Path) -> SavedTimeline:
    """The timeline in ``path``; raises InputError, with its line, where the file is not one."""
    try:
        *whole, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    lines = _Lines(path)
    header = lines.read(_header, whole[0] if whole else rest)
    entries = [lines.read(decode, line) for line in whole[1:]]
    if not whole or not rest:
        return SavedTimeline(header, Timeline(entries))
    try:
        entries.append(lines.read(decode, rest))  # only its line end is missing
    except InputError:
        return SavedTimeline(header, Timeline(entries), torn=True)
    return SavedTimeline(header, Timeline(entries))


def _header(line: str) -> Header:
    """The header that ``line`` holds; raises ValueError with a clause that says what is wrong."""
    values = parse_object(line)
    if values.pop("program", None) != PROGRAM:
        raise ValueError("this is no timeline of voicecli")
    if (schema := values.pop("schema_version", None)) != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {schema!r}, and this program reads {SCHEMA_VERSION}")
    return build_instance(Header, values)


def _unwritable(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} could not be written: {why}", hint="Give a file in a folder that you may write to."
    )


class _Lines:
    """The lines of a file, counted, so that a refusal can say where."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0

    def read(self, parse: Callable[[str], T], line: bytes) -> T:
        self._number += 1
        try:
            return parse(line.decode())
        except UnicodeDecodeError:
            problem = "this is not UTF-8"
        except ValueError as error:
            problem = sanitize_short(str(error))
        raise InputError(
            f"{self._path}:{self._number}: {problem}",
            hint="Give a timeline.jsonl as voicecli wrote it.",
        )
