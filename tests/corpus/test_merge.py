"""Shards: parts of a run that come to the same as the whole, or say why not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.speech_like import alternate_speech
from voicecli.audio.pcm import samples_of
from voicecli.cli.app import run
from voicecli.corpus.manifest import Recording
from voicecli.corpus.plan import Conditions, Shard, Variant, load_variants, parse_shard, plan_units
from voicecli.errors import UsageError

SETS = ("audio.vad=energy", "turn.end_model=off")
FAST = ("--profile=scripted", "--fast", *(f"--set={one}" for one in SETS))
SCRIPT = """
stt: {final_ms: {p50: 100, p95: 200}, hears: [One question here., Another question there.]}
llm: {ttft_ms: {p50: 150, p95: 400}, says: [This is short., And that is all.]}
tts: {ttfb_ms: 90, char_ms: 10}
"""


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five recordings, of which two are the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls").mkdir()
    for count in range(1, 5):
        pcm, _ = alternate_speech(*[0.4, 0.8 + count / 10] * (1 + count % 2), 0.2)
        soundfile.write(f"calls/{count}.wav", samples_of(pcm), 16_000)
    Path("calls/5.wav").write_bytes(Path("calls/1.wav").read_bytes())
    Path("script.yaml").write_text(SCRIPT)
    monkeypatch.setenv("VOICECLI_STANDIN__SCRIPT", str(tmp_path / "script.yaml"))
    return tmp_path


def replay(*arguments: str) -> int:
    return run(("replay", "calls", *FAST, *arguments))


def report(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = run(("report", *arguments))
    printed = capfd.readouterr()
    return code, printed.out, printed.err


def read_page(file: str) -> str:
    """Return a page without its sound: each Ogg stream has a random serial number."""
    return re.sub(r"data:audio/ogg;base64,[\w+/=]+", "", Path(file).read_text())


@pytest.mark.parametrize("where", ["", "file://{corpus}/shards/"])
def test_shards_come_to_the_same_as_the_whole(
    corpus: Path, capfd: pytest.CaptureFixture[str], where: str
) -> None:
    """Tables, JSON and page, byte for byte."""
    where = where.format(corpus=corpus)
    assert replay("--repeat=2", "--out=whole") == 0
    for number in (3, 1, 2):
        assert replay("--repeat=2", f"--shard={number}/3", "--out", f"{where}{number}") == 0
    shards = [f"{where}{number}" for number in (2, 3, 1)]
    whole = report(capfd, "whole", "--json", "--html=whole.html")
    assert report(capfd, *shards, "--merge", "--json", "--html=merged.html")[:2] == whole[:2]
    assert "ogg" in Path("merged.html").read_text()
    assert read_page("merged.html") == read_page("whole.html")
    code, tables, warnings = report(capfd, *shards, "--merge")
    assert (code, tables) == report(capfd, "whole")[:2]
    assert "calls/5.wav has the same content as calls/1.wav" in warnings


def test_what_is_missing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    for number in (1, 3):
        assert replay(f"--shard={number}/4", "--out", str(number)) == 0
    code, tables, errors = report(capfd, "1", "3", "--merge")
    assert code == 2
    assert "by profile" in tables
    assert "2 shards of 4 missing: 2/4, 4/4" in errors
    next(Path("3/results").iterdir()).unlink()
    assert "not measured yet: 1 of " in report(capfd, "1", "3", "--merge")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shard=1/2",), "a and b are both shard 1/2"),
        (("--shard=2/3",), "shard 1/2 and shard 2/3"),
        (("--shard=2/2", "--user=oblivious"), "user polite and oblivious"),
        (("--shard=2/2", "--set=tts.speed=1.1"), "other settings of scripted"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert replay("--shard=1/2", "--out=a") == 0
    assert replay(*arguments, "--out=b") == 0
    code, _, errors = report(capfd, "a", "b", "--merge")
    assert code == 2
    assert message in errors


def test_several_places_need_merge(capfd: pytest.CaptureFixture[str]) -> None:
    code, _, errors = report(capfd, "a", "b")
    assert code == 2
    assert "--merge" in errors


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "a/b", "-1/2", "1/2/3", "1.0/2"])
def test_a_shard_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="1/N to N/N"):
        parse_shard(text)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{number}.wav" for number in range(8)]
    for path in paths:
        path.write_text(path.name)
    return paths


@pytest.fixture(scope="module")
def variants() -> list[Variant]:
    return load_variants(["scripted"], (), [(), ("tts.speed=1.1",)])


@settings(deadline=None)
@given(count=st.integers(1, 9), recordings=st.integers(0, 8), repeats=st.integers(1, 4))
def test_each_unit_is_in_one_shard(
    files: list[Path], variants: list[Variant], count: int, recordings: int, repeats: int
) -> None:
    """Variants of a recording stay together, and the positions restore the order."""
    found = [Recording(path=path) for path in files[:recordings]]
    conditions = Conditions(fast=True, repeats=repeats)
    whole = plan_units(found, variants, conditions)
    placed: dict[int, Any] = {}
    for number in range(1, count + 1):
        part = plan_units(found, variants, conditions, Shard(number, count))
        assert placed.keys().isdisjoint(part.positions)
        placed |= dict(zip(part.positions, part.units, strict=True))
        assert len({(one.recording, one.repeat) for one in part.units}) * 2 == len(part.units)
    assert tuple(placed[position] for position in sorted(placed)) == whole.units


def test_a_shard_of_one_recording_may_be_empty(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(("replay", "calls/1.wav", *FAST, "--shard=2/2", "--out=empty")) == 0
    assert run(("replay", "calls/1.wav", *FAST, "--shard=1/2", "--out=one")) == 0
    code, printed, _ = report(capfd, "empty", "one", "--merge", "--json")
    assert (code, len(json.loads(printed)["units"])) == (0, 1)
