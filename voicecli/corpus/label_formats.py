"""Importers of other projects' labels.  Each turns its files into ``Labels``, a recording each.

    fdb1       Full-Duplex-Bench v1: a folder of samples, pause.json, turn_taking.json or
               interrupt.json beside input.wav (github.com/DanielLin94144/Full-Duplex-Bench)
    fdb1.5     Full-Duplex-Bench v1.5: metadata.json; the folder's name says what overlaps
    eot-bench  rows of livekit/eot-bench-data as JSON lines: silence_spans, words
    audacity   a label track: start, end and text, which is KIND or KIND: TEXT
    hotato     scenarios with caller_onset_sec and expected.yield (pypi.org/project/hotato)

Benchmarks label events, not where the speech around them begins and ends: that is found in the
recording by the voice detector.  Foreign files may have more keys than are read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from voicecli.audio.channels import Channel
from voicecli.environment.files import read_text_file
from voicecli.errors import InputError
from voicecli.metrics.labels import EXPECTATIONS, EXPECTED, KINDS, Expectation, Kind, Labels, Span
from voicecli.units import Seconds

Stretch = tuple[Seconds, Seconds]
"""Beginning and end of a stretch of voice."""

VoiceFinder = Callable[[Path, Channel], Sequence[Stretch]]
"""Finds the stretches of voice in a recording's channel; raises InputError."""

FileName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$")]
Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Imported(NamedTuple):
    """The labels of one recording.

    recording: its path below the source, or below the folder of the source if that is a file.
    origin: the file (and line) that they come from.
    """

    recording: PurePosixPath
    labels: Labels
    origin: str


Importer = Callable[[Path, VoiceFinder], Iterator[Imported]]


def import_labels(format: str, source: Path, find_voice: VoiceFinder) -> list[Imported]:
    """Read the labels in ``source``, a file or a folder; raises InputError.

    format: a key of FORMATS.
    """
    found = list(FORMATS[format](source, find_voice))
    if not found:
        raise InputError(f"{source} has no labels of the format {format}", hint=_HINTS[format])
    return found


_T = TypeVar("_T")


def _parse(adapter: TypeAdapter[_T], text: str, place: str) -> _T:
    """Read JSON of a known shape; ``place`` is named in errors."""
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        where = f"{place}: {key.lstrip('.')}: " if key else f"{place}: "
        raise InputError(where + first["msg"]) from None


