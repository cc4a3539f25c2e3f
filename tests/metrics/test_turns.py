"""From timelines to numbers: stages, percentiles, the ledger, expectations, cost."""

from __future__ import annotations

from dataclasses import replace
from math import fsum, isclose
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.timelines import Exchange, any_entry
from voicecli.errors import UsageError
from voicecli.events import (
    AudioGlitched,
    CancelReply,
    ClauseSent,
    CommitReply,
    ConnectionOpened,
    DraftReply,
    Event,
    FinalTranscript,
    FirstToken,
    InterimTranscript,
    LlmRequested,
    LoopLagged,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFinished,
    Resume,
    SpeechStarted,
    SpeechStopped,
    UtteranceEnded,
)
from voicecli.metrics.stages import (
    BUDGETED,
    MOUTH_TO_EAR,
    RAW,
    STAGES,
    Milestones,
    measure_raw,
    measure_stages,
)
from voicecli.metrics.summary import (
    METRICS,
    Budgets,
    Distribution,
    Overrun,
    Summary,
    compute_percentile,
    describe,
    find_overruns,
    list_metrics,
    summarize,
)
from voicecli.metrics.thresholds import evaluate, parse_threshold
from voicecli.metrics.turns import Turn, TurnReader, measure_turns
from voicecli.metrics.usage import (
    OUTCOMES,
    Cost,
    Prices,
    SessionUsage,
    count_usage,
    estimate_cost,
)
from voicecli.timeline import Entry

PLAIN = Exchange()
DRAFTED = Exchange(commit=0.9, reason="default")
TIMES = st.none() | st.floats(0, 100, allow_subnormal=False)
MILESTONES = st.builds(Milestones, **dict.fromkeys(Milestones.__dataclass_fields__, TIMES))


def only(entries: list[Entry]) -> Turn:
    (turn,) = measure_turns(entries)
    return turn


def inserted(entries: list[Entry], *more: Entry) -> list[Entry]:
    return sorted([*entries, *more], key=lambda entry: entry.at)


def ms(durations: Any) -> dict[str, float]:
    return {name: round(took * 1000, 6) for name, took in durations.items()}


# ── stages ───────────────────────────────────────────────────────────────────


def test_the_stages_of_a_turn_that_the_services_endpointing_ended():
    turn = only(PLAIN.entries())
    assert turn.mouth_to_ear == pytest.approx(0.726, abs=1e-9)
    assert ms(turn.stages) == {
        "stt.ttfs": 300,
        "turn.commit": 0,
        "llm.ttft": 200,
        "llm.clause": 45,
        "tts.ttfa": 120,
        "playout": 60,
        "pipeline": 1,
    }
    assert list(turn.stages) == list(STAGES)
    assert turn.outcome == "answered"
    assert not turn.drafted
    assert not turn.cut_off
    assert turn.unreliable == ()


def test_a_draft_that_is_ready_before_the_commitment_costs_nothing():
    turn = only(DRAFTED.entries())
    assert turn.drafted
    assert ms(turn.stages) == {
        "stt.ttfs": 300,
        "turn.commit": 354,
        "llm.ttft": 200,
        "llm.clause": 45,
        "tts.ttfa": 120,
        "playout": 60,
        "pipeline": 1,
    }
    assert ms(turn.raw)["turn.commit"] == 600
    assert ms(turn.raw)["endpointing"] == 900


def test_a_commitment_that_comes_before_the_draft_is_ready_costs_nothing():
    turn = only(replace(DRAFTED, commit=0.45).entries())
    assert ms(turn.stages)["turn.commit"] == 0
    assert ms(turn.stages)["llm.ttft"] == 200
    assert turn.mouth_to_ear == pytest.approx(0.726, abs=1e-9)


