"""A corpus as a user runs it: recordings in virtual time, kept, resumed, summed up."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.speech_like import alternate_speech
from voicecli.audio.pcm import samples_of
from voicecli.cli.app import run
from voicecli.cli.corpus import assign_profiles
from voicecli.corpus.manifest import Recording, find_recordings
from voicecli.corpus.plan import Conditions, load_variants, plan_units
from voicecli.corpus.run import Resources, run_units
from voicecli.corpus.storage import open_storage
from voicecli.corpus.store import Store
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.errors import UsageError

SETS = ("audio.vad=energy", "turn.end_model=off")
"""The energy detector, for tones that only sound like speech."""

FAST = ("--profile", "scripted", "--fast", *(word for one in SETS for word in ("--set", one)))

SCRIPT = """
seed: 3
stt: {final_ms: {p50: 100, p95: 200}, hears: [One question here., Another question there.]}
llm: {ttft_ms: {p50: 150, p95: 400}, says: [This is short., And that is all.]}
tts: {ttfb_ms: 90, char_ms: 10}
"""


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three recordings, of one, two and three questions."""
    monkeypatch.chdir(tmp_path)
    for count in range(1, 4):
        pcm, _ = alternate_speech(*[0.4, 0.8 + count / 10] * count, 0.2)
        soundfile.write(f"{count}.wav", samples_of(pcm), 16_000)
    Path("script.yaml").write_text(SCRIPT)
    monkeypatch.setenv("VOICECLI_STANDIN__SCRIPT", str(tmp_path / "script.yaml"))
    return tmp_path


def plan(names: Sequence[str] = (".",), **conditions: Any) -> tuple[Unit, ...]:
    variants = load_variants(["scripted"], SETS)
    return plan_units(find_recordings(names), variants, Conditions(fast=True, **conditions)).units


def collect(units: Sequence[Unit]) -> list[UnitResult]:
    found: list[UnitResult] = []
    run_units(units, found.append)
    return found


def read_results(location: str) -> list[UnitResult]:
    store = Store(open_storage(location))
    return list(store.iterate_results(store.load_plan().units))


def list_waits(result: UnitResult) -> list[float]:
    assert result.result is not None, result.failure
    return [turn["mouth_to_ear_ms"] for turn in result.result["turns"]]


