"""Counts, rates and the estimated cost of a session."""

from __future__ import annotations

from dataclasses import replace
from math import fsum, isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.timelines import DRAFTED, PLAIN, Exchange, any_entry
from voicecli.events import (
    AudioGlitched,
    CancelReply,
    CommitReply,
    ConnectionOpened,
    DraftReply,
    ReplyCancelled,
    Resume,
)
from voicecli.metrics.interaction import INTERACTION_DURATIONS
from voicecli.metrics.scoring import measure_interaction
from voicecli.metrics.summary import (
    METRICS,
    score,
    summarize,
)
from voicecli.metrics.turns import measure_turns
from voicecli.metrics.usage import (
    OUTCOMES,
    Cost,
    Prices,
    SessionUsage,
    count_usage,
    estimate_cost,
)
from voicecli.timeline import Entry

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
    unanswered = score(measure_interaction(entries).tally)["no_reply"].value
    assert unanswered == ended.count("llm failed") + ended.count("silent")
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
    names = {*METRICS, *INTERACTION_DURATIONS}
    assert set(summarize(found, book, measure_interaction(entries)).distributions) == names


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
    assert (book.false_alarms, book.xruns, book.truncated) == (1, 2, 0)
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


USED = SessionUsage(
    llm_requests=2, tokens=1_000_000, prompt_tokens=2_000_000, characters=2000, listened=120.0
)

OURS = Prices(stt=0.0077, llm=(0.15, 0.60), tts=0.030)


def test_what_a_session_cost():
    spent = estimate_cost(USED, OURS)
    assert spent == Cost(stt=pytest.approx(0.0154), llm=pytest.approx(0.9), tts=0.06, discarded=0)
    assert spent.total == pytest.approx(0.9754)


def test_what_discarded_drafts_used_is_counted_and_priced():
    used = {"tokens": 20, "prompt_tokens": 300, "characters": 40}
    entries = [
        DraftReply(at=1, turn=1, user_text="What is"),
        CancelReply(at=2, turn=1, heard_nothing=True, committed=False),
        ReplyCancelled(at=2, turn=1, said="", heard=0.0, committed=False, **used),
        ReplyCancelled(at=9, turn=2, said="It is", heard=0.5, **used),
    ]
    book = count_usage(entries, [])
    assert (book.discarded_tokens, book.discarded_prompt_tokens) == (20, 300)
    assert (book.discarded_characters, book.drafts_discarded) == (40, 1)
    spent = estimate_cost(
        replace(
            USED,
            **{
                name: getattr(book, name)
                for name in ("discarded_tokens", "discarded_prompt_tokens", "discarded_characters")
            },
        ),
        OURS,
    )
    price = (300 * 0.15 + 20 * 0.60) / 1e6
    assert spent.llm == pytest.approx(0.9 + price)
    assert spent.discarded == pytest.approx(price + 0.040 * 0.030)


def test_the_requests_of_discarded_drafts_are_estimated_and_so_counted():
    assert not estimate_cost(replace(USED, uncounted=1, drafts_discarded=1), OURS).lower_bound
    assert estimate_cost(replace(USED, uncounted=2, drafts_discarded=1), OURS).lower_bound


def test_what_is_not_counted_makes_a_lower_bound():
    assert estimate_cost(replace(USED, uncounted=1), OURS).lower_bound
    unknown = estimate_cost(replace(USED, tokens=None, prompt_tokens=None, uncounted=2), OURS)
    assert unknown.llm is None
    assert unknown.lower_bound
    assert estimate_cost(SessionUsage(), OURS) == Cost(stt=0.0, llm=0.0, tts=0.0, discarded=0.0)


def test_an_unknown_model_has_no_price():
    spent = estimate_cost(USED, replace(OURS, llm=None))
    assert spent.llm is None
    assert spent.lower_bound
    assert estimate_cost(USED, Prices()).total is None


def test_stand_ins_cost_nothing():
    free = estimate_cost(replace(USED, uncounted=1), Prices(stt=0.0, llm=(0.0, 0.0), tts=0.0))
    assert (free.total, free.lower_bound) == (0.0, False)
