"""What of the user's voice is judged for the end of a turn, and which judgements are posted."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import soundfile
from typing_extensions import override

from tests.support import SPEECH
from tests.support.conversations import converse as hold_conversation
from tests.support.conversations import profile
from voicecli import clock, models
from voicecli.audio.vad.smart_turn import LONGEST, SmartTurn
from voicecli.events import (
    Action,
    CommitReply,
    EndOfTurnScored,
    EndSession,
    Event,
    PlaybackStarted,
    ReplyFinished,
    ScoreEndOfTurn,
    SpeechResumed,
    SpeechStarted,
)
from voicecli.pipeline.background import NICENESS, open_thread
from voicecli.pipeline.end_of_turn import ONSET, PURPOSE, EndOfTurnScorer, judge_in_time
from voicecli.standin.script import Script, SttScript
from voicecli.timeline import Entry
from voicecli.units import AudioBlock, AudioFormat, Seconds

FORMAT = AudioFormat(16_000)
BLOCK: Seconds = 0.1


@dataclass
class Network(SmartTurn):
    """Judges nothing; keeps from when to when each turn was, and waits if it is held."""

    turns: list[tuple[Seconds, Seconds]] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)

    @override
    def judge(self, blocks: Sequence[AudioBlock], format: AudioFormat) -> float:
        assert threading.current_thread() is not threading.main_thread()
        assert self.free.wait(5)
        self.turns.append((round(blocks[0].at, 3), round(blocks[-1].at + BLOCK, 3)))
        return 0.75


@dataclass
class Judged:
    """What the network was given, and what was posted."""

    turns: list[tuple[Seconds, Seconds]]
    posted: list[Event]


def converse(*steps: Sequence[AudioBlock] | Entry) -> Judged:
    """Give a scorer audio, entries and orders; the network is held until the last of them."""
    network, posted = Network(), list[Event]()

    async def main() -> None:
        scorer = EndOfTurnScorer(network, FORMAT)
        async with asyncio.TaskGroup() as tasks:
            for step in steps:
                if isinstance(step, ScoreEndOfTurn):
                    scorer.start(step, tasks, posted.append)
                elif isinstance(step, Event | Action):
                    scorer.follow(step)
                else:
                    for block in step:
                        scorer.add(block)
                await asyncio.sleep(0)
            network.free.set()

    clock.run(main(), virtual=True)
    return Judged(network.turns, posted)


def audio(start: Seconds, end: Seconds) -> list[AudioBlock]:
    count = round((end - start) / BLOCK)
    return [AudioBlock(FORMAT.silence(BLOCK), start + one * BLOCK) for one in range(count)]


def starts(start: Seconds) -> Event:
    return SpeechStarted(at=start + 0.1, speech_start=start)


def score(end: Seconds) -> ScoreEndOfTurn:
    return ScoreEndOfTurn(at=end + 0.1, speech_end=end)


COMMIT = CommitReply(at=4, turn=1, user_text="Hello.", speech_end=3, reason="complete")


def test_the_turn_is_judged_from_its_beginning():
    """It begins before the first pause."""
    judged = converse(audio(0, 3.1), starts(1), starts(2), score(3))
    assert judged.turns == [(1 - ONSET, 3.1)]
    assert judged.posted == [EndOfTurnScored(at=0, speech_end=3, probability=0.75)]


def test_of_a_long_turn_the_end_is_judged():
    ((start, end),) = converse(starts(0), audio(0, 30), score(29.9)).turns
    assert end == 30
    assert LONGEST <= end - start <= LONGEST + 2 * BLOCK


@pytest.mark.parametrize(
    "entry", [PlaybackStarted(at=4, turn=1), ReplyFinished(at=4, turn=1, said="Noon.", heard=1)]
)
def test_a_turn_begins_after_the_reply(entry: Entry):
    judged = converse(audio(0, 6), starts(1), entry, starts(5), score(5.9))
    assert judged.turns == [(5 - ONSET, 6)]


def test_a_reply_that_was_not_heard_is_no_end_of_the_turn():
    judged = converse(audio(0, 6), starts(1), COMMIT, starts(5), score(5.9))
    assert judged.turns == [(1 - ONSET, 6)]


@pytest.mark.parametrize(
    "entry", [starts(3.1), SpeechResumed(at=3.1), COMMIT, EndSession(at=3.1, reason="quit")]
)
def test_a_pause_that_is_over_is_not_reported(entry: Entry):
    assert converse(audio(0, 3.1), starts(1), score(3), entry).posted == []


@pytest.mark.parametrize(("now", "judged"), [(2.9, 0.75), (3.1, None)])
def test_a_pause_that_has_waited_too_long_is_not_judged(now: Seconds, judged: float | None):
    network = Network()
    network.free.set()
    asked = open_thread(PURPOSE).submit(
        judge_in_time, network, audio(0, 1), FORMAT, 3.0, lambda: now
    )
    assert asked.result(5) == judged
    assert len(network.turns) == (judged is not None)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a priority is the process's")
def test_the_thread_gives_way_to_the_loop():
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    lowered = open_thread(PURPOSE).submit(priority).result(5)
    assert lowered == min(19, priority() + NICENESS)


def test_only_the_last_of_the_pauses_is_reported_and_none_that_waits_is_judged():
    """The thread may have begun with the first."""
    judged = converse(audio(0, 3.1), starts(1), score(2), score(2.5), score(3))
    assert [one.speech_end for one in judged.posted if isinstance(one, EndOfTurnScored)] == [3]
    assert len(judged.turns) < 3


@pytest.mark.local
@pytest.mark.skipif(not models.find(models.SMART_TURN), reason="run: voicecli models fetch")
@pytest.mark.parametrize(("end_model", "waited"), [("smart-turn", 0.45), ("off", 0.7)])
def test_a_turn_that_sounds_finished_is_answered_sooner(end_model: str, waited: Seconds):
    """A recorded sentence, whose words are without a full stop."""
    samples, rate = soundfile.read(SPEECH / "librivox-0920.wav", dtype="int16")
    settings = profile("turn.detect=vad", "turn.draft=llm", f"turn.end_model={end_model}")
    assert settings.audio.sample_rate == rate
    script = Script(stt=SttScript(hears=("she might have been respectable",), gap=1))
    talk = hold_conversation(settings, script, samples.tobytes())
    (turn,) = talk.turns
    assert turn.reason == ("complete" if end_model == "smart-turn" else "default")
    assert (turn.end_score is not None) == (end_model == "smart-turn")
    commit = talk.one(CommitReply)
    assert commit.speech_end is not None
    assert commit.at - commit.speech_end == pytest.approx(waited, abs=0.005)
