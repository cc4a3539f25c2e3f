"""Cut-offs, interruptions and back-channels as ``replay`` finds them, against the kept sound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests import independent
from tests.support import SPEECH
from tests.support.speech_like import alternate_speech
from voicecli.audio.pcm import samples_of
from voicecli.cli.app import run

DUPLEX = (
    *("--profile", "scripted", "--fast", "--set", "audio.vad=energy"),
    *("--set", "interrupt.policy=headphones", "--set", "turn.detect=vad"),
    *("--set", "standin.script=script.yaml"),
)

SCRIPT = """
stt:
  {final_ms: 100, interim_ms: 200, gap_ms: 400, hears: [I would like to order, a pizza today.,
   Uh-huh., "No, stop, make it two.", And a salad., Mhm., "Wait, no, that is all, thank you.", Right
   you are.]}
llm: {ttft_ms: 100, token_ms: 15, says: [LONG, LONG, LONG, LONG, LONG, Good bye.]}
tts: {ttfb_ms: 90, speed: 4, char_ms: 60}
""".replace(
    "LONG",
    '"Your order is on its way and it will take about half an hour until it is there. You can pay '
    'at the door or by card."',
)
"""Replies of 7 s, but for the last."""

TURNS = (
    # silence, voice
    (0.5, 1.0),  # a turn
    (1.2, 1.0),  # goes on after a pause, in which it is answered
    (2.3, 0.4),  # a back-channel over the reply
    (1.6, 1.5),  # an interruption
    (2.313, 1.6),  # another one
    (2.4, 0.3),  # a back-channel
    (1.337, 2.0),  # an interruption
    (2.4, 0.5),  # a back-channel of words that the profile does not list as one
)

LABELS = """
version: 1
spans:
- {start: 0.5, end: 3.7, kind: turn, text: I would like to order a pizza today.}
- {start: 1.5, end: 2.7, kind: pause}
- {start: 6.0, end: 6.4, kind: backchannel, text: Uh-huh.}
- {start: 8.0, end: 9.5, kind: interruption, text: "No, stop, make it two."}
- {start: 11.813, end: 13.413, kind: interruption, text: And a salad.}
- {start: 15.813, end: 16.113, kind: backchannel, text: Mhm.}
- {start: 17.45, end: 19.45, kind: interruption, text: "Wait, no, that is all, thank you."}
- {start: 21.85, end: 22.35, kind: backchannel, text: Right you are.}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a session in full duplex."""
    home = tmp_path_factory.mktemp("interaction")
    durations = [duration for pair in TURNS for duration in pair]
    pcm, _ = alternate_speech(*durations, 8.0)
    soundfile.write(home / "x.wav", samples_of(pcm), 16_000)
    (home / "x.labels.yaml").write_text(LABELS)
    (home / "script.yaml").write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert run(["--no-env", "replay", "x.wav", *DUPLEX, "--out", "out"]) == 0
    return home / "out"


def score(kept: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((kept / "result.json").read_text())["interaction"]
    return found


def outcomes(kept: Path, subject: str) -> list[str]:
    return [one["outcome"] for one in score(kept)["events"] if one["subject"] == subject]


def test_what_is_found_is_what_the_sound_shows(kept: Path) -> None:
    """Stop times agree within 4 ms: the last millisecond of a fade is not loud."""
    heard = independent.listen(kept, kept / "labels.yaml")
    events = score(kept)["events"]
    assert heard.cutoffs == [True]
    assert outcomes(kept, "pause") == ["cut off and heard"]
    assert heard.holds == [True, True, False]
    assert outcomes(kept, "backchannel") == ["held", "held", "stopped"]
    assert outcomes(kept, "interruption") == ["yielded"] * 3
    stops = [one["stop"] for one in events if one["subject"] == "interruption"]
    assert stops == pytest.approx(heard.stops, abs=0.010)


@pytest.mark.parametrize("scene", ["pauses-recorded", "interruptions"])
def test_so_it_is_in_the_shipped_scenes(
    scene: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop times agree within 13 ms: the reply was between two syllables."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.yaml").write_text(SCRIPT)
    options = (*DUPLEX, "--set", "audio.vad=silero", "--set", "turn.end_model=off")
    recording = SPEECH / "scenes" / f"{scene}.flac"
    assert run(["--no-env", "replay", str(recording), *options, "--out", "out"]) == 0
    heard = independent.listen(tmp_path / "out", SPEECH / "scenes" / f"{scene}.labels.yaml")
    events = score(tmp_path / "out")["events"]
    found = [one["outcome"] == "cut off and heard" for one in events if one["subject"] == "pause"]
    assert found == heard.cutoffs
    stops = [one["stop"] for one in events if one["subject"] == "interruption"]
    assert stops == pytest.approx(heard.stops, abs=0.025)
    assert len(found) + len(stops) >= 2


def test_report_scores_the_kept_session_alike(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(kept), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["interaction"] == score(kept)
    expected = ["stop_ms.max<500", "no_reply==0", "talk_over_s<2"]
    assert run(["report", str(kept), *(f"--expect={one}" for one in expected)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^hold_rate\.backchannel +2 of 3 +n < 10$", printed, re.M)
    assert re.search(r"^wer +0 of 29 +0\.0 %$", printed, re.M)
    assert "  at 1.50 s: cut off in a pause, and the reply was heard  #1" in printed
    assert "cut off: the user goes on after 500 ms" in printed  # of a pause, not of what follows
    assert printed.count("cut off: ") == 1
    assert "✓ stop_ms.max<500: " in printed
    assert run(["report", str(kept), "--expect", "yield_rate>0.9"]) == 1
    assert "yield_rate is withheld: n is 3, 10 needed" in capsys.readouterr().out


def test_other_labels_may_be_named(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.labels.yaml"
    other.write_text(LABELS.replace("order a pizza today", "borrow a pizza today"))
    assert run(["report", str(kept), "--labels", str(other)]) == 0
    assert "words: borrow → order" in capsys.readouterr().out


def test_labels_that_do_not_fit_are_refused(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.labels.yaml"
    recording = str(kept.parent / "x.wav")
    assert run(["--no-env", "replay", recording, *DUPLEX[:3], "--labels", str(missing)]) == 2
    assert f"error: {missing} cannot be read: No such file" in capsys.readouterr().err
    long = tmp_path / "long.labels.yaml"
    long.write_text(LABELS + "- {start: 30, end: 40, kind: turn}\n")
    assert run(["--no-env", "replay", recording, *DUPLEX[:3], "--labels", str(long)]) == 2
    error = capsys.readouterr().err
    assert re.search(r"long\.labels\.yaml:12: spans\[8\]\.end is beyond the recording's end", error)


def test_a_user_who_waits_can_not_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In half duplex: the recording plays on when the reply is over."""
    monkeypatch.chdir(tmp_path)
    pcm, _ = alternate_speech(0.5, 1.0, 1.2, 1.0, 2.0)
    soundfile.write("x.wav", samples_of(pcm), 16_000)
    Path("x.labels.yaml").write_text(
        "version: 1\nspans:\n- {start: 0.5, end: 1.5, kind: turn}\n"
        "- {start: 2.7, end: 3.7, kind: interruption}\n"
    )
    options = ("--profile", "scripted", "--fast", "--set", "audio.vad=energy")
    assert run(["--no-env", "replay", "x.wav", *options]) == 0
    printed = capsys.readouterr().out
    assert "user: waited for each reply (--user polite)" in printed
    assert "0 of 2 turns cut off" in printed  # what follows is no part of the turn
    assert re.search(r"^response_rate +2 of 2 ", printed, re.M)
    assert re.search(r"^not scorable: .*yield_rate.*: the user waits for replies", printed, re.M)
    assert "needs the text of every label with speech" in printed
    assert run(["--no-env", "replay", "x.wav", *options, "--user", "oblivious"]) == 0
    printed = capsys.readouterr().out
    assert "user: did not wait for replies; the agent was deaf meanwhile" in printed
    assert re.search(r"^yield_rate +0 of 1 ", printed, re.M)
    assert "  at 2.70 s: interrupted, and spoke on  #1" in printed