def run_json(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capfd.readouterr()
    assert run(arguments) == code, capfd.readouterr().err
    return json.loads(capfd.readouterr().out)


def test_a_unit_comes_to_the_same_alone_and_among_others() -> None:
    """What is drawn for a unit depends on the recording and the repeat, and on no other unit."""
    units = plan(["1.wav", "2.wav"], repeats=2)
    assert len({unit.seed for unit in units}) == len(units) == 4
    together = {one.unit.id: list_waits(one) for one in collect(units)}
    alone = {one.unit.id: list_waits(one) for unit in units for one in collect([unit])}
    assert together == alone
    assert len({tuple(waits) for waits in together.values()}) == 4


def test_a_failing_recording_does_not_end_the_run(
    corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (corpus / "0.wav").write_text("no sound")
    assert run(("replay", ".", *FAST, "--out", "out")) == 2
    printed = capfd.readouterr()
    assert "✗ 0.wav · scripted: 0.wav cannot be read as a recording" in printed.out
    assert "error: 1 of 4 replays failed: 0.wav: " in printed.err
    found = run_json(capfd, "report", "out", "--json", code=2)
    assert [one["failure"] and one["failure"]["kind"] for one in found["units"]] == [
        "InputError",
        None,
        None,
        None,
    ]


def test_what_was_measured_is_not_measured_again(
    corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ("replay", "1.wav", "2.wav", *FAST, "--out", "out", "--json")
    first = run_json(capfd, *command)
    kept = sorted((corpus / "out/results").iterdir())
    times = [file.stat().st_mtime_ns for file in kept]
    assert run(command) == 0
    printed = capfd.readouterr()
    assert "2 replays, 2 of them measured before" in printed.err
    assert json.loads(printed.out) == first
    assert [file.stat().st_mtime_ns for file in kept] == times
    kept[0].unlink()
    assert run_json(capfd, *command)["whole"]["summary"] == first["whole"]["summary"]
    assert [file.stat().st_mtime_ns for file in kept][1:] == times[1:]
    assert run_json(capfd, *command, "--force") == first
    assert [file.stat().st_mtime_ns for file in kept][1:] != times[1:]
    assert run_json(capfd, "report", "out", "--json") == first


def test_percentiles_are_over_all_turns(capfd: pytest.CaptureFixture[str]) -> None:
    names = ("1.wav", "2.wav", *FAST, "--repeat", "2", "--out", "out")
    found = run_json(capfd, "replay", *names, "--json")
    waits = [wait for one in read_results("out") for wait in list_waits(one)]
    summary = found["whole"]["summary"]["mouth_to_ear"]
    assert summary["n"] == len(waits) == 6
    for share in (50, 90):
        assert summary[f"p{share}_ms"] == pytest.approx(np.percentile(waits, share), abs=0.002)
    assert summary["p95_ms"] is None
    by_recording = {one["recording"]: one["ledger"]["turns"] for one in found["recordings"]}
    assert by_recording == {"1.wav": 2, "2.wav": 4}


def test_tags_profiles_and_channels_come_from_the_manifest(
    corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loud, _ = soundfile.read("1.wav", dtype="int16")
    soundfile.write("stereo.wav", np.stack([0 * loud, loud], axis=1), 16_000)
    (corpus / "other.yaml").write_text("extends: scripted\nllm: {max_tokens: 5}\n")
    (corpus / "corpus.yaml").write_text(
        "recordings:\n"
        "- {recording: stereo.wav, channel: right, tags: [stereo, short]}\n"
        "- {recording: 2.wav, tags: [long], profile: other.yaml}\n"
    )
    found = run_json(capfd, "replay", "corpus.yaml", *FAST[2:], "--profile=scripted", "--json")
    assert {(one["profile"], one["tag"]): one["ledger"]["turns"] for one in found["tags"]} == {
        ("scripted", "stereo"): 1,
        ("scripted", "short"): 1,
        ("scripted", "long"): 2,
    }


def test_the_command_line_wins_over_the_manifest() -> None:
    recordings = [
        Recording(path=Path("a.wav")),
        Recording(path=Path("b.wav"), profile="duplex"),
    ]

    def list_profiles(wanted: Sequence[str]) -> list[tuple[str, str | None]]:
        return [(one.path.stem, one.profile) for one in assign_profiles(recordings, wanted)]

    assert list_profiles([]) == [("a", "default"), ("b", "duplex")]
    assert list_profiles(["x", "y", "x"]) == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]


def test_expectations_are_judged_for_each_profile(capfd: pytest.CaptureFixture[str]) -> None:
    Path("slow.yaml").write_text(
        "extends: scripted\nturn: {detect: vad, commit_ms: {complete: 999}}\n"
    )
    names = ("1.wav", *FAST, "--profile", "slow.yaml", "--out", "out")
    assert run(("replay", *names, "--expect", "no_reply==0")) == 0
    assert run(("report", "out", "--expect", "mouth_to_ear.p50<990")) == 1
    assert "not as expected: slow.yaml: mouth_to_ear.p50<990 (" in capfd.readouterr().err


def test_the_same_content_is_measured_once(corpus: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (corpus / "copy.wav").write_bytes((corpus / "1.wav").read_bytes())
    found = run_json(capfd, "replay", "1.wav", "copy.wav", *FAST, "--json")
    assert [one["recording"] for one in found["units"]] == ["1.wav"]


def test_a_unit_of_another_version_is_refused() -> None:
    (unit,) = plan(["1.wav"])
    with pytest.raises(UsageError, match=r"planned by version 0\.0\.1"):
        collect([replace(unit, version="0.0.1")])


def test_a_session_folder_is_not_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(("replay", "1.wav", *FAST, "--out", "one")) == 0
    assert run(("replay", ".", *FAST, "--out", "one")) == 2
    assert "keeps the session of one recording" in capfd.readouterr().err


def test_a_unit_folder_is_a_session(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(("replay", "1.wav", "2.wav", *FAST, "--out", "out")) == 0
    (unit, _) = plan(["1.wav", "2.wav"])
    found = run_json(capfd, "report", f"out/units/{unit.id}", "--json")
    assert [turn["user_text"] for turn in found["turns"]] == ["One question here."]


def test_interrupted_runs_keep_what_is_done(
    corpus: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The second unit is interrupted; the same command then measures the other two only."""
    found: list[str] = []

    def stop_at_second(result: UnitResult) -> None:
        found.append(result.unit.id)
        if len(found) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_units(plan(), stop_at_second)
    assert found == [unit.id for unit in plan()][:2]


def test_real_time_units_share_a_loop() -> None:
    units = [
        replace(unit, fast=False, overrides=(name,)) for unit in plan(["1.wav"]) for name in "ab"
    ]
    found: list[UnitResult] = []
    began = time.monotonic()
    run_units(units, found.append, resources=Resources(workers=1, concurrency=2))
    took = time.monotonic() - began
    assert sorted(one.unit.overrides for one in found) == [("a",), ("b",)]
    assert [len(list_waits(one)) for one in found] == [1, 1]
    attempts = sum(one.attempts for one in found)
    assert took < sum(one.took_s for one in found) * attempts / 2, "one after the other"


def test_a_sweep_is_compared_with_timers(capfd: pytest.CaptureFixture[str]) -> None:
    sweep = ("--sweep", "turn.commit_ms.complete=300,900")
    names = ("replay", "1.wav", *FAST, "--set", "turn.detect=vad", *sweep, "--json")
    (found,) = run_json(capfd, *names)["sweeps"]
    waits = {one["name"]: one["latency_ms"] for one in found["points"]}
    assert list(waits) == [
        "turn.commit_ms.complete=300",
        "turn.commit_ms.complete=900",
        *(f"timer of {wait} ms" for wait in (300, 600, 1000, 1600)),
    ]
    assert waits["turn.commit_ms.complete=900"] == pytest.approx(900, abs=25)  # a block of sound
    assert waits["timer of 1600 ms"] == pytest.approx(1600, abs=25)
    assert not any(one["recommended"] for one in found["points"])  # of one turn, no rate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sweep", "turn.commit_ms.complete=300,900"), "matters only with turn.detect: vad"),
        (("--sweep", "turn.draft=off,of"), "--sweep turn.draft: turn.draft"),
        (("--sweep", "turn.drafts=a,b"), "--sweep turn.drafts: "),
        (("--sweep", "tts.speed=1,1.1", "--expect", "no_reply==0"), "not for a sweep"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(
    capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(("replay", "1.wav", *FAST, *arguments)) == 2
    assert message in capfd.readouterr().err