def test_a_late_decision_is_not_the_stt_s_fault():
    entries = [
        SpeechStopped(at=1.2, speech_end=1.0),
        FinalTranscript(at=1.3, text="Hello.", speech_start=0.2, speech_end=1.0),
        UtteranceEnded(at=2.3, last_word_end=1.0),
        DraftReply(at=2.3, turn=1, user_text="Hello."),
        CommitReply(at=2.3, turn=1, user_text="Hello.", speech_end=1.0, reason="utterance_end"),
        LlmRequested(at=2.3, turn=1),
        *PLAIN.agent()[1:],
    ]
    assert ms(only(entries).raw) == pytest.approx(
        ms(only(entries).raw) | {"stt.ttfs": 300, "turn.commit": 1000}
    )


def test_words_that_never_became_final_are_in_hand_when_they_are_taken():
    entries = [
        SpeechStopped(at=1.2, speech_end=1.0),
        InterimTranscript(at=1.1, text="Hello", speech_start=0.2, speech_end=1.0),
        DraftReply(at=1.55, turn=1, user_text="Hello"),
        CommitReply(at=1.6, turn=1, user_text="Hello", speech_end=1.0, reason="timeout"),
    ]
    assert ms(only(entries).raw)["stt.ttfs"] == 550


def test_an_empty_final_in_a_pause_is_not_the_text():
    entries = [
        FinalTranscript(at=1.2, text="Hello.", speech_start=0.2, speech_end=1.0),
        FinalTranscript(at=1.4, text="", speech_start=1.0, speech_end=1.4),
        DraftReply(at=1.5, turn=1, user_text="Hello."),
        CommitReply(at=1.5, turn=1, user_text="Hello.", speech_end=1.0, reason="utterance_end"),
    ]
    assert ms(only(entries).raw)["stt.ttfs"] == 200


def test_waiting_for_a_failed_request_is_waiting_for_the_first_token():
    def retried(entry: Entry) -> list[Entry]:
        if isinstance(entry, LlmRequested):
            return [LlmRequested(at=entry.at - 0.5, turn=1), replace(entry, attempt=2)]
        return [replace(entry, attempt=2)] if isinstance(entry, FirstToken) else [entry]

    exchange = replace(PLAIN, request=0.501)
    turn = only([new for old in exchange.entries() for new in retried(old)])
    assert ms(turn.stages)["llm.ttft"] == 700
    assert ms(turn.stages)["pipeline"] == 1
    assert ms(turn.raw)["llm.ttft"] == 200
    assert (turn.requests, turn.retries, turn.hedges) == (2, 1, 0)


def test_a_hedge_is_no_retry():
    hedge = LlmRequested(at=1.35, turn=1, attempt=2, hedge=True)
    turn = only(inserted(PLAIN.entries(), hedge))
    assert (turn.requests, turn.retries, turn.hedges) == (2, 0, 1)


def test_silence_before_the_voice_is_part_of_the_first_audio():
    turn = only(replace(PLAIN, lead=0.2).entries())
    assert ms(turn.raw)["tts.ttfb"] == 100
    assert ms(turn.raw)["tts.ttfa"] == 300


def test_words_held_back_from_the_tts_are_our_own_delay():
    turn = only(replace(PLAIN, send=0.25).entries())
    assert ms(turn.stages)["pipeline"] == 251
    assert ms(turn.stages)["tts.ttfa"] == 120


def test_speech_from_words_sent_without_a_flush_is_measured_from_there():
    entries: list[Entry] = [
        replace(entry, flushed=False) if isinstance(entry, ClauseSent) else entry
        for entry in PLAIN.entries()
    ]
    late = ClauseSent(at=1.8, turn=1, text="More.", flushed=True)
    assert ms(only(inserted(entries, late)).stages) == ms(only(PLAIN.entries()).stages)


@given(MILESTONES)
def test_stages_are_never_negative_and_sum_to_mouth_to_ear(milestones: Milestones):
    parts = measure_stages(milestones)
    total = milestones.mouth_to_ear
    assert (total is None) == (parts == {})
    assert all(took >= 0 for took in parts.values())
    assert isclose(fsum(parts.values()), total or 0.0, abs_tol=1e-9)
    assert set(parts) <= set(STAGES)
    assert all(took >= 0 for took in measure_raw(milestones).values())


