"""The timeline of a session: every event and every action, in order.  Append, follow, write, load.

A session is its timeline: metrics, transcript, chat history and reports are folds over it.  On disk
it is JSON lines, a header first:

    {"schema_version": 1, "program": "voicecli", "version": "0.1.0", "profile": {…},
     "clock_origin": 5231.07, "started": "2026-11-25T15:02:11+00:00"}
    {"event": "SpeechStarted", "at": 0.62, "speech_start": 0.5}
"""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TextIO, TypeVar, Union

from voicecli import __version__, events
from voicecli.environment.files import read_file
from voicecli.errors import InputError, UsageError, suggest
from voicecli.events import Action, Event, ReplyEvent
from voicecli.sanitize import SHORTEST_SECRET, create_redactor, redact_secrets, sanitize_short
from voicecli.units import Seconds

T = TypeVar("T")

Entry = Event | Action

Follower = Callable[[Entry], None]

SCHEMA_VERSION = 1
"""Raised when an earlier file can no longer be read; not for new entries and optional fields."""

PROGRAM = "voicecli"

TIMELINE = "timeline.jsonl"
"""A session's timeline, in the folder that keeps the session."""

RESULT = "result.json"
"""What was computed from it."""

LABELS = "labels.yaml"
"""The labels of the recording that was replayed."""

LARGEST = 2**28
"""Bytes of a file that are read: a turn takes about 3 KB."""


class Timeline:
    """What happened and what was done about it, in order; it only grows."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = list(entries)
        self._followers: list[Follower] = []

    def append(self, entry: Entry) -> None:
        """Append the next entry, and pass it to every follower, in the order they came."""
        self._entries.append(entry)
        for follower in self._followers:
            follower(entry)

    def follow(self, follower: Follower) -> None:
        """Pass every entry from now on to ``follower``, which must not block or raise."""
        self._followers.append(follower)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._entries[index]


# ── codec ────────────────────────────────────────────────────────────────────
# By hand: encoding happens during the conversation (7 µs, 14 with a text), and pydantic takes 0.1 s
# to import.

KINDS: Mapping[str, type[Entry]] = {
    name: kind
    for name, kind in vars(events).items()
    if isinstance(kind, type)
    and issubclass(kind, Event | Action)
    and kind not in (Event, Action, ReplyEvent)
}
"""Every kind of entry, by name."""


def encode(entry: Entry, redact: Callable[[str], str] = redact_secrets) -> str:
    """Encode ``entry`` as one line of JSON, without its end.

    ASCII only, so that what a service said can neither break a line nor control a terminal.
    Secrets in its texts are replaced by ``redact``: a service may say our key as a transcript.
    """
    values: dict[str, Any] = {
        "event" if isinstance(entry, Event) else "action": type(entry).__name__
    }
    for one in fields(entry):
        value = getattr(entry, one.name)
        is_text = isinstance(value, str) and len(value) >= SHORTEST_SECRET
        values[one.name] = redact(value) if is_text else value
    return json.dumps(values, allow_nan=False)


def decode(line: str) -> Entry:
    """Decode the entry in ``line``; raises ValueError, whose text is a clause."""
    values = _parse_object(line)
    if ("event" in values) == ("action" in values):
        raise ValueError("an entry has an event or an action")
    what, base = ("event", Event) if "event" in values else ("action", Action)
    name = values.pop(what)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not issubclass(kind, base):
        raise ValueError(f"unknown {what} {_shorten(name)}. {suggest(str(name), KINDS)}".strip())
    return _build(kind, values)


def _build(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a dataclass from ``values``; raises ValueError where they do not fit."""
    hints, required = _describe(typing.cast(Any, kind))
    for name, value in values.items():
        if name not in hints:
            hint = suggest(name, hints)
            raise ValueError(f"{kind.__name__} has no field {_shorten(name)}. {hint}".strip())
        if not _fits(value, hints[name]):
            raise ValueError(f"{kind.__name__}.{name} cannot be {_shorten(value)}")
    if missing := [name for name in required if name not in values]:
        raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**values)


