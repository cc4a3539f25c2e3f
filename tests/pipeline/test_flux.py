"""Whole conversations over Flux's wire, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.conversations import Conversation, converse, profile
from tests.support.speech_like import alternate_speech
from voicecli import clock
from voicecli.events import (
    CommitReply,
    ConnectionOpened,
    DraftReply,
    MicrophoneMuted,
    PlaybackStarted,
    ReplyCancelled,
    TurnResumed,
    Warned,
)
from voicecli.pipeline.session import Session
from voicecli.standin import Fault
from voicecli.standin.script import LlmScript, Script, SttScript
from voicecli.units import Seconds

SAYS = ("It is noon. It will be one o'clock soon.",)


def hold(
    detect: str,
    hears: tuple[str, ...],
    *durations: Seconds,
    settings: tuple[str, ...] = (),
    faults: tuple[Fault, ...] = (),
    early_words: bool = False,
    older: bool = False,
) -> Conversation:
    """Hold a conversation with a user who is silent and speaks for these durations, in turn."""
    spoken, _ = alternate_speech(*durations)
    stt = SttScript(
        hears=hears, gap=0.15, words_per_second=10.0, early_words=early_words, older=older
    )
    chosen = profile("stt.provider=deepgram-flux", f"turn.detect={detect}", *settings)
    talk = converse(chosen, Script(stt=stt, llm=LlmScript(says=SAYS)), spoken, faults=faults)
    assert talk.error is None
    return talk


def said(talk: Conversation) -> list[str]:
    return [turn.user_text for turn in talk.turns if turn.outcome == "answered"]


def test_a_turn_that_is_resumed_has_one_reply_and_nothing_of_the_draft_is_heard() -> None:
    talk = hold("service", ("I would like to know the", "time, please."), 0.5, 1.2, 0.7, 1.0, 3.0)

    drafts, cancelled = talk.all(DraftReply), talk.all(ReplyCancelled)
    assert len(talk.all(TurnResumed)) == 1
    assert [draft.user_text for draft in drafts] == [
        "I would like to know the",
        "I would like to know the time, please.",
    ]
    assert [one.turn for one in cancelled] == [drafts[0].turn]
    assert said(talk) == ["I would like to know the time, please."]
    assert talk.one(PlaybackStarted).at > talk.one(CommitReply).at


@pytest.mark.parametrize("detect", ["service", "vad", "endpointing"])
@pytest.mark.parametrize("early_words", [False, True])
@pytest.mark.parametrize("older", [False, True])
def test_every_deployment_is_understood(detect: str, early_words: bool, older: bool) -> None:
    questions = ("What is the time?", "And what is the date?")
    talk = hold(detect, questions, 0.5, 1.2, 3.0, 1.2, 4.0, early_words=early_words, older=older)

    assert said(talk) == list(questions)
    assert all(0.3 < wait < 1.5 for wait in talk.mouth_to_ear())


def test_a_deployment_without_force_end_turn_is_asked_once_and_told_of_once() -> None:
    questions = ("What is the time?", "What is the date?")
    refused = Fault("stt", "finalize_refused", on="every")
    # a new connection starts the script again, and hears the first question a second time
    talk = hold("vad", questions, 0.5, 1.2, 4.0, 1.2, 4.0, faults=(refused,))

    (warning,) = talk.all(Warned)
    assert "takes no ForceEndTurn" in warning.text
    opened = [one for one in talk.all(ConnectionOpened) if one.service == "stt"]
    assert len(opened) == 2
    assert said(talk) == list(questions)


NUMBER = ("My number is 555", "123 4567.")
WHOLE = "My number is 555 123 4567."
NUMBER_SPOKEN = (0.5, 1.2, 1.5, 1.0, 4.0)


def test_within_a_number_the_service_is_told_to_wait() -> None:
    assert said(hold("service", NUMBER, *NUMBER_SPOKEN)) == [WHOLE]
    usual = hold("service", NUMBER, *NUMBER_SPOKEN, settings=("stt.dictation_timeout_ms=null",))
    assert said(usual)[0] != WHOLE


@pytest.mark.parametrize("kind", ["configure_lost", "configure_refused", "configure_unknown"])
def test_a_deployment_that_cannot_be_told_to_wait_is_talked_to_all_the_same(kind: str) -> None:
    talk = hold("service", NUMBER, *NUMBER_SPOKEN, faults=(Fault("stt", kind, on="every"),))

    assert "4567" in said(talk)[-1]
    assert len(talk.all(Warned)) == (kind != "configure_lost")


def test_a_turn_ends_though_the_microphone_was_muted_within_it() -> None:
    """The service counts audio: without any it would wait for ever."""
    spoken, _ = alternate_speech(0.5, 1.2, 20.0)

    async def mute(session: Session) -> None:
        await asyncio.sleep(1.6)
        session.post(MicrophoneMuted(at=clock.now(), muted=True))

    script = Script(
        stt=SttScript(hears=("What is the time?",), gap=0.15, words_per_second=10.0),
        llm=LlmScript(says=SAYS),
    )
    chosen = profile("stt.provider=deepgram-flux", "turn.detect=service")
    talk = converse(chosen, script, spoken, during=mute)

    commit = talk.one(CommitReply)
    assert commit.reason == "end_of_turn"
    assert commit.at - talk.began < 3.5
    assert talk.all(Warned) == []
