"""Label files: the truth about a recording, in a file beside it, written and corrected by people.

    version: 1
    audio: x.wav                  # optional; a file beside this one
    channel: 0                    # optional; the user's, counted from 0
    spans:
    - {start: 1.2, end: 3.95, kind: turn, text: "I need … a doctor."}
    - {start: 2.1, end: 2.8, kind: pause}

``x.labels.yaml`` or ``x.labels.json`` holds the labels of ``x.wav``.  Times are seconds from the
beginning of the recording.  A span that states no ``expect`` has that of its kind.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from voicecli.environment.files import read_text_file
from voicecli.errors import InputError, ProfileError
from voicecli.metrics.labels import EXPECTED, Expectation, Kind, Labels, Span
from voicecli.profile.layers import (
    TOO_DEEP,
    Key,
    Layer,
    Place,
    Problem,
    join_key,
    profile_error,
    read_yaml,
)
from voicecli.profile.validation import create_schema, validate_layer
from voicecli.sanitize import escape_controls
from voicecli.settings import setting
from voicecli.units import Seconds

SUFFIXES = (".labels.yaml", ".labels.json")
"""What a label file's name has in the place of its recording's suffix."""

VERSION = 1

ROUNDING: Seconds = 0.01
"""How far a label may reach beyond the recording's end: Audacity and eot-bench round to this."""

RECORDING_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".w64", ".caf")
"""Of the recordings that are looked for in a folder; any other may be named."""

FLOOR: tuple[Kind, ...] = ("turn", "interruption")
"""What may have pauses."""

OWN_SPEECH: tuple[Kind, ...] = (*FLOOR, "backchannel", "other")
"""What the user says: one mouth, so these spans do not overlap."""

_NOT_IN_YAML = re.compile(
    r"[\t\x7f-\x84\x86-\x9f\ufffe\uffff]"
    r"|(?<!\\)(?:\\\\)*\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w"
)
"""What JSON may have and YAML may not: tabs between tokens, some controls, and characters escaped
as two surrogates.  One surrogate alone is half a character, which YAML's reader refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEntry:
    """A part of the recording, as a label file states it."""

    start: float = setting(doc="Seconds from the beginning of the recording.", ge=0)
    end: float = setting(doc="Seconds from the beginning of the recording.", gt=0)
    kind: Kind = setting(doc="What it is.")
    expect: Expectation | None = setting(None, "What the agent should do; null: as for its kind.")
    text: str = setting("", "What is said; empty: unknown, or nothing.", empty=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """The labels of a recording."""

    version: Literal[1] = setting(doc="Of the format.")
    audio: str | None = setting(
        None, "Name of the recording, beside this file.", pattern=r"^[^/\\]+$", example="x.wav"
    )
    channel: int | None = setting(None, "The user's channel, counted from 0.", ge=0, le=63)
    spans: tuple[SpanEntry, ...] = setting((), "The labels.")


# ── finding ──────────────────────────────────────────────────────────────────


def find_labels(recording: Path) -> Path | None:
    """Find the label file beside ``recording``; raises InputError if there are two."""
    files = [file for suffix in SUFFIXES if (file := recording.with_suffix(suffix)).is_file()]
    if len(files) > 1:
        raise InputError(
            f"{recording} has two label files, {files[0].name} and {files[1].name}",
            hint="Keep one of them.",
        )
    return files[0] if files else None


def is_label_file(path: Path) -> bool:
    """Whether ``path`` is named as a label file."""
    return path.name.endswith(SUFFIXES)


def find_recording(labels: Path) -> Path | None:
    """Find the recording beside the label file ``labels``: what it names, else what is named alike.

    Raises InputError where the file cannot be read.
    """
    named = _parse(_read_layer(labels)).audio
    if named is not None:
        return recording if (recording := labels.parent / named).is_file() else None
    stem = next(
        (labels.name.removesuffix(one) for one in SUFFIXES if labels.name.endswith(one)), ""
    )
    alike = [
        file
        for file in sorted(labels.parent.iterdir())
        if file.stem == stem and file.suffix.lower() in RECORDING_SUFFIXES
    ]
    return alike[0] if len(alike) == 1 else None


# ── reading ──────────────────────────────────────────────────────────────────


def load_labels(path: Path, duration: Seconds | None = None) -> Labels:
    """Load the label file ``path``; raises InputError that lists every problem.

    duration: of the recording, where it is known; no label may reach beyond it.
    """
    return _make_labels(_read_layer(path), duration)


def parse_labels(text: str, source: str, *, as_json: bool = False) -> Labels:
    """Read the ``text`` of a label file; ``source`` is named in errors, as ``load_labels`` does."""
    return _make_labels(_read_text(text, source, as_json=as_json), None)


def _make_labels(layer: Layer, duration: Seconds | None) -> Labels:
    entries = _parse(layer)
    problems = list(_find_problems(layer, entries.spans, duration))
    if problems:
        problems.sort(key=lambda one: one.place or Place(""))
        raise _as_input_error(profile_error(problems))
    spans = sorted(map(_make_span, entries.spans), key=lambda span: (span.start, -span.end))
    return Labels(spans=tuple(spans), channel=entries.channel)


def _parse(layer: Layer) -> LabelFile:
    try:
        parsed = validate_layer(layer, create_schema(LabelFile))
    except ProfileError as error:
        raise _as_input_error(error) from None
    assert isinstance(parsed, LabelFile)
    return parsed


def _make_span(entry: SpanEntry) -> Span:
    return Span(
        start=entry.start,
        end=entry.end,
        kind=entry.kind,
        expect=entry.expect or EXPECTED[entry.kind],
        text=entry.text,
    )


def _read_layer(path: Path) -> Layer:
    try:
        text = read_text_file(path)
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not UTF-8 text") from None
    except OSError as error:
        hint = "voicecli labels propose RECORDING makes one." if not path.exists() else ""
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    except ValueError:  # a NUL in the name
        raise InputError(f"{escape_controls(str(path))} cannot be read") from None
    return _read_text(text, str(path), as_json=path.suffix == ".json")


def _read_text(text: str, source: str, *, as_json: bool) -> Layer:
    try:
        return (_read_json if as_json else _read_yaml)(text, source)
    except ProfileError as error:
        raise _as_input_error(error) from None


def _read_yaml(text: str, source: str) -> Layer:
    return read_yaml(text, source, "label file")


def _read_json(text: str, source: str) -> Layer:
    """Read JSON: the values as JSON has them, their places as YAML, which JSON nearly is."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        problem = Problem(Place(source, error.lineno), f"this is not JSON: {error.msg}")
        raise profile_error([problem]) from None
    except (RecursionError, ValueError):  # a number of more than 4300 digits
        raise profile_error([Problem(Place(source, 1), TOO_DEEP)]) from None
    return Layer(values, _read_yaml(_NOT_IN_YAML.sub(" ", text), source).places)