DURATIONS = st.floats(0, 3, allow_subnormal=False)
EXCHANGES = st.builds(
    Exchange,
    spoken=st.floats(0.6, 5),
    stop=DURATIONS,
    final=DURATIONS,
    commit=st.none() | DURATIONS,
    request=DURATIONS,
    ttft=DURATIONS,
    clause=DURATIONS,
    send=DURATIONS,
    ttfb=DURATIONS,
    lead=DURATIONS,
    playout=DURATIONS,
    ends=st.sampled_from(["finished", "interrupted", "tts failed"]),
)


@given(EXCHANGES)
def test_what_the_stages_are_called_is_what_they_were(exchange: Exchange):
    turn = only(exchange.entries())
    total = turn.mouth_to_ear
    assert total is not None
    assert isclose(fsum(turn.stages.values()), total, abs_tol=1e-9)
    assert turn.stages["stt.ttfs"] == pytest.approx(exchange.stop + exchange.final)
    assert turn.stages["tts.ttfa"] == pytest.approx(exchange.ttfb + exchange.lead)
    assert turn.stages["playout"] == pytest.approx(exchange.playout)
    assert turn.raw["llm.ttft"] == pytest.approx(exchange.ttft)
    for name, took in turn.stages.items():
        assert name == "pipeline" or took <= turn.raw[name] + 1e-9


# ── the end of speech, and whom to believe ───────────────────────────────────


def test_a_detector_slower_than_the_endpointing_knows_better_all_the_same():
    entries = replace(PLAIN, stop=0.0, final=0.1).entries()
    stopped = SpeechStopped(at=1.4, speech_end=0.95)
    late = [stopped if isinstance(entry, SpeechStopped) else entry for entry in entries]
    turn = only(inserted(late))
    assert turn.mouth_to_ear == pytest.approx(1.526 - 0.95)
    assert turn.unreliable == ()


def test_a_voice_that_goes_on_after_the_commitment_is_doubtful():
    entries = replace(PLAIN, stop=0.0, final=0.1).entries()
    stopped = SpeechStopped(at=1.4, speech_end=1.25)
    late = [stopped if isinstance(entry, SpeechStopped) else entry for entry in entries]
    turn = only(inserted(late))
    assert turn.mouth_to_ear == pytest.approx(0.526)
    assert turn.unreliable == ("detector and STT are 280 ms apart on when the user stopped",)


@pytest.mark.parametrize(("apart", "doubted"), [(0.149, False), (0.151, True), (-0.151, True)])
def test_detector_and_stt_may_differ_a_little(apart, doubted):
    entries: list[Entry] = [
        replace(entry, speech_end=1.0 + apart) if isinstance(entry, FinalTranscript) else entry
        for entry in PLAIN.entries()
    ]
    assert bool(only(entries).unreliable) == doubted


def changed(**changes: Any) -> list[Entry]:
    return [
        replace(entry, **changes) if isinstance(entry, CommitReply) else entry
        for entry in PLAIN.entries()
    ]


def test_without_an_end_of_speech_nothing_is_made_up():
    turn = only(changed(speech_end=None))
    assert turn.mouth_to_ear is None
    assert turn.stages == {}
    assert ms(turn.raw)["llm.ttft"] == 200
    assert "stt.ttfs" not in turn.raw
    assert turn.unreliable == ("neither detector nor STT reported when the user stopped",)


def test_a_typed_turn_has_no_mouth():
    turn = only(changed(reason="typed"))
    assert turn.mouth_to_ear is None
    assert turn.unreliable == ()
    assert "endpointing" not in turn.raw
    assert ms(turn.raw)["tts.ttfa"] == 120


def test_a_reply_that_sounds_before_the_user_has_stopped_is_doubtful():
    turn = only(changed(speech_end=5.0))
    assert turn.mouth_to_ear == 0.0
    assert fsum(turn.stages.values()) == 0.0
    assert "the reply sounded before the user had stopped" in turn.unreliable


