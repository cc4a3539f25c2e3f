"""Replies spoken just in time: whole conversations over scripted services, in virtual time."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
import pytest

from tests.support.conversations import Conversation, converse, profile
from tests.support.speech_like import alternate_speech
from voicecli.events import ClauseSent, ReplyFinished, Warned
from voicecli.standin.script import Fault, Latency, LlmScript, Script, SttScript, TtsScript
from voicecli.units import Seconds

QUESTION = "What is the weather?"
SAYS = (
    "Your question number five is noted and I will gladly look into it now. It may take a while, "
    "but I am quite sure that we can find an answer together.",
    "It is sunny today, and warm enough to sit outside until late in the evening.",
    "The weather in Berlin is sunny with a high of twenty two degrees. Tomorrow it will rain.",
    "It opens at nine.",
    "I can help you with that because it is what I am here for. Just tell me where you want to go.",
)
SHORT = ("It is sunny today, and warm.",)


def hold(
    *,
    token: Seconds = 0.015,
    ttfb: Seconds = 0.12,
    speed: float = 4.0,
    speaks: Literal["flush", "sentences"] = "flush",
    says: tuple[str, ...] = SAYS,
    turns: int = len(SAYS),
    silence: Seconds = 1.0,
    voice: Seconds = 1.0,
    faults: tuple[Fault, ...] = (),
) -> Conversation:
    """Hold a conversation of ``turns`` questions, each as soon as the last one is answered."""
    script = Script(
        stt=SttScript(hears=(QUESTION,), gap=0.3),
        llm=LlmScript(token=Latency(token), says=says),
        tts=TtsScript(ttfb=Latency(ttfb), speed=speed, speaks=speaks),
    )
    spoken = alternate_speech(*[silence, voice] * turns, 2.0)[0]
    talk = converse(profile("llm.history.max_turns=100"), script, spoken, faults=faults)
    assert talk.error is None
    assert [turn.outcome for turn in talk.turns] == ["answered"] * turns
    return talk


def pieces(talk: Conversation) -> list[list[str]]:
    """Return the flushed pieces of each reply."""
    sent = [one for one in talk.all(ClauseSent) if one.flushed]
    return [[one.text for one in sent if one.turn == turn.turn] for turn in talk.turns]


@pytest.mark.parametrize(
    ("token", "ttfb", "speed"),
    [*product((0.015, 0.04, 0.08), (0.12, 0.3, 0.6), (4.0, 1.5))],
)
def test_no_reply_runs_dry_however_slow_the_services_are(token, ttfb, speed):
    talk = hold(token=token, ttfb=ttfb, speed=speed)
    assert [reply.underruns for reply in talk.all(ReplyFinished)] == [0] * len(SAYS)
    spoken = pieces(talk)
    assert ["".join(of_reply) for of_reply in spoken] == list(SAYS)
    assert all(len(of_reply) <= 3 for of_reply in spoken)
    assert np.mean([len(of_reply) for of_reply in spoken]) <= 2.2


def test_the_first_piece_is_short_where_the_services_are_fast():
    assert [of_reply[0].strip() for of_reply in pieces(hold())] == [
        "Your question number five is noted",
        "It is sunny today,",
        "The weather in Berlin is sunny with a high of twenty two degrees.",
        "It opens at nine.",
        "I can help you with that",
    ]


@pytest.mark.parametrize("token", [0.015, 0.06])
def test_on_both_kinds_of_tts_nothing_is_lost_and_both_are_equally_fast(token):
    flush, sentences = hold(token=token), hold(token=token, speaks="sentences")
    assert sentences.mouth_to_ear() == pytest.approx(flush.mouth_to_ear(), abs=0.001)
    for talk in (flush, sentences):
        assert [reply.said for reply in talk.all(ReplyFinished)] == list(SAYS)
        for reply in talk.all(ReplyFinished):
            spoken = sum(
                len(one.text.strip()) for one in talk.all(ClauseSent) if one.turn == reply.turn
            )
            assert reply.heard == pytest.approx(0.06 * spoken, abs=0.2)
            assert reply.underruns == 0


def test_forty_quick_turns_are_as_fast_at_the_end_as_at_the_beginning():
    talk = hold(says=SHORT, turns=40, silence=0.45, voice=0.6)
    starts = [turn.at for turn in talk.turns]
    assert starts[-1] - starts[0] < 120
    waits = talk.mouth_to_ear()
    assert np.percentile(waits, 95) <= 1.1 * np.percentile(waits[:10], 95)
    assert sum(reply.underruns for reply in talk.all(ReplyFinished)) == 0
    assert sum(len(of_reply) for of_reply in pieces(talk)) > 40


def test_without_a_second_connection_quick_turns_wait_no_longer_which_is_said_once():
    """The second connection is refused whenever it is tried, beside the one that is replaced."""
    refused = (2, *range(3, 60, 2))
    refusals = tuple(
        Fault(service="tts", kind="refuse", on=number, status=429) for number in refused
    )
    talk = hold(says=SHORT, turns=40, silence=0.45, voice=0.6, faults=refusals)
    starts = [turn.at for turn in talk.turns]
    assert starts[-1] - starts[0] < 120
    waits = talk.mouth_to_ear()
    assert max(waits) <= 1.1 * np.percentile(waits[:10], 95)
    (warned,) = talk.all(Warned)
    assert "too many connections" in warned.text
    assert [reply.said for reply in talk.all(ReplyFinished)] == list(SHORT) * 40
