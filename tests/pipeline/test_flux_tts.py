"""Whole conversations over Flux TTS: as fast as Aura-2, and the words heard by its own account."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.conversations import Conversation, converse, profile
from tests.support.speech_like import alternate_speech
from voicecli.events import (
    ClauseSent,
    FirstAudio,
    HeardReported,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFinished,
    Warned,
)
from voicecli.standin.script import (
    Fault,
    FaultKind,
    Latency,
    LlmScript,
    Script,
    SttScript,
    TtsScript,
)
from voicecli.units import Seconds

FLUX = ("tts.provider=deepgram-flux", "tts.model=flux-alexis-en")
AURA = ()

SAYS = (
    "It is sunny today, and warm enough to sit outside until late in the evening.",
    "The weather in Berlin is sunny with a high of twenty two degrees. Tomorrow it will rain.",
    "It opens at nine.",
    "I can help you with that because it is what I am here for. Just tell me where you want to go.",
)
LONG = (
    "It is sunny. Tomorrow there will be a few clouds over the mountains, and on Sunday it rains "
    "in most of the country, but hardly in the north."
)


def hold(
    *settings: str,
    says: Sequence[str] = SAYS,
    spoken: Sequence[Seconds] = (*[1.0, 1.0] * len(SAYS), 2.0),
    token: Seconds = 0.015,
    tts: TtsScript | None = None,
    fault: FaultKind | None = None,
    on: int = 1,
    after: Seconds = 0.0,
) -> Conversation:
    script = Script(
        stt=SttScript(hears=("What is it?", "Stop, what then?"), gap=0.3, interim=0.2),
        llm=LlmScript(token=Latency(token), says=tuple(says)),
        tts=tts or TtsScript(),
    )
    faults = () if fault is None else (Fault("tts", fault, on=on, after=after),)
    talk = converse(profile(*settings), script, alternate_speech(*spoken)[0], faults=faults)
    assert talk.error is None
    return talk


@pytest.mark.parametrize("detect", ["endpointing", "vad"])
@pytest.mark.parametrize("token", [0.015, 0.06])
def test_flux_is_as_fast_as_aura_where_a_mark_ends_the_first_clause(
    detect: str, token: Seconds
) -> None:
    """Where none does, Aura-2 is flushed earlier, and Flux decides by itself: the stand-in waits
    for a mark."""
    flux, aura = (hold(f"turn.detect={detect}", *tts, token=token) for tts in (FLUX, AURA))
    waits = list(zip(flux.mouth_to_ear(), aura.mouth_to_ear(), strict=True))
    firsts = {one.turn: one.text.rstrip() for one in reversed(aura.all(ClauseSent))}
    marked = [firsts[turn.turn].endswith((",", ".")) for turn in aura.turns]
    assert sum(marked) >= 2
    for has_mark, (one, other) in zip(marked, waits, strict=True):
        assert one <= other + 0.001 if has_mark else one > other
    assert [turn.said for turn in flux.turns] == list(SAYS)
    for talk in (flux, aura):
        assert [reply.underruns for reply in talk.all(ReplyFinished)] == [0] * len(SAYS)
        for turn in talk.turns:
            assert turn.outcome == "answered"
            assert sum(turn.stages.values()) == pytest.approx(turn.mouth_to_ear)
            assert turn.stages["pipeline"] == pytest.approx(0.0, abs=0.001)


def test_each_reply_has_one_flush_and_begins_to_sound_before_it() -> None:
    talk = hold(*FLUX, token=0.06)
    for turn, text in zip(talk.turns, SAYS, strict=True):
        sent = [one for one in talk.all(ClauseSent) if one.turn == turn.turn]
        assert "".join(one.text for one in sent) == text
        assert [one.flushed for one in sent] == [False] * (len(sent) - 1) + [True]
    (long, *_) = (turn.turn for turn in talk.turns)
    (flushed,) = (one.at for one in talk.all(ClauseSent) if one.turn == long and one.flushed)
    audio = next(one.at for one in talk.all(FirstAudio) if one.turn == long)
    assert audio < flushed - 0.3


@pytest.mark.parametrize("tokens", range(2, 15, 3))
@pytest.mark.parametrize("text", [SAYS[0], SAYS[1]])
def test_a_reply_that_is_cut_short_is_spoken_to_the_same_clause(tokens: int, text: str) -> None:
    settings = (f"llm.max_tokens={tokens}", "turn.detect=vad")
    flux, aura = (
        hold(*settings, *tts, says=(text,), spoken=(1.0, 1.0, 8.0)).turns[0].said
        for tts in (FLUX, AURA)
    )
    cut_in_the_first_clause = len(aura.split()) < tokens and not aura.endswith((",", "."))
    assert flux == aura or (cut_in_the_first_clause and flux.startswith(aura))


# ── barge-in ─────────────────────────────────────────────────────────────────

BARGE_IN = ("interrupt.policy=headphones", "turn.detect=vad", *FLUX)
TWO_QUESTIONS = (0.5, 1.2, 2.6, 1.2, 3.0)

AS_IT_SOUNDS = TtsScript(speed=1.1)
"""Delivered so slowly that the service is still speaking when the user interrupts."""


def cut(fault: FaultKind | None = None, tts: TtsScript = AS_IT_SOUNDS) -> Conversation:
    talk = hold(*BARGE_IN, says=(LONG, "It rains."), spoken=TWO_QUESTIONS, tts=tts, fault=fault)
    assert [turn.outcome for turn in talk.turns] == ["interrupted", "answered"]
    return talk


def told_of_reply(talk: Conversation) -> str:
    """Return the first reply as the history of the last request has it."""
    content: str = talk.requests[-1][2]["content"]
    return content


def test_history_and_results_have_the_words_that_the_service_says_were_heard() -> None:
    talk = cut()
    cancelled, reported = talk.one(ReplyCancelled), talk.one(HeardReported)
    assert reported.said
    assert LONG.startswith(reported.said)
    characters = cancelled.heard / 0.06
    assert abs(len(reported.said) - characters) < len(" mountains")
    assert told_of_reply(talk) == f"{reported.said} …"
    first = talk.turns[0]
    assert (first.said, first.said_estimated) == (reported.said, False)


@pytest.mark.parametrize(
    "fault", ["text_missing", "stale_offset", "interrupt_busy", "interrupt_lost"]
)
def test_without_its_account_history_has_our_estimate(fault: FaultKind) -> None:
    talk = cut(fault)
    cancelled = talk.one(ReplyCancelled)
    assert talk.all(HeardReported) == []
    assert cancelled.said
    assert told_of_reply(talk) == f"{cancelled.said} …"
    assert talk.turns[0].said_estimated
    assert talk.turns[1].said == "It rains."


def test_a_reply_that_the_service_has_finished_is_estimated() -> None:
    talk = cut(tts=TtsScript(speed=8.0))
    assert talk.all(HeardReported) == []
    assert told_of_reply(talk) == f"{talk.one(ReplyCancelled).said} …"


def test_after_a_barge_in_the_next_reply_comes_as_soon_as_with_aura() -> None:
    flux = cut()
    aura = hold(*BARGE_IN[:2], says=(LONG, "It rains."), spoken=TWO_QUESTIONS, tts=AS_IT_SOUNDS)
    assert flux.turns[1].mouth_to_ear == pytest.approx(aura.turns[1].mouth_to_ear, abs=0.01)


# ── drafts ───────────────────────────────────────────────────────────────────


def test_a_cancelled_draft_is_not_heard_and_costs_no_connection() -> None:
    """The user goes on while the first reply of the session is being drafted and synthesised.

    A second handshake would be refused: it would show as a warning or an error."""
    talk = hold(
        *FLUX,
        *("turn.detect=vad", "turn.commit_ms.default=900", "turn.commit_ms.complete=900"),
        spoken=(0.5, 1.0, 0.75, 1.0, 0.75, 1.0, 6.0),
        says=(SAYS[0],),
        fault="refuse",
        on=2,
    )
    drafts = [one for one in talk.all(ReplyCancelled) if not one.committed]
    assert any(one.characters for one in drafts)
    assert all(one.characters <= 90 for one in drafts)
    (turn,) = talk.turns
    assert (turn.outcome, turn.said) == ("answered", SAYS[0])
    assert turn.heard == pytest.approx(0.06 * (len(SAYS[0]) - 1), abs=0.1)
    assert len(talk.all(PlaybackStarted)) == 1
    assert talk.all(Warned) == []


def test_an_hour_old_connection_is_replaced_without_a_word() -> None:
    talk = hold(
        *FLUX, fault="expired", after=20.0, spoken=(1.0, 1.0, 70.0, 1.0, 8.0), says=(SAYS[2],)
    )
    assert [turn.outcome for turn in talk.turns] == ["answered", "answered"]
    first, second = talk.mouth_to_ear()
    assert second == pytest.approx(first, abs=0.001)
    assert talk.all(Warned) == []
