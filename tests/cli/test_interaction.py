"""Cut-offs, interruptions and back-channels as ``replay`` finds them, against the kept sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests import independent
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
   Uh-huh., "No, stop, make it two.", And a salad., Mhm., "Wait, no, that is all, thank you."]}
llm: {ttft_ms: 100, token_ms: 15, says: [LONG, LONG, LONG, LONG, Good bye.]}
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
    assert heard.holds == [True, True]
    assert outcomes(kept, "backchannel") == ["held", "held"]
    assert outcomes(kept, "interruption") == ["yielded"] * 3
    stops = [one["stop"] for one in events if one["subject"] == "interruption"]
    assert stops == pytest.approx(heard.stops, abs=0.010)
