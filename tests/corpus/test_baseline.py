"""Baselines: saved, read, compared, refused; what CI is told; and the command as a user runs it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import junitparser
import pytest

from tests.support import PROFILES, SPEECH
from voicecli.cli.app import run
from voicecli.corpus.baseline import (
    Baseline,
    Sample,
    compare_baselines,
    load_baseline,
    save_baseline,
)
from voicecli.corpus.junit import render_junit
from voicecli.corpus.markdown import escape, render_markdown
from voicecli.corpus.tally import CorpusTally
from voicecli.corpus.unit import Failure, Unit, UnitResult
from voicecli.corpus.verdict import Check, RunVerdict
from voicecli.errors import InputError, ThresholdError

FILE = Path("base.json")
HOSTILE = "]]><script>alert(1)</script>\x1b[31m |@team| `x` &\x00\ufffe"


def sample(digest: str, *waits: float, **changes: Any) -> Sample:
    return replace(
        Sample(
            recording=digest,
            digest=digest,
            labels="",
            variant="p",
            engine="scripted",
            user="polite",
            channel="auto",
            fast=False,
            turns=tuple({"mouth_to_ear": wait, "llm.ttft": wait / 2} for wait in waits),
            rates={"cutoff_rate": (0, len(waits))},
        ),
        **changes,
    )


def baseline(*samples: Sample, cpu: str = "x") -> Baseline:
    return Baseline(saved="2026-11-27", version="0.1.0", machine={"cpu": cpu}, samples=samples)


BEFORE = baseline(sample("a", 700, 900), sample("b", 1200, 1300, 1400))
SLOWER = baseline(sample("a", 760, 960), sample("b", 1260, 1360, 1460))


def test_it_is_read_as_it_was_saved(tmp_path: Path) -> None:
    save_baseline(BEFORE, tmp_path / FILE)
    assert load_baseline(tmp_path / FILE) == BEFORE
    assert compare_baselines(BEFORE, load_baseline(tmp_path / FILE), FILE)[0].regressions == []


def test_slower_is_a_regression_with_its_reason() -> None:
    (found,) = compare_baselines(BEFORE, SLOWER, FILE)
    assert [one.metric for one in found.regressions] == ["mouth_to_ear"]
    assert [one.metric for one in found.reasons] == ["llm.ttft"]
    assert found.counts == (5, 5)
    (faster,) = compare_baselines(SLOWER, BEFORE, FILE)
    assert faster.regressions == []
    with pytest.raises(ThresholdError, match=r"mouth_to_ear.p50 \(1200 → 1260 ms, \+60"):
        RunVerdict({}, [found]).check()


def test_other_numbers_of_turns_are_compared_by_recording() -> None:
    after = baseline(sample("a", 760), sample("b", 1260, 1360, 1460, 1500))
    (found,) = compare_baselines(BEFORE, after, FILE)
    assert found.headline[0].before == 1200


def test_one_profile_is_compared_with_another() -> None:
    other = baseline(*(replace(one, variant="q") for one in SLOWER.samples))
    (found,) = compare_baselines(BEFORE, other, FILE)
    assert found.variant == "q"
    assert found.regressions


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (baseline(sample("a", 700, 900)), "recording b, or its present content, is not in this"),
        (baseline(*BEFORE.samples, sample("c", 1)), "recording c, .* is not in the baseline"),
        (baseline(*(replace(one, user="oblivious") for one in BEFORE.samples)), "user was polite"),
        (baseline(*(replace(one, fast=True) for one in BEFORE.samples)), "fast was False"),
        (baseline(*(replace(one, engine="local") for one in BEFORE.samples)), "engine was scrip"),
        (baseline(*(replace(one, labels="l") for one in BEFORE.samples)), "labels of a changed"),
        (baseline(*(replace(one, channel="1") for one in BEFORE.samples)), "channel of a changed"),
        (baseline(*BEFORE.samples, sample("a", 1, variant="q")), "profile q is not in the base"),
    ],
)
def test_what_is_not_comparable_is_refused(after: Baseline, told: str) -> None:
    with pytest.raises(InputError, match=rf"base.json cannot be compared with: .*{told}"):
        compare_baselines(BEFORE, after, FILE)


def test_machines_matter_for_local_engines_in_real_time() -> None:
    local = [replace(one, engine="local") for one in BEFORE.samples]
    with pytest.raises(InputError, match="local engines ran on x, and run on y"):
        compare_baselines(baseline(*local), baseline(*local, cpu="y"), FILE)
    assert compare_baselines(BEFORE, baseline(*BEFORE.samples, cpu="y"), FILE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not JSON"),
        ("[]", "is not a baseline"),
        ('{"kind": "baseline", "schema_version": 9}', "schema_version 9"),
        ('{"kind": "baseline", "schema_version": 1}', "is damaged: "),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=told):
        load_baseline(tmp_path / FILE)
    with pytest.raises(InputError, match="cannot be read"):
        load_baseline(tmp_path / "none.json")


# ── what CI is told ──────────────────────────────────────────────────────────

TURN = {"turn": 1, "outcome": "answered", "mouth_to_ear_ms": 712.3, "cut_off": False}
UNIT = Unit(recording=HOSTILE, profile="p", settings={})
RESULTS = [
    UnitResult(unit=UNIT, result={"turns": [TURN | {"unreliable": [HOSTILE]}]}, took_s=1.25),
    UnitResult(unit=UNIT, failure=Failure(kind="ServiceError", message=HOSTILE, exit_code=5)),
]
CHECKS = [
    Check("expectations", "p", "mouth_to_ear.p50<700", False, "it is 712 ms"),
    Check("baseline", "p", "cutoff_rate", True, "0 of 5 → 0 of 5"),
]


def test_junit_is_read_by_others() -> None:
    text = render_junit(RESULTS, CHECKS)
    found = junitparser.JUnitXml.fromstring(text.encode())
    assert (found.tests, found.failures, found.errors) == (4, 2, 0)
    suites = {suite.name: suite for suite in found}
    assert list(suites) == ["replay.p", "expectations.p", "baseline.p"]
    replayed, failed = suites["replay.p"]
    assert replayed.is_passed
    assert replayed.time == 1.25
    assert "#1 answered, mouth-to-ear 712 ms" in (replayed.system_out or "")
    assert failed.result[0].type == "ServiceError"
    (missed,) = suites["expectations.p"]
    assert missed.result[0].message == "it is 712 ms"


def test_junit_has_only_what_the_schema_knows() -> None:
    """pytest's and Jenkins' junit-10.xsd; times have at most three decimals."""
    known = {
        "testsuites": {"name", "time", "tests", "failures", "errors"},
        "testsuite": {"name", "time", "tests", "failures", "errors", "skipped"},
        "testcase": {"name", "time", "classname"},
        "failure": {"type", "message"},
        "system-out": set(),
    }
    for element in ET.fromstring(render_junit(RESULTS, CHECKS)).iter():
        assert set(element.attrib) <= known[element.tag]
        if "time" in element.attrib:
            assert len(element.attrib["time"].partition(".")[2]) == 3
    assert "\x1b" not in render_junit(RESULTS, CHECKS)


def test_markdown_begins_with_what_failed() -> None:
    tally = CorpusTally()
    tally.add(RESULTS[1])
    text = render_markdown(tally, CHECKS, [])
    first, *_ = text.splitlines()
    assert first == "### voicecli: 1 check and 1 replay failed"
    assert text.index("❌ | mouth") < text.index("| profile | recordings") < text.index("✅")
    for special in ("<script>", " @team", "|@", "`x`", "\x1b"):
        assert special not in text


def test_text_in_markdown_is_shown_as_it_is() -> None:
    assert escape("a_b |x| <b>\n@me") == r"a\_b \|x\| \<b\> \@me"


# ── the command ──────────────────────────────────────────────────────────────

NAMES = ("librivox-0880.wav", "librivox-0930.wav")


def replay(*arguments: str | Path, script: str | Path = "demo") -> int:
    options = ["--profile", "scripted", "--fast", "--set", "audio.vad=energy"]
    options += ["--set", f"standin.script={script}"]
    return run(["--no-env", "replay", *map(str, arguments), *options])


@pytest.fixture
def slower(tmp_path: Path) -> Path:
    """A script whose LLM takes 60 ms longer."""
    text = (PROFILES / "scripts" / "demo.yaml").read_text()
    assert "ttft_ms: 200 " in text
    (tmp_path / "slower.yaml").write_text(text.replace("ttft_ms: 200 ", "ttft_ms: 260 "))
    return tmp_path / "slower.yaml"


@pytest.mark.parametrize("names", [NAMES[:1], NAMES], ids=["one", "corpus"])
def test_a_slower_profile_is_a_regression_and_the_same_is_none(
    names: tuple[str, ...], tmp_path: Path, slower: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [SPEECH / name for name in names]
    assert replay(*files, "--save-baseline", tmp_path / FILE) == 0
    for _ in range(3):
        assert replay(*files, "--baseline", tmp_path / FILE) == 0
    assert "✓ mouth_to_ear.p50" in capsys.readouterr().out
    junit, markdown = tmp_path / "junit.xml", tmp_path / "pr.md"
    told = ("--baseline", tmp_path / FILE, "--junit", junit, "--markdown", markdown)
    assert replay(*files, *told, script=slower) == 1
    printed = capsys.readouterr()
    assert "✗ mouth_to_ear.p50" in printed.out
    assert "+60" in printed.err
    assert junitparser.JUnitXml.fromfile(str(junit)).failures == 1
    assert markdown.read_text().startswith("### voicecli: 1 check failed")


def test_another_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(SPEECH / NAMES[0], "--save-baseline", tmp_path / FILE) == 0
    assert replay(SPEECH / NAMES[1], "--baseline", tmp_path / FILE) == 2
    assert "cannot be compared with: the recording" in capsys.readouterr().err


def test_what_fails_is_told_to_ci_and_keeps_no_baseline(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    kept, junit = tmp_path / FILE, tmp_path / "junit.xml"
    files = (SPEECH / NAMES[0], tmp_path / "broken.wav")
    assert replay(*files, "--save-baseline", kept, "--junit", junit) == 2
    assert not kept.exists()
    assert junitparser.JUnitXml.fromfile(str(junit)).failures == 1


def test_a_folder_that_is_missing_is_told_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(SPEECH / NAMES[0], "--junit", tmp_path / "none" / "junit.xml") == 2
    assert "--junit" in capsys.readouterr().err


def test_json_has_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [SPEECH / name for name in NAMES]
    replay(*files, "--save-baseline", tmp_path / FILE)
    capsys.readouterr()
    assert replay(*files, "--baseline", tmp_path / FILE, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["baseline"]
    assert found["changes"][0]["metric"] == "mouth_to_ear"
    assert found["changes"][0]["regression"] is False
