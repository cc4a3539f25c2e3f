"""What names on the command line stand for: files, folders, globs and manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from voicecli.corpus.manifest import Recording, find_recordings, is_corpus
from voicecli.errors import InputError

LABELS = "version: 1\nspans: []\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of recordings, of which only the names count here."""
    for name in ("b.wav", "a.FLAC", "deep/c.ogg", ".hidden/d.wav", "notes.txt", "deep/e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b.labels.yaml").write_text(LABELS)
    (tmp_path / "other.labels.yaml").write_text(LABELS)
    return tmp_path


def list_names(found: list[Recording], folder: Path) -> list[str]:
    return [one.path.relative_to(folder).as_posix() for one in found]


def test_a_folder_has_the_recordings_below_it(corpus: Path) -> None:
    found = find_recordings([str(corpus)])
    assert list_names(found, corpus) == ["a.FLAC", "b.wav", "deep/c.ogg"]
    assert [one.labels for one in found] == [None, corpus / "b.labels.yaml", None]


def test_a_glob_a_file_and_a_folder_name_each_recording_once(corpus: Path) -> None:
    names = [f"{corpus}/**/*", str(corpus / "b.wav"), str(corpus / "deep"), str(corpus / "new.wav")]
    found = find_recordings(names)
    assert sorted(list_names(found, corpus)) == ["a.FLAC", "b.wav", "deep/c.ogg", "new.wav"]


def test_a_manifest_says_more(corpus: Path) -> None:
    manifest = corpus / "corpus.yaml"
    manifest.write_text(
        "recordings:\n"
        "- {recording: b.wav, labels: other.labels.yaml, channel: right, tags: [x, y]}\n"
        "- {recording: deep, profile: duplex, channel: 2}\n"
        "- recording: '*.FLAC'\n"
    )
    assert find_recordings([str(manifest)]) == [
        Recording(
            path=corpus / "b.wav", labels=corpus / "other.labels.yaml", channel=1, tags=("x", "y")
        ),
        Recording(path=corpus / "deep/c.ogg", channel=1, profile="duplex"),
        Recording(path=corpus / "a.FLAC"),
    ]


def test_json_lines_say_the_same(corpus: Path) -> None:
    manifest = corpus / "corpus.jsonl"
    manifest.write_text('{"recording": "b.wav", "tags": ["x"]}\n\n{"recording": "deep/c.ogg"}\n')
    found = find_recordings([str(manifest)])
    assert [(one.path.name, one.tags) for one in found] == [("b.wav", ("x",)), ("c.ogg", ())]
    assert found[0].labels == corpus / "b.labels.yaml"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.yaml", "recordings:\n- {recording: b.wav}\n- {recording: gone.wav}\n", "m.yaml:3: rec"),
        ("m.yaml", "recordings:\n- recording: b.wav\n  tag: [x]\n", "m.yaml:3: "),
        ("m.yaml", "recordings:\n- recording: b.wav\n  labels: no.yaml\n", "m.yaml:3: "),
        ("m.yaml", "recordings:\n- recording: b.wav\n  channel: middle\n", "m.yaml:3: "),
        ("m.yaml", "recordings:\n- recording: .\n  labels: b.labels.yaml\n", "m.yaml:3: "),
        ("m.yaml", "recordings: []\n", "m.yaml lists no recording"),
        ("m.yaml", "- b.wav\n", "m.yaml:1: a manifest must be a mapping"),
        ("m.jsonl", '{"recording": "b.wav"}\n{"recording": }\n', "m.jsonl:2: this is not JSON"),
        ("m.jsonl", '\n{"recording": "b.wav"}\n{"channel": 1}\n', "m.jsonl:3: "),
        ("m.jsonl", "3\n", "m.jsonl:1: "),
        ("m.jsonl", "[" * 10_000 + "\n", "m.jsonl:1: this is not JSON"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_place(
    corpus: Path, name: str, text: str, message: str
) -> None:
    (corpus / name).write_text(text)
    with pytest.raises(InputError) as caught:
        find_recordings([str(corpus / name)])
    assert str(caught.value).startswith(f"{corpus}/{message}")


def test_names_that_stand_for_nothing_are_refused(corpus: Path) -> None:
    (corpus / "empty").mkdir()
    for name in ("empty", "*.mp3"):
        with pytest.raises(InputError, match="no recording"):
            find_recordings([str(corpus / name)])


def test_what_stands_for_several_recordings(corpus: Path) -> None:
    (corpus / "odd[1].wav").write_bytes(b"")
    expected = {"b.wav": False, "odd[1].wav": False, "*.wav": True, ".": True, "m.yaml": True}
    assert {name: is_corpus(str(corpus / name)) for name in expected} == expected
    assert find_recordings([str(corpus / "odd[1].wav")])[0].path.name == "odd[1].wav"
