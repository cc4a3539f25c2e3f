"""What to expect of a conversation: arithmetic by hand, and what a replay then measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.support.probes import run_probe, run_with_services, scripted
from tests.support.speech_like import silence, voice
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.audio.wav import open_wav
from voicecli.events import Ending
from voicecli.metrics.summary import describe
from voicecli.metrics.turns import measure_turns
from voicecli.pipeline.wiring import Services, open_session
from voicecli.probe.prediction import (
    Measurements,
    Prediction,
    find_advice,
    predict,
    simulate,
)
from voicecli.profile import Profile, load_profile
from voicecli.timeline import Timeline

# ── by hand ──────────────────────────────────────────────────────────────────


NOTHING = np.array([])
PROFILE = load_profile("default")


def changed(
    detect: Literal["endpointing", "vad", "service"] = "endpointing",
    draft: Literal["off", "llm", "llm+tts"] = "llm",
    endpointing: float = 0.2,
    hedge: float | Literal["auto"] | None = None,
    flush: Literal["clauses", "end"] = "clauses",
) -> Profile:
    return replace(
        PROFILE,
        turn=replace(PROFILE.turn, detect=detect, draft=draft),
        stt=replace(PROFILE.stt, endpointing=endpointing),
        llm=replace(PROFILE.llm, hedge=hedge),
        tts=replace(PROFILE.tts, flush=flush),
    )


def measured(
    *,
    final: float | None = 0.05,
    ending: Ending = "complete",
    endpoint: float = 0.3,
    interim: float = np.nan,
    eager: float = np.nan,
    ttft: Sequence[float] = (0.2,),
    ttfa: float = 0.12,
    output: float = 0.0,
) -> Measurements:
    """Samples of services that always take the same, but for the LLM."""
    return Measurements(
        noticed=np.array([0.21]),
        final=np.array([np.nan if final is None else final]),
        endings=[ending],
        endpoint=np.array([endpoint]),
        interim=np.array([interim]),
        eager=np.array([eager]),
        ttft=np.array(ttft),
        clause=np.full(len(ttft), 0.1),
        total=np.array(ttft) + 0.5,
        ttfa=np.array([ttfa]),
        playout=np.array([0.03]),
        output=output,
    )


def expected(measured: Measurements, profile: Profile) -> Prediction:
    found = predict(measured, profile)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("profile", "more", "seconds"),
    [
        # The endpoint, and everything one after the other.
        (changed(), {}, 0.3 + 0.2 + 0.1 + 0.12 + 0.03),
        # The detector, Finalize, and the draft, which takes longer than the commitment waits.
        (changed(detect="vad"), {}, 0.26 + 0.2 + 0.1 + 0.12 + 0.03),
        # The service expects the end, which is drafted on; the speech waits for it or does not.
        (changed(detect="service"), {"eager": 0.1}, 0.1 + 0.2 + 0.1 + 0.12 + 0.03),
        (changed(detect="service"), {"eager": 0.1, "endpoint": 0.6}, 0.6 + 0.12 + 0.03),
        (
            changed(detect="service", draft="llm+tts"),
            {"eager": 0.1, "endpoint": 0.6},
            0.6 + 0.03,
        ),
        (changed(detect="service", draft="off"), {"eager": 0.1}, 0.3 + 0.2 + 0.1 + 0.12 + 0.03),
        (changed(detect="service"), {}, 0.3 + 0.2 + 0.1 + 0.12 + 0.03),
        # The commitment comes after the draft.
        (changed(detect="vad"), {"ending": "incomplete"}, 1.2 + 0.12 + 0.03),
        # An interim with all words is drafted on in the pause, 10 ms after it as with the end.
        (changed(detect="vad"), {"interim": 0.0}, max(0.07 + 0.3, 0.45) + 0.12 + 0.03),
        (changed(detect="vad"), {"interim": 0.19}, 0.19 + 0.2 + 0.1 + 0.12 + 0.03),
        (changed(detect="vad"), {"interim": 0.9}, 0.26 + 0.2 + 0.1 + 0.12 + 0.03),
        (
            changed(detect="vad", draft="llm+tts"),
            {"interim": 0.0},
            max(0.07 + 0.3 + 0.12, 0.45) + 0.03,
        ),
        # The final text comes late, and the speech is prepared after it.
        (
            changed(detect="vad", draft="llm+tts"),
            {"interim": 0.0, "final": 0.3},
            0.51 + 0.12 + 0.03,
        ),
        # And with the sound drafted, too, only playing is left then.
        (changed(detect="vad", draft="llm+tts"), {"ending": "incomplete"}, 1.2 + 0.03),
        (changed(detect="vad", draft="llm+tts"), {}, 0.26 + 0.2 + 0.1 + 0.12 + 0.03),
        (changed(detect="vad", draft="off"), {}, 0.45 + 0.2 + 0.1 + 0.12 + 0.03),
        # Finalize is not answered, or too late.
        (changed(detect="vad"), {"final": None}, 0.56 + 0.2 + 0.1 + 0.12 + 0.03),
        (changed(detect="vad"), {"final": 0.9}, 0.56 + 0.2 + 0.1 + 0.12 + 0.03),
        # The service's own endpoint lies before the detector's.
        (
            changed(detect="vad", endpointing=0.1),
            {"endpoint": 0.23},
            0.23 + 0.2 + 0.1 + 0.12 + 0.03,
        ),
        # The whole reply is waited for.
        (changed(flush="end"), {}, 0.3 + 0.2 + 0.5 + 0.12 + 0.03),
        # The loudspeaker has a latency of its own.
        (changed(), {"output": 0.04}, 0.3 + 0.2 + 0.1 + 0.12 + 0.03 + 0.04),
        # A request that is late is hedged, and so is the hedge late, always.
        (changed(hedge=0.6), {"ttft": (5.0,)}, 0.3 + 5.0 + 0.1 + 0.12 + 0.03),
    ],
)
def test_a_turn_passes_through_the_waits(
    profile: Profile, more: dict[str, Any], seconds: float
) -> None:
    found = expected(measured(**more), profile)

    assert found.distribution.p50 == pytest.approx(seconds)
    assert found.mean == pytest.approx(seconds)
    assert sum(found.stages.values()) == pytest.approx(seconds)


def test_a_hedge_bounds_the_tail() -> None:
    stalls = measured(ttft=(*[0.2] * 17, 6.0, 6.0, 6.0))
    rest = 0.3 + 0.1 + 0.12 + 0.03

    assert expected(stalls, changed()).distribution.p90 == pytest.approx(6.0 + rest)
    # The requests that win are fast, so the delay stays at its minimum.
    hedged = expected(stalls, changed(hedge="auto")).distribution
    assert hedged.p90 == pytest.approx(0.6 + 0.2 + rest)
    assert hedged.max == pytest.approx(6.0 + rest)  # both stalled


def test_the_percentiles_rest_on_the_readings() -> None:
    few = expected(measured(), changed())
    assert (few.distribution.n, few.distribution.p95) == (1, None)

    one = measured()
    enough = replace(
        one,  # the detector's are not used by this strategy
        endpoint=np.repeat(one.endpoint, 20),
        ttft=np.repeat(one.ttft, 25),
        clause=np.repeat(one.clause, 25),
        total=np.repeat(one.total, 25),
        ttfa=np.repeat(one.ttfa, 30),
        playout=np.repeat(one.playout, 30),
    )
    assert expected(enough, changed()).distribution.n == 20
    assert expected(enough, changed()).distribution.p95 == pytest.approx(0.75)


def test_nothing_is_expected_where_a_service_was_not_measured() -> None:
    assert predict(replace(measured(), ttft=NOTHING), changed()) is None
    assert predict(replace(measured(), endpoint=NOTHING), changed()) is None
    assert predict(replace(measured(), endpoint=NOTHING), changed(detect="vad")) is not None
    assert find_advice(replace(measured(), ttft=NOTHING), changed()) == []


times = st.floats(0.0, 10.0)


@given(
    final=st.none() | times,
    endpoint=times,
    ttft=st.lists(times, min_size=1, max_size=4),
    ttfa=times,
    profile=st.builds(
        changed,
        detect=st.sampled_from(["endpointing", "vad"]),
        draft=st.sampled_from(["off", "llm", "llm+tts"]),
        hedge=st.sampled_from([None, "auto", 0.6]),
        flush=st.sampled_from(["clauses", "end"]),
    ),
)
def test_stages_are_never_negative_and_a_commitment_is_never_overtaken(
    final: float | None, endpoint: float, ttft: list[float], ttfa: float, profile: Profile
) -> None:
    stages = simulate(measured(final=final, endpoint=endpoint, ttft=ttft, ttfa=ttfa), profile)

    assert all((took >= -1e-9).all() for took in stages.values())
    total = np.sum(list(stages.values()), axis=0)
    if profile.turn.detect == "vad":
        assert (total >= profile.turn.commit.complete - 1e-9).all()


# ── levers ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("more", "profile", "change", "saves"),
    [
        ({"ttft": (0.9,)}, changed(), "an LLM that keeps its budget (llm.ttft 200 ms)", 0.7),
        ({"ttfa": 0.6}, changed(), "a TTS that keeps its budget (tts.ttfa 250 ms)", 0.35),
        ({"endpoint": 1.3}, changed(), "turn.detect: vad", 1.04),
        ({}, changed(detect="vad", draft="off"), "turn.draft: llm", 0.19),
        ({"ending": "incomplete"}, changed(detect="vad"), "turn.draft: llm+tts", 0.12),
        ({}, changed(flush="end"), "tts.flush: clauses", 0.4),
    ],
)
def test_the_best_lever(more: dict[str, Any], profile: Profile, change: str, saves: float) -> None:
    best = find_advice(measured(**more), profile)[0]

    assert (best.change, best.saves) == (change, pytest.approx(saves))


def test_a_change_that_saves_next_to_nothing_is_none() -> None:
    assert find_advice(measured(endpoint=0.265, ttfa=0.12), changed()) == []


# ── against a conversation ───────────────────────────────────────────────────

REPLY = {"says": ["The capital of Australia is Canberra."]}

USUAL = {
    "seed": 3,
    "stt": {"final_ms": {"p50": 100, "p95": 180}, "hears": ["What is the capital of Australia?"]},
    "llm": {"ttft_ms": {"p50": 250, "p95": 450}, **REPLY},
    "tts": {"ttfb_ms": {"p50": 120, "p95": 220}},
}
SLOW = {
    "seed": 4,
    "stt": {"finalize_ms": {"p50": 120, "p95": 250}, "hears": ["What is the capital?"]},
    "llm": {"ttft_ms": {"p50": 600, "p95": 1000}, "token_ms": {"p50": 40, "p95": 80}, **REPLY},
    "tts": {"ttfb_ms": {"p50": 300, "p95": 450}, "speed": 2, "lead_ms": 60},
}
STALLING = {
    "seed": 5,
    "stt": {"final_ms": 80, "hears": ["I would like to know it now"]},
    "llm": {
        "ttft_ms": {"p50": 300, "p95": 600, "stall_share": 0.1, "stall_ms": [1500, 3000]},
        **REPLY,
    },
    "tts": {"ttfb_ms": {"p50": 150, "p95": 200}, "lead_ms": 150},
}

EAGER = {
    "seed": 6,
    "stt": {
        "final_ms": {"p50": 60, "p95": 120},
        "turn_end_ms": 500,
        "words_per_second": 8,  # all have been said when the voice ends
        "hears": ["What is the capital of Australia?"],
    },
    "llm": {"ttft_ms": {"p50": 250, "p95": 450}, **REPLY},
    "tts": {"ttfb_ms": {"p50": 120, "p95": 220}},
}
FLUX = ["stt.provider=deepgram-flux", "turn.detect=service"]

TURNS = 60
CLOSE = 0.10
"""An expectation is within 10 % of what is measured then."""


@pytest.mark.parametrize(
    ("script", "strategy"),
    [
        (USUAL, ["turn.detect=endpointing"]),
        (SLOW, ["turn.detect=vad"]),
        (STALLING, ["turn.detect=vad", "turn.draft=llm+tts"]),
        (EAGER, [*FLUX, "turn.draft=llm"]),
        (EAGER, [*FLUX, "turn.draft=llm+tts"]),
    ],
)
def test_a_replay_measures_what_was_predicted(
    tmp_path: Path, script: dict[str, Any], strategy: list[str]
) -> None:
    profile = scripted(tmp_path, script, "audio.block_ms=50", *strategy)

    found = run_probe(profile, count=TURNS)
    expected = predict(found.measurements(), profile)
    measured = replayed(profile, recording(tmp_path))

    assert expected is not None
    assert len(measured) == TURNS
    after = describe(measured)
    assert expected.distribution.p50 == pytest.approx(after.p50, rel=CLOSE)
    assert expected.distribution.p95 == pytest.approx(after.p95, rel=CLOSE)


def recording(folder: Path) -> Path:
    """Somebody who says something, and waits for an answer, again and again."""
    rng = np.random.default_rng(7)
    pcm = silence(0.5)
    for _ in range(TURNS):
        pcm += voice(1.0 + rng.random()) + silence(2.0 + 0.1 * rng.random())
    file = folder / "recording.wav"
    soundfile.write(file, np.frombuffer(pcm, "<i2"), 16_000)
    return file


def replayed(profile: Profile, file: Path) -> list[float]:
    """The mouth-to-ears of the conversation."""

    async def converse(services: Services) -> Timeline:
        audio, timeline = profile.audio, Timeline()
        speaker = VirtualSpeaker(profile.tts.sample_rate, prebuffer=audio.prebuffer)
        with open_wav(file, audio.sample_rate, audio.block) as source:
            async with open_session(
                profile, services, source, speaker, timeline=timeline, recorded=True
            ) as session:
                await session.run()
        return timeline

    found = measure_turns(run_with_services(profile, converse))
    return [turn.mouth_to_ear for turn in found if turn.mouth_to_ear is not None]
