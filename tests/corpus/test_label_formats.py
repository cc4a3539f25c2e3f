"""Other projects' labels, in the shapes in which they publish them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from voicecli.audio.channels import Channel
from voicecli.corpus.label_file import dump_labels, parse_labels
from voicecli.corpus.label_formats import FORMATS, Stretch, format_audacity, import_labels
from voicecli.errors import InputError
from voicecli.metrics.labels import Labels, Span

VOICE: dict[str, list[Stretch]] = {
    "input.wav": [(0.07, 3.167), (4.05, 4.544)],
    "call.wav": [(0.5, 1.0), (2.0, 2.4), (3.0, 4.5)],
}
"""What the voice detector finds in these recordings."""


def find_voice(recording: Path, _channel: Channel) -> list[Stretch]:
    return VOICE[recording.name]


def write(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def imported(format: str, source: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The spans by recording; what is imported must be a valid label file, too."""
    found = {}
    for recording, labels, origin in import_labels(format, source, find_voice):
        assert parse_labels(dump_labels(labels), origin) == labels
        spans = [(span.kind, span.start, span.end, span.text) for span in labels.spans]
        found[str(recording)] = spans
    return found


def test_full_duplex_bench_pauses_turns_and_interruptions(tmp_path: Path):
    pause = [{"text": "[PAUSE]", "timestamp": [3.319999999999993, 4.0]}]
    gap = [{"text": "[TURN-TAKING]", "timestamp": [2.0100000000000016, 2.4]}]
    cut = [{"context": "Books?", "interrupt": "Fiction!", "timestamp": [4.5, 6.25]}]
    write(tmp_path / "candor_pause_handling/1/pause.json", pause)
    write(tmp_path / "candor_turn_taking/1/turn_taking.json", gap)
    write(tmp_path / "synthetic_user_interruption/2/interrupt.json", cut)
    assert imported("fdb1", tmp_path) == {
        "candor_pause_handling/1/input.wav": [
            ("turn", 0.07, 4.544, ""),
            ("pause", 3.32, 4.0, ""),
        ],
        "candor_turn_taking/1/input.wav": [("turn", 0.07, 2.01, "")],
        "synthetic_user_interruption/2/input.wav": [
            ("turn", 0.07, 4.5, "Books?"),
            ("interruption", 4.5, 6.25, "Fiction!"),
        ],
    }


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("user_interruption", "interruption"),
        ("user_backchannel", "backchannel"),
        ("talking_to_other", "other"),
        ("background_speech", "background"),
    ],
)
def test_full_duplex_bench_overlaps_are_what_their_folder_says(
    tmp_path: Path, folder: str, kind: str
):
    noted = {"context_text": "Where?", "current_turn_text": "Oh.", "timestamps": [7.275, 11.467]}
    file = write(tmp_path / folder / "7/metadata.json", noted)
    spans = [("turn", 0.07, 4.544, "Where?"), (kind, 7.275, 11.467, "Oh.")]
    assert imported("fdb1.5", tmp_path) == {f"{folder}/7/input.wav": spans}
    assert imported("fdb1.5", file) == {"input.wav": spans}


def test_an_overlap_in_no_known_folder_is_refused(tmp_path: Path):
    file = write(tmp_path / "metadata.json", {"timestamps": [1, 2]})
    with pytest.raises(InputError, match=r"metadata\.json: no folder above it says what overlaps"):
        imported("fdb1.5", file)


def test_eot_bench_rows_end_in_the_last_silence(tmp_path: Path):
    silences = [{"start": 1.0, "end": 1.6}, {"start": 2.5, "end": 3.5}]
    words = [
        {"word": "I", "start": 0.3, "end": 0.4},
        {"word": "see", "start": 1.6, "end": 2.5},
    ]
    rows: list[dict[str, Any]] = [
        {"id": "a", "language": "en", "audio": {"path": "en/a.wav"}, "silence_spans": silences},
        {"id": 7, "silence_spans": [{"start": 0, "end": 0.2}, *silences], "words": words},
        {"id": "b", "silence_spans": {"start": [0, 1.0, 2.5], "end": [0.5, 1.6, 3.5]}},
    ]
    text = "\n".join(map(json.dumps, rows)) + "\n\n"
    assert imported("eot-bench", write(tmp_path / "rows.jsonl", text)) == {
        "a.wav": [("turn", 0.0, 2.5, ""), ("pause", 1.0, 1.6, "")],
        "7.wav": [("turn", 0.3, 2.5, "I see"), ("pause", 1.0, 1.6, "")],
        "b.wav": [("turn", 0.5, 2.5, ""), ("pause", 1.0, 1.6, "")],
    }


