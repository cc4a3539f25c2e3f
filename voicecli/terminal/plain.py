"""A conversation as lines with the time of day, for whoever reads no live display.

12:03:04.123 STT open (41 ms)
12:03:07.502 you: "What is the time?"
12:03:08.317 ⏱ mouth-to-ear 815 ms = stt.ttfs 300 + llm.ttft 200 + …   [speech_final]
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from voicecli.events import (
    AgentStopped,
    AudioGlitched,
    CancelReply,
    CommitReply,
    ConnectionLost,
    ConnectionOpened,
    EndSession,
    Event,
    FirstToken,
    InputEnded,
    LlmRequested,
    LoopLagged,
    MicrophoneMuted,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFailed,
    ReplyFinished,
    TurnId,
    Warned,
)
from voicecli.metrics.summary import Budgets
from voicecli.metrics.turns import TurnReader
from voicecli.report.turn_lines import notice, reply_lines
from voicecli.sanitize import sanitize_line
from voicecli.timeline import Entry
from voicecli.units import AudioBlock, Seconds


class PlainLines:
    """A follower of a timeline; each line is written when what it says has happened.

    write: is given one line, without its end.
    midnight: the time of day at time 0 of the session's clock.
    typed: whether the user types instead of speaking.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        midnight: datetime,
        budgets: Budgets | None = None,
        *,
        typed: bool = False,
    ) -> None:
        self._write = write
        self._midnight = midnight
        self._budgets = budgets or Budgets()
        self._invitation = f"you can {'type' if typed else 'speak'} now"
        self._typed = typed
        self._reader = TurnReader()
        self._told_until: Seconds = 0.0
        self._requests: dict[tuple[TurnId, int], Seconds] = {}
        self._streaming = False
        self._stopped = False
        self._input_ended = False

    def say(self, at: Seconds, text: str) -> None:
        """A line of the program's own."""
        self._told_until = max(self._told_until, at)
        moment = self._midnight + timedelta(seconds=at)
        self._write(f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03} {text}")

    def hear(self, block: AudioBlock) -> None:
        """A block of the microphone: the first one is news."""
        if not self._streaming:
            self._streaming = True
            at = max(block.at, self._told_until)  # it was heard before anybody was connected
            self.say(at, "microphone streaming")
            self.say(at, self._invitation)

    def note(self, record: Entry) -> None:
        """``record`` is what comes next."""
        turn = self._reader.note(record)
        for text in self._news(record):
            self.say(record.at, text)
        if turn is None:
            return
        if said := sanitize_line(turn.said):
            self.say(record.at, f'agent: "{said}"')
        self.say(record.at, reply_lines(turn, self._budgets)[-1].removeprefix(f"#{turn.turn} "))
        if self._floor_is_free(record):
            self.say(record.at, self._invitation)

    def _news(self, record: Entry) -> list[str]:
        match record:
            case ConnectionOpened():
                return [f"{record.service.upper()} open ({_ms(record.took)})"]
            case CommitReply():
                return [f'you: "{sanitize_line(record.user_text)}"']
            case Event():
                return self._event(record)
            case CancelReply(committed=True, heard_nothing=True):
                return ["you go on: the reply is dropped"]
            case EndSession():
                return [f"ended: {sanitize_line(record.reason)}"]
        return []

    def _event(self, event: Event) -> list[str]:
        match event:
            case LlmRequested():
                self._requests[event.turn, event.attempt] = event.at
            case FirstToken():
                asked = self._requests.get((event.turn, event.attempt), event.at)
                return [f"LLM first token {_ms(event.at - asked)}"]
            case PlaybackStarted():
                self._stopped = False
                return ["reply audio started"]
            case ReplyFinished():
                return ["playback finished"]
            case ReplyCancelled() if event.heard:
                return [f"playback stopped after {event.heard:.1f} s"]
            case AgentStopped():
                self._stopped = True
            case InputEnded():
                self._input_ended = True
            case MicrophoneMuted() if not self._typed:
                return [f"microphone {'muted' if event.muted else 'on'}"]
            case _:
                return _trouble(event)
        return []

    def _floor_is_free(self, record: Entry) -> bool:
        """Whether the end of the reply leaves the floor to a user who has not taken it."""
        if self._input_ended:
            return False
        return isinstance(record, ReplyFinished | ReplyFailed) or self._stopped


def _trouble(event: Event) -> list[str]:
    match event:
        case Warned():
            return [notice(event.service, event.text)]
        case ConnectionLost():
            return [notice(event.service, event.reason)]
        case AudioGlitched():
            return [f"! the sound card lost samples (xruns: {event.xruns})"]
        case LoopLagged():
            return [f"! the program was {_ms(event.lag)} late"]
    return []


def _ms(duration: Seconds) -> str:
    return f"{duration * 1000:.0f} ms"
