"""The options about cassettes, as a user gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cassette.session import replay
from tests.support import SPEECH
from voicecli.cli.app import run

SPOKEN = SPEECH / "librivox-0880.wav"
FAST = ("--fast", "--set", "audio.vad=energy")


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    folder = tmp_path / "cassette"
    recorded = ("--record-services", folder, *FAST)
    assert replay(SPOKEN, "scripted", tmp_path / "recorded", *recorded) == 0
    return folder


def test_it_replaces_the_services_whatever_the_profile_names(
    cassette: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    urls = [f"--set={service}.base_url=https://nowhere.invalid" for service in ("stt", "tts")]
    served = ("--services", cassette, *urls, *FAST)
    assert replay(SPOKEN, "scripted", tmp_path / "again", *served) == 0
    kept = [(tmp_path / name / "timeline.jsonl").read_text() for name in ("recorded", "again")]
    assert kept[0].count("ReplyFinished") == kept[1].count("ReplyFinished") == 1


def test_a_cassette_is_replaced_only_with_force(
    cassette: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = ("--record-services", cassette, *FAST)
    arguments = ["--no-env", "replay", str(SPOKEN), "--profile", "scripted", *map(str, recorded)]
    assert run(arguments) == 2
    assert "--force" in capsys.readouterr().err
    (cassette / "tts-2.jsonl").write_text("old")
    assert run([*arguments, "--force"]) == 0
    assert not (cassette / "tts-2.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--record-audio",), "Add --record-services"),
        (("--services", "none"), "none cannot be read"),
        (("--services", "."), "holds no cassette"),
        (("--services", ".", "--record-services", "x"), "Leave one of them out"),
        (("--record-services", "file"), "the cassette file could not be written"),
        (("--record-services", "file/in/it"), "could not be written"),
    ],
)
def test_wrong_options_are_told(
    options: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert replay(SPOKEN, "scripted", tmp_path / "out", *options, *FAST) == 2
    assert told in capsys.readouterr().err


def test_a_full_disk_ends_no_conversation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cassette"
    folder.mkdir()
    (folder / "tts-1.flac").mkdir()  # what would be written is a folder
    recorded = ("--record-services", folder, "--record-audio", *FAST)
    assert replay(SPOKEN, "scripted", tmp_path / "out", *recorded) == 2
    printed = capsys.readouterr()
    assert "could not be written" in printed.err
    assert "ReplyFinished" in (tmp_path / "out" / "timeline.jsonl").read_text()
