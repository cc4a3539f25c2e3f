"""``voicecli talk`` as its users meet it: typed, in a pipe and in a terminal; and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import SPEECH
from tests.support.terminals import Terminal
from voicecli.cli.talk import HALF_DUPLEX, explain_half_duplex
from voicecli.events import TextTyped
from voicecli.profile import load_profile
from voicecli.timeline import load

TALK = [sys.executable, "-m", "voicecli", "talk", "--text"]

SCRIPT = """
llm:
  ttft_ms: 50
  says: [It is noon., It is one., It is two.]
tts: {ttfb_ms: 50, char_ms: 30}
"""
"""Replies of a third of a second."""

LONG = """
llm:
  ttft_ms: 50
  says: ["This is a very long reply. It goes on and on, and nobody knows when it will ever end."]
tts: {ttfb_ms: 50, char_ms: 100}
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with a script; no sound card, no colours, and no settings in the environment."""
    for name in os.environ:
        if name.startswith(("VOICECLI_", "PULSE_", "ALSA_", "DEEPGRAM_", "OPENAI_", "NO_COLOR")):
            monkeypatch.delenv(name)
    (tmp_path / "asound.conf").write_text("pcm.!default { type pulse }\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    monkeypatch.setenv("PULSE_SERVER", "unix:/nonexistent")  # there are no devices
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.chdir(tmp_path)
    write("quick", SCRIPT)
    write("long", LONG)


def write(name: str, script: str, more: str = "") -> None:
    """A profile and its script."""
    Path(f"{name}-script.yaml").write_text(script)
    Path(f"{name}.yaml").write_text(
        "extends: scripted\n"
        f"standin: {{engine: scripted, script: {name}-script.yaml}}\n"
        f"budgets: {{llm_ms: 1000}}\n{more}"
    )


def talk(
    *arguments: str, typed: str = "", profile: str = "quick.yaml"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TALK, "-p", profile, *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that are ended at last, whatever happens."""
    programs: list[subprocess.Popen[str]] = []
    yield programs
    for program in programs:
        program.kill()
        program.wait()
        for pipe in (program.stdin, program.stdout, program.stderr):
            assert pipe is not None
            pipe.close()


def began(
    running: list[subprocess.Popen[str]], *arguments: str, profile: str = "long.yaml"
) -> subprocess.Popen[str]:
    """A conversation whose first reply is being heard."""
    program = start(running, *arguments, profile=profile)
    seen(program, "reply audio started")
    return program