@pytest.mark.parametrize(
    ("trouble", "doubts"),
    [
        (AudioGlitched(at=0.5, xruns=3), ("the sound card lost samples (xruns: 3)",)),
        (AudioGlitched(at=1.9, xruns=3), ()),
        (LoopLagged(at=1.5, lag=0.0204), ("the event loop was 20 ms late",)),
        (LoopLagged(at=1.5, lag=0.02), ()),
        (LoopLagged(at=1.75, lag=0.04), ("the event loop was 40 ms late",)),
        (LoopLagged(at=1.9, lag=0.04), ()),
    ],
)
def test_trouble_counts_until_the_reply_is_heard(trouble, doubts):
    assert only(inserted(PLAIN.entries(), trouble)).unreliable == doubts


def test_trouble_of_one_turn_is_not_that_of_the_next():
    second = replace(PLAIN, number=2, start=10.0)
    glitch = AudioGlitched(at=0.5, xruns=1)
    first, after = measure_turns(inserted([*PLAIN.entries(), *second.entries()], glitch))
    assert first.unreliable
    assert not after.unreliable
    assert (first.cold, after.cold) == (True, False)


# ── outcomes ─────────────────────────────────────────────────────────────────


def test_an_interrupted_reply_was_heard_and_counts():
    turn = only(replace(PLAIN, ends="interrupted").entries())
    assert turn.outcome == "interrupted"
    assert turn.mouth_to_ear == pytest.approx(0.726)
    assert turn.replied


def test_a_turn_that_went_on_is_discarded():
    turn = only(replace(PLAIN, ends="taken back").entries())
    assert turn.outcome == "discarded"
    assert turn.mouth_to_ear is None
    assert turn.cut_off
    assert not turn.replied


def test_an_apology_is_no_reply():
    turn = only(replace(PLAIN, ends="llm failed").entries())
    assert turn.outcome == "failed"
    assert turn.failure is not None
    assert (turn.failure.service, turn.failure.reason) == ("llm", "no token")
    assert turn.mouth_to_ear is None
    assert not turn.replied


def test_a_reply_that_failed_half_way_was_heard():
    turn = only(replace(PLAIN, ends="tts failed").entries())
    assert turn.outcome == "failed"
    assert turn.mouth_to_ear == pytest.approx(0.726)
    assert turn.replied


def test_a_reply_that_nobody_heard_is_silent():
    turn = only(replace(PLAIN, ends="silent").entries())
    assert turn.outcome == "silent"
    assert turn.mouth_to_ear is None


def test_a_timeline_that_breaks_off_keeps_its_turn():
    entries = PLAIN.entries()
    outcomes = {only(entries[:length]).outcome for length in range(8, len(entries))}
    assert outcomes == {"silent", "interrupted"}


@pytest.mark.parametrize(("after", "cut"), [(0.2, True), (1.49, True), (1.51, False)])
def test_who_speaks_again_soon_was_cut_off(after, cut):
    again = SpeechStarted(at=1.3 + after, speech_start=1.3 + after)
    assert only(inserted(PLAIN.entries(), again)).cut_off == cut


def test_who_speaks_again_before_a_slow_reply_was_cut_off():
    again = SpeechStarted(at=5.0, speech_start=4.9)
    assert only(inserted(replace(PLAIN, ttft=6.0).entries(), again)).cut_off


def test_who_speaks_after_a_short_reply_was_not():
    again = SpeechStarted(at=2.0, speech_start=1.95)
    assert not only(inserted(replace(PLAIN, heard=0.2).entries(), again)).cut_off


