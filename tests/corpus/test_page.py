"""The page of a corpus."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.timelines import NASTY, Exchange, save
from voicecli.audio.recorder import CONVERSATION
from voicecli.corpus import page as page_module
from voicecli.corpus.page import MOST_SHOWN, CorpusPage
from voicecli.corpus.tally import tally_results
from voicecli.corpus.unit import Failure, Unit, UnitResult
from voicecli.corpus.verdict import Check
from voicecli.events import RecordingResumed
from voicecli.profile import load_profile
from voicecli.report.measurement import measure_session
from voicecli.timeline import LABELS, TIMELINE, Entry, Header, Timeline

PROFILE = load_profile("scripted")
SETTINGS = PROFILE.resolved()


def unit_of(number: int, **more: Any) -> Unit:
    values: dict[str, Any] = {"recording": f"calls/{number}.wav", "profile": "scripted", **more}
    return Unit(settings=SETTINGS, digests={"recording": str(number)}, **values)


def result_of(unit: Unit, *exchanges: Exchange) -> UnitResult:
    timeline = Timeline(entry for one in exchanges for entry in one.entries())
    measured = measure_session(timeline, PROFILE, None)
    result = measured.build_result(profile_name=unit.profile, environment={})
    return UnitResult(unit=unit, result=result)


def failed(unit: Unit, message: str) -> UnitResult:
    return UnitResult(unit=unit, failure=Failure(kind="InputError", message=message, exit_code=2))


def render(results: Sequence[UnitResult], folder: Path = Path("/nowhere"), **more: Any) -> str:
    page = CorpusPage(
        name="3 recordings",
        conditions=["virtual time"],
        tally=tally_results(results),
        find_folder=lambda unit: folder / unit.id,
        **more,
    )
    return page.render(lambda: results)


def text_of(page: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def fold_of(page: str, anchor: str) -> str:
    """The text of one section."""
    return text_of(re.split(r'<section id="', page.split(f'<section id="{anchor}">')[1])[0])


def test_what_matters_most_comes_first() -> None:
    slow = result_of(unit_of(1), Exchange(ttft=1.0))
    quick = result_of(unit_of(2), Exchange())
    cut = result_of(unit_of(3), Exchange(ends="taken back"), Exchange(number=2, start=5.0))
    text = fold_of(render([quick, slow, cut]), "first")
    places = [text.index(f"{name} ") for name in ("3 P50", "1 P50", "2 P50")]
    assert places == sorted(places)
    assert "#1 not measured · discarded · speech_final · cut off" in text


def test_all_replays_are_listed_with_their_numbers() -> None:
    results = [result_of(unit_of(n), Exchange()) for n in range(MOST_SHOWN + 3)]
    page = render([*results, failed(unit_of(99), "99.wav cannot be read")])
    text = fold_of(page, "replays")
    assert text.count("P50 726 ms, max 726 ms (n = 1) · 1 turn") == MOST_SHOWN + 3
    assert "99 failed: 99.wav cannot be read" in text
    assert fold_of(page, "first").count("P50") == MOST_SHOWN
    assert f"replays {MOST_SHOWN + 3} 1 profile, 1 failed" in text_of(page)


def test_one_profile_has_percentiles_and_a_prediction() -> None:
    results = [result_of(unit_of(n), Exchange(ttft=0.3)) for n in range(20)]
    predicted = {"n": 5, "p50_ms": 800.0, "p95_ms": 820.0, "mean_stages_ms": {"llm.ttft": 250.0}}
    text = text_of(render(results, predicted=predicted))
    assert "mouth_to_ear 20 826 826 826 3000 0" in text
    assert "raw.llm.ttft 20 300 300 300 200 20" in text
    assert "mouth_to_ear P95 820 826 +6" in text
    assert "llm.ttft 250 300 +50" in text


def test_profiles_are_side_by_side_and_never_pooled() -> None:
    first = [result_of(unit_of(n), Exchange()) for n in range(3)]
    second = [result_of(unit_of(n, profile="slow"), Exchange(ttft=0.5)) for n in range(3)]
    page = render([*first, *second])
    assert "P50, scripted 726 ms n = 3 P50, slow 1026 ms n = 3" in text_of(page)
    assert "mouth-to-ear, P50" not in text_of(page)
    assert "scripted: P50 726 ms (n = 3) slow: P50 1026 ms (n = 3)" in text_of(page)
    for kind in ("measured", "second"):
        assert page.count(f'class="curve line-{kind}"') == 1
    assert "1 slow · P50" in fold_of(page, "replays")


def test_a_baseline_is_beside_the_distribution() -> None:
    page = render([result_of(unit_of(1), Exchange())], baseline=[600.0, 700.0])
    assert "baseline: P50 650 ms (n = 2)" in text_of(page)


def test_what_it_is_judged_by_is_shown() -> None:
    checks = [
        Check("expectations", "scripted", "no_reply==1", False, "no_reply is 0"),
        Check("baseline", "scripted", "mouth_to_ear.p50", True, "726 → 726 ms, +0 (-1 to +1)"),
    ]
    page = render([result_of(unit_of(1), Exchange())], checks=checks)
    assert '<li class="missed">✗ no_reply==1: no_reply is 0</li>' in page
    assert "<li>✓ mouth_to_ear.p50: since the baseline, 726 → 726 ms, +0 (-1 to +1)</li>" in page


def test_nothing_measured_is_a_page_too() -> None:
    page = render([failed(unit_of(1), "nobody spoke")])
    assert "No turn was measured" in page
    assert 'id="first"' not in page
    assert "nobody spoke" in fold_of(page, "replays")


def test_foreign_text_stays_text() -> None:
    hostile = f"<script>alert(1)</script>{NASTY}"
    unit = unit_of(1, recording=f"{hostile.replace('/', '')}.wav", profile=hostile, tags=(hostile,))
    results = [
        result_of(unit, Exchange(text=hostile, said=hostile)),
        failed(unit_of(2, profile=hostile), hostile),
    ]
    page = render(results)
    assert page.count("<script>") == 1
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "sk-abcdefghijkl" not in page


def test_500_replays_stay_below_5_mb() -> None:
    talk = "A sentence as long as people say on the telephone, when they explain what is wrong. "
    exchanges = [
        Exchange(number=n, start=8.0 * n, text=talk, said=2 * talk, commit=0.9, reason="default")
        for n in range(1, 6)
    ]
    one = result_of(unit_of(0), *exchanges)

    def measure(count: int) -> int:
        page = render([replace(one, unit=unit_of(n)) for n in range(1000, 1000 + count)])
        assert page.count('<details class="unit">') == count
        return len(page.encode())

    few, more = measure(10), measure(20)  # the size grows linearly
    assert few + 490 * (more - few) / 10 < 5_000_000 - 4 / 3 * page_module.MOST_SOUND


# ── kept sessions ────────────────────────────────────────────────────────────


@pytest.fixture
def kept(tmp_path: Path) -> list[UnitResult]:
    """Two units whose sessions were kept; the second has labels."""
    labels = "version: 1\nspans:\n- {start: 0.5, end: 1.5, kind: turn, text: Hello}\n"
    results = []
    for number in (1, 2):
        unit = unit_of(number)
        folder = tmp_path / unit.id
        folder.mkdir()
        if number == 2:
            (folder / LABELS).write_text(labels)
        sound = np.zeros((5 * 16_000, 2), np.int16)
        sound[:16_000, 0] = sound[27_600:51_600, 1] = 9_000
        soundfile.write(folder / CONVERSATION, sound, 16_000)
        played: list[Entry] = [RecordingResumed(at=0.0, since=1.0, position=0.0)]
        save([*played, *Exchange().entries()], folder / TIMELINE, Header(profile=SETTINGS))
        results.append(result_of(unit, Exchange()))
    return results


def test_kept_sessions_are_shown_in_full(kept: list[UnitResult], tmp_path: Path) -> None:
    page = render(kept, tmp_path)
    assert page.count("<audio") == page.count('class="area waveform"') == 2
    assert page.count('class="area waterfall"') == 2
    identifiers = re.findall(r' id="([^"]*)"', page)
    assert len(identifiers) == len(set(identifiers))
    # The recording began at 1 s of the session.
    assert "label turn “Hello”, 1.50–2.50 s, the agent should respond" in text_of(page)


def test_the_sound_of_all_has_a_limit(
    kept: list[UnitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "MOST_SOUND", 10_000)
    page = render(kept, tmp_path)
    assert page.count("<audio") == 1
    assert page.count('class="area waveform"') == 2
    assert "The sound is too long to be kept in this file." in page


def test_turn_taking_is_shown_once() -> None:
    page = render([result_of(unit_of(1), Exchange())])
    assert "on_time_rate" in fold_of(page, "turn-taking")
    assert "on_time_rate" not in fold_of(page, "tables")
