"""A conversation: the turn machine decides, the session acts.

Every event passes through one inbox, is appended to the timeline and given to the machine; every
action the machine returns is appended and performed.  The loop never waits for the network.  All
tasks of the conversation, except those within a reply, are created here, in one TaskGroup.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from voicecli import clock, events
from voicecli.audio.interfaces import Detector, Measurement, Sink, Source
from voicecli.events import MAX_LAG, Action, Event, UserQuit
from voicecli.pipeline import ReplyHandle, Responder
from voicecli.pipeline.background import open_thread
from voicecli.pipeline.detection import detect
from voicecli.pipeline.end_of_turn import EndOfTurnScorer
from voicecli.pipeline.history import ChatHistory
from voicecli.pipeline.transcription import Connect, ReconnectingTranscriber
from voicecli.services.interfaces import Transcriber
from voicecli.timeline import Timeline
from voicecli.turns.machine import Phase, TurnMachine
from voicecli.turns.policy import SessionLimits
from voicecli.units import AudioBlock, Seconds

SOFT_ONSET: Seconds = 0.5
"""Audio this long before detected speech may belong to it: the detector misses a soft onset."""

WARM_AFTER: Seconds = 60.0
"""Without speech for this long, idle connections may have been dropped on the way."""


@dataclass(eq=False, kw_only=True)
class Session:
    """One conversation; ``run`` conducts it.

    stt: the first connection; None when the user types, and nothing is transcribed.
    reconnect: opens another one.
    limits: None for a recorded user: nothing but the input ends the session.
    waits: the user is polite: in half duplex the source pauses from a commit to the end of the
        reply.
    scorer: has pauses judged by their sound; None without an end-of-turn model.
    greets: the agent begins, with a greeting.
    interims: the STT sends interim transcripts, so silence after speech means it is lost.
    timeline: everything that has happened so far.
    """

    source: Source
    detector: Detector
    stt: Transcriber | None
    reconnect: Connect
    responder: Responder
    sink: Sink
    machine: TurnMachine
    history: ChatHistory
    scorer: EndOfTurnScorer | None
    limits: SessionLimits | None
    waits: bool
    interims: bool
    timeline: Timeline
    greets: bool = False

    def __post_init__(self) -> None:
        self._half_duplex = not self.machine.barge_in.allowed
        self._pause_while_replying = self.waits and self._half_duplex
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._event_sources: list[AsyncGenerator[Event, None]] = []
        self._taps: list[Callable[[AudioBlock], None]] = []
        self._transcriber = ReconnectingTranscriber(
            self.stt, self.reconnect, self.source.format, self.post
        )
        self._reply: ReplyHandle | None = None
        self._reply_task: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._reply_has_audio = self._reply_held = False
        self._connection_closed = False
        """Whether a reply was cancelled since the connections were renewed."""
        self._hearing = asyncio.Event()
        self._muted = False
        self._listening_paused = False
        self._listen_from: Seconds = 0.0
        self._turn_is_silent = True
        """Whether no speech was detected since the agent last had the floor."""
        self._active_at: Seconds = 0.0
        self._last_lag: Seconds = 0.0

    @property
    def heard(self) -> str:
        """The words of the current reply that have been played."""
        return self._reply.heard if self._reply is not None else ""

    def post(self, event: Event) -> None:
        """Put ``event`` into the inbox; never waits."""
        self._inbox.put_nowait(event)

    def add_event_source(self, source: AsyncGenerator[Event, None]) -> None:
        """Merge the events of a device into the session.  Call before ``run``."""
        self._event_sources.append(source)

    def add_tap(self, tap: Callable[[AudioBlock], None]) -> None:
        """Pass every microphone block to ``tap``, transcribed or not.  Call before ``run``."""
        self._taps.append(tap)

    async def run(self) -> None:
        """Converse until the input is over and answered, a limit is reached or the user quits.

        Raises ServiceError or DeviceError, possibly in a group, if that ends the conversation.
        """
        self._started_at = self._active_at = clock.now()
        self.timeline.follow(self.history)
        if self.scorer is not None:
            self.timeline.follow(self.scorer.follow)
        if self.stt is not None:
            self.post(self.stt.opened)
        for opened in self.responder.opened:
            self.post(opened)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._converse(tasks)
        finally:
            while not self._inbox.empty():  # the timeline includes the last events
                self.timeline.append(self._inbox.get_nowait())
        if self._transcriber.failure is not None:
            raise self._transcriber.failure

    async def _converse(self, tasks: asyncio.TaskGroup) -> None:
        inputs = [
            tasks.create_task(self._read_source(), name="read source"),
            tasks.create_task(self._transcriber.send(), name="send audio"),
            tasks.create_task(self._transcriber.receive(), name="receive transcripts"),
            tasks.create_task(self._load(), name="load"),
            *(tasks.create_task(self._forward(one), name="events") for one in self._event_sources),
        ]
        if self.greets:
            await self._perform_all(self.machine.greet(clock.now()), tasks)
        while self.machine.phase is not Phase.ENDED:
            await self._process(await self._next_event(), tasks)
        await self._transcriber.finish()
        for task in (*inputs, *([self._preparing] if self._preparing else [])):
            task.cancel()

    async def _load(self) -> None:
        """Load what the first reply needs; it would delay the first audio, which goes before."""
        await self._hearing.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.responder.load(), name="load responder")
            if self.scorer is not None:
                tasks.create_task(self.scorer.load(), name="load scorer")

    async def _forward(self, source: AsyncGenerator[Event, None]) -> None:
        async with aclosing(source):
            async for event in source:
                self.post(event)

    # ── events ───────────────────────────────────────────────────────────────

    async def _next_event(self) -> Event:
        """Wait for the inbox, the machine's deadline or a limit of the session."""
        deadline, limit = self.machine.deadline, self._session_limit()
        due = min((at for at in (deadline, limit and limit[0]) if at is not None), default=None)
        try:
            async with asyncio.timeout_at(due):
                return await self._inbox.get()
        except TimeoutError:
            now = clock.now()
            if due is not None and now - due > MAX_LAG:
                self.timeline.append(events.LoopLagged(at=now, lag=now - due))
            if limit is not None and due == limit[0]:
                return UserQuit(at=now, reason=limit[1])
            return events.DeadlinePassed(at=now)

    def _session_limit(self) -> tuple[Seconds, str] | None:
        """Return the earliest session limit as (time, reason), or None."""
        limits, due = self.limits, []
        if limits and limits.longest is not None:
            due.append((self._started_at + limits.longest, "time is up"))
        if limits and limits.idle is not None and self.machine.phase is Phase.LISTENING:
            due.append((self._active_at + limits.idle, "idle"))
        return min(due, default=None)

    async def _process(self, event: Event, tasks: asyncio.TaskGroup) -> None:
        self.timeline.append(event)
        self._react(event, tasks)
        await self._perform_all(self.machine.handle(event), tasks)

    def _react(self, event: Event, tasks: asyncio.TaskGroup) -> None:
        """Do what the session itself does about an event, regardless of who has the floor."""
        self._renew_connections(event, tasks)
        match event:
            case events.FirstAudio() if self._is_of_reply(event):
                self._reply_has_audio = True
                self._pause_listening()
            case events.ReplyFinished() | events.ReplyFailed() | events.ReplyCancelled():
                if self._is_of_reply(event):
                    self._reply = None
                    self._resume_listening()
                    self._prepare_next(tasks)
            case events.FinalTranscript(text=""):
                pass  # the STT sends finals during silence, too, every few seconds
            case events.SpeechStarted() | events.FinalTranscript() | events.TextTyped():
                if isinstance(event, events.SpeechStarted) and self._turn_is_silent:
                    self._transcriber.drop_before(event.speech_start - SOFT_ONSET)
                    self._turn_is_silent = False
                if event.at - self._active_at > WARM_AFTER:
                    tasks.create_task(self.responder.warm(), name="warm responder")
                    self._prepare_next(tasks)
                self._active_at = event.at
            case events.SpeechStopped() if self.interims:
                self._transcriber.arm_watchdog()
            case events.MicrophoneMuted():
                self._muted = event.muted
                self._transcriber.disarm_watchdog()
                self.detector.reset()

    def _renew_connections(self, event: Event, tasks: asyncio.TaskGroup) -> None:
        """Replace the connection of a cancelled reply, once the next one has taken the other."""
        if isinstance(event, events.ReplyCancelled):
            self._connection_closed = True
        elif isinstance(event, events.LlmRequested) and self._connection_closed:
            self._connection_closed = False
            tasks.create_task(self.responder.warm(), name="warm responder")

    def _is_of_reply(self, event: events.ReplyEvent) -> bool:
        """Whether ``event`` is about the current reply; events of a cancelled one may follow it."""
        return self._reply is not None and self._reply.turn == event.turn

    def _prepare_next(self, tasks: asyncio.TaskGroup) -> None:
        if self._preparing is None or self._preparing.done():
            preparing = self.responder.prepare_next(self.post)
            self._preparing = tasks.create_task(preparing, name="prepare next reply")

    def _pause_listening(self) -> None:
        """In half duplex, stop listening once the reply is committed, has audio and is not held."""
        committed = self._reply is not None and self._reply.committed
        audible = committed and self._reply_has_audio and not self._reply_held
        self._listening_paused = self._half_duplex and audible
        if self._listening_paused:
            self._transcriber.disarm_watchdog()

    def _resume_listening(self) -> None:
        self._active_at = clock.now()
        if self._listening_paused:
            self._listening_paused, self._turn_is_silent = False, True
            self._listen_from = clock.now()
            self.detector.reset()
        if self._pause_while_replying:
            self.source.resume()

    # ── actions ──────────────────────────────────────────────────────────────

    async def _perform_all(self, actions: Iterable[Action], tasks: asyncio.TaskGroup) -> None:
        for action in actions:
            self.timeline.append(action)
            await self._perform(action, tasks)

    async def _perform(self, action: Action, tasks: asyncio.TaskGroup) -> None:
        match action:
            case events.Greet() | events.DraftReply():
                self._start_reply(action, tasks)
            case events.PrepareSpeech() if self._reply is not None:
                self._reply.prepare_speech()
            case events.CommitReply():
                self._commit_reply()
            case events.CancelReply() | events.EndSession():
                await self._cancel_reply(tasks)
            case events.ScoreEndOfTurn() if self.scorer is not None:
                self.scorer.start(action, tasks, self.post)
            case events.Finalize():
                await self._transcriber.finalize()
            case events.Duck():
                self.sink.duck()
                self._note_volume(action.turn, "ducked")
            case events.Hold():
                self.sink.hold()
                self._note_volume(action.turn, "silent")
                self._reply_held = True
            case events.Resume():
                self.sink.resume()
                self._note_volume(action.turn, "full")
                self._reply_held = False
                self._pause_listening()

    def _start_reply(
        self, action: events.Greet | events.DraftReply, tasks: asyncio.TaskGroup
    ) -> None:
        self._reply_has_audio = self._reply_held = False
        if isinstance(action, events.Greet):
            self._reply = reply = self.responder.greet(sink=self.sink, post=self.post)
            self._commit_reply()
        else:
            messages = self.history.messages(action.user_text, turn=action.turn)
            self._reply = reply = self.responder.draft(
                action.turn, messages, sink=self.sink, post=self.post
            )
        self._reply_task = tasks.create_task(reply.run(), name=f"reply {reply.turn}")

    def _commit_reply(self) -> None:
        if self._pause_while_replying:
            self.source.pause()
        if self._reply is not None:
            self._reply.commit()
            self._pause_listening()

    async def _cancel_reply(self, tasks: asyncio.TaskGroup) -> None:
        """Silence the sink without waiting, then stop the task, then clear the services."""
        reply, task = self._reply, self._reply_task
        if reply is None or task is None or task.done():
            return
        played = self.sink.clear()
        self._note_volume(reply.turn, "silent")
        task.cancel()
        await asyncio.wait([task])
        await reply.clear(played)
        cancelled = reply.cancelled(played)
        self.timeline.append(cancelled)
        self._react(cancelled, tasks)
        if played:
            tasks.create_task(reply.report_heard(), name=f"reply {reply.turn}: report heard")

    def _note_volume(self, turn: events.TurnId, volume: events.Volume) -> None:
        """Note what has become of a reply's volume, if any of it was heard."""
        if self.sink.heard:
            at = self.sink.settles_at
            self.timeline.append(events.VolumeChanged(at=at, turn=turn, volume=volume))

    # ── the microphone ───────────────────────────────────────────────────────

    async def _read_source(self) -> None:
        """Pass every block to the taps, and while listening to the detector and the STT."""
        async with asyncio.TaskGroup() as tasks, aclosing(self.source.blocks()) as blocks:
            async for block in blocks:
                self._report_lag(block.came)
                for event in self.source.take_events():
                    self.post(event)
                for tap in self._taps:
                    tap(block)
                if self._is_listening(block.at):
                    for event in await detect(self.detector, block):
                        self.post(event)
                    for measurement in self.detector.take_measurements():
                        tasks.create_task(self._measure(measurement), name="measure")
                    self._transcriber.add(block)
                    if self.scorer is not None:
                        self.scorer.add(block)
                self._hearing.set()
                if block.last:
                    self.post(events.InputEnded(at=clock.now()))

    async def _measure(self, measurement: Measurement) -> None:
        loop = asyncio.get_running_loop()
        self.post(
            await loop.run_in_executor(open_thread("measure end of speech"), measurement.measure)
        )

    def _is_listening(self, at: Seconds) -> bool:
        if self.stt is None or self._muted or self._listening_paused:
            return False
        return at >= self._listen_from

    def _report_lag(self, came: Seconds | None) -> None:
        """Report a block that waited because the loop was busy; a backlog once, not per block."""
        lag = 0.0
        if came is not None and came >= self._started_at:  # it waited for the connections before
            lag = clock.now() - came
        if lag > MAX_LAG and lag > self._last_lag:
            self.post(events.LoopLagged(at=clock.now(), lag=lag))
        self._last_lag = lag
