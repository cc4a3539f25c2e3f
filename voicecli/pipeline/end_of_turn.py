"""Has a model judge, in a pause, whether the user's turn has ended.

A judgement takes 46 to 92 ms of a core, so a background thread makes it.  Where that has too much
to do, pauses go unjudged, and the words alone decide: a pause that has waited for LONGEST_WAIT is
dropped, and so is one that is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from voicecli import clock, events
from voicecli.audio.vad.smart_turn import LONGEST, SmartTurn, create_network
from voicecli.events import EndOfTurnScored, ScoreEndOfTurn
from voicecli.pipeline import Post
from voicecli.pipeline.background import open_thread
from voicecli.timeline import Entry
from voicecli.turns.policy import EndModel
from voicecli.units import AudioBlock, AudioFormat, Seconds

ONSET: Seconds = 0.2
"""Audio that is judged before the detected start of the turn, which may have been soft."""

PURPOSE = "judge end of turn"

LONGEST_WAIT: Seconds = 0.25
"""For the thread.  By default, the turn is committed 370 ms after a score was asked for."""


class EndOfTurnScorer:
    """Keeps the audio of the user's turn, as much as the network hears, and has it judged.

    format: of the microphone's blocks.

    The blocks are those that are kept for the STT as well; they are not copied.
    """

    def __init__(self, network: SmartTurn, format: AudioFormat) -> None:
        self._network = network
        self._format = format
        self._blocks: deque[AudioBlock] = deque()
        self._start: Seconds | None = None
        """When the user began to speak; None before that."""
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Load the network, in the thread that judges."""
        await asyncio.get_running_loop().run_in_executor(open_thread(PURPOSE), self._network.load)

    def add(self, block: AudioBlock) -> None:
        """Keep ``block``, and drop what is too old."""
        self._blocks.append(block)
        while self._blocks[0].at < block.at - LONGEST:
            self._blocks.popleft()

    def follow(self, entry: Entry) -> None:
        """Note where the turn begins, with the first speech since a reply was heard.

        A score that the thread has not begun is cancelled when the pause is over.
        """
        match entry:
            case events.SpeechStarted():
                self._drop_score()
                self._start = entry.speech_start if self._start is None else self._start
            case events.SpeechResumed() | events.CommitReply() | events.EndSession():
                self._drop_score()
            case events.PlaybackStarted() | events.ReplyFinished():
                self._start = None

    def start(self, order: ScoreEndOfTurn, tasks: asyncio.TaskGroup, post: Post) -> None:
        """Have the turn so far judged in a task, which posts EndOfTurnScored."""
        self._drop_score()
        self._task = tasks.create_task(self._score(order, post), name="score end of turn")

    def _drop_score(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _score(self, order: ScoreEndOfTurn, post: Post) -> None:
        start = order.speech_end - LONGEST if self._start is None else self._start - ONSET
        turn = [block for block in self._blocks if block.at >= start]
        loop = asyncio.get_running_loop()
        due = loop.time() + LONGEST_WAIT
        probability = await loop.run_in_executor(
            open_thread(PURPOSE), judge_in_time, self._network, turn, self._format, due, loop.time
        )
        if probability is not None:
            post(
                EndOfTurnScored(
                    at=clock.now(), speech_end=order.speech_end, probability=probability
                )
            )


def judge_in_time(
    network: SmartTurn,
    turn: Sequence[AudioBlock],
    format: AudioFormat,
    due: Seconds,
    now: Callable[[], Seconds],
) -> float | None:
    """Have ``network`` judge ``turn``; return None, unjudged, when ``due`` is past."""
    return None if now() > due else network.judge(turn, format)


def create_scorer(end_model: EndModel, format: AudioFormat) -> EndOfTurnScorer | None:
    """Create a scorer, if ``turn.end_model`` asks for one and its network is there.

    Raises as ``find_network`` does.
    """
    network = create_network(end_model)
    return None if network is None else EndOfTurnScorer(network, format)