def test_a_greeting_and_a_dropped_draft_are_no_turns():
    entries: list[Entry] = [
        ClauseSent(at=0.1, turn=0, text="Welcome.", flushed=True),
        ReplyFinished(at=0.2, turn=0, said="Welcome.", heard=1.0),
        DraftReply(at=1, turn=1, user_text="What"),
        LlmRequested(at=1, turn=1),
        CancelReply(at=1.1, turn=1, heard_nothing=True, committed=False),
        ReplyCancelled(at=1.1, turn=1, said="", heard=0.0),
    ]
    assert measure_turns(entries) == []
    book = count_usage(entries, [])
    assert (book.turns, book.drafts, book.drafts_discarded) == (0, 1, 1)
    assert (book.characters, book.flushes, book.llm_requests) == (8, 1, 1)
    assert book.draft_discard_rate == 1.0
    assert book.cutoff_rate is None


def test_a_turn_is_told_when_it_has_ended():
    reader = TurnReader()
    told = [reader.note(entry) for entry in PLAIN.entries()]
    assert told[:-1] == [None] * (len(told) - 1)
    assert told[-1:] == reader.turns()


# ── the ledger ───────────────────────────────────────────────────────────────

ENDS = st.sampled_from(
    ["finished", "interrupted", "taken back", "llm failed", "tts failed", "silent"]
)


@given(st.lists(st.builds(replace, st.sampled_from([PLAIN, DRAFTED]), ends=ENDS), max_size=8))
def test_the_ledger_balances(exchanges: list[Exchange]):
    entries = [
        entry
        for number, exchange in enumerate(exchanges, 1)
        for entry in replace(exchange, number=number, start=number * 20.0).entries()
    ]
    found = measure_turns(entries)
    book = count_usage(entries, found)
    assert book.turns == len(exchanges) == sum(getattr(book, outcome) for outcome in OUTCOMES)
    ended = [exchange.ends for exchange in exchanges]
    assert book.answered == ended.count("finished")
    assert book.interrupted == ended.count("interrupted")
    assert book.discarded == book.cutoffs == ended.count("taken back")
    assert book.failed == ended.count("llm failed") + ended.count("tts failed")
    assert book.silent == ended.count("silent")
    assert book.no_reply == ended.count("llm failed") + ended.count("silent")
    assert book.drafts == book.llm_requests == len(exchanges)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(any_entry(at=st.floats(0, 60), turn=st.integers(0, 3)), max_size=60))
def test_no_timeline_however_odd_is_refused_or_unbalanced(entries: list[Entry]):
    found = measure_turns(entries)
    book = count_usage(entries, found)
    committed = {entry.turn for entry in entries if isinstance(entry, CommitReply)}
    assert [turn.turn for turn in found] == list(
        dict.fromkeys(entry.turn for entry in entries if isinstance(entry, CommitReply))
    )
    assert sum(getattr(book, outcome) for outcome in OUTCOMES) == len(committed)
    for turn in found:
        assert all(took >= 0 for took in (*turn.stages.values(), *turn.raw.values()))
        assert isclose(fsum(turn.stages.values()), turn.mouth_to_ear or 0, rel_tol=1e-9)
    assert set(summarize(found, book).distributions) == set(METRICS)


def test_what_was_used():
    exchange = replace(PLAIN, tokens=7, prompt_tokens=50)
    second = replace(PLAIN, number=2, start=10.0)
    entries = [
        *exchange.entries(),
        Resume(at=3, turn=1),
        AudioGlitched(at=4, xruns=2),
        *second.entries(),
    ]
    book = count_usage(entries, measure_turns(entries))
    assert (book.tokens, book.prompt_tokens, book.uncounted) == (7, 50, 1)
    assert (book.false_alarms, book.xruns) == (1, 2)
    assert (book.flushes, book.characters) == (2, 2 * len("It is noon."))
    assert book.seconds == pytest.approx(entries[-1].at - 0.1)
    assert book.listened == 0.0
    tts, stt = (
        ConnectionOpened(at=at, service=service, took=0.1, request_id="id")
        for at, service in ((0.2, "tts"), (0.3, "stt"))
    )
    again = replace(stt, at=5.0)
    assert count_usage([tts, stt, *entries, again], []).listened == book.seconds + 0.1 - 0.3
    assert count_usage([], []).tokens is None


