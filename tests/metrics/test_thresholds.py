"""Thresholds: parsing and verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import PLAIN, Exchange
from voicecli.errors import UsageError
from voicecli.metrics.scoring import measure_interaction
from voicecli.metrics.summary import (
    Summary,
    describe,
    list_metrics,
    summarize,
)
from voicecli.metrics.thresholds import evaluate, parse_threshold
from voicecli.metrics.turns import measure_turns
from voicecli.metrics.usage import (
    count_usage,
)


def summed(*exchanges: Exchange) -> Summary:
    entries = [entry for exchange in exchanges for entry in exchange.entries()]
    found = measure_turns(entries)
    return summarize(found, count_usage(entries, found), measure_interaction(entries))


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
        ("cutoff_rate<0.05", False, "cutoff_rate is withheld: n is 1, 10 needed"),
        ("stop_ms.p50<500", False, "stop_ms was never measured"),
        ("yield_rate>0.9", False, "yield_rate is not scorable: needs labels"),
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
