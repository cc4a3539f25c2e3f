"""Label files, and other projects' labels, read in this process."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.wild.fuzz_files import odd_yaml
from tests.wild.fuzz_target import KEYS, TEXTS, Target, limit_time, mutated, mutated_bytes, nested
from voicecli.corpus.label_file import dump_labels, load_labels, parse_labels
from voicecli.corpus.label_formats import FORMATS, import_labels
from voicecli.errors import InputError
from voicecli.metrics.labels import Labels
from voicecli.sanitize import sanitize_message

LABELS: dict[str, Any] = {
    "version": 1,
    "audio": "x.wav",
    "channel": 0,
    "spans": [
        {"start": 0.5, "end": 3.95, "kind": "turn", "text": "I … see 🙂", "expect": "respond"},
        {"start": 2.1, "end": 2.8, "kind": "pause"},
        {"start": 5, "end": 6, "kind": "tic"},
    ],
}


@st.composite
def label_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name of a label file, and its bytes, of which something is changed."""
    name = draw(st.sampled_from(["x.labels.yaml", "x.labels.json"]))
    write: Any = yaml.safe_dump if name.endswith("yaml") else json.dumps
    match draw(st.sampled_from(["bytes", "values", "values", "nested"])):
        case "bytes":
            return name, draw(mutated_bytes(write(LABELS).encode(), odd_yaml))
        case "nested":
            return name, f'{{"spans": {draw(nested())}}}'.encode()
        case _:
            values = draw(mutated(LABELS))
            return name, write(values).encode(errors="surrogatepass")


def check_label_file(example: tuple[str, bytes]) -> None:
    """Load it: labels that are written and read again, or a clear error without a key."""
    name, raw = example
    with TemporaryDirectory(prefix="fuzz-") as folder, limit_time():
        file = Path(folder) / name
        file.write_bytes(raw)
        try:
            labels = load_labels(file, duration=60.0)
        except InputError as error:
            shown = sanitize_message(str(error))
            assert str(file) in shown, shown
            assert not any(key in shown for key in KEYS.values()), shown
        else:
            assert parse_labels(dump_labels(labels), "again") == labels
            assert parse_labels(dump_labels(labels, as_json=True), "again", as_json=True) == labels


FOREIGN: dict[str, tuple[str, Any]] = {
    "fdb1": ("pause.json", [{"text": "[PAUSE]", "timestamp": [1.5, 2.5]}]),
    "fdb1.5": ("metadata.json", {"context_text": "a", "timestamps": [7.25, 11.5]}),
    "eot-bench": (
        "rows.jsonl",
        {
            "id": "a",
            "audio": {"path": "en/a.wav"},
            "silence_spans": [{"start": 1.0, "end": 2.0}, {"start": 3.0, "end": 4.0}],
            "words": [{"word": "I", "start": 0.5, "end": 1.0}],
        },
    ),
    "hotato": (
        "s.json",
        {
            "id": "1",
            "caller_onset_sec": 2.0,
            "expected": {"yield": True},
            "channels": {"caller_channel": 0},
            "transcript": {"caller": "mhm"},
            "reference_render": {"caller_segments_sec": [[0.5, 1.0], [2.0, 3.0]]},
        },
    ),
    "audacity": ("x.txt", ""),
}
TRACK = b"0.25\t4.5\tturn: a\n\\\t100\t200\n1\t1.5\tpause\n5\t6\tnoise/hold\n"


@st.composite
def foreign_files(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """A format, and the name and the bytes of a file of it, of which something is changed."""
    format = draw(st.sampled_from(sorted(FORMATS)))
    name, content = FOREIGN[format]
    raw = TRACK if format == "audacity" else json.dumps(content).encode()
    if format == "audacity" or draw(st.booleans()):
        odd = st.sampled_from([text.encode(errors="surrogatepass") for text in TEXTS])
        return format, name, draw(mutated_bytes(raw, odd | st.sampled_from([b"\t", b"\n", b"\\"])))
    values = draw(mutated(content))
    return format, name, json.dumps(values).encode(errors="surrogatepass")


def check_foreign_file(example: tuple[str, str, bytes]) -> None:
    """Import it: labels that can be written, or a clear error."""
    format, name, raw = example
    with TemporaryDirectory(prefix="fuzz-") as folder, limit_time():
        file = Path(folder) / "user_backchannel" / name
        file.parent.mkdir()
        file.write_bytes(raw)
        try:
            for recording, labels, _ in import_labels(format, file, lambda *_: [(0.5, 6.0)]):
                assert len(recording.parts) == 1
                assert isinstance(labels, Labels)
                parse_labels(dump_labels(labels, recording.name), "converted")
        except InputError as error:
            sanitize_message(str(error)).encode(errors="strict")


TARGETS = (
    Target("label files", label_files(), check_label_file, 60),
    Target("foreign labels", foreign_files(), check_foreign_file, 60),
)