# ── percentiles ──────────────────────────────────────────────────────────────


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=120), st.floats(0, 1))
def test_percentiles_are_numpys(values, share):
    expected = float(np.percentile(np.array(values), share * 100))
    assert compute_percentile(sorted(values), share) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_what_few_values_cannot_tell_is_withheld():
    assert describe([]) == Distribution()
    assert describe([2.0]) == Distribution(n=1, min=2.0, p50=2.0, p90=2.0, max=2.0)
    assert describe(range(19)).p95 is None
    assert describe(range(20)).p95 == pytest.approx(18.05)
    assert describe(range(99)).p99 is None
    assert describe(range(101)).p99 == 99.0


# ── summary and budgets ──────────────────────────────────────────────────────


def summed(*exchanges: Exchange) -> Summary:
    entries = [entry for exchange in exchanges for entry in exchange.entries()]
    found = measure_turns(entries)
    return summarize(found, count_usage(entries, found))


def test_the_summary_has_every_metric_and_every_count():
    numbers = summed(PLAIN, replace(DRAFTED, number=2, start=10.0))
    assert numbers.distributions["mouth_to_ear"].n == 2
    assert numbers.distributions["mouth_to_ear"].min == pytest.approx(0.726)
    assert numbers.distributions["turn.commit"].max == pytest.approx(0.354)
    assert numbers.distributions["raw.turn.commit"].max == pytest.approx(0.6)
    assert numbers.counts["answered"] == 2
    assert numbers.counts["interruption_rate"] == 0.0
    assert {metric.name for metric in BUDGETED.values()} <= {MOUTH_TO_EAR.name, *RAW}


def test_a_budget_is_for_what_a_service_took_by_itself():
    turn = only(replace(DRAFTED, commit=2.0, ttft=0.5).entries())
    budgets = Budgets(stt=0.3001, llm=0.3, tts=0.2, total=2.0)
    assert find_overruns(turn, budgets) == [
        Overrun(metric="llm.ttft", took=pytest.approx(0.5), budget=0.3),
        Overrun(metric="mouth_to_ear", took=pytest.approx(2.18), budget=2.0),
    ]


# ── expectations ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "met", "why"),
    [
        ("mouth_to_ear.p50<3000", True, "mouth_to_ear.p50 is 726 ms (n = 1)"),
        (" tts.ttfa.p50 <= 120 ", True, "tts.ttfa.p50 is 120 ms (n = 1)"),
        ("tts.ttfa.p50<120", False, "tts.ttfa.p50 is 120 ms (n = 1)"),
        ("raw.llm.ttft.max == 200.0", True, "raw.llm.ttft.max is 200 ms (n = 1)"),
        ("mouth_to_ear.p95<3000", False, "mouth_to_ear.p95 is withheld: n is 1, 20 needed"),
        (
            "mouth_to_ear.p99<3000",
            False,
            "mouth_to_ear.p99 is withheld: n is 1, 100 needed",
        ),
        ("mouth_to_ear.n>=1", True, "n is 1"),
        ("no_reply==0", True, "no_reply is 0"),
        ("cutoffs!=0", False, "cutoffs is 0"),
        ("tokens<100", False, "tokens is not known"),
        ("cutoff_rate<0.05", True, "cutoff_rate is 0"),
    ],
)
def test_expectations(text, met, why):
    verdict = evaluate(parse_threshold(text), summed(PLAIN))
    assert (verdict.met, verdict.why) == (met, why)


