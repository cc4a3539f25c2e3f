"""What is recorded of scripted services is served again as it was, faults included."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.pipeline.test_faults import CASES, QUESTIONS, SAYS, Case, flux_cases
from tests.support.cassettes import Session, play, record
from tests.support.conversations import profile
from tests.support.speech_like import alternate_speech
from voicecli.cassette.levels import FRAME
from voicecli.errors import DifferenceError, InputError
from voicecli.events import ConnectionOpened, HeardReported
from voicecli.standin.script import Latency, LlmScript, Script, SttScript, TtsScript

SCRIPT = Script(
    stt=SttScript(hears=QUESTIONS, gap=0.3, interim=0.3, words_per_second=10.0),
    llm=LlmScript(ttft=Latency(0.2), says=SAYS),
)
SPOKEN, ENDS = alternate_speech(0.5, 1.2, 3.0, 1.2, 1.0)

KINDS = "refused with 429|dropped in mid-stream|Finalize 1|malformed"
FAULTS = [one for one in CASES if one.faults and re.search(KINDS, one.name)]


def summarize(session: Session) -> list[tuple[object, ...]]:
    """What was said, what failed, and what was opened."""
    opened = [entry.service for entry in session.timeline if isinstance(entry, ConnectionOpened)]
    return [(turn.user_text, turn.said, turn.outcome) for turn in session.turns] + [tuple(opened)]


def assert_same(recorded: Session, played: Session, tolerance: float = FRAME + 1e-6) -> None:
    """What is heard may begin within a frame of levels."""
    assert summarize(played) == summarize(recorded)
    assert str(played.error) == str(recorded.error)
    waits = [[turn.mouth_to_ear or 0.0 for turn in one.turns] for one in (recorded, played)]
    assert waits[1] == pytest.approx(waits[0], abs=tolerance)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Session]:
    """A cassette, and the session that was recorded."""
    folder = tmp_path_factory.mktemp("kept")
    return folder, record(SCRIPT, profile(), SPOKEN, folder)


@pytest.fixture
def recorded(kept: tuple[Path, Session]) -> Session:
    return kept[1]


@pytest.fixture
def folder(tmp_path: Path, kept: tuple[Path, Session]) -> Path:
    """A copy of the cassette, which a test may damage or replace."""
    return Path(shutil.copytree(kept[0], tmp_path / "cassette"))


def test_a_session_is_replayed(recorded: Session, folder: Path) -> None:
    assert len(recorded.turns) == 2
    assert recorded.error is None
    assert_same(recorded, play(profile(), SPOKEN, folder))


@pytest.mark.parametrize("settings", [("audio.block_ms=50",), ("turn.commit_ms.complete=300",)])
def test_how_audio_is_cut_and_when_a_turn_ends_may_differ(
    recorded: Session, folder: Path, settings: tuple[str, ...]
) -> None:
    again = play(profile(*settings), SPOKEN, folder)
    assert again.error is None
    assert summarize(again) == summarize(recorded)


def test_kept_audio_is_played_again(folder: Path) -> None:
    recorded = record(SCRIPT, profile(), SPOKEN, folder, audio=True)
    again = play(profile(), SPOKEN, folder)
    assert_same(recorded, again, 1e-6)
    assert again.played == recorded.played
    assert np.any(np.frombuffer(again.played, np.int16))
    sent, rate = soundfile.read(folder / "stt-1.flac", dtype="int16")
    first = round(ENDS[0] * rate)
    assert rate == 16_000
    assert np.array_equal(sent[:first], np.frombuffer(SPOKEN, np.int16)[:first])


@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_faults_are_replayed(case: Case, folder: Path) -> None:
    script, settings = (
        replace(SCRIPT, faults=case.faults),
        profile("limits.idle_s=60", *case.settings),
    )
    assert_same(record(script, settings, SPOKEN, folder), play(settings, SPOKEN, folder))


# ── Flux TTS ─────────────────────────────────────────────────────────────────

FLUX = ("tts.provider=deepgram-flux", "tts.model=flux-alexis-en")
SLOW = replace(SCRIPT, tts=TtsScript(speed=1.1))
BARGE_IN = profile(*FLUX, "interrupt.policy=headphones", "turn.detect=vad")
OVER_THE_REPLY = alternate_speech(0.5, 1.2, 1.6, 1.2, 4.0)[0]


@pytest.mark.parametrize("audio", [False, True])
def test_what_flux_speaks_before_the_flush_is_replayed(audio: bool, tmp_path: Path) -> None:
    settings = profile(*FLUX)
    recorded = record(SCRIPT, settings, SPOKEN, tmp_path, audio=audio)
    assert [turn.said for turn in recorded.turns] == list(SAYS)
    assert_same(recorded, play(settings, SPOKEN, tmp_path), 1e-6 if audio else FRAME + 1e-6)


def test_what_flux_says_was_heard_is_replayed(tmp_path: Path) -> None:
    recorded = record(SLOW, BARGE_IN, OVER_THE_REPLY, tmp_path)
    assert [turn.outcome for turn in recorded.turns] == ["interrupted", "answered"]
    played = play(BARGE_IN, OVER_THE_REPLY, tmp_path)
    assert_same(recorded, played)
    heard = [
        [entry.said for entry in one.timeline if isinstance(entry, HeardReported)]
        for one in (recorded, played)
    ]
    assert heard[0] == heard[1] != []


@pytest.mark.parametrize("kind", ["dropped in mid-stream", "at its time limit in mid-stream"])
def test_what_flux_does_wrong_is_replayed(kind: str, tmp_path: Path) -> None:
    (case,) = (one for one in flux_cases() if one.name == kind)
    script = replace(SCRIPT, faults=case.faults)
    settings = profile("limits.idle_s=60", *case.settings)
    recorded = record(script, settings, SPOKEN, tmp_path)
    assert_same(recorded, play(settings, SPOKEN, tmp_path))


def test_another_text_for_flux_is_a_difference(tmp_path: Path) -> None:
    record(SCRIPT, profile(*FLUX), SPOKEN, tmp_path)
    file = tmp_path / "llm.jsonl"
    file.write_text(file.read_text().replace("quiet", "noisy"))
    again = play(profile(*FLUX), SPOKEN, tmp_path)
    assert isinstance(again.error, DifferenceError)
    told = r"TTS: the text was '.*quiet.*', and is '.*noisy.*' \(.*tts-1.jsonl:\d+\)"
    assert re.search(told, str(again.error))


# ── differences ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("stt.endpointing_ms=300", r"STT: endpointing was '200', and is '300' \(.*stt-1.jsonl:1\)"),
        ("stt.smart_format=false", r"STT: smart_format was 'true', and is 'false' \(.*:1\)"),
        ("llm.temperature=0.9", r"LLM: temperature was 0.4, and is 0.9 \(.*llm.jsonl:\d+\)"),
        ("llm.system_prompt=Be brief.", r"LLM: messages\[0\].content was .* and is 'Be brief.'"),
        ("tts.model=aura-2-luna-en", r"TTS: model was .*luna.* \(.*tts-1.jsonl:1\)"),
        ("tts.sample_rate=48000", r"TTS: sample_rate was '24000', and is '48000'"),
    ],
)
def test_another_request_is_a_difference(
    recorded: Session, folder: Path, setting: str, told: str
) -> None:
    error = play(profile(setting), SPOKEN, folder).error
    assert isinstance(error, DifferenceError)
    assert error.exit_code == 1
    assert re.search(told, str(error))


def test_other_audio_is_a_difference(recorded: Session, folder: Path) -> None:
    other, _ = alternate_speech(0.5, 1.2, 1.0, 1.2, 3.0)
    error = play(profile(), other, folder).error
    assert isinstance(error, DifferenceError)
    assert re.search(r"STT: .*of audio|STT: the audio until [\d.]+ s was", str(error))
    assert "stt-1.jsonl:" in str(error)


def test_another_answer_is_spoken_by_nobody(recorded: Session, folder: Path) -> None:
    lines = (folder / "llm.jsonl").read_text()
    (folder / "llm.jsonl").write_text(lines.replace(" Canberra", " Hobart"))
    error = play(profile(), SPOKEN, folder).error
    assert isinstance(error, DifferenceError)
    assert re.search(
        r"TTS: the text was '.*Canberra.*', and is '.*Hobart.*' \(.*:\d+\)", str(error)
    )


# ── what is kept ─────────────────────────────────────────────────────────────

KEY = "0123456789abcdef0123456789abcdef01234567"


def test_no_key_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter2hunter2")
    script = replace(SCRIPT, llm=LlmScript(says=(f"It is {KEY}. And hunter2hunter2.",)))
    record(script, profile("llm.system_prompt=Say hunter2hunter2."), SPOKEN, folder, audio=True)
    kept = b"".join(file.read_bytes() for file in folder.iterdir())
    assert b"[redacted]" in kept
    assert KEY.encode() not in kept
    assert b"hunter2hunter2" not in kept


def test_without_audio_none_is_kept(recorded: Session, folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [
        "llm.jsonl",
        "stt-1.jsonl",
        "tts-1.jsonl",
    ]


# ── damaged files ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "line", "text", "told"),
    [
        ("stt-1.jsonl", 1, "{}", "not a cassette of voicecli"),
        ("stt-1.jsonl", 1, '{"program": "voicecli", "cassette": 9}', "format is 9, and must be 1"),
        ("stt-1.jsonl", 2, '{"at": 1', "not a JSON object"),
        ("stt-1.jsonl", 3, '{"at": 1.0, "got": {}, "audio": "1"}', "`audio` is not a number"),
        ("stt-1.jsonl", 3, '{"at": 1.0, "got": {}}', "no `audio`"),
        ("tts-1.jsonl", 6, '{"at": 9, "pcm": 4, "levels": "aaaaaa"}', "`levels` do not fit"),
        ("tts-1.jsonl", 6, '{"at": 9, "pcm": -4, "levels": "a"}', "`pcm` is -4"),
        ("tts-1.jsonl", 6, '{"at": 9, "pcm": 400, "levels": ""}', "tts-1.flac"),
        ("llm.jsonl", 2, '{"at": 0, "answer": 9, "end": "left"}', "an answer without its request"),
    ],
)
def test_damage_is_told_with_its_place(
    recorded: Session, folder: Path, name: str, line: int, text: str, told: str
) -> None:
    file = folder / name
    lines = file.read_text().splitlines()
    lines[line - 1] = text
    file.write_text("\n".join(lines) + "\n")
    error = play(profile(), SPOKEN, folder).error
    assert isinstance(error, InputError)
    assert told in str(error)
    assert f"{name}:{line}:" in str(error) or "flac" in told


def test_times_are_of_the_session(recorded: Session, folder: Path) -> None:
    """The last word the service sent was recorded when it was received."""
    lines = [json.loads(line) for line in (folder / "stt-1.jsonl").read_text().splitlines()[1:]]
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)


# ── interruptions ────────────────────────────────────────────────────────────

LONG = "The capital of Australia is Canberra. It was chosen as a compromise, a long time ago."


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Session, bytes]:
    """A cassette of a conversation whose first reply is interrupted."""
    spoken, _ = alternate_speech(0.5, 1.2, 2.5, 1.6, 1.0)
    script = replace(SCRIPT, llm=LlmScript(says=(LONG, SAYS[1])))
    folder = tmp_path_factory.mktemp("interrupted")
    return folder, record(script, profile("interrupt.policy=headphones"), spoken, folder), spoken


def test_an_interruption_is_replayed(interrupted: tuple[Path, Session, bytes]) -> None:
    folder, recorded, spoken = interrupted
    assert [turn.outcome for turn in recorded.turns] == ["interrupted", "answered"]
    assert_same(recorded, play(profile("interrupt.policy=headphones"), spoken, folder))


@pytest.mark.parametrize(("words", "told"), [(2, ""), (3, "LLM: messages[2].content was")])
def test_the_last_words_heard_may_differ_by_two(
    interrupted: tuple[Path, Session, bytes], tmp_path: Path, words: int, told: str
) -> None:
    folder, recorded, spoken = interrupted
    heard = recorded.turns[0].said.split()
    text = (folder / "llm.jsonl").read_text()
    marked = [f'"{" ".join(heard[:end])} \\u2026"' for end in (len(heard), len(heard) - words)]
    assert marked[0] in text
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "llm.jsonl").write_text(text.replace(*marked))
    error = play(profile("interrupt.policy=headphones"), spoken, copy).error
    assert told in str(error) if told else error is None