@cache
def _describe(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """The types of a dataclass's fields, and the names of the required ones."""
    required = [one.name for one in fields(kind) if one.default is one.default_factory is MISSING]
    return typing.get_type_hints(kind), required


def _fits(value: object, hint: Any) -> bool:
    """Whether ``value`` is of the type ``hint``; a whole number may stand for a float."""
    if typing.get_origin(hint) in (Union, UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return isinstance(value, str) and value in typing.get_args(hint)
    if hint is float:
        try:
            return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
        except OverflowError:  # 1 followed by 400 zeros is an int, and no float
            return False
    return value is None if hint is NoneType else type(value) is (typing.get_origin(hint) or hint)


def _parse_object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not valid JSON") from None
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    return values


def _shorten(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


# ── files ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a timeline on disk.

    profile: the resolved settings, as plain data without secrets.
    clock_origin: CLOCK_MONOTONIC at time 0 of the session, in seconds; None in virtual time.
    started: wall time at the start, ISO 8601.
    version: of the program that wrote the file.
    """

    profile: dict[str, Any] = field(default_factory=dict)
    clock_origin: Seconds | None = None
    started: str = ""
    version: str = __version__


@dataclass(frozen=True, slots=True)
class SavedTimeline:
    """A timeline that was read from a file.

    torn: whether the file ends within a line, which was left out.
    """

    header: Header
    timeline: Timeline
    torn: bool = False


class TimelineWriter:
    """A follower that writes entries to ``file`` as they come.

    A full disk must not end a conversation: after the first failure nothing more is written.

    failure: why something was not written; None if everything was.
    """

    def __init__(self, file: TextIO, header: Header) -> None:
        self._file = file
        self._redact = create_redactor()
        self.failure: OSError | None = None
        values = {"schema_version": SCHEMA_VERSION, "program": PROGRAM, **asdict(header)}
        self._write(json.dumps(values, allow_nan=False))

    def __call__(self, entry: Entry) -> None:
        """Write the next entry."""
        if self.failure is None:
            self._write(encode(entry, self._redact))

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or error

    def _write(self, line: str) -> None:
        try:
            self._file.write(f"{line}\n")
        except OSError as error:
            self.failure = error


def _explain(error: OSError) -> str:
    return error.strerror or str(error)


@contextmanager
def open_writer(
    path: Path, header: Header, explain: Callable[[OSError], str] = _explain
) -> Iterator[TimelineWriter]:
    """Open a writer to ``path``, which is replaced; each line is handed to the system at once.

    explain: returns the reason that an error's message gives.

    Raises UsageError when the file cannot be opened or takes not even the header, which removes it,
    and at the end if something was not written.
    """
    try:
        file = path.open("w", encoding="ascii", newline="\n", buffering=1)
    except OSError as error:
        raise _write_error(path, explain(error)) from error
    writer = TimelineWriter(file, header)
    try:
        if writer.failure is None:
            yield writer
        elif path.is_file():  # not a device
            path.unlink()
    finally:
        writer.close()
    if writer.failure is not None:
        raise _write_error(path, explain(writer.failure)) from writer.failure


def load(path: Path) -> SavedTimeline:
    """Read the timeline in ``path``; raises InputError with FILE:LINE."""
    try:
        *whole, rest = read_file(path, LARGEST).split(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    header = _parse(path, 1, _decode_header, whole[0] if whole else rest)
    entries = [_parse(path, number, decode, line) for number, line in enumerate(whole[1:], 2)]
    try:
        entries += [decode(line.decode()) for line in [rest] if whole and line]
    except ValueError:
        return SavedTimeline(header, Timeline(entries), torn=True)
    return SavedTimeline(header, Timeline(entries))  # at most the last line end is missing


def _decode_header(line: str) -> Header:
    values = _parse_object(line)
    if values.pop("program", None) != PROGRAM:
        raise ValueError(f"not a timeline of {PROGRAM}")
    if (schema := values.pop("schema_version", None)) != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {_shorten(schema)}, and must be {SCHEMA_VERSION}")
    return _build(Header, values)


def _parse(path: Path, number: int, parse: Callable[[str], T], line: bytes) -> T:
    """Parse a line of a file; raises InputError with its place."""
    try:
        return parse(line.decode())
    except UnicodeDecodeError:
        problem = "not UTF-8"
    except ValueError as error:
        problem = sanitize_short(str(error)).removesuffix(".")
    raise InputError(f"{path}:{number}: {problem}", hint="Give a timeline.jsonl of voicecli.")


def _write_error(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} could not be written: {why}", hint="Name a file in a folder that you may write to."
    )
