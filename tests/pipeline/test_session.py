"""Whole conversations over real sockets against the stand-ins, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from math import ceil

import numpy as np
import pytest

from tests.support.conversations import RATE, Conversation, During, converse, profile
from tests.support.recorded_voice import make_room_noise, take_voice
from tests.support.speech_like import alternate_speech, silence, voice
from voicecli import clock
from voicecli.audio.pcm import samples_of
from voicecli.audio.playout import FADE
from voicecli.events import (
    CancelReply,
    ClauseSent,
    CommitReply,
    DraftReply,
    Duck,
    EndSession,
    Finalize,
    FirstAudio,
    Hold,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFinished,
    Resume,
    SpeechStarted,
    SpeechStopped,
    TextTyped,
    VolumeChanged,
)
from voicecli.pipeline.session import Session
from voicecli.standin.script import Latency, LlmScript, Script, SttScript, TtsScript
from voicecli.turns.barge_in import SUSPICION_TIMEOUT
from voicecli.turns.draft import SPEECH_LEAD
from voicecli.turns.policy import TurnPolicy
from voicecli.units import AudioFormat, Seconds

EXACT: Seconds = 0.005
"""Tolerance: in virtual time computing takes no time, so the program adds next to nothing."""

BLOCK: Seconds = 0.020


def script(
    *hears: str,
    says: tuple[str, ...] = ("It is sunny. It will be sunny tomorrow as well.",),
    ttft: Seconds = 0.2,
    gap: Seconds = 0.3,
    interim: Seconds = 1.0,
    interim_lag: Seconds = 0.0,
    words_per_second: float = 3.0,
    char: Seconds = 0.06,
    ttfb: Seconds = 0.12,
) -> Script:
    return Script(
        stt=SttScript(
            hears=hears or ("What is the weather?",),
            gap=gap,
            interim=interim,
            interim_lag=interim_lag,
            words_per_second=words_per_second,
        ),
        llm=LlmScript(ttft=Latency(ttft), says=says),
        tts=TtsScript(char=char, ttfb=Latency(ttfb)),
    )


def speech(*durations: Seconds) -> bytes:
    """Return silence and speech in turns; speech ends with a block of the microphone."""
    return alternate_speech(*durations)[0]


def answers(talk: Conversation) -> list[str]:
    """Return the user's text of each answered turn."""
    return [turn.user_text for turn in talk.turns if turn.outcome != "discarded"]


# ── how long the user waits ──────────────────────────────────────────────────

ENDPOINTING, FINAL = 0.2, 0.1
HANGOVER, FINALIZE, COMMIT = 0.2, 0.05, 0.45
TOKEN, TTFB = 0.015, 0.12

PAUSE = ceil(TurnPolicy().draft_after / BLOCK) * BLOCK
"""A pause is noticed with a block of the microphone."""

WHOLE = 10.0
"""Words a second: an interim has all that were said, as a service's has once the voice pauses."""

FIRST_CLAUSE = 3
"""This many tokens after the first, a token shows that "It is sunny." has ended."""


def expected(
    detect: str,
    draft: str = "llm+tts",
    draft_on: str = "final",
    ttft: Seconds = 0.2,
    tokens: int = FIRST_CLAUSE,
) -> Seconds:
    """Return mouth-to-ear of a complete sentence, by the script's latencies."""
    clause = ttft + tokens * TOKEN
    if detect == "endpointing":
        return ENDPOINTING + FINAL + clause + TTFB
    final = HANGOVER + FINALIZE
    text = PAUSE if draft_on == "interim" else final
    match draft:
        case "off":
            return COMMIT + clause + TTFB
        case "llm":
            return max(COMMIT, text + clause) + TTFB
        case _:
            return max(COMMIT, max(text + clause, final, COMMIT - SPEECH_LEAD) + TTFB)


STRATEGIES = [
    ("endpointing", "llm", "final"),
    ("vad", "off", "final"),
    ("vad", "llm", "final"),
    ("vad", "llm", "interim"),
    ("vad", "llm+tts", "final"),
    ("vad", "llm+tts", "interim"),
]


