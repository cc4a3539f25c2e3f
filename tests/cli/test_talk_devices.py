"""``voicecli talk`` on a virtual sound card: spoken to, listened to, and driven by keys."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.support import SPEECH
from tests.support.live_talk import (
    DIP,
    TALK,
    Talk,
    ask_questions,
    compare_waits,
    disturb_replies,
    interrupt_replies,
    load_sentence,
    speak,
)
from tests.support.recorded_bus import HEARD_EARLY, Bus, loud, stretches
from tests.support.sound_cards import fresh_virtual_audio, running_virtual_audio, until  # noqa: F401
from tests.support.virtual_audio import RATE, VirtualAudio, missing_programs
from voicecli import models
from voicecli.audio import echo
from voicecli.audio.recorder import CONVERSATION
from voicecli.events import ReplyFinished
from voicecli.metrics.recording import find_kept_start
from voicecli.timeline import RESULT, TIMELINE, load

MODELS = models.find_folder()

pytestmark = pytest.mark.soundcard

SCRIPT = """
stt:
  interim_ms: 200
  hears: ["What is the time?", "And now?", "And then?"]
llm:
  ttft_ms: 100
  says: [It is noon., It is one., It is two.]
tts: {ttfb_ms: 50, char_ms: 60}
"""

LONG = """
stt:
  interim_ms: 200
  hears: [Tell me a story., "Please stop, that is enough."]
llm:
  ttft_ms: 100
  says:
    - Once upon a time there was a king who lived in a castle by the sea and never left it.
    - All right.
