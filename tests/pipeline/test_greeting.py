"""The agent speaks first: before anybody has said anything, and as soon as it can be heard."""

from __future__ import annotations

import json

import pytest

from tests.support.conversations import Conversation, converse, profile
from tests.support.speech_like import alternate_speech
from voicecli.events import (
    GREETING,
    ClauseSent,
    DraftReply,
    Greet,
    HeardReported,
    LlmRequested,
    PlaybackStarted,
    RecordingResumed,
    ReplyCancelled,
    ReplyFinished,
    Warned,
)
from voicecli.metrics.usage import count_usage
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

HELLO = "Good morning. How can I help you today?"
FLUX = ("tts.provider=deepgram-flux", "tts.model=flux-alexis-en")
SERVICES = pytest.mark.parametrize("tts", [(), FLUX], ids=["aura", "flux"])


def hold(
    *settings: str,
    spoken: tuple[Seconds, ...] = (0.5, 1.2, 4.0),
    greeting: str = HELLO,
    speed: float = 4.0,
    faults: tuple[Fault, ...] = (),
    recorded: bool = True,
) -> Conversation:
    script = Script(
        stt=SttScript(hears=("Stop, what is it?", "And then?"), gap=0.3, interim=0.2),
        llm=LlmScript(ttft=Latency(0.2), says=("It is noon.",)),
        tts=TtsScript(speed=speed),
    )
    return converse(
        profile(f"agent.greeting={json.dumps(greeting)}", *settings),
        script,
        alternate_speech(*spoken)[0],
        faults=faults,
        recorded=recorded,
    )


def started(talk: Conversation) -> Seconds:
    """When the greeting was heard, after the loudspeaker was open."""
    return next(one.at for one in talk.all(PlaybackStarted) if one.turn == GREETING) - talk.began


@SERVICES
def test_it_is_heard_first_and_is_no_turn(tts: tuple[str, ...]) -> None:
    talk = hold(*tts)
    assert talk.error is None
    greeting, reply = talk.all(ReplyFinished)
    assert (greeting.turn, greeting.said, reply.turn) == (GREETING, HELLO, 1)
    assert greeting.heard == pytest.approx(0.06 * len(HELLO), abs=0.1)
    (turn,) = talk.turns
    assert (turn.turn, turn.outcome) == (1, "answered")
    usage = count_usage(talk.timeline, talk.turns)
    assert (usage.turns, usage.answered, usage.drafts, usage.llm_requests) == (1, 1, 1, 1)
    assert usage.uncounted == 0
    assert usage.characters == len(HELLO) + len("It is noon.")


@SERVICES
def test_the_llm_knows_what_it_said(tts: tuple[str, ...]) -> None:
    _, *told = hold(*tts).requests[-1]
    assert told == [
        {"role": "assistant", "content": HELLO},
        {"role": "user", "content": "Stop, what is it?"},
    ]


@SERVICES
def test_it_sounds_as_soon_as_its_audio_can_be_there(tts: tuple[str, ...]) -> None:
    """Here all connections take no time; 0.12 s is the TTS's own."""
    assert started(hold(*tts)) == pytest.approx(0.12, abs=0.001)


@SERVICES
def test_it_is_synthesised_while_another_connection_is_opened(tts: tuple[str, ...]) -> None:
    """The STT refuses once and is asked again after 0.25 s."""
    talk = hold(*tts, faults=(Fault("stt", "refuse", status=503),))
    assert talk.error is None
    assert started(talk) == pytest.approx(0.0, abs=0.001)


@SERVICES
def test_a_polite_recording_waits_for_it(tts: tuple[str, ...]) -> None:
    talk = hold(*tts, "interrupt.policy=off")
    finished = talk.all(ReplyFinished)[0].at
    assert talk.all(RecordingResumed)[0].at >= finished
    assert talk.turns[0].user_text == "Stop, what is it?"
    assert [one.turn for one in talk.all(ReplyFinished)] == [GREETING, 1]


@SERVICES
def test_it_can_be_interrupted_like_a_reply(tts: tuple[str, ...]) -> None:
    talk = hold(*tts, "interrupt.policy=headphones", "turn.detect=vad", speed=1.1)
    cancelled = talk.one(ReplyCancelled)
    assert (cancelled.turn, cancelled.committed) == (GREETING, True)
    heard = [*talk.all(HeardReported), cancelled][0].said
    assert heard
    assert HELLO.startswith(heard)
    assert bool(talk.all(HeardReported)) == bool(tts)
    _, *told = talk.requests[-1]
    assert told == [
        {"role": "assistant", "content": f"{heard} …"},
        {"role": "user", "content": "Stop, what is it?"},
    ]
    assert [turn.outcome for turn in talk.turns] == ["answered"]


def test_a_user_who_speaks_before_it_is_heard_has_the_floor() -> None:
    talk = hold(
        *("interrupt.policy=headphones", "turn.detect=vad"),
        spoken=(0.01, 1.2, 4.0),
        faults=(Fault("tts", "stall", lasts=1.0),),
    )
    cancelled = talk.one(ReplyCancelled)
    assert (cancelled.turn, cancelled.said) == (GREETING, "")
    assert [message["role"] for message in talk.requests[-1]] == ["system", "user"]
    assert [turn.said for turn in talk.turns] == ["It is noon."]


@SERVICES
@pytest.mark.parametrize("fault", ["drop", "half_open"])
def test_a_greeting_that_is_lost_is_sent_again(tts: tuple[str, ...], fault: FaultKind) -> None:
    talk = hold(*tts, faults=(Fault("tts", fault, after=0.2),))
    assert talk.error is None
    assert [one.said for one in talk.all(ReplyFinished)] == [HELLO, "It is noon."]
    (warned,) = talk.all(Warned)
    assert "resuming on a new connection" in warned.text
    sent = [one.text for one in talk.all(ClauseSent) if one.turn == GREETING]
    assert sent == [HELLO, HELLO]


def test_markup_is_not_spoken_and_nothing_is_said_for_nothing() -> None:
    talk = hold(greeting="**Hello** there.")
    assert talk.all(ReplyFinished)[0].said == "Hello there."
    for silent in ("", "   "):
        talk = hold(greeting=silent)
        assert talk.all(Greet) == []
        assert [one.turn for one in talk.all(ReplyFinished)] == [1]


def test_an_idle_session_counts_from_the_end_of_the_greeting() -> None:
    talk = hold("limits.idle_s=3", spoken=(12.0,), recorded=False)
    assert talk.all(DraftReply) == []
    assert talk.all(LlmRequested) == []
    finished = talk.one(ReplyFinished).at
    assert talk.timeline[-1].at == pytest.approx(finished + 3.0, abs=0.1)
