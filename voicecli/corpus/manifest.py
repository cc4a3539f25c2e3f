"""Finds the recordings of a corpus: files, folders, globs, and manifests that say more of each.

A manifest is YAML (``.yaml``), or JSON lines (``.jsonl``) with one recording a line:

    recordings:
    - recording: calls                 # a file, a folder or a glob, relative to the manifest
      tags: [telephone]
    - recording: rooms/quiet.wav
      labels: quiet.labels.yaml        # optional; without it, the label file beside the recording
      channel: left                    # optional; left, right, mix or a number from 1
      profile: duplex                  # optional; a --profile on the command line counts instead
      tags: [room, quiet]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from voicecli.audio.channels import Channel, parse_channel
from voicecli.corpus.label_file import RECORDING_SUFFIXES, find_labels, is_label_file
from voicecli.environment.files import read_text_file
from voicecli.environment.folders import expand_home
from voicecli.errors import InputError, ProfileError, UsageError
from voicecli.profile.layers import Key, Layer, Place, Problem, profile_error, read_yaml
from voicecli.profile.validation import create_schema, validate_layer
from voicecli.settings import setting

MANIFEST_SUFFIXES = (".yaml", ".yml", ".jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording of a corpus.

    labels: its label file; None if there is none.
    channel: the user's; "auto" where nobody has said.
    profile: the profile for it; None: those of the command line.
    """

    path: Path
    labels: Path | None = None
    channel: Channel = "auto"
    profile: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """An entry of a manifest."""

    recording: str = setting(doc="A file, a folder or a glob, relative to the manifest.")
    labels: str | None = setting(None, "Its label file, relative to the manifest.")
    channel: int | str | None = setting(None, "left, right, mix or a number from 1.")
    profile: str | None = setting(None, "Name or file of a profile.")
    tags: tuple[str, ...] = setting((), "By which tables group recordings.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A list of recordings."""

    recordings: tuple[ManifestEntry, ...] = setting(doc="The recordings.")


def find_recordings(names: Sequence[str]) -> list[Recording]:
    """Find the recordings that ``names`` stand for, each once, in their order.

    names: recordings, folders, globs and manifests.

    Raises InputError where one stands for nothing, or a manifest is wrong.
    """
    found: dict[Path, Recording] = {}
    for name in names:
        path = expand_home(name)
        if is_manifest(path):
            recordings = list(_read_manifest(path))
        else:
            recordings = [Recording(path=one, labels=find_labels(one)) for one in _expand(path)]
        if not recordings:
            raise _make_empty_error(path)
        for one in recordings:
            found.setdefault(one.path, one)
    return list(found.values())


def is_manifest(path: Path) -> bool:
    """Whether ``path`` is named as a manifest."""
    return path.suffix.lower() in MANIFEST_SUFFIXES and not is_label_file(path)


def is_corpus(name: str) -> bool:
    """Whether ``name`` stands for more than one file: a folder, a glob or a manifest."""
    path = expand_home(name)
    return path.is_dir() or is_manifest(path) or (has_magic(name) and not path.exists())


def _expand(path: Path) -> list[Path]:
    """List the recordings of a folder and those below it, of a glob, or the file itself."""
    if path.is_dir():
        return sorted(one for one in path.rglob("*") if _is_recording(one, path))
    if has_magic(str(path)) and not path.exists():
        matches = [Path(one) for one in sorted(glob(str(path), recursive=True))]
        return [one for match in matches for one in _expand_match(match)]
    return [path]


def _expand_match(path: Path) -> list[Path]:
    if path.is_dir():
        return _expand(path)
    return [path] if path.suffix.lower() in RECORDING_SUFFIXES else []


def _is_recording(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in RECORDING_SUFFIXES and not hidden and path.is_file()


def _make_empty_error(path: Path) -> InputError:
    what = "lists no recording" if is_manifest(path) else "has no recording"
    if has_magic(str(path)) and not path.exists():
        what = "matches no recording"
    known = ", ".join(one.removeprefix(".") for one in RECORDING_SUFFIXES)
    return InputError(f"{path} {what}", hint=f"Recordings are files with the suffix {known}.")


# ── manifests ────────────────────────────────────────────────────────────────


def _read_manifest(path: Path) -> Iterator[Recording]:
    try:
        text = read_text_file(path)
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        read = _read_json_lines if path.suffix.lower() == ".jsonl" else _read_yaml
        layer = read(text, str(path))
        manifest = validate_layer(layer, create_schema(Manifest))
        assert isinstance(manifest, Manifest)
        for index, entry in enumerate(manifest.recordings):
            yield from _find_entry(path.parent, entry, layer, index)
    except ProfileError as error:
        raise InputError(error.cause, hint=error.hint) from None


def _read_yaml(text: str, source: str) -> Layer:
    return read_yaml(text, source, "manifest")


def _read_json_lines(text: str, source: str) -> Layer:
    """Read one object a line; blank lines are skipped."""
    values: list[Any] = []
    places: dict[Key, Place] = {(): Place(source, 1), ("recordings",): Place(source, 1)}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = Place(source, number)
        places["recordings", len(values)] = place
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError):
            problems.append(Problem(place, "this is not JSON", "Write one object a line."))
    if problems:
        raise profile_error(problems)
    return Layer({"recordings": values}, places)


def _find_entry(
    folder: Path, entry: ManifestEntry, layer: Layer, index: int
) -> Iterator[Recording]:
    def refuse(key: str, what: str, hint: str = "") -> ProfileError:
        place = layer.place(("recordings", index, key))
        return profile_error([Problem(place, f"recordings[{index}].{key} {what}", hint)])

    paths = _expand(folder / expand_home(entry.recording))
    for path in paths:
        if not path.exists():
            raise refuse("recording", f"names {path}, which does not exist")
    if not paths:
        raise refuse("recording", f"{entry.recording!r} stands for no recording")
    if entry.labels is not None and len(paths) != 1:
        raise refuse("labels", f"belongs to one recording, not to {len(paths)}")
    labels = None if entry.labels is None else folder / expand_home(entry.labels)
    if labels is not None and not labels.is_file():
        raise refuse("labels", f"names {labels}, which is not a file")
    try:
        channel = parse_channel(None if entry.channel is None else str(entry.channel))
    except UsageError:
        what = f"is {entry.channel!r}, and must be left, right, mix or a number from 1"
        raise refuse("channel", what) from None
    one = Recording(path=folder, channel=channel, profile=entry.profile, tags=entry.tags)
    for path in paths:
        yield replace(one, path=path, labels=labels or find_labels(path))