@pytest.mark.parametrize("ttft", [0.03, 0.2, 0.6])
@pytest.mark.parametrize(("detect", "draft", "draft_on"), STRATEGIES)
def test_mouth_to_ear_is_the_arithmetic_of_the_script(
    detect: str, draft: str, draft_on: str, ttft: Seconds
) -> None:
    talk = converse(
        profile(f"turn.detect={detect}", f"turn.draft={draft}", f"turn.draft_on={draft_on}"),
        script(
            "What is the weather?",
            "Is it cold?",
            "And after that?",
            ttft=ttft,
            interim=0.1,
            words_per_second=WHOLE,
        ),
        speech(0.5, 1.2, 1.0, 0.8, 1.0, 2.0),
    )

    assert talk.error is None
    assert answers(talk) == ["What is the weather?", "Is it cold?", "And after that?"]
    for turn in talk.turns:
        wait = expected(detect, draft, draft_on, ttft)
        assert turn.mouth_to_ear == pytest.approx(wait, abs=EXACT)
        assert sum(turn.stages.values()) == pytest.approx(turn.mouth_to_ear, abs=1e-9)
        assert turn.stages["pipeline"] < EXACT
        assert turn.outcome == "answered"
        assert not turn.unreliable


def test_a_draft_is_not_heard_before_the_turn_is_committed() -> None:
    talk = converse(
        profile("turn.detect=vad", "turn.draft=llm+tts", "turn.commit_ms.complete=1500"),
        script(),
        speech(0.5, 1.2, 2.0),
    )

    commit, audio, playback = map(talk.one, (CommitReply, FirstAudio, PlaybackStarted))
    assert audio.at == pytest.approx(commit.at - SPEECH_LEAD + TTFB, abs=EXACT)
    assert playback.at == pytest.approx(commit.at, abs=EXACT)
    assert talk.mouth_to_ear() == [pytest.approx(1.5, abs=EXACT)]


def test_the_last_words_of_a_recording_that_ends_in_a_word_are_answered() -> None:
    for detect in ("endpointing", "vad"):
        talk = converse(profile(f"turn.detect={detect}"), script(), speech(0.5, 1.2))

        assert answers(talk) == ["What is the weather?"]
        assert talk.one(EndSession).reason == "input ended"


@pytest.mark.parametrize("detect", ["endpointing", "vad"])
def test_a_recording_that_is_silent_ends_without_a_turn(detect: str) -> None:
    talk = converse(profile(f"turn.detect={detect}"), script(), silence(1.0))

    assert talk.turns == []
    assert talk.error is None
    assert talk.one(EndSession).reason == "input ended"


# ── pauses ───────────────────────────────────────────────────────────────────

PARTS = ("I would like to book a table for", "four people on Friday.")


def test_a_pause_inside_a_sentence_is_waited_out_by_the_detector() -> None:
    talk = converse(
        profile("turn.detect=vad"), script(*PARTS, gap=0.25), speech(0.5, 1.2, 0.5, 1.0, 2.0)
    )

    (turn,) = talk.turns
    assert turn.user_text == " ".join(PARTS)
    assert not turn.cut_off
    assert [draft.user_text for draft in talk.all(DraftReply)] == [PARTS[0], " ".join(PARTS)]
    assert [cancel.committed for cancel in talk.all(CancelReply)] == [False]
    assert len(talk.all(Finalize)) == 2
    assert turn.mouth_to_ear == pytest.approx(expected("vad", "llm"), abs=EXACT)


def test_words_while_the_agent_thinks_are_joined_to_those_before() -> None:
    """The STT's endpointing mistakes the pause for the end; the reply is not audible yet."""
    talk = converse(
        profile("limits.idle_s=5"),
        script(*PARTS, gap=0.25, interim=0.2, ttft=0.6),
        speech(0.5, 1.2, 0.5, 1.0, 20.0),
        recorded=False,
    )

    early, turn = talk.turns
    assert (early.user_text, early.outcome, early.cut_off) == (PARTS[0], "discarded", True)
    assert talk.all(VolumeChanged) == []  # nothing was heard of it
    assert (turn.user_text, turn.outcome) == (" ".join(PARTS), "answered")
    assert len(talk.all(ReplyFinished)) == 1
    asked = [message["content"] for message in talk.requests[-1]]
    assert asked[1:] == [" ".join(PARTS)]
    assert turn.mouth_to_ear == pytest.approx(expected("endpointing", ttft=0.6), abs=EXACT)


