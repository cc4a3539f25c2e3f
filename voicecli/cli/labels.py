"""``voicecli labels``: proposes, checks, imports and exports the truth about recordings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voicecli.cli.output import print_text
from voicecli.errors import InputError, UsageError
from voicecli.sanitize import sanitize_line

if TYPE_CHECKING:
    from voicecli.metrics.labels import Labels

# The commands import what they need: the pipeline takes 0.5 s, which --help does not pay.

labels_app = typer.Typer(
    name="labels",
    help="Labels: what is in a recording, and what the agent should do about it.",
    no_args_is_help=True,
)

Force = Annotated[bool, typer.Option("--force", help="Replace label files that exist.")]
FileFormat = Annotated[
    Literal["yaml", "json"], typer.Option("--format", help="Of what is written.")
]


@labels_app.command("check")
def check_command(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Label files, recordings that have one, folders."),
    ],
) -> None:
    """Check label files: every problem with FILE:LINE, and whether the recordings fit them."""
    from voicecli.corpus.label_file import find_recording, load_labels
    from voicecli.corpus.proposal import read_duration

    failed: list[str] = []
    files = [file for path in paths for file in _list_label_files(path)]
    for file in files:
        try:
            recording = find_recording(file)
            duration = None if recording is None else read_duration(recording)
            labels = load_labels(file, duration)
        except InputError as error:
            failed.append(str(error))
        else:
            alone = " (its recording is not there)" if recording is None else ""
            print_text(sanitize_line(f"{file}: ok, {_count(labels)}{alone}"))
    if failed:
        raise InputError("\n".join(failed))


def _list_label_files(path: Path) -> list[Path]:
    from voicecli.corpus.label_file import SUFFIXES, find_labels, is_label_file

    if path.is_dir():
        found = sorted(file for suffix in SUFFIXES for file in path.rglob(f"*{suffix}"))
        if not found:
            raise InputError(f"{path} has no label files", hint="They end in .labels.yaml.")
        return found
    if is_label_file(path) or path.suffix in (".yaml", ".yml", ".json"):
        return [path]
    if not path.exists():
        raise InputError(f"there is no file {path}", hint="Name a label file.")
    if (labels := find_labels(path)) is None:
        raise InputError(
            f"{path} has no label file beside it", hint=f"voicecli labels propose {path}"
        )
    return [labels]


@labels_app.command("propose")
def propose_command(
    recordings: Annotated[list[Path], typer.Argument(metavar="RECORDING...", help="Any format.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write NAME.labels.yaml into DIR; else only print."),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(metavar="left|right|N|mix", help="The channel with the user's voice."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", metavar="NAME", help="Whose STT writes down the turns."),
    ] = None,
    turn_gap_ms: Annotated[
        int, typer.Option(min=200, max=60_000, help="Silence that ends a turn; else a pause.")
    ] = 1500,
    file_format: FileFormat = "yaml",
    force: Force = False,
) -> None:
    """Propose turns and pauses, found by the voice detector, for you to correct."""
    from dataclasses import replace

    from voicecli import clock
    from voicecli.audio.channels import parse_channel
    from voicecli.cli.models import fetch_models_of
    from voicecli.corpus.proposal import (
        RATE,
        find_voice,
        propose_labels,
        read_sound,
        transcribe,
    )
    from voicecli.profile import load_profile

    played = parse_channel(channel)
    settings = None if profile is None else load_profile(profile)
    targets = {one: _name_target(one, out or one.parent, file_format) for one in recordings}
    if out is not None:
        _check_targets(targets.values(), force)
    elif force:
        raise UsageError("--force replaces label files in --out", hint="Add --out DIR.")
    if settings is not None:
        fetch_models_of(settings)
    written = {}
    for recording in recordings:
        labels = propose_labels(find_voice(read_sound(recording, played, RATE)), turn_gap_ms / 1000)
        if settings is not None:
            sound = read_sound(recording, played, settings.audio.sample_rate)
            labels = clock.run(transcribe(labels, sound, settings))
        if isinstance(played, int):
            labels = replace(labels, channel=played)
        _print_labels(recording, labels)
        written[targets[recording]] = _dump(labels, recording.name, file_format)
    if out is None:
        print_text("Nothing is written; --out DIR writes label files.", err=True)
    else:
        _write(written)


@labels_app.command("import")
def import_command(
    format: Annotated[
        str, typer.Argument(help="fdb1, fdb1.5, eot-bench, audacity or hotato.", metavar="FORMAT")
    ],
    source: Annotated[Path, typer.Argument(help="A file, or a folder of them.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write label files into DIR; else only print."),
    ] = None,
    file_format: FileFormat = "yaml",
    force: Force = False,
) -> None:
    """Convert the labels of another project; DIR = SOURCE writes them beside the recordings."""
    from voicecli.corpus.label_file import parse_labels
    from voicecli.corpus.label_formats import FORMATS, import_labels
    from voicecli.corpus.proposal import find_voice, read_sound
    from voicecli.errors import suggest

    if format not in FORMATS:
        hint = f"{suggest(format, FORMATS)} Known: {', '.join(FORMATS)}.".lstrip()
        raise UsageError(f"there is no format {format}", hint=hint)
    if force and out is None:
        raise UsageError("--force replaces label files in --out", hint="Add --out DIR.")
    written = {}
    for recording, labels, origin in import_labels(
        format, source, lambda file, channel: find_voice(read_sound(file, channel))
    ):
        text = _dump(labels, recording.name, file_format)
        parse_labels(text, f"{origin}, converted", as_json=file_format == "json")
        _print_labels(Path(recording), labels)
        written[_name_target(Path(recording), (out or Path()) / recording.parent, file_format)] = (
            text
        )
    if out is None:
        print_text("Nothing is written; --out DIR writes label files.", err=True)
    else:
        _check_targets(written, force)
        _write(written)


@labels_app.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(help="A label file.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write into FILE, not to the screen.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a label file as a label track for Audacity; `labels import audacity` reads it back."""
    from voicecli.corpus.label_file import load_labels
    from voicecli.corpus.label_formats import format_audacity

    text = format_audacity(load_labels(file))
    if out is None:
        for line in text.splitlines():
            print_text("\t".join(map(sanitize_line, line.split("\t"))))
        return
    _check_targets([out], force)
    _write({out: text})


