"""``voicecli labels``: what it prints, what it writes, and what it never overwrites."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from voicecli.cli.app import run
from voicecli.corpus.label_file import load_labels

SPEECH = Path(__file__).parents[1] / "speech" / "librivox-0880.wav"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    samples, rate = soundfile.read(SPEECH, dtype="int16")
    soundfile.write("man.wav", samples, rate)
    return tmp_path


def labels(*arguments: str) -> int:
    return run(["--no-env", "labels", *arguments])


def test_a_proposal_is_printed_and_written_only_where_asked(capsys: pytest.CaptureFixture[str]):
    assert labels("propose", "man.wav") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "man.wav: 1 turn"
    assert "turn  respond" in shown.out
    assert "Nothing is written" in shown.err
    assert [file.name for file in Path().iterdir()] == ["man.wav"]

    assert labels("propose", "man.wav", "--out", ".") == 0
    (turn,) = load_labels(Path("man.labels.yaml")).spans
    assert (turn.start, turn.end) == pytest.approx((0.264, 2.794), abs=0.03)
    assert "wrote man.labels.yaml" in capsys.readouterr().out


def test_a_corrected_file_is_not_replaced_unless_forced(capsys: pytest.CaptureFixture[str]):
    Path("man.labels.yaml").write_text("version: 1")
    assert labels("propose", "man.wav", "--out", ".") == 2
    assert "man.labels.yaml exists, perhaps corrected by hand" in capsys.readouterr().err
    assert Path("man.labels.yaml").read_text() == "version: 1"
    assert labels("propose", "man.wav", "--out", ".", "--force") == 0
    assert len(load_labels(Path("man.labels.yaml")).spans) == 1


def test_check_names_each_problem_and_goes_on(capsys: pytest.CaptureFixture[str]):
    Path("man.labels.yaml").write_text(
        "version: 1\nspans:\n- {start: 0.3, end: 9, kind: turn}\n"
        "- {start: 1, end: 0.5, kind: tic}\n"
    )
    Path("z.labels.json").write_text(
        '{"version": 1, "spans": [{"start": 1, "end": 2, "kind": "tic", "text": "\\u001b[2J"}]}'
    )
    assert labels("check", ".") == 2
    shown = capsys.readouterr()
    assert "man.labels.yaml:3: spans[0].end is beyond the recording's end, 2.990 s" in shown.err
    assert "man.labels.yaml:4: spans[1].end must be after start, 1, not 0.5" in shown.err
    assert shown.out == "z.labels.json: ok, 1 tic (its recording is not there)\n"
    assert labels("check", "man.wav") == 2
    assert labels("check", "z.labels.json") == 0


def test_check_of_a_recording_without_labels_says_how_to_make_them(
    capsys: pytest.CaptureFixture[str],
):
    assert labels("check", "man.wav") == 2
    assert "man.wav has no label file beside it" in capsys.readouterr().err
    assert labels("check", "none.wav") == 2
    assert "there is no file none.wav" in capsys.readouterr().err


def test_labels_go_to_audacity_and_back(capsys: pytest.CaptureFixture[str]):
    Path("man.labels.yaml").write_text(
        "version: 1\naudio: man.wav\nspans:\n"
        "- {start: 0.3, end: 2.0, kind: turn, text: a}\n- {start: 1.0, end: 1.5, kind: pause}\n"
    )
    assert labels("export", "man.labels.yaml", "--out", "man.txt") == 0
    assert labels("import", "audacity", "man.txt", "--out", "new") == 0
    assert Path("new/man.labels.yaml").read_text() == Path("man.labels.yaml").read_text()
    assert labels("import", "audacity", "man.txt", "--out", "new") == 2
    capsys.readouterr()
    assert labels("export", "man.labels.yaml") == 0
    shown = capsys.readouterr().out
    assert shown == "0.300000\t2.000000\tturn: a\n1.000000\t1.500000\tpause\n"


def test_an_unknown_format_is_suggested(capsys: pytest.CaptureFixture[str]):
    assert labels("import", "audcity", ".") == 2
    assert "Did you mean audacity?" in capsys.readouterr().err


def test_what_is_imported_must_be_valid(capsys: pytest.CaptureFixture[str]):
    Path("man.txt").write_text("1\t2\tturn\n1.5\t3\tturn\n")
    assert labels("import", "audacity", "man.txt", "--out", ".") == 2
    assert "man.txt, converted:5: spans[1].start lies within the turn" in capsys.readouterr().err
    assert not Path("man.labels.yaml").exists()