def start(
    running: list[subprocess.Popen[str]], *arguments: str, profile: str
) -> subprocess.Popen[str]:
    """A program with a line typed."""
    program = subprocess.Popen(
        [*TALK, "-p", profile, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running.append(program)
    assert program.stdin is not None
    program.stdin.write("Hello?\n")
    program.stdin.flush()
    return program


def seen(program: subprocess.Popen[str], text: str) -> None:
    """Read its lines until one has ``text`` in it."""
    assert program.stdout is not None
    lines = []
    while text not in (line := program.stdout.readline()):
        lines.append(line)
        assert line, "".join(lines)


def texts(lines: list[str]) -> list[str]:
    """Plain lines without times, numbers of milliseconds, and warnings."""
    times = [re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} (.*)", line) for line in lines]
    assert all(times), lines
    return [
        re.sub(r"\d+ ms", "… ms", match[1])
        for match in times
        if match and not match[1].startswith("!")
    ]


# ── typed, in a pipe ─────────────────────────────────────────────────────────


def test_typed_lines_are_answered_one_after_the_other():
    ran = talk(typed="What is the time?\n\nAnd now?")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ": replies are shown, not heard\n" in ran.stdout
    begin, _, end = ran.stdout.partition("\n\n")
    assert texts(begin.splitlines()) == [
        "no loudspeaker",
        "TTS open (… ms)",
        'you: "What is the time?"',
        "LLM first token … ms",
        "reply audio started",
        "playback finished",
        'agent: "It is noon."',
        "⏱ not measured: typed, not spoken   [typed]  cold",
        "you can type now",
        'you: "And now?"',
        "LLM first token … ms",
        "reply audio started",
        "playback finished",
        'agent: "It is one."',
        "⏱ not measured: typed, not spoken   [typed]",
        "you can type now",
        "ended: input ended",
    ]
    assert end.startswith("2 turns: 2 answered\n")
    assert "cost: nothing" in end


@pytest.mark.parametrize("tts", ["deepgram", "deepgram-flux"])
def test_what_is_piped_waits_for_the_greeting(tts: str):
    write("greeting", SCRIPT, f"agent: {{greeting: Good day.}}\ntts: {{provider: {tts}}}\n")
    ran = talk(typed="What is the time?", profile="greeting.yaml")
    assert (ran.returncode, ran.stderr) == (0, "")
    begin, _, end = ran.stdout.partition("\n\n")
    assert texts(begin.splitlines())[2:7] == [
        "reply audio started",
        'agent: "Good day."',
        "you can type now",
        'you: "What is the time?"',
        "LLM first token … ms",
    ]
    assert end.startswith("1 turn: 1 answered\n")


def test_a_file_may_be_typed(tmp_path: Path):
    (tmp_path / "lines").write_text("One?\nTwo?\nThree?\n")
    with (tmp_path / "lines").open() as lines:
        ran = subprocess.run(
            [*TALK, "-p", "quick.yaml"], stdin=lines, capture_output=True, text=True, check=True
        )
    assert "\n3 turns: 3 answered\n" in ran.stdout


def test_who_types_needs_no_stt_and_pays_for_none(tmp_path: Path):
    write("deaf", SCRIPT + "faults: [{service: stt, kind: refuse, on: every}]\n")
    ran = talk("--json", typed="What is the time?\n", profile="deaf.yaml")
    assert (ran.returncode, ran.stderr) == (0, "")
    result = json.loads(ran.stdout.splitlines()[-1])["result"]
    assert [turn["outcome"] for turn in result["turns"]] == ["answered"]
    assert result["ledger"]["listened_s"] == 0.0
    assert result["ledger"]["session_s"] > 0.0


def test_nothing_typed_is_no_failure():
    ran = talk()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "ended: input ended\n\n0 turns\n" in ran.stdout


def test_what_is_typed_is_shown_washed():
    ran = talk(typed="\x1b[31mred \u202eleft\x07 sk-abcdefghijklmnop\n")
    assert 'you: "red left [redacted]"' in ran.stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", ran.stdout)


def test_json_is_every_event_and_at_last_the_result():
    ran = talk("--json", typed="What is the time?\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {line["schema_version"] for line in lines} == {1}
    names = [line.get("event") or line.get("action") for line in lines]
    assert names[0] == "ConnectionOpened"
    assert names.count("ConnectionOpened") == 1
    assert [name for name in names if name in ("TextTyped", "CommitReply", "FirstToken")] == [
        "TextTyped",
        "CommitReply",
        "FirstToken",
    ]
    assert names[-2:] == ["EndSession", "Result"]
    (turn,) = lines[-1]["result"]["turns"]
    assert (turn["said"], turn["outcome"]) == ("It is noon.", "answered")
    assert "MicrophoneMuted" not in names  # there is no microphone
    assert lines[-1]["result"]["profile"]["name"] == "quick.yaml"


ENERGY = ["--set", "audio.vad=energy"]

LOADED = """
import atexit, sys
from voicecli.cli.app import main
heavy = ("onnxruntime", "prompt_toolkit")
atexit.register(lambda: print([one for one in heavy if one in sys.modules], file=sys.stderr))
sys.argv[0] = "voicecli"
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["talk", "--help"],
        ["talk", "--text", "-p", "quick.yaml"],
        ["replay", str(SPEECH / "librivox-0880.wav"), "--fast", "-p", "quick.yaml"],
    ],
)
def test_neither_onnxruntime_nor_key_input_is_loaded_without_need(arguments: list[str]):
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        input="Hello?\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stderr == "[]\n"


def test_a_conversation_is_kept(tmp_path: Path):
    ran = talk("--out", "kept", typed="What is the time?\n")
    assert ran.returncode == 0
    assert "kept in kept: " in ran.stdout
    kept = tmp_path / "kept"
    names = ["conversation.wav", "reply.wav", "result.json", "timeline.jsonl"]
    assert sorted(file.name for file in kept.iterdir()) == names
    saved = load(kept / "timeline.jsonl")
    assert not saved.torn
    assert TextTyped in {type(record) for record in saved.timeline}
    (turn,) = json.loads((kept / "result.json").read_text())["turns"]
    assert turn["said"] == "It is noon."
    again = talk("--out", "kept", typed="What is the time?\n")
    assert again.returncode == 2
    assert "conversation.wav exists. Replace it with --force" in again.stderr
    before = {file.name: file.read_bytes() for file in kept.iterdir()}
    assert talk("--out", "kept", "--force", profile="default").returncode == 3  # no key
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == before
    replaced = talk("--out", "kept", "--force", typed="What is the time?\n")
    assert replaced.returncode == 0
    assert len(load(kept / "timeline.jsonl").timeline) > 0


def test_a_folder_is_not_made_before_the_conversation_begins(tmp_path: Path):
    ran = talk("--out", "kept", profile="default")
    assert ran.returncode == 3
    assert "DEEPGRAM_API_KEY" in ran.stderr or "OPENAI_API_KEY" in ran.stderr
    assert not (tmp_path / "kept").exists()


# ── without a sound card ─────────────────────────────────────────────────────


def test_speaking_without_a_sound_card_is_4():
    ran = subprocess.run(
        [*TALK[:-1], "-p", "quick.yaml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (4, "")
    assert ran.stderr.startswith("error: ")


def test_a_loudspeaker_that_is_asked_for_has_to_be_there():
    ran = talk("--speaker", "nothere", typed="Hello?\n")
    assert ran.returncode == 4
    assert ran.stderr.startswith("error: ")


def test_a_missing_sound_card_ends_the_wait_for_a_service():
    write("busy", SCRIPT + "faults: [{service: tts, kind: refuse, status: 503, on: every}]\n")
    ran = talk("--speaker", "nothere", typed="Hello?\n", profile="busy.yaml")
    assert ran.returncode == 4
    assert ran.stderr.startswith("error: ")
    assert "trying again in 4 s" not in ran.stdout


# ── how it ends ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_conversation_and_prints_its_numbers(running, number):
    program = began(running)
    program.send_signal(number)
    out, err = program.communicate(timeout=20)
    assert (program.returncode, err) == (0, "")
    assert "playback stopped after " in out
    assert "ended: quit\n\n1 turn: 1 interrupted\n" in out


def test_a_signal_ends_the_wait_for_a_service(running):
    write("busy", SCRIPT + "faults: [{service: tts, kind: refuse, status: 503, on: every}]\n")
    program = start(running, profile="busy.yaml")
    seen(program, "trying again in 2 s")
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=20)
    assert (program.returncode, err) == (130, "")
    assert "trying again" not in out


def test_the_second_signal_leaves_at_once(running):
    # A service that is silent keeps a proper end waiting.
    write("long", LONG + "faults: [{service: tts, kind: close_lost}]\n")
    program = began(running)
    program.send_signal(signal.SIGINT)
    seen(program, "playback stopped after")
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=1.0)
    assert (program.returncode, err) == (130, "")
    assert "1 turn" not in out


def test_who_reads_no_more_ends_it(running):
    program = began(running, profile="quick.yaml")
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.wait(20) == 141
    assert program.stderr.read() == ""


def test_time_is_up():
    ran = talk("--max-minutes", "0.02", typed="Hello?\n", profile="long.yaml")
    assert ran.returncode == 0
    assert "ended: time is up" in ran.stdout


def test_a_user_who_says_nothing_is_waited_for_only_so_long(running):
    program = began(running, "--set", "limits.idle_s=0.5", profile="quick.yaml")
    seen(program, "ended: idle")
    out, err = program.communicate(timeout=20)
    assert (program.returncode, err) == (0, "")
    assert "1 turn: 1 answered" in out


def test_a_service_that_always_fails_is_5():
    write("broken", SCRIPT + "faults: [{service: llm, kind: refuse, status: 500, on: every}]\n")
    ran = talk(typed="Hello?\n", profile="broken.yaml")
    assert ran.returncode == 5
    assert "1 turn: 1 failed" in ran.stdout
    assert ran.stderr.startswith("error: LLM: ")


def test_a_key_that_is_refused_is_3_with_the_numbers_first():
    write("refused", SCRIPT + "faults: [{service: llm, kind: refuse, status: 401, on: every}]\n")
    ran = talk(typed="Hello?\n", profile="refused.yaml")
    assert ran.returncode == 3
    assert "\n1 turn: 1 failed\n" in ran.stdout
    assert ran.stderr.startswith("error: LLM: ")


# ── in a terminal ────────────────────────────────────────────────────────────


def test_a_typed_conversation_on_a_screen():
    with Terminal([*TALK, "-p", "quick.yaml"], columns=70) as terminal:
        terminal.until("listening")
        terminal.press("What is the tine\x7f\x7fme?")
        terminal.until(r"time\?")
        terminal.press("\r")
        terminal.until("(?s)⏱.*listening")
        terminal.press("\x04")
        assert terminal.ended() == 0
        assert terminal.now == terminal.before
        lines = terminal.drawn()
    at = lines.index('#1 you   "What is the time?"')
    assert lines[at + 1 : at + 6] == [
        '#1 agent "It is noon."',
        "#1 ⏱ not measured: typed, not spoken   [typed]  cold",
        "ended: input ended",
        "",
        "1 turn: 1 answered",
    ]
    assert terminal.output.endswith("cost: nothing\r\n")
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


def test_a_greeting_on_a_screen_is_a_line_without_a_number():
    with Terminal(
        [*TALK, "-p", "quick.yaml", "--set", "agent.greeting=Good day."], columns=70
    ) as terminal:
        terminal.until('(?s)agent "Good day.".*listening')
        terminal.press("\x04")
        assert terminal.ended() == 0
        lines = terminal.drawn()
    at = lines.index('agent "Good day."')
    assert lines[at + 1] == "ended: input ended"


def test_escape_stops_the_agent_and_ctrl_c_quits():
    with Terminal([*TALK, "-p", "long.yaml"]) as terminal:
        terminal.until("listening")
        terminal.press("Hello?\r")
        terminal.until("agent .*very")
        terminal.press("\x1b")
        terminal.until("interrupted after")
        terminal.press("\x03")
        assert terminal.ended() == 0
        assert terminal.now == terminal.before
    assert any(line.startswith('#1 agent "This is a very') for line in terminal.drawn())
    assert "1 turn: 1 interrupted" in terminal.drawn()


def test_the_second_ctrl_c_restores_the_terminal_as_well():
    write("long", LONG + "faults: [{service: tts, kind: close_lost}]\n")
    with Terminal([*TALK, "-p", "long.yaml"]) as terminal:
        terminal.until("listening")
        terminal.press("Hello?\r")
        terminal.until("agent .*very")
        terminal.press("\x03")
        terminal.until("ended")
        terminal.press("\x03")
        assert terminal.ended(within=2.0) == 130
        assert terminal.now == terminal.before
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


def test_a_stopped_terminal_does_not_stop_the_conversation():
    with Terminal([*TALK, "-p", "long.yaml"]) as terminal:
        terminal.until("listening")
        terminal.press("Hello?\r")
        terminal.until("agent .*very")
        terminal.press("\x13")  # Ctrl-S
        assert terminal.quiet_for(0.3)
        terminal.press("\x1b")
        assert terminal.quiet_for(3.0)
        terminal.press("\x11")  # Ctrl-Q
        shown = terminal.until("interrupted after .* s")
        terminal.press("\x03")
        assert terminal.ended() == 0
    assert float(re.findall(r"interrupted after (\S+) s", shown)[0]) < 3.5


def test_a_smaller_window_leaves_no_rubbish():
    with Terminal([*TALK, "-p", "quick.yaml"], columns=100) as terminal:
        terminal.until("listening")
        terminal.press("What is the time?\r")
        terminal.until("⏱")
        terminal.resize(40, 24)
        terminal.signal(signal.SIGWINCH)
        terminal.until("listening")
        terminal.press("\x04")
        assert terminal.ended() == 0
    assert not any(line.startswith(("●", "›")) for line in terminal.drawn())


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--plain"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})],
)
def test_a_terminal_without_a_screen_gets_plain_lines(arguments, environment):
    with Terminal([*TALK, "-p", "quick.yaml", *arguments], environment) as terminal:
        terminal.until("TTS open")
        terminal.press("What is the time?\n")
        terminal.until("you can type now")
        terminal.press("\x04")
        assert terminal.ended() == 0
        assert terminal.now == terminal.before
    assert "\x1b" not in terminal.output
    assert 'agent: "It is noon."' in terminal.output


# ── duplex ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "cancellation", "installed", "warned"),
    [
        ("off", "auto", False, False),
        ("headphones", "auto", False, False),
        ("speakers", "auto", True, False),
        ("speakers", "auto", False, True),
        ("speakers", "off", False, False),  # the user decided
    ],
)
def test_a_loudspeaker_that_nothing_cancels_makes_it_half_duplex(
    policy, cancellation, installed, warned
):
    sets = [f"interrupt.policy={policy}", f"audio.echo_cancellation={cancellation}"]
    profile = load_profile("default", overrides=sets)
    warning = explain_half_duplex(profile, has_canceller=installed)
    assert (warning is not None) == warned
    if warning is not None:
        assert "pip install 'voicecli[aec]'" in warning
        assert "--set interrupt.policy=headphones" in warning
    assert load_profile("default", overrides=[*sets, HALF_DUPLEX]).interrupt.policy == "off"