# ── what they share ──────────────────────────────────────────────────────────


def _dump(labels: Labels, audio: str, file_format: str) -> str:
    from voicecli.corpus.label_file import dump_labels

    return dump_labels(labels, audio, as_json=file_format == "json")


def _name_target(recording: Path, folder: Path, file_format: str) -> Path:
    return folder / f"{recording.stem}.labels.{file_format}"


def _check_targets(targets: Iterable[Path], force: bool) -> None:
    """Raise InputError before anything is written, where something would be lost."""
    seen: set[Path] = set()
    for target in targets:
        if target in seen:
            raise InputError(f"two recordings would share {target}", hint="Do them one by one.")
        seen.add(target)
        if target.exists() and not force:
            raise InputError(
                f"{target} exists, perhaps corrected by hand", hint="Replace it with --force."
            )


def _write(texts: Mapping[Path, str]) -> None:
    for target, text in texts.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{target} cannot be written: {error.strerror}") from None
        print_text(sanitize_line(f"wrote {target}"))


def _print_labels(recording: Path, labels: Labels) -> None:
    """Print a table of the spans."""
    print_text(sanitize_line(f"{recording}: {_count(labels)}"))
    kinds = max((len(span.kind) for span in labels.spans), default=0)
    for span in labels.spans:
        times = f"{span.start:9.3f} – {span.end:.3f} s  {span.kind:{kinds}}  {span.expect:7}"
        print_text(f"{times}  {sanitize_line(span.text)}".rstrip())


def _count(labels: Labels) -> str:
    """The number of spans of each kind, in words."""
    from voicecli.metrics.labels import KINDS

    counts = [(kind, len(labels.list_spans(kind))) for kind in KINDS]
    named = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts if count]
    return ", ".join(named) or "no labels"