def test_a_commitment_that_was_too_early_is_taken_back_at_the_first_voice() -> None:
    """The STT put the full stop, not the user: after 0.45 s the turn is committed."""
    talk = converse(
        profile("turn.detect=vad", "limits.idle_s=5"),
        script("I would like a table.", "For four people.", gap=0.25),
        speech(0.5, 1.2, 0.5, 1.0, 20.0),
        recorded=False,
    )

    early, turn = talk.turns
    assert (early.outcome, early.reason) == ("discarded", "complete")
    assert turn.user_text == "I would like a table. For four people."
    taken_back = next(cancel for cancel in talk.all(CancelReply) if cancel.committed)
    again = talk.all(SpeechStarted)[1]
    assert taken_back.at == again.at <= again.speech_start + 0.03 + BLOCK


def test_a_reply_that_has_nothing_to_speak_lets_the_user_go_on() -> None:
    """After 0.45 s the turn could be committed; the LLM needs 0.8 s, and the user goes on."""
    talk = converse(
        profile("turn.detect=vad", "limits.idle_s=5"),
        script("I would like a table.", "For four people.", gap=0.25, ttft=0.8),
        speech(0.5, 1.2, 0.7, 1.0, 20.0),
        recorded=False,
    )

    (turn,) = talk.turns
    assert turn.user_text == "I would like a table. For four people."
    assert not turn.cut_off
    assert turn.mouth_to_ear == pytest.approx(expected("vad", ttft=0.8), abs=EXACT)
    assert turn.stages["turn.commit"] == pytest.approx(0.0, abs=EXACT)


# ── a sound before the reply is heard ────────────────────────────────────────

WANTED = "I would like a table."


CLICK = (6000 * np.sin(np.arange(0.06 * RATE) ** 2 / 700)).astype("<i2").tobytes()


def hear_in_pause(sound: bytes, words: str, *, after: Seconds) -> Conversation:
    """Say WANTED, and after a silence add ``sound``, in which the STT hears ``words``.

    Silero detects: it suspects a loud sound before it knows whether it is a voice.
    """
    format = AudioFormat(RATE)
    pause = format.silence(after)
    spoken = silence(0.5) + take_voice(1.2, RATE) + pause + sound + silence(12.0)
    samples = samples_of(spoken)
    return converse(
        profile("turn.detect=vad", "audio.vad=silero", "limits.idle_s=5"),
        script(
            WANTED,
            words,
            says=("Yes, of course.",),
            gap=0.25,
            interim=0.2,
            words_per_second=WHOLE,
            ttfb=0.3,
        ),
        (samples + np.resize(make_room_noise(RATE), len(samples))).tobytes(),
        recorded=False,
    )


def hear_before_reply(sound: bytes, words: str) -> tuple[Seconds, Conversation]:
    """Add ``sound`` 70 ms before the reply begins; return when it would begin without, too."""
    quiet = hear_in_pause(b"", "", after=0)
    begins = quiet.one(PlaybackStarted).at
    after = begins - quiet.one(SpeechStopped).speech_end - 0.07
    return begins, hear_in_pause(sound, words, after=after)


def test_a_reply_does_not_begin_while_the_user_may_be_going_on() -> None:
    begins, talk = hear_before_reply(take_voice(1.0, RATE), "For four people.")

    assert talk.all(CommitReply)[0].at < talk.one(Hold).at < begins < talk.all(SpeechStarted)[1].at
    early, turn = talk.turns
    assert (early.outcome, early.heard_at) == ("discarded", None)
    assert (turn.outcome, turn.user_text) == ("answered", f"{WANTED} For four people.")


def test_a_sound_that_is_no_voice_delays_the_reply_but_not_for_long() -> None:
    begins, talk = hear_before_reply(CLICK, "")

    hold, resume = talk.one(Hold), talk.one(Resume)
    assert hold.at < begins < resume.at
    assert resume.at == pytest.approx(hold.at + SUSPICION_TIMEOUT)
    (turn,) = talk.turns
    assert (turn.outcome, turn.said) == ("answered", "Yes, of course.")
    assert talk.one(PlaybackStarted).at == pytest.approx(resume.at, abs=EXACT)


# ── interruptions ────────────────────────────────────────────────────────────

LONG_REPLY = (
    "It is sunny. Tomorrow there will be a few clouds over the mountains, and on Sunday it rains."
)


