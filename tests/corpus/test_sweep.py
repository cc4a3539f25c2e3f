"""Sweeps: which settings there are, and which is the one to use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from voicecli.corpus.sweep import (
    list_timers,
    measure_sweeps,
    name_setting,
    parse_sweeps,
)
from voicecli.corpus.tables import format_sweep
from voicecli.corpus.tally import CorpusTally
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.errors import UsageError
from voicecli.metrics.interaction import (
    Interaction,
    ScoredEvent,
    Subject,
    encode_interaction,
)
from voicecli.metrics.stages import RAW, STAGES
from voicecli.metrics.usage import Cost, SessionUsage
from voicecli.report.json_result import encode_cost, encode_usage

KEY = "turn.commit_ms.complete"


def test_several_sweeps_are_their_product() -> None:
    assert parse_sweeps(["a.b=1,2", "c.d=x, 'y, z',[3, 4]"]) == [
        ("a.b=1", "c.d=x"),
        ("a.b=1", "c.d='y, z'"),
        ("a.b=1", "c.d=[3, 4]"),
        ("a.b=2", "c.d=x"),
        ("a.b=2", "c.d='y, z'"),
        ("a.b=2", "c.d=[3, 4]"),
    ]


@pytest.mark.parametrize("text", ["a.b", "a.b=", "a.b=1,,2", "ab=1,2", "=1"])
def test_what_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--sweep"):
        parse_sweeps([text])


def test_a_setting_is_swept_once() -> None:
    with pytest.raises(UsageError, match="twice"):
        parse_sweeps(["a.b=1,2", "a.b=3"])


def test_timers_are_for_what_ends_a_turn() -> None:
    assert [name_setting("p", one) for one in list_timers([(f"{KEY}=300",)])] == [
        "timer of 300 ms",
        "timer of 600 ms",
        "timer of 1000 ms",
        "timer of 1600 ms",
    ]
    assert list_timers([("tts.speed=1.1",), ("tts.speed=0.9",)]) == []


def make_result(
    overrides: tuple[str, ...],
    cutoffs: int,
    wait: float,
    interaction: Interaction | None = None,
    **usage: Any,
) -> UnitResult:
    """A session of 20 turns, of which ``cutoffs`` cut the user off; all wait alike."""
    turns = [
        {
            "heard_s": 1.0,
            "reliable": True,
            "cut_off": index < cutoffs,
            "mouth_to_ear_ms": wait + 100,
            "stages_ms": dict.fromkeys(STAGES),
            "raw_ms": dict.fromkeys(RAW) | {"endpointing": wait},
        }
        for index in range(20)
    ]
    used = SessionUsage(turns=20, answered=20, replied=20, cutoffs=cutoffs, **usage)
    outcomes = [*["cut off"] * cutoffs, *["waited"] * (20 - cutoffs)]
    scored = interaction if interaction is not None else make_interaction("commit", outcomes)
    cost = encode_cost(Cost(stt=0.0, llm=1.0, tts=1.0, discarded=0.2))
    unit = Unit(recording="x.wav", profile="p", settings={"a": overrides}, overrides=overrides)
    return UnitResult(
        unit=unit,
        result={
            "turns": turns,
            "ledger": encode_usage(used),
            "cost": cost,
            "interaction": encode_interaction(scored),
        },
    )


def make_interaction(subject: Subject, outcomes: Iterable[str]) -> Interaction:
    events = [
        ScoredEvent(subject=subject, outcome=outcome, start=0.0, end=1.0) for outcome in outcomes
    ]
    return Interaction(events=tuple(events), labelled=subject == "pause")


def measure(*results: UnitResult) -> CorpusTally:
    tally = CorpusTally()
    for result in results:
        tally.add(result)
    return tally


def test_the_fastest_within_five_percent_is_recommended() -> None:
    timers = list_timers([(f"{KEY}=1",)])
    (sweep,) = measure_sweeps(
        measure(
            make_result((f"{KEY}=250",), 4, 250),
            make_result((f"{KEY}=350",), 2, 350),
            make_result((f"{KEY}=450",), 1, 450, drafts=30, drafts_discarded=10),
            make_result((f"{KEY}=500",), 1, 500),
            make_result((f"{KEY}=600",), 0, 600),
            *(make_result(timer, 3, 800) for timer in timers),
        )
    )
    assert [(one.name, one.rate) for one in sweep.points if one.front] == [
        (f"{KEY}=250", 0.2),
        (f"{KEY}=350", 0.1),
        (f"{KEY}=450", 0.05),
        (f"{KEY}=600", 0.0),
    ]
    assert sweep.recommended is not None
    assert sweep.recommended.overrides == (f"{KEY}=450",)
    assert sweep.recommended.discarded_cost == 0.01  # 0.2 dollars for 20 answers
    assert [(one.value, one.mouth_to_ear_ms) for one in sweep.operating] == [
        (450.0, 550.0),
        (350.0, 450.0),
        (0.2, 350.0),
        (0.0, 700.0),
    ]
    assert [one.value for one in sweep.timer] == [None, None, None, None]
    lines = format_sweep(sweep)
    assert f"recommended: {KEY}=450: 1/20 5.0 % cut off, mouth-to-ear P50 550 ms" in lines
    assert any("10/30 33.3 % drafts discarded" in line and "$0.01" in line for line in lines)


def test_labelled_pauses_count_instead_of_turns() -> None:
    pauses = make_interaction("pause", ["cut off"] * 3 + ["waited"] * 9)
    results = [make_result((f"{KEY}=250",), 0, 250, pauses)]
    (sweep,) = measure_sweeps(measure(*results))
    assert (sweep.events, sweep.points[0].cutoffs, sweep.points[0].pauses) == (
        "labelled pauses",
        3,
        12,
    )


def test_few_events_recommend_nothing() -> None:
    labelled = make_result((f"{KEY}=250",), 0, 250, make_interaction("pause", ["cut off"] * 9))
    (sweep,) = measure_sweeps(measure(labelled))
    assert sweep.recommended is None
    assert any("no recommendation: 9 labelled pauses, and 10" in one for one in format_sweep(sweep))


def test_without_a_sweep_there_is_none() -> None:
    assert measure_sweeps(measure(make_result((), 0, 250))) == []