def _as_input_error(error: ProfileError) -> InputError:
    return InputError(error.cause, hint=error.hint)


class _Timed(NamedTuple):
    """A span whose times are right, ordered by them; number: its place in the file, from 0."""

    start: Seconds
    end: Seconds
    number: int
    kind: Kind


def _find_problems(
    layer: Layer, entries: tuple[SpanEntry, ...], duration: Seconds | None
) -> Iterator[Problem]:
    """Find what is wrong with spans whose values are right one by one."""
    timed = []
    for index, one in enumerate(entries):
        if one.end <= one.start:
            what = f"must be after start, {one.start:g}, not {one.end:g}"
            yield _blame(layer, index, "end", what)
        elif duration is not None and one.end > duration + ROUNDING:
            what = f"is beyond the recording's end, {duration:.3f} s"
            hint = "Are these the labels of another recording?"
            yield _blame(layer, index, "end", what, hint)
        else:
            timed.append(_Timed(one.start, one.end, index, one.kind))
    timed.sort()
    pauses = [one for one in timed if one.kind == "pause"]
    yield from _find_overlaps(layer, [one for one in timed if one.kind in OWN_SPEECH])
    yield from _find_overlaps(layer, pauses)
    yield from _find_stray(layer, pauses, [one for one in timed if one.kind in FLOOR])


def _find_overlaps(layer: Layer, spans: list[_Timed]) -> Iterator[Problem]:
    """Find the spans that begin before an earlier one has ended."""
    last: _Timed | None = None
    for span in spans:
        if last is not None and span.start < last.end:
            what = f"lies within the {last.kind} of {layer.place(('spans', last.number))}"
            yield _blame(layer, span.number, "start", what)
        if last is None or span.end > last.end:
            last = span


def _find_stray(layer: Layer, pauses: list[_Timed], floors: list[_Timed]) -> Iterator[Problem]:
    """Find the pauses without speech on both sides."""
    for pause in pauses:
        before = bisect(floors, (pause.start,)) - 1
        if before < 0 or pause.end >= floors[before].end:
            what = f"has no {' or '.join(FLOOR)} around it, with speech before and after the pause"
            hint = "Silence between two turns needs no label."
            yield _blame(layer, pause.number, "start", what, hint)


def _blame(layer: Layer, index: int, key: str, what: str, hint: str = "") -> Problem:
    path: Key = ("spans", index, key)
    return Problem(layer.place(path), f"{join_key(path)} {what}", hint)


# ── writing ──────────────────────────────────────────────────────────────────


def dump_labels(labels: Labels, audio: str | None = None, *, as_json: bool = False) -> str:
    """Write ``labels`` as the text of a label file, a span a line.

    audio: name of the recording.
    """
    head: dict[str, Any] = {"version": VERSION}
    if audio is not None:
        head["audio"] = audio
    if labels.channel is not None:
        head["channel"] = labels.channel
    spans = [_list_values(span) for span in labels.spans]
    if as_json:
        lines = ",\n".join(f"  {json.dumps(span, ensure_ascii=False)}" for span in spans)
        return f'{json.dumps(head)[:-1]}, "spans": [\n{lines}\n]}}\n'
    if not spans:
        return _dump_yaml(head | {"spans": []})
    lines = "".join(f"- {_dump_yaml(span, flow=True)}" for span in spans)
    return f"{_dump_yaml(head)}spans:\n{lines}"


def _list_values(span: Span) -> dict[str, Any]:
    values: dict[str, Any] = {"start": span.start, "end": span.end, "kind": span.kind}
    if span.expect != EXPECTED[span.kind]:
        values["expect"] = span.expect
    if span.text:
        values["text"] = span.text
    return values


def _dump_yaml(values: dict[str, Any], *, flow: bool = False) -> str:
    # PyYAML writes a next-line character as it is, and reads it as a space.
    readable = "\x85" not in "".join(map(str, values.values()))
    text: str = yaml.safe_dump(
        values, default_flow_style=flow, sort_keys=False, allow_unicode=readable, width=inf
    )
    return text