@pytest.mark.parametrize("detect", ["endpointing", "vad"])
def test_a_barge_in_cuts_the_reply_and_the_llm_knows_what_was_heard(detect: str) -> None:
    talk = converse(
        profile("interrupt.policy=headphones", f"turn.detect={detect}"),
        script(
            "What is the weather?",
            "Stop. What about Sunday only?",
            says=(LONG_REPLY, "It rains."),
            interim=0.2,
            words_per_second=WHOLE,
        ),
        speech(0.5, 1.2, 2.6, 1.2, 3.0),
    )

    cut, turn = talk.turns
    assert (cut.outcome, turn.outcome) == ("interrupted", "answered")
    assert turn.user_text == "Stop. What about Sunday only?"
    cancelled = talk.one(ReplyCancelled)
    assert LONG_REPLY.startswith(cancelled.said)
    words = LONG_REPLY[: round(cancelled.heard / 0.06)].count(" ")
    assert abs(len(cancelled.said.split()) - words) <= 1  # words are taken to be equally long
    system, *told = talk.requests[-1]
    assert system["role"] == "system"
    assert [(message["role"], message["content"]) for message in told] == [
        ("user", "What is the weather?"),
        ("assistant", f"{cancelled.said} …"),
        ("user", "Stop. What about Sunday only?"),
    ]
    wait = expected(detect, draft_on="interim", tokens=1)
    assert turn.mouth_to_ear == pytest.approx(wait, abs=EXACT)


def test_an_interrupted_reply_is_ducked_at_once_and_silent_soon() -> None:
    talk = converse(
        profile("interrupt.policy=headphones"),
        script("What is the weather?", "Stop.", says=(LONG_REPLY,), interim=0.3),
        speech(0.5, 1.2, 2.6, 1.2, 2.0),
    )

    start = talk.all(SpeechStarted)[1].speech_start
    assert talk.one(Duck).at - start <= 0.1
    assert talk.one(ReplyCancelled).at - start <= 0.45


def test_a_back_channel_is_listened_to_and_the_reply_goes_on() -> None:
    talk = converse(
        profile("interrupt.policy=headphones"),
        script("What is the weather?", "Uh-huh.", says=(LONG_REPLY,)),
        speech(0.5, 1.2, 2.6, 0.4, 6.0),
    )

    (turn,) = talk.turns
    assert (turn.outcome, turn.said) == ("answered", LONG_REPLY)
    orders = [talk.one(Duck), talk.one(Hold), talk.one(Resume)]
    changes = talk.all(VolumeChanged)
    assert [one.volume for one in changes] == ["ducked", "silent", "full"]
    assert [one.at for one in changes] == pytest.approx([one.at + FADE for one in orders])
    assert talk.all(CancelReply) == []
    spoken = sum(len(sent.text.strip()) for sent in talk.all(ClauseSent))
    assert turn.heard == pytest.approx(0.06 * spoken)
    assert len(talk.requests) == 1


# ── half duplex ──────────────────────────────────────────────────────────────


def test_nothing_is_sent_to_the_stt_while_the_agent_speaks_and_the_line_stays_open() -> None:
    says = ("It is sunny. " + LONG_REPLY,)
    talk = converse(
        profile(),
        script("What is the weather?", "Thanks.", says=says),
        speech(0.5, 1.2, 1.0, 0.5, 1.0),
        tapped=True,
    )

    assert [turn.outcome for turn in talk.turns] == ["answered", "answered"]
    speaking = [
        (audio.at, finished.at)
        for audio, finished in zip(talk.all(FirstAudio), talk.all(ReplyFinished), strict=True)
    ]
    first, last = speaking[0]
    assert last - first > 5
    audio = [frame for frame in talk.frames if frame.audio]
    assert not [f for f in audio if any(start < f.at < end for start, end in speaking)]
    spoken_over = sum(end - start for start, end in speaking)
    total = talk.timeline[-1].at - audio[0].at
    # Of the block in which the agent falls silent nothing is sent.
    sent = total - spoken_over - len(speaking) * BLOCK
    assert sum(frame.audio for frame in audio) == pytest.approx(sent)
    keep_alive = [frame for frame in talk.frames if "KeepAlive" in frame.text]
    assert keep_alive
    assert all(any(start < f.at < end for start, end in speaking) for f in keep_alive)
    longest = max(after.at - before.at for before, after in pairwise(talk.frames))
    assert longest <= 5  # the service hangs up after 10 s


def test_what_is_said_over_a_half_duplex_agent_takes_no_floor() -> None:
    talk = converse(
        profile("limits.idle_s=8"),
        script("What is the weather?", "Stop.", says=(LONG_REPLY,)),
        speech(0.5, 1.2, 2.6, 1.0, 1.0),
        recorded=False,
    )

    (turn,) = talk.turns
    assert (turn.outcome, turn.said) == ("answered", LONG_REPLY)