TRACK = """\
0.250000\t4.5\tturn: Call me. At: nine
1,0\t1,5\tpause
\\\t100.0\t200.0
5\t6\tnoise/hold
7\t8\tWhat is this?
"""


def test_an_audacity_track_says_kind_expectation_and_text(tmp_path: Path):
    (only,) = import_labels("audacity", write(tmp_path / "call.labels.txt", TRACK), find_voice)
    assert str(only.recording) == "call.wav"
    assert only.labels.spans == (
        Span(start=0.25, end=4.5, kind="turn", expect="respond", text="Call me. At: nine"),
        Span(start=1.0, end=1.5, kind="pause", expect="hold"),
        Span(start=5.0, end=6.0, kind="noise", expect="hold"),
        Span(start=7.0, end=8.0, kind="turn", expect="respond", text="What is this?"),
    )


def test_an_exported_track_is_read_back(tmp_path: Path):
    spans = (
        Span(start=0.25, end=4.5, kind="turn", expect="ignore", text="pause"),
        Span(start=1.0, end=1.5, kind="pause", expect="hold"),
        Span(start=5.0, end=6.0, kind="tic", expect="hold", text="ahem: hold"),
    )
    file = write(tmp_path / "x.txt", format_audacity(Labels(spans=spans)))
    (only,) = import_labels("audacity", file, find_voice)
    assert only.labels.spans == spans


def scenario(**changes: Any) -> dict[str, Any]:
    base = {"id": "1", "title": "…", "caller_onset_sec": 2.0, "expected": {"yield": True}}
    return base | {"audio": "call.wav"} | changes


def test_hotato_scenarios_say_what_the_agent_should_do(tmp_path: Path):
    drawn = {"caller_segments_sec": [[0.5, 1.0], [2.0, 2.4], [3.0, 4.5]]}
    turn = ("turn", 0.5, 1.0, "")
    said = {"transcript": {"caller": "mhm ... right"}}

    def spans(**changes: Any) -> list[tuple[Any, ...]]:
        file = write(tmp_path / "1.json", scenario(**changes))
        return imported("hotato", file)["call.wav"]

    assert spans(reference_render=drawn, transcript={"caller": "Stop."}) == [
        turn,
        ("interruption", 2.0, 4.5, "Stop."),
        ("pause", 2.4, 3.0, ""),
    ]
    assert spans(expected={"yield": False}, **said) == [  # found in the recording
        turn,
        ("backchannel", 2.0, 2.4, "mhm"),
        ("backchannel", 3.0, 4.5, "right"),
    ]
    echo = {"caller_is_echo_of_agent": True, "caller_segments_sec": []}
    assert spans(expected={"yield": False}, reference_render=echo) == [
        turn,
        ("noise", 2.0, 2.4, ""),
        ("noise", 3.0, 4.5, ""),
    ]


@pytest.mark.parametrize(
    ("format", "name", "text", "error"),
    [
        ("fdb1", "pause.json", "{", r"pause\.json: Invalid JSON: EOF"),
        ("fdb1", "pause.json", "[]", r"pause\.json has no events"),
        (
            "fdb1",
            "pause.json",
            '[{"timestamp": [1]}]',
            r"pause\.json: \[0\]\.timestamp\[1\]: Field",
        ),
        ("fdb1", "other.json", '[{"timestamp": [1, 2]}]', r"other\.json is no annotation"),
        ("eot-bench", "r.jsonl", '\n{"id": 1}', r"r\.jsonl:2: silence_spans: Field required"),
        (
            "eot-bench",
            "r.jsonl",
            '{"id": "..", "audio": "a/..", "silence_spans": [{"start": 1, "end": 2}]}',
            r"r\.jsonl:1: '\.\.' is no name for a file",
        ),
        ("audacity", "a.txt", "1\t2\tturn\n1 2 turn", r"a\.txt:2: a label is START, END and text"),
        ("audacity", "a.txt", "2\t2\tturn", r"a\.txt:1: a label must have a length, not 2 to 2"),
        ("audacity", "a.txt", "nan\t2\tturn", r"a\.txt:1: a label must have a length"),
        ("hotato", "s.json", '{"id": "../x"}', r"s\.json: id: String should match pattern"),
        (
            "hotato",
            "s.json",
            json.dumps(scenario(caller_onset_sec=99)),
            r"s\.json: the caller says nothing from caller_onset_sec on",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, format: str, name: str, text: str, error: str
):
    with pytest.raises(InputError, match=error):
        imported(format, write(tmp_path / name, text))


@pytest.mark.parametrize("format", FORMATS)
def test_a_source_without_labels_is_refused(tmp_path: Path, format: str):
    with pytest.raises(InputError, match=f"has no labels of the format {format}"):
        imported(format, tmp_path)
    with pytest.raises(InputError, match="there is no "):
        imported(format, tmp_path / "none")
