"""A live conversation as lines with the time of day, where nothing may move.

12:03:04.123 STT open (41 ms)
12:03:07.502 you: "What is the time?"
12:03:08.317 ⏱ mouth-to-ear 815 ms = stt.ttfs 300 + llm.ttft 200 + …   [speech_final]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from typing_extensions import override

from voicecli import events
from voicecli.metrics.summary import Budgets
from voicecli.report.format import format_ms
from voicecli.report.turn_lines import format_greeting, format_notice, format_reply
from voicecli.sanitize import sanitize_line
from voicecli.terminal.view import Display, LiveView
from voicecli.timeline import Entry
from voicecli.units import AudioBlock, Seconds


@dataclass(eq=False)
class PlainLines(Display):
    """Writes a line when what it says has happened.

    write: called with one line, without its end.
    midnight: the time of day at time 0 of the session's clock.
    typed: whether the user types instead of speaking.
    """

    write: Callable[[str], None]
    midnight: datetime
    budgets: Budgets
    typed: bool = False
    _view: LiveView = field(default_factory=LiveView, init=False)
    _latest: Seconds = field(default=0.0, init=False)
    _streaming: bool = field(default=False, init=False)

    @override
    def announce(self, at: Seconds, text: str) -> None:
        self._latest = max(self._latest, at)
        moment = self.midnight + timedelta(seconds=at)
        self.write(f"{moment.time().isoformat('milliseconds')} {text}")

    @override
    def feed(self, block: AudioBlock) -> None:
        if not self._streaming:
            self._streaming = True
            at = max(block.at, self._latest)  # the first block is older than the connections
            self.announce(at, "microphone streaming")
            if self._view.state not in ("thinking", "speaking"):  # no greeting comes first
                self._invite(at)

    @override
    def __call__(self, entry: Entry) -> None:
        self._view(entry)
        if text := self._describe(entry):
            self.announce(entry.at, text)
        if (turn := self._view.ended_turn) is not None:
            if said := sanitize_line(turn.said):
                self.announce(entry.at, f'agent: "{said}"')
            measured = format_reply(turn, self.budgets)[-1]
            self.announce(entry.at, measured.removeprefix(f"#{turn.turn} "))
        if self._view.invites_user:
            self._invite(entry.at)

    def _invite(self, at: Seconds) -> None:
        self.announce(at, f"you can {'type' if self.typed else 'speak'} now")

    def _describe(self, entry: Entry) -> str:
        """Describe an entry that is worth a line, or return ""."""
        match entry:
            case events.CommitReply():
                return f'you: "{sanitize_line(entry.user_text)}"'
            case events.FirstToken():
                ttft = self._view.turns.measure_raw(entry.turn).get("llm.ttft")
                return "" if ttft is None else f"LLM first token {format_ms(ttft)} ms"
            case events.PlaybackStarted():
                return "reply audio started"
            case events.ReplyFinished() | events.ReplyCancelled() if entry.turn == events.GREETING:
                return "".join(f"agent: {line[6:]}" for line in format_greeting(entry))
            case events.ReplyFinished():
                return "playback finished"
            case events.ReplyCancelled() if entry.heard:
                return f"playback stopped after {entry.heard:.1f} s"
            case events.CancelReply(committed=True, heard_nothing=True):
                return "you go on: the reply is dropped"
            case events.EndSession():
                return f"ended: {sanitize_line(entry.reason)}"
        return _describe_condition(entry)


def _describe_condition(entry: Entry) -> str:
    """Describe a change of the connections or devices, or return ""."""
    match entry:
        case events.ConnectionOpened():
            return f"{entry.service.upper()} open ({format_ms(entry.took)} ms)"
        case events.ConnectionLost():
            return format_notice(entry.service, entry.reason)
        case events.Warned():
            return format_notice(entry.service, entry.text)
        case events.MicrophoneMuted():
            return f"microphone {'muted' if entry.muted else 'on'}"
        case events.AudioGlitched():
            return f"! the sound card lost samples (xruns: {entry.xruns})"
        case events.LoopLagged():
            return f"! the program was {format_ms(entry.lag)} ms late"
    return ""