tts: {ttfb_ms: 50, char_ms: 80}
"""
"""A reply of seven seconds, to be interrupted."""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with two profiles, and no settings in the environment."""
    for name in os.environ:
        if name.startswith(("VOICECLI_", "DEEPGRAM_", "OPENAI_", "NO_COLOR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.chdir(tmp_path)
    for name, script in {"quick": SCRIPT, "long": LONG}.items():
        Path(f"{name}-script.yaml").write_text(script)
        Path(f"{name}.yaml").write_text(
            "extends: scripted\n"
            f"standin: {{engine: scripted, script: {name}-script.yaml}}\n"
            "budgets: {llm_ms: 1000}\n"
        )


# ── spoken ───────────────────────────────────────────────────────────────────


def test_a_reply_takes_as_long_as_printed(virtual_audio: VirtualAudio, tmp_path: Path):
    """A busy machine plays a reply later than it knows, none earlier: the best turn counts most."""
    held = ask_questions(virtual_audio, tmp_path, 5)
    assert [turn["outcome"] for turn in held.turns] == ["answered"] * 5
    waits = compare_waits(held)
    # The detector tells the end of a voice in steps of a millisecond, and within a frame of 10.
    differences = [wait.printed - wait.heard for wait in waits]
    assert max(differences) == pytest.approx(1000 * HEARD_EARLY, abs=6), waits
    assert median(differences) == pytest.approx(1000 * HEARD_EARLY, abs=15), waits


def test_what_is_kept_is_what_sounded(virtual_audio: VirtualAudio, tmp_path: Path):
    file = tmp_path / "kept" / "conversation.wav"

    def has_end_of_reply() -> bool:
        kept, rate = soundfile.read(file, dtype="int16")
        samples = loud(kept[:, 1])
        return len(samples) > 0 and len(kept) - samples[-1] > DIP * rate

    with Bus(virtual_audio) as bus, Talk("--out", "kept") as talk:
        talk.until("you can speak now")
        speak(virtual_audio)
        talk.until("you can speak now")
        asyncio.run(until(has_end_of_reply))  # it is written up to the microphone's last block
        talk.quit()
    kept, rate = soundfile.read(file, dtype="int16")
    assert kept.shape[1] == 2

    def spans(signal: NDArray[np.int16], rate: int) -> tuple[float, float]:
        samples = loud(signal)
        return samples[0] / rate, (samples[-1] + 1) / rate

    user, agent = (spans(kept[:, channel], rate) for channel in (0, 1))
    voice_, reply = spans(bus.microphone, RATE), spans(bus.speaker, RATE)
    assert user[1] - user[0] == pytest.approx(voice_[1] - voice_[0], abs=0.002)
    assert agent[1] - agent[0] == pytest.approx(reply[1] - reply[0], abs=0.002)
    assert agent[0] - user[1] == pytest.approx(reply[0] - voice_[1] + HEARD_EARLY, abs=0.004)


def test_half_duplex_hears_nothing_of_its_own_voice(virtual_audio: VirtualAudio, tmp_path: Path):
    with virtual_audio.echoing(-20, 80):
        held = ask_questions(virtual_audio, tmp_path, 3)
    assert [turn["outcome"] for turn in held.turns] == ["answered"] * 3


@pytest.mark.skipif(not echo.is_installed(), reason="no pywebrtc-audio: pip install voicecli[aec]")
def test_with_its_echo_cancelled_it_does_not_answer_itself(
    fresh_audio: VirtualAudio, tmp_path: Path
):
    with fresh_audio.echoing(-20, 40):
        held = ask_questions(fresh_audio, tmp_path, 4, "--set", "interrupt.policy=speakers")
    assert [turn["outcome"] for turn in held.turns] == ["answered"] * 4


@pytest.mark.parametrize("vad", ["energy", "silero"])
def test_a_user_takes_the_floor(virtual_audio: VirtualAudio, tmp_path: Path, vad: str):
    words = None
    if vad == "silero":
        words = load_sentence(1.8)
    found = interrupt_replies(virtual_audio, tmp_path, 2, "--set", f"audio.vad={vad}", words=words)
    for one in found:
        assert 0.03 < one.ducked <= 0.2  # a gap between two syllables may hide it
        assert one.ducked <= one.silent <= 0.35
        assert not one.stale


def test_back_channels_and_coughs_take_no_floor(virtual_audio: VirtualAudio, tmp_path: Path):
    found = disturb_replies(virtual_audio, tmp_path, 1)
    assert found.outcomes == ["answered"]
    assert found.whole, found
    assert found.stopped == found.alarms


@pytest.mark.local
@pytest.mark.skipif(
    not all(map(models.find, models.ENGINE_MODELS)), reason="run: voicecli models fetch"
)
def test_small_models_hold_a_conversation_by_themselves(
    virtual_audio: VirtualAudio, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("xllamacpp")
    monkeypatch.setenv("VOICECLI_MODELS", str(MODELS))
    sentences = [
        soundfile.read(SPEECH / f"librivox-{number}.wav", dtype="int16")
        for number in ("0880", "0930", "0890")
    ]
    with Talk("--set", "llm.max_tokens=16", "--set", "audio.vad=silero", profile="local") as talk:
        for samples, rate in sentences:
            talk.until("you can speak now")
            virtual_audio.speak(samples.tobytes(), rate)
        talk.until("you can speak now")
        end = talk.quit()
    said = [line.split('you: "')[1].lower() for line in talk.lines if 'you: "' in line]
    assert "3 turns: 3 answered" in end, "\n".join(talk.lines)
    for words, expected in zip(said, ["young man", "amiable", "selfish"], strict=True):
        assert expected in words
    assert sum("⏱ mouth-to-ear" in line for line in talk.lines) == 3


def test_typed_words_are_answered_aloud(virtual_audio: VirtualAudio):
    with Bus(virtual_audio) as bus, Talk("--text") as talk:
        talk.until("TTS open")
        assert talk.program.stdin is not None
        talk.program.stdin.write("What is the time?\n")
        talk.program.stdin.flush()
        talk.until("you can type now")
        end = talk.quit()
    assert "1 turn: 1 answered" in end
    ((begin, end_),) = stretches(bus.speaker)
    assert end_ - begin == pytest.approx(len("It is noon.") * 0.06, abs=0.02)
    assert not len(loud(bus.microphone))


# ── devices ──────────────────────────────────────────────────────────────────


def test_a_device_is_named_by_a_part_of_its_name(virtual_audio: VirtualAudio):
    with Talk("--mic", "l_mic", "--speaker", "virtual_sp") as talk:
        line = talk.until("microphone ")
        assert "microphone 'virtual_mic', loudspeaker 'virtual_speaker', half duplex" in line
        talk.until("you can speak now")
        talk.quit()


def test_a_device_that_is_not_there_is_named_with_those_that_are(virtual_audio: VirtualAudio):
    ran = subprocess.run(
        [*TALK, "-p", "quick.yaml", "--mic", "virtual_mike"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (4, "")
    assert "virtual_mike" in ran.stderr
    assert "virtual_mic" in ran.stderr.replace("virtual_mike", "")


def test_a_sound_system_that_has_gone_ends_it_with_the_numbers(tmp_path: Path):
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)}: apt install pulseaudio pulseaudio-utils")
    audio = VirtualAudio(tmp_path / "audio")
    audio.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in audio.environment.items():
            patch.setenv(name, value)
        with Talk("--out", str(tmp_path / "kept")) as talk:
            talk.until("you can speak now")
            speak(audio)
            talk.until("you can speak now")
            audio.stop()
            talk.until("stopped responding")
            out, err = talk.program.communicate(timeout=30)
    assert talk.program.returncode == 4
    assert "1 turn: 1 answered" in out
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    both, rate = soundfile.read(tmp_path / "kept" / CONVERSATION, dtype="int16")
    saved = load(tmp_path / "kept" / TIMELINE)
    assert not saved.torn
    (finished,) = (one for one in saved.timeline if isinstance(one, ReplyFinished))
    kept_until = find_kept_start(saved.timeline) + len(both) / rate
    assert kept_until > finished.at - 0.1  # the question and its answer, but for a block
    assert all(both[:, channel].any() for channel in (0, 1))
    assert json.loads((tmp_path / "kept" / RESULT).read_text())["ledger"]["answered"] == 1


# ── in a terminal, by keys ───────────────────────────────────────────────────


class Tmux:
    """A terminal of 100 columns and 30 rows."""

    _numbers = count()

    def __init__(self, command: list[str]) -> None:
        name = f"voicecli-{os.getpid()}-{next(self._numbers)}"
        self._tmux = ["tmux", "-L", name, "-f", os.devnull]
        shown = "; ".join([" ".join(command), 'echo "exit code $?"', "sleep 60"])
        self._run("new-session", "-d", "-x", "100", "-y", "30", f"{shown}")

    def press(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def screen(self) -> list[str]:
        lines = self._run("capture-pane", "-p", "-S", "-").splitlines()
        return [line.rstrip() for line in lines if line.strip()]

    def until(self, text: str, within: float = 20.0) -> list[str]:
        """Wait until ``text`` is on the screen; the screen."""
        deadline = time.monotonic() + within
        while text not in (shown := "\n".join(self.screen())):
            assert time.monotonic() < deadline, shown
            time.sleep(0.05)
        return shown.splitlines()

    def end(self) -> None:
        self._run("kill-server")

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout


@pytest.fixture
def tmux(virtual_audio: VirtualAudio) -> Iterator[Tmux]:
    """A spoken conversation in tmux."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux: apt install tmux")
    patient = "turn.commit_ms.complete=9000"  # only the key ends the turn
    terminal = Tmux([*TALK, "-p", "long.yaml", "--set", patient])
    yield terminal
    terminal.end()


def test_a_conversation_by_keys(tmux: Tmux, virtual_audio: VirtualAudio):
    screen = tmux.until("● listening")
    assert screen[0] == "microphone 'default', loudspeaker 'default', half duplex"
    assert screen[-1].endswith("m mute · Enter answer me · Esc stop · q quit")
    tmux.press("m")
    tmux.until("● muted")
    tmux.press("m")
    tmux.until("● listening")

    speak(virtual_audio, 4.0)
    screen = tmux.until("you   Tell")
    assert "█" in screen[-1]
    virtual_audio.hush()
    tmux.until("░" * 12)  # all that was said has been heard
    tmux.press("Enter")
    tmux.until('#1 you   "')
    screen = tmux.until("agent Once upon a")
    assert [line for line in screen if line.startswith("●")] == [screen[-1]]
    assert screen[-1].startswith("● speaking")

    tmux.press("Escape")
    screen = tmux.until("interrupted after")
    assert "[key]" in "".join(screen)
    assert '#1 agent "Once upon a' in "\n".join(screen)
    tmux.until("● listening")
    tmux.press("q")
    screen = tmux.until("exit code")
    assert screen[-1] == "exit code 0"
    assert "1 turn: 1 interrupted" in screen
    assert not any(line.startswith(("●", "you  ", "agent ")) for line in screen)