def _read(file: Path) -> str:
    try:
        return read_text_file(file)
    except UnicodeDecodeError:
        raise InputError(f"{file}: this is not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _list_files(source: Path, *names: str) -> Iterator[Path]:
    """List ``source`` itself, or the files of these names below it."""
    if not source.exists():
        raise InputError(f"there is no {source}", hint="Name a file or a folder.")
    if source.is_dir():
        yield from sorted(file for name in names for file in source.rglob(name))
    else:
        yield source


def _name_below(source: Path, file: Path) -> PurePosixPath:
    """The path of ``file`` below ``source``, which is a folder or ``file`` itself."""
    folder = source if source.is_dir() else source.parent
    return PurePosixPath(file.relative_to(folder).as_posix())


def _span(kind: Kind, start: Seconds, end: Seconds, text: str = "") -> Span:
    return Span(start=_round(start), end=_round(end), kind=kind, expect=EXPECTED[kind], text=text)


def _round(at: Seconds) -> Seconds:
    """To a tenth of a millisecond: 3.319999999999993 stands for 3.32."""
    return round(at, 4)


def _order(spans: Sequence[Span], channel: int | None = None) -> Labels:
    ordered = sorted(spans, key=lambda span: (span.start, -span.end))
    return Labels(spans=tuple(ordered), channel=channel)


# ── Full-Duplex-Bench ────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Event:
    timestamp: tuple[Time, Time]
    context: str = ""
    words: Annotated[str, Field(alias="interrupt")] = ""


_EVENTS = TypeAdapter(list[_Event])


def _import_fdb1(source: Path, find_voice: VoiceFinder) -> Iterator[Imported]:
    for file in _list_files(source, "pause.json", "turn_taking.json", "interrupt.json"):
        events = _parse(_EVENTS, _read(file), str(file))
        recording = file.parent / "input.wav"
        voice = find_voice(recording, "auto")
        if not events or not voice:
            raise InputError(f"{file} has no events" if not events else f"{recording} has no voice")
        begin, end = voice[0][0], voice[-1][1]
        match file.name:
            case "pause.json":
                spans = [_span("turn", begin, end)]
                spans += [_span("pause", *event.timestamp) for event in events]
            case "turn_taking.json":  # the gap between the user's turn and the other's
                spans = [_span("turn", begin, events[0].timestamp[0])]
            case "interrupt.json":
                spans = _list_overlaps(voice, events[0].context, "interruption", events)
            case _:
                raise InputError(
                    f"{file} is no annotation of Full-Duplex-Bench v1", hint=_HINTS["fdb1"]
                )
        yield Imported(_name_below(source, recording), _order(spans), str(file))


def _list_overlaps(
    voice: Sequence[Stretch], context: str, kind: Kind, events: Sequence[_Event]
) -> list[Span]:
    """The user's turn, then what happens over the reply to it."""
    first = min(event.timestamp[0] for event in events)
    before = [stretch for stretch in voice if stretch[0] < first]
    spans = [_span(kind, *event.timestamp, event.words) for event in events]
    if before:
        spans.append(_span("turn", before[0][0], min(before[-1][1], first), context))
    return spans


@dataclass(frozen=True)
class _Overlap:
    timestamps: tuple[Time, Time]
    context_text: str = ""
    current_turn_text: str = ""


_OVERLAP = TypeAdapter(_Overlap)
_OVERLAP_KINDS: Mapping[str, Kind] = {
    "user_interruption": "interruption",
    "user_backchannel": "backchannel",
    "talking_to_other": "other",
    "background_speech": "background",
}
"""What overlaps, by the name of the folder of samples."""


def _import_fdb15(source: Path, find_voice: VoiceFinder) -> Iterator[Imported]:
    for file in _list_files(source, "metadata.json"):
        parents = [parent.name for parent in file.absolute().parents]
        kinds = [_OVERLAP_KINDS[name] for name in parents if name in _OVERLAP_KINDS]
        if not kinds:
            raise InputError(
                f"{file}: no folder above it says what overlaps", hint=_HINTS["fdb1.5"]
            )
        noted = _parse(_OVERLAP, _read(file), str(file))
        recording = file.parent / "input.wav"
        event = _Event(noted.timestamps, words=noted.current_turn_text)
        spans = _list_overlaps(find_voice(recording, "auto"), noted.context_text, kinds[0], [event])
        yield Imported(_name_below(source, recording), _order(spans), str(file))


# ── eot-bench ────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Silence:
    start: Time
    end: Time


@dataclass(frozen=True)
class _Word:
    start: Time | None = None
    end: Time | None = None
    word: str = ""
    text: str = ""


def _transpose(value: Any) -> Any:
    """Turn {"start": [1, 2], …} into [{"start": 1}, …]: data sets' loaders return either."""
    if not isinstance(value, dict) or not all(isinstance(one, list) for one in value.values()):
        return value
    return [dict(zip(value, row, strict=False)) for row in zip(*value.values(), strict=False)]


@dataclass(frozen=True)
class _Row:
    id: str | int
    silence_spans: Annotated[list[_Silence], Field(min_length=1), BeforeValidator(_transpose)]
    audio: str | dict[str, Any] | None = None
    words: Annotated[list[_Word] | None, BeforeValidator(_transpose)] = None


_ROW = TypeAdapter(_Row)


def _import_eot_bench(source: Path, _find_voice: VoiceFinder) -> Iterator[Imported]:
    """The last silence follows the turn; those within the turn are its pauses."""
    for file in _list_files(source, "*.jsonl"):
        for number, line in enumerate(_read(file).splitlines(), 1):
            if not line.strip():
                continue
            place = f"{file}:{number}"
            row = _parse(_ROW, line, place)
            silences = sorted((one.start, one.end) for one in row.silence_spans)
            words = row.words or []
            starts = [word.start for word in words if word.start is not None]
            begin, end = min(starts, default=0.0), silences[-1][0]
            if silences[0][0] <= begin < silences[0][1]:  # it begins with silence
                begin = silences[0][1]
            text = " ".join(filter(None, ((word.word or word.text).strip() for word in words)))
            spans = [_span("turn", begin, end, text)]
            spans += [_span("pause", *one) for one in silences[:-1] if begin < one[0]]
            name = _name_recording(row, place)
            yield Imported(_name_below(source, file).with_name(name), _order(spans), place)


def _name_recording(row: _Row, place: str) -> str:
    """The name of the row's recording: that of its audio, or its id."""
    audio = row.audio.get("path") if isinstance(row.audio, dict) else row.audio
    name = re.split(r"[/\\]", str(audio))[-1] if audio else f"{row.id}.wav"
    if not re.fullmatch(r"[^/\\\x00]+", name) or name in (".", ".."):
        raise InputError(f"{place}: {name!r} is no name for a file")
    return name


# ── Audacity ─────────────────────────────────────────────────────────────────

_MARK = re.compile(
    rf"(?P<kind>{'|'.join(KINDS)})(?:/(?P<expect>{'|'.join(EXPECTATIONS)}))?(?::\s*(?P<text>.*))?"
)


def _import_audacity(source: Path, _find_voice: VoiceFinder) -> Iterator[Imported]:
    for file in _list_files(source, "*.txt"):
        spans = []
        for number, line in enumerate(_read(file).splitlines(), 1):
            if not line.strip() or line.startswith("\\"):  # frequencies of the label before
                continue
            spans.append(_read_mark(line, f"{file}:{number}"))
        name = _name_below(source, file)
        stem = name.name.removesuffix(".txt").removesuffix(".labels")
        yield Imported(name.with_name(f"{stem}.wav"), _order(spans), str(file))


def _read_mark(line: str, place: str) -> Span:
    start_text, _, rest = line.partition("\t")
    end_text, _, text = rest.partition("\t")
    try:
        start, end = (float(one.replace(",", ".")) for one in (start_text, end_text))
    except ValueError:
        raise InputError(
            f"{place}: a label is START, END and text, separated by tabs", hint=_HINTS["audacity"]
        ) from None
    if not 0 <= start < end < float("inf"):
        raise InputError(
            f"{place}: a label must have a length, not {start_text} to {end_text}",
            hint="A point in time is no span: drag the label's end in Audacity.",
        )
    if (mark := _MARK.fullmatch(text.strip())) is None:
        return _span("turn", start, end, text.strip())
    kind: Kind = mark["kind"]  # type: ignore[assignment]
    expect: Expectation = mark["expect"] or EXPECTED[kind]  # type: ignore[assignment]
    return Span(start=start, end=end, kind=kind, expect=expect, text=mark["text"] or "")


def format_audacity(labels: Labels) -> str:
    """Write ``labels`` as a label track, which the importer reads back."""
    lines = []
    for span in labels.spans:
        expect = "" if span.expect == EXPECTED[span.kind] else f"/{span.expect}"
        text = f": {' '.join(span.text.split())}" if span.text else ""
        lines.append(f"{span.start:.6f}\t{span.end:.6f}\t{span.kind}{expect}{text}\n")
    return "".join(lines)


# ── hotato ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Expected:
    yields: Annotated[bool, Field(alias="yield")]


@dataclass(frozen=True)
class _Channels:
    caller_channel: Annotated[int, Field(ge=0, le=63)] = 0


@dataclass(frozen=True)
class _Render:
    caller_segments_sec: list[tuple[Time, Time]] = field(default_factory=list)
    caller_is_echo_of_agent: bool = False


@dataclass(frozen=True)
class _Scenario:
    id: FileName
    caller_onset_sec: Time
    expected: _Expected
    audio: FileName | None = None
    channels: _Channels = field(default_factory=_Channels)
    transcript: dict[str, str] = field(default_factory=dict)
    reference_render: _Render = field(default_factory=_Render)


_SCENARIO = TypeAdapter(_Scenario)


def _import_hotato(source: Path, find_voice: VoiceFinder) -> Iterator[Imported]:
    for file in _list_files(source, "*.json"):
        if source.is_dir() and file.name == "manifest.json":
            continue
        scenario = _parse(_SCENARIO, _read(file), str(file))
        name = scenario.audio or f"{scenario.id}.example.wav"
        render = scenario.reference_render
        channel = scenario.channels.caller_channel
        heard = render.caller_segments_sec or find_voice(file.parent / name, channel)
        spans = _list_hotato_spans(scenario, sorted(heard))
        if all(span.kind == "turn" for span in spans):
            raise InputError(f"{file}: the caller says nothing from caller_onset_sec on")
        labels = _order(spans, channel)
        yield Imported(_name_below(source, file).with_name(name), labels, str(file))


def _list_hotato_spans(scenario: _Scenario, heard: Sequence[Stretch]) -> list[Span]:
    """What the caller says up to the onset is a turn; what follows is the event."""
    before = [one for one in heard if one[1] <= scenario.caller_onset_sec]
    event = [one for one in heard if one[1] > scenario.caller_onset_sec]
    text = scenario.transcript.get("caller", "")
    spans = [_span("turn", before[0][0], before[-1][1])] if before else []
    if scenario.reference_render.caller_is_echo_of_agent:
        return spans + [_span("noise", *one) for one in event]
    if scenario.expected.yields and event:
        spans.append(_span("interruption", event[0][0], event[-1][1], text))
        spans += [_span("pause", one[1], after[0]) for one, after in pairwise(event)]
    elif event:
        texts = [one.strip() for one in text.split("...")]
        known = texts if len(texts) == len(event) else [""] * len(event)
        spans += [_span("backchannel", *one, said) for one, said in zip(event, known, strict=True)]
    return spans


FORMATS: Mapping[str, Importer] = {
    "fdb1": _import_fdb1,
    "fdb1.5": _import_fdb15,
    "eot-bench": _import_eot_bench,
    "audacity": _import_audacity,
    "hotato": _import_hotato,
}

_HINTS = {
    "fdb1": "Name a folder with pause.json, turn_taking.json or interrupt.json in it.",
    "fdb1.5": f"Name a folder that has {', '.join(_OVERLAP_KINDS)} in it.",
    "eot-bench": "Save the rows of the data set as JSON lines, without the audio.",
    "audacity": "Export it from Audacity with File, Export Other, Export Labels.",
    "hotato": "Name a folder of scenarios, or one of them.",
}
