"""``voicecli report`` as a user runs it: a kept session, computed again from its timeline."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.speech_like import alternate_speech
from tests.support.timelines import Exchange, save
from voicecli.audio.pcm import samples_of
from voicecli.cli.app import run
from voicecli.events import ConnectionLost, InputEnded, UserQuit
from voicecli.profile import load_profile
from voicecli.timeline import Entry, Header

FAST = ("--profile", "scripted", "--fast", "--set", "audio.vad=energy")
KEPT = "kept in out: conversation.wav, reply.wav, timeline.jsonl, result.json"
ANSWERED = Exchange().entries()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, and an environment that configures nothing."""
    for name in os.environ:
        if name.startswith(("VOICECLI_", "DEEPGRAM_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def session(home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a replay of three turns printed that is kept in ``out``."""
    pcm, _ = alternate_speech(0.5, 1.2, 0.8, 0.7, 0.8, 1.5)
    soundfile.write(home / "in.wav", samples_of(pcm), 16_000)
    assert run(["--no-env", "replay", "in.wav", *FAST, "--out", "out"]) == 0
    return capsys.readouterr().out


def report(*arguments: str) -> int:
    return run(["--no-env", "report", *arguments])


def keep(*entries: Entry) -> None:
    """Keep a timeline in the current folder."""
    profile = load_profile("scripted").resolved()
    save(sorted(entries, key=lambda one: one.at), Path("timeline.jsonl"), Header(profile=profile))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert report(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize("kept", ["out", "out/timeline.jsonl"])
def test_prints_what_the_session_printed(
    session: str, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(kept) == 0
    assert session.count("⏱") == 3
    assert capsys.readouterr().out == session.replace(f"\n{KEPT}\n", "")


def test_json_is_the_result_but_for_what_a_timeline_does_not_hold(
    session: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("out", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    result = json.loads(Path("out/result.json").read_text())
    assert result["profile"].pop("name") == "scripted"
    assert printed["profile"].pop("name") is None
    assert result.pop("environment").keys() == {"python", "platform"}
    assert printed.pop("environment") == {}
    assert printed == result


def test_a_timeline_is_enough(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("out/timeline.jsonl", "moved.jsonl")
    assert report("moved.jsonl") == 0
    assert capsys.readouterr().out == session.replace(f"\n{KEPT}\n", "")


def test_the_recording_beside_it_is_checked(
    session: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, rate = soundfile.read("out/conversation.wav", always_2d=True)
    sound[rate // 10 :, 1] = sound[: -(rate // 10), 1].copy()  # the agent, 100 ms later
    soundfile.write("out/conversation.wav", sound, rate)
    assert report("out", "--strict") == 6
    captured = capsys.readouterr()
    assert "not reliable: 3 of 3 turns (#1, #2, #3)" in captured.out
    assert "error: measured, but not reliably: the recording says 810 ms" in captured.err


def test_a_recording_that_cannot_be_read(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out/conversation.wav").write_bytes(b"RIFF")
    assert "error: out/conversation.wav cannot be read: " in refusal(capsys, "out")


@pytest.mark.parametrize(("channels", "rate"), [(1, 16_000), (3, 16_000), (2, 100)])
def test_a_recording_of_another_program(
    session: str, channels: int, rate: int, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("out/conversation.wav", np.zeros((rate, channels)), rate)
    assert refusal(capsys, "out") == (
        f"error: out/conversation.wav is not a recording by voicecli (channels: {channels},"
        f" {rate} Hz). Name a copy of timeline.jsonl in another folder.\n"
    )


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_recording_that_does_not_show_the_conversation(
    session: str, seconds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("out/conversation.wav", np.zeros((seconds * 16_000, 2)), 16_000)
    assert report("out", "--strict") == 6
    assert "not reliable: 3 of 3 turns" in capsys.readouterr().out


def test_expectations(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report("out", "--expect", "no_reply==0", "--expect", "mouth_to_ear.p50<1") == 1
    captured = capsys.readouterr()
    assert "✓ no_reply==0: no_reply is 0" in captured.out
    assert "✗ mouth_to_ear.p50<1: mouth_to_ear.p50 is" in captured.out
    assert captured.err.startswith("error: not as expected: mouth_to_ear.p50<1")
    assert "not a valid expectation" in refusal(capsys, "out", "--expect", "fast")


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([*ANSWERED, InputEnded(at=9)], 0),
        ([InputEnded(at=9)], 7),  # a recording that nobody answered
        ([UserQuit(at=9)], 0),  # a user who left
        ([*ANSWERED, ConnectionLost(at=9, service="tts", reason="TTS: gone")], 5),
        ([*Exchange(ends="llm failed").entries(), InputEnded(at=9)], 5),
        ([*Exchange(ends="llm failed").entries(), UserQuit(at=9)], 5),
    ],
)
def test_the_exit_code_is_that_of_the_session(entries: list[Entry], code: int) -> None:
    keep(*entries)
    assert report(".") == code
    assert report("timeline.jsonl", "--json") == code


def test_a_threshold_counts_when_the_user_left(capsys: pytest.CaptureFixture[str]) -> None:
    keep(*ANSWERED, UserQuit(at=9))
    assert report(".", "--expect", "mouth_to_ear.p50<1") == 1


def test_budgets_are_those_of_the_header(capsys: pytest.CaptureFixture[str]) -> None:
    profile = load_profile("scripted", overrides=["budgets.total_ms=700"]).resolved()
    save(ANSWERED, Path("timeline.jsonl"), Header(profile=profile))
    assert report(".") == 0
    assert "over budget: mouth_to_ear 726 > 700" in capsys.readouterr().out


def test_a_torn_last_line_is_left_out_with_a_warning(
    session: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path("out/timeline.jsonl")
    file.write_bytes(file.read_bytes()[:-9])
    assert report("out") == 0
    captured = capsys.readouterr()
    assert captured.err == (
        "! the last line of out/timeline.jsonl is incomplete and left out:"
        " the session was cut off\n"
    )
    assert captured.out == session.replace(f"\n{KEPT}\n", "")


def test_what_is_not_a_kept_session(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "empty").mkdir()
    assert "there is no timeline.jsonl in empty. Name the --out" in refusal(capsys, "empty")
    assert "none.jsonl cannot be read: No such file" in refusal(capsys, "none.jsonl")
    other = home / "other.json"
    other.write_text('{"schema_version": 1, "program": "another"}\n')
    assert "other.json:1: not a timeline of voicecli" in refusal(capsys, "other.json")
    other.write_text('{"schema_version": 2, "program": "voicecli"}\n')
    assert "other.json:1: schema_version is 2" in refusal(capsys, "other.json")
    other.write_text('{"schema_version": 1, "program": "voicecli", "profile": {"stt": 1}}\n')
    assert "other.json:1: stt" in refusal(capsys, "other.json")
    keep(*ANSWERED)
    kept = home / "timeline.jsonl"
    kept.write_text(kept.read_text().replace("InterimTranscript", "Interim"))
    assert 'timeline.jsonl:3: unknown event "Interim"' in refusal(capsys, ".")


# ── the report with pictures ─────────────────────────────────────────────────


def test_html_holds_every_turn_and_the_sound(
    session: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("out", "--html", "page.html") == 0
    assert capsys.readouterr().out == session.replace(f"\n{KEPT}\n", "")
    page = Path("page.html").read_text()
    assert page.count('class="area waterfall"') == 3
    assert 'src="data:audio/ogg;base64,' in page
    assert '<h1 dir="auto">out</h1>' in page
    assert "virtual time" in page


def test_replay_writes_the_same_page_at_once(home: Path, session: str) -> None:
    arguments = ["--no-env", "replay", "in.wav", *FAST, "--html", "page.html"]
    assert run(arguments) == 0
    page = Path("page.html").read_text()
    assert page.count('class="area waterfall"') == 3
    assert '<h1 dir="auto">in.wav</h1>' in page
    assert "profile scripted · virtual time" in page


def test_html_is_written_when_an_expectation_is_missed(session: str) -> None:
    assert report("out", "--html", "page.html", "--expect", "mouth_to_ear.p50<1") == 1
    assert "✗ mouth_to_ear.p50&lt;1" in Path("page.html").read_text()


def test_html_without_the_recording(session: str) -> None:
    shutil.copy("out/timeline.jsonl", "moved.jsonl")
    assert report("moved.jsonl", "--html", "page.html") == 0
    page = Path("page.html").read_text()
    assert "<audio" not in page
    assert page.count('class="area waterfall"') == 3


def test_where_html_cannot_be_written(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.html").mkdir()
    kept = Path("in.wav").read_bytes()
    for name, why in {
        "in.wav": "--html in.wav: not an HTML file. Name a file that ends in .html.",
        "folder.html": "folder.html cannot be written: it is a folder.",
        "none/page.html": "none/page.html cannot be written: its folder does not exist",
    }.items():
        assert why in refusal(capsys, "out", "--html", name)
        assert run(["--no-env", "replay", "in.wav", *FAST, "--html", name]) == 2
        assert why in capsys.readouterr().err
    assert Path("in.wav").read_bytes() == kept


def test_a_corpus_has_a_page_with_the_sound_of_what_matters(
    home: Path, session: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--no-env", "replay", "in.wav", *FAST, "--repeat", "2", "--out", "many"]
    assert run([*arguments, "--html", "page.html", "--expect", "mouth_to_ear.p50<1"]) == 1
    page = Path("page.html").read_text()
    assert page.count("<audio") == 2
    assert page.count('class="area waterfall"') == 6
    assert "✗ mouth_to_ear.p50&lt;1" in page
    assert report("many", "--html", "again.html") == 0
    assert Path("again.html").read_text().count("<audio") == 2