# ── limits ───────────────────────────────────────────────────────────────────


def test_a_conversation_in_which_nobody_speaks_ends() -> None:
    talk = converse(
        profile("limits.idle_s=30"),
        script(),
        speech(0.5, 1.2) + silence(60.0),
        recorded=False,
    )

    end, finished = talk.one(EndSession), talk.one(ReplyFinished)
    assert end.reason == "idle"
    assert end.at - finished.at == pytest.approx(30, abs=EXACT)
    assert talk.error is None


def test_a_conversation_does_not_outlast_its_limit_even_while_the_agent_speaks() -> None:
    talk = converse(
        profile("limits.minutes=0.1"),
        script(says=(LONG_REPLY * 2,)),
        speech(0.5, 1.2) + silence(60.0),
        recorded=False,
    )

    assert talk.one(EndSession).reason == "time is up"
    (turn,) = talk.turns
    assert turn.outcome == "interrupted"
    assert talk.one(EndSession).at == pytest.approx(6 + talk.timeline[0].at)


# ── a typing user ────────────────────────────────────────────────────────────


def typing(*lines: tuple[Seconds, str]) -> During:
    async def type(session: Session) -> None:
        for at, text in lines:
            await asyncio.sleep(at - clock.now())
            session.post(TextTyped(at=clock.now(), text=text))

    return type


def test_a_typed_turn_is_answered_at_once() -> None:
    talk = converse(
        profile("limits.idle_s=5"),
        script(says=("It is noon.", "It is sunny.")),
        silence(30.0),
        recorded=False,
        during=typing((1.0, "What is the time?"), (5.0, "And the weather?")),
    )

    assert [(turn.user_text, turn.reason) for turn in talk.turns] == [
        ("What is the time?", "typed"),
        ("And the weather?", "typed"),
    ]
    assert [message["content"] for message in talk.requests[-1]][1:] == [
        "What is the time?",
        "It is noon.",
        "And the weather?",
    ]
    assert all(turn.mouth_to_ear is None for turn in talk.turns)
    start = talk.all(PlaybackStarted)[0].at
    assert start - 1.0 == pytest.approx(0.2 + 2 * TOKEN + TTFB, abs=EXACT)


def test_typing_cuts_the_reply_before() -> None:
    talk = converse(
        profile("limits.idle_s=2"),
        script(says=(LONG_REPLY, "Sunny.")),
        silence(30.0),
        recorded=False,
        during=typing((1.0, "What is the time?"), (3.0, "Never mind.")),
    )

    assert [turn.outcome for turn in talk.turns] == ["interrupted", "answered"]
    assert talk.one(ReplyCancelled).at == pytest.approx(3.0, abs=EXACT)


# ── long conversations ───────────────────────────────────────────────────────


@pytest.mark.parametrize("detect", ["endpointing", "vad"])
def test_the_twentieth_turn_is_as_quick_as_the_first(detect: str) -> None:
    pcm = silence(0.5) + (voice(1.0) + silence(1.0)) * 20
    talk = converse(profile(f"turn.detect={detect}"), script(says=("It is sunny.",)), pcm)

    took = talk.mouth_to_ear()
    assert len(took) == 20
    assert max(took) - min(took) <= EXACT
    assert [len(request) for request in talk.requests] == [2 * n + 2 for n in range(20)]


# ── the TTS's flushes ────────────────────────────────────────────────────────

SENTENCES = (
    "It is sunny. ",
    "Tomorrow the sun will shine on us all day long. ",
    "Only then will there be some rain.",
)


def test_quick_turns_take_two_flushes_each_and_cost_no_silence() -> None:
    said = "".join(SENTENCES)
    quick = script(says=(said,) * 6)
    quick = replace(quick, llm=replace(quick.llm, token=Latency(0.05)))
    talk = converse(profile("turn.detect=vad"), quick, speech(*[1.0, 1.0] * 6, 2.0))

    assert [turn.outcome for turn in talk.turns] == ["answered"] * 6
    replies = talk.all(ReplyFinished)
    assert [(reply.said, reply.underruns) for reply in replies] == [(said, 0)] * 6
    for turn in talk.turns:
        assert turn.flushes in (2, 3)
        assert turn.mouth_to_ear == pytest.approx(min(talk.mouth_to_ear()), abs=BLOCK + EXACT)
