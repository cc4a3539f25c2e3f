"""Cassettes of several recordings: each unit records its own, and finds it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import SPEECH
from voicecli.cli.app import run
from voicecli.corpus.storage import open_storage
from voicecli.corpus.store import Store

NAMES = ("librivox-0880", "librivox-0930")
RECORDINGS = [str(SPEECH / f"{name}.wav") for name in NAMES]
SETS = ("--fast", "--set", "audio.vad=energy", "--set", "turn.end_model=off")
SCRIPTED = ("--profile", "scripted", *SETS)
NOWHERE = [f"--set={one}.base_url=https://nowhere.invalid" for one in ("stt", "llm", "tts")]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("script.yaml").write_text(
        "seed: 3\n"
        "llm: {ttft_ms: {p50: 150, p95: 400}, says: [This is short., And that is all.]}\n"
        "tts: {ttfb_ms: 90, char_ms: 10}\n"
    )
    monkeypatch.setenv("VOICECLI_STANDIN__SCRIPT", str(tmp_path / "script.yaml"))


def replay(
    capfd: pytest.CaptureFixture[str], *options: str, code: int = 0, out: str = "out"
) -> list[Mapping[str, Any]]:
    """Return the results of all units, in the order of the plan."""
    capfd.readouterr()
    assert run(["replay", *RECORDINGS, *options, "--out", out]) == code, capfd.readouterr().err
    store = Store(open_storage(out))
    return [one.result or {} for one in store.iterate_results(store.load_plan().units)]


def list_waits(results: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    return [[turn["mouth_to_ear_ms"] for turn in one["turns"]] for one in results]


def list_cassettes() -> list[Path]:
    return sorted(Path("kept").iterdir())


def test_a_corpus_is_served_what_it_recorded(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is asked of the services that the profile names; each unit hears its own."""
    recorded = replay(capfd, *SCRIPTED, "--repeat", "2", "--record-services", "kept")
    names = [folder.name for folder in list_cassettes()]
    assert [name.rpartition("-")[0] for name in names] == [NAMES[0], NAMES[0], NAMES[1], NAMES[1]]
    assert all((folder / "llm.jsonl").exists() for folder in list_cassettes())
    served = ("--repeat", "2", "--services", "kept", *NOWHERE)
    again = replay(capfd, *SCRIPTED, *served, out="again")
    waits, expected = list_waits(again), list_waits(recorded)
    assert len({tuple(one) for one in expected}) == 4
    for found, known in zip(waits, expected, strict=True):
        assert found == pytest.approx(known, abs=20)
    texts = [[turn["said"] for turn in one["turns"]] for one in again]
    assert texts == [[turn["said"] for turn in one["turns"]] for one in recorded]


def test_the_audio_is_kept_if_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    replay(capfd, *SCRIPTED, "--record-services", "kept", "--record-audio")
    assert all((folder / "stt-1.flac").exists() for folder in list_cassettes())


def test_a_sweep_is_served_the_cassettes(capfd: pytest.CaptureFixture[str]) -> None:
    vad = ("--set", "turn.detect=vad")
    replay(capfd, *SCRIPTED, *vad, "--record-services", "kept")
    sweep = ("--sweep", "turn.commit_ms.complete=450,900")
    slower = replay(capfd, *SCRIPTED, *vad, *sweep, "--services", "kept", out="sweep")
    waits = [one[0] for one in list_waits(slower)]
    assert max(waits) - min(waits) > 300


def test_another_request_fails_its_unit(capfd: pytest.CaptureFixture[str]) -> None:
    replay(capfd, *SCRIPTED, "--record-services", "kept")
    other = ("--services", "kept", "--set", "llm.temperature=0.9")
    replay(capfd, *SCRIPTED, *other, code=1, out="other")
    assert "LLM: temperature was " in capfd.readouterr().err


def test_a_failed_unit_leaves_no_cassette(capfd: pytest.CaptureFixture[str]) -> None:
    with Path("script.yaml").open("a") as script:
        script.write("faults: [{service: llm, kind: refuse, status: 401}]\n")
    assert run(["replay", *RECORDINGS, *SCRIPTED, "--record-services", "kept"]) != 0
    assert list_cassettes() == []


def test_a_cassette_is_replaced_only_with_force(capfd: pytest.CaptureFixture[str]) -> None:
    command = ["replay", *RECORDINGS, *SCRIPTED, "--record-services", "kept"]
    assert run(command) == 0
    assert run(command) == 2
    assert "Replace the cassette with --force" in capfd.readouterr().err
    assert run([*command, "--force"]) == 0
    resumed = [*command, "--force", "--out", "out"]
    assert run(resumed) == 0
    assert run([*command, "--out", "out"]) == 0  # all is measured, and nothing recorded


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--services", "none"), "none holds no cassette of "),
        (("--services", "none", "--record-services", "x"), "Leave one of them out"),
        (("--record-audio",), "Add --record-services"),
        (("--record-services", "script.yaml"), "could not be written"),
        (("--record-services", "x", "--sweep", "turn.commit_ms.complete=1,2"), "not for a sweep"),
    ],
)
def test_wrong_options_are_told(
    options: tuple[str, ...], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    sets = ("--set", "turn.detect=vad")
    assert run(["replay", *RECORDINGS, *SCRIPTED, *sets, *options]) == 2
    assert told in "".join(capfd.readouterr())


def test_cassettes_are_served_in_virtual_time(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", *RECORDINGS, "--profile", "scripted", "--services", "kept"]) == 2
    assert "Add --fast" in capfd.readouterr().err
