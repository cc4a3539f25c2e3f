"""One conversation: the machine decides, the session does.

Every event passes through one inbox, is appended to the timeline, and shown to the machine; every
action the machine asks for is appended and performed.  The loop never waits for the network.  All
tasks of the conversation but those of a reply are made here, in one group.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from voicecli import clock
from voicecli.audio.interfaces import Detector, Sink, Source
from voicecli.events import (
    MAX_LAG,
    Action,
    CancelReply,
    CommitReply,
    DeadlinePassed,
    DraftReply,
    Duck,
    EndSession,
    Event,
    Finalize,
    FinalTranscript,
    FirstAudio,
    Hold,
    InputEnded,
    LoopLagged,
    MicrophoneMuted,
    ReplyCancelled,
    ReplyEvent,
    ReplyFailed,
    ReplyFinished,
    Resume,
    SpeechStarted,
    SpeechStopped,
    TextTyped,
    UserQuit,
)
from voicecli.pipeline.generation import HedgeDelay
from voicecli.pipeline.history import ChatHistory
from voicecli.pipeline.reply import Reply, ReplyOptions
from voicecli.pipeline.transcription import Connect, ReconnectingTranscriber
from voicecli.services.interfaces import LanguageModel, Synthesizer, Transcriber
from voicecli.timeline import Timeline
from voicecli.turns.machine import Phase, TurnMachine
from voicecli.units import AudioBlock, Seconds

BEFORE: Seconds = 0.5
"""So much before a voice may belong to it: the detector misses a soft beginning."""

COLD: Seconds = 60.0
"""After so long without a word, the LLM's connection may have been dropped on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a conversation is held.  Durations in seconds; None for no limit.

    half_duplex: nobody listens while the agent speaks.
    polite: once a turn has ended, the source waits until the reply was heard (a recorded user).
    idle: the conversation ends when nobody has spoken for so long.
    longest: and after so long in any case.
    interims: the STT was asked for interim transcripts, so its silence after a voice is no answer.
    """

    half_duplex: bool = True
    polite: bool = False
    idle: Seconds | None = None
    longest: Seconds | None = None
    interims: bool = True
    reply: ReplyOptions = field(default_factory=ReplyOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """What a conversation is made of.

    stt: None where nobody speaks; then nobody listens.
    reconnect: opens another connection to it.
    tap: is given each block of the microphone, whether anybody listens or not.
    """

    source: Source
    detector: Detector
    stt: Transcriber | None
    reconnect: Connect
    llm: LanguageModel
    tts: Synthesizer
    sink: Sink
    tap: Callable[[AudioBlock], None] | None = None


class Session:
    """A conversation that has not begun yet; ``run`` holds it.

    timeline: all that happened so far.
    """

    def __init__(
        self,
        stages: Components,
        machine: TurnMachine,
        conversation: ChatHistory,
        *,
        hedge: HedgeDelay,
        options: SessionOptions,
        timeline: Timeline | None = None,
    ) -> None:
        self._stages = stages
        self._machine = machine
        self._conversation = conversation
        self._hedge = hedge
        self._options = options
        self.timeline = timeline if timeline is not None else Timeline()
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._ears = ReconnectingTranscriber(
            stages.stt, stages.reconnect, stages.source.format, self.post
        )
        self._notices: list[AsyncGenerator[Event, None]] = []
        self._reply: Reply | None = None
        self._reply_task: asyncio.Task[None] | None = None
        self._muted = False
        self._deaf = False
        self._answered = True
        self._has_audio = False
        self._hears_from: Seconds = 0.0
        self._lag: Seconds = 0.0
        self._active_at: Seconds = 0.0

    @property
    def phase(self) -> Phase:
        """Whose turn it is."""
        return self._machine.phase

    @property
    def heard(self) -> str:
        """What was heard of the reply under way, as far as flush boundaries tell."""
        return self._reply.heard if self._reply is not None else ""

    def post(self, event: Event) -> None:
        """``event`` has happened; never waits."""
        self._inbox.put_nowait(event)

    def add_event_source(self, notices: AsyncGenerator[Event, None]) -> None:
        """What befalls a device happens in the conversation; to be called before ``run``."""
        self._notices.append(notices)

    async def run(self) -> None:
        """Converse until the input has ended and the last reply was heard, or the user quits.

        Raises ServiceError or DeviceError, perhaps in a group, where that ends it.
        """
        self._started = self._active_at = clock.now()
        self.timeline.follow(self._conversation.note)
        if self._stages.stt is not None:
            self.post(self._stages.stt.opened)
        self.post(self._stages.tts.opened)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._converse(tasks)
        finally:
            while not self._inbox.empty():  # what happened last is part of the record
                self.timeline.append(self._inbox.get_nowait())
        if self._ears.failure is not None:
            raise self._ears.failure

    async def _converse(self, tasks: asyncio.TaskGroup) -> None:
        ears = [
            tasks.create_task(self._hear(), name="hear"),
            tasks.create_task(self._ears.send(), name="send audio"),
            tasks.create_task(self._ears.receive(), name="receive transcripts"),
            *(tasks.create_task(self._pass_on(one), name="notices") for one in self._notices),
        ]
        while self._machine.phase is not Phase.ENDED:
            await self._note(await self._next_event(), tasks)
        await self._ears.finish()
        for task in ears:
            task.cancel()

    async def _pass_on(self, notices: AsyncGenerator[Event, None]) -> None:
        async with aclosing(notices):
            async for event in notices:
                self.post(event)

    # ── events ───────────────────────────────────────────────────────────────

    async def _next_event(self) -> Event:
        """What happens next; the machine's deadline, and ours, are events as well."""
        wake, quits = self._machine.deadline, self._quits_at()
        first = min((at for at in (wake, quits and quits[0]) if at is not None), default=None)
        try:
            async with asyncio.timeout_at(first):
                return await self._inbox.get()
        except TimeoutError:
            now = clock.now()
            if first is not None and now - first > MAX_LAG:
                self.timeline.append(LoopLagged(at=now, lag=now - first))
            if quits is not None and first == quits[0]:
                return UserQuit(at=now, reason=quits[1])
            return DeadlinePassed(at=now)

    def _quits_at(self) -> tuple[Seconds, str] | None:
        """When nobody's patience lasts longer, and why."""
        limits = []
        if self._options.longest is not None:
            limits.append((self._started + self._options.longest, "time is up"))
        if self._options.idle is not None and self._machine.phase is Phase.LISTENING:
            limits.append((self._active_at + self._options.idle, "idle"))
        return min(limits, default=None)

    async def _note(self, event: Event, tasks: asyncio.TaskGroup) -> None:
        """Append ``event``, and do what must be done about it."""
        self.timeline.append(event)
        self._react(event, tasks)
        for action in self._machine.handle(event):
            self.timeline.append(action)
            await self._perform(action, tasks)

    def _react(self, event: Event, tasks: asyncio.TaskGroup) -> None:
        """What the session itself does about an event, whoever has the floor."""
        match event:
            case FirstAudio() if self._is_of_reply(event):
                self._has_audio = True
                self._stop_listening()
            case ReplyFinished() | ReplyFailed() | ReplyCancelled() if self._is_of_reply(event):
                self._reply = None
                self._listen_again()
            case FinalTranscript(text=""):
                pass  # silence has finals, too, every few seconds
            case SpeechStarted() | FinalTranscript() | TextTyped():
                if isinstance(event, SpeechStarted) and self._answered:
                    self._ears.forget(event.speech_start - BEFORE)
                    self._answered = False
                if event.at - self._active_at > COLD:
                    tasks.create_task(self._stages.llm.warm(), name="warm the LLM up")
                self._active_at = event.at
            case SpeechStopped() if self._options.interims:
                self._ears.expect()
            case MicrophoneMuted():
                self._muted = event.muted
                self._ears.excuse()
                self._stages.detector.reset()

    def _is_of_reply(self, event: ReplyEvent) -> bool:
        """Whether it speaks of the reply under way; what was cancelled may still be heard of."""
        return self._reply is not None and self._reply.turn == event.turn

    def _stop_listening(self) -> None:
        """Half duplex: from the first audio of a reply on, once it is committed."""
        committed = self._reply is not None and self._reply.committed
        self._deaf = self._options.half_duplex and committed and self._has_audio
        if self._deaf:
            self._ears.excuse()

    def _listen_again(self) -> None:
        self._active_at = clock.now()
        if self._deaf:
            self._deaf, self._answered = False, True
            self._hears_from = clock.now()
            self._stages.detector.reset()
        if self._options.polite:
            self._stages.source.resume()

    # ── actions ──────────────────────────────────────────────────────────────

    async def _perform(self, action: Action, tasks: asyncio.TaskGroup) -> None:
        match action:
            case DraftReply():
                self._start_reply(action, tasks)
            case CommitReply():
                if self._options.polite:
                    self._stages.source.pause()
                if self._reply is not None:
                    self._reply.commit()
                    self._stop_listening()
            case CancelReply() | EndSession():
                await self._cancel_reply(tasks)
            case Finalize():
                await self._ears.finalize()
            case _:
                self._play(action)

    def _play(self, action: Action) -> None:
        match action:
            case Duck():
                self._stages.sink.duck()
            case Hold():
                self._stages.sink.hold()
            case Resume():
                self._stages.sink.resume()

    def _start_reply(self, draft: DraftReply, tasks: asyncio.TaskGroup) -> None:
        self._has_audio = False
        self._reply = Reply(
            draft.turn,
            self._conversation.messages(draft.user_text, turn=draft.turn),
            llm=self._stages.llm,
            tts=self._stages.tts,
            sink=self._stages.sink,
            hedge=self._hedge,
            options=self._options.reply,
            post=self.post,
        )
        self._reply_task = tasks.create_task(self._reply.run(), name=f"reply {draft.turn}")

    async def _cancel_reply(self, tasks: asyncio.TaskGroup) -> None:
        """Silence first, and without waiting; then the task; then the TTS."""
        reply, task = self._reply, self._reply_task
        if reply is None or task is None or task.done():
            return
        heard = self._stages.sink.clear()
        task.cancel()
        await asyncio.wait([task])
        await self._stages.tts.clear()
        cancelled = reply.cancelled(heard)
        self.timeline.append(cancelled)
        self._react(cancelled, tasks)

    # ── the microphone ───────────────────────────────────────────────────────

    async def _hear(self) -> None:
        """Every block: to the recording, the detector and the STT."""
        tap = self._stages.tap
        async with aclosing(self._stages.source.blocks()) as blocks:
            async for block in blocks:
                self._notice_lag(block.came)
                if tap is not None:
                    tap(block)
                if self._listens_at(block.at):
                    for event in self._stages.detector.feed(block):
                        self.post(event)
                    self._ears.hear(block)
                if block.last:
                    self.post(InputEnded(at=clock.now()))

    def _listens_at(self, at: Seconds) -> bool:
        nobody = self._stages.stt is None
        return not (nobody or self._deaf or self._muted or at < self._hears_from)

    def _notice_lag(self, came: Seconds | None) -> None:
        """A block that was left waiting tells that the loop was busy."""
        waited = came is not None and came >= self._started  # not for the connections to open
        lag = clock.now() - came if came is not None and waited else 0.0
        if lag > MAX_LAG and lag > self._lag:
            self.post(LoopLagged(at=clock.now(), lag=lag))
        self._lag = lag  # a queue of blocks is told of once