def test_what_was_never_measured_is_missed():
    numbers = summed()
    assert (
        evaluate(parse_threshold("mouth_to_ear.p50<3000"), numbers).why
        == "mouth_to_ear was never measured"
    )
    assert not evaluate(parse_threshold("mouth_to_ear.p50<3000"), numbers).met
    assert evaluate(parse_threshold("mouth_to_ear.n==0"), numbers).met


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a valid expectation. Write a name, a comparison"),
        ("mouth_to_ear.p95", "is not a valid expectation"),
        ("mouth_to_ear.p95<", "is not a valid expectation"),
        ("mouth_to_ear.p95=3000", "is not a valid expectation"),
        ("mouth_to_ear.p95<3 s", "is not a valid expectation"),
        ("mouth_to_ear.p59<1", "unknown metric mouth_to_ear.p59. Did you mean mouth_to_ear.p9"),
        ("llm.ttft<1", "unknown metric llm.ttft. Did you mean llm.ttft.n or llm.ttft.min or"),
        ("cutofs==0", "Did you mean cutoffs"),
        ("x==0", "There are mouth_to_ear, stt.ttfs, "),
    ],
)
def test_what_is_no_expectation(text, message):
    with pytest.raises(UsageError) as caught:
        parse_threshold(text)
    assert message in str(caught.value)


def test_a_probe_has_names_of_its_own():
    known = list_metrics(["net.tls"], ["errors"])
    expectation = parse_threshold("net.tls.p50<100", known)
    numbers = Summary(distributions={"net.tls": describe([0.05])})
    assert evaluate(expectation, numbers).value == 50.0
    with pytest.raises(UsageError, match=r"There are net\.tls, errors; durations with \.n, \.min"):
        parse_threshold("playout.p50<100", known)


@given(st.text(max_size=30) | st.from_regex(r"[a-z_.]{1,12}(<|==)[0-9]{1,3}", fullmatch=True))
def test_any_text_is_an_expectation_or_a_usage_error(text: str):
    try:
        expectation = parse_threshold(text)
    except UsageError:
        return
    assert expectation.name in list_metrics()


# ── cost ─────────────────────────────────────────────────────────────────────

USED = SessionUsage(
    llm_requests=2, tokens=1_000_000, prompt_tokens=2_000_000, characters=2000, listened=120.0
)
OURS = Prices(stt=0.0077, llm=(0.15, 0.60), tts=0.030)


def test_what_a_session_cost():
    spent = estimate_cost(USED, OURS)
    assert spent == Cost(stt=pytest.approx(0.0154), llm=pytest.approx(0.9), tts=0.06)
    assert spent.total == pytest.approx(0.9754)


def test_what_is_not_counted_makes_a_lower_bound():
    assert estimate_cost(replace(USED, uncounted=1), OURS).lower_bound
    unknown = estimate_cost(replace(USED, tokens=None, prompt_tokens=None, uncounted=2), OURS)
    assert unknown.llm is None
    assert unknown.lower_bound
    assert estimate_cost(SessionUsage(), OURS) == Cost(stt=0.0, llm=0.0, tts=0.0)


def test_an_unknown_model_has_no_price():
    spent = estimate_cost(USED, replace(OURS, llm=None))
    assert spent.llm is None
    assert spent.lower_bound
    assert estimate_cost(USED, Prices()).total is None


def test_stand_ins_cost_nothing():
    free = estimate_cost(replace(USED, uncounted=1), Prices(stt=0.0, llm=(0.0, 0.0), tts=0.0))
    assert (free.total, free.lower_bound) == (0.0, False)


def test_events_about_nobody_are_no_trouble():
    assert measure_turns([Event(at=0.0)]) == []


def test_a_click_after_the_last_word_is_not_when_the_user_stopped():
    timeline = [
        SpeechStarted(at=0.1, speech_start=0.0),
        SpeechStopped(at=1.2, speech_end=1.0),
        SpeechStarted(at=1.3, speech_start=1.25),
        FinalTranscript(at=1.32, text="Yes.", speech_start=0.0, speech_end=1.0, speech_final=True),
        DraftReply(at=1.32, turn=1, user_text="Yes."),
        CommitReply(at=1.32, turn=1, user_text="Yes.", speech_end=1.0, reason="speech_final"),
        SpeechStopped(at=1.5, speech_end=1.29),
        PlaybackStarted(at=1.8, turn=1),
        ReplyFinished(at=2.5, turn=1, said="Good.", heard=0.7),
    ]
    assert measure_turns(timeline)[0].mouth_to_ear == pytest.approx(0.8)
