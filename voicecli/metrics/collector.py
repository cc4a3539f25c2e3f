"""What a timeline tells of each reply, and of the user's words before it, gathered in one pass."""

from __future__ import annotations

from dataclasses import dataclass, field

from voicecli.events import (
    AudioGlitched,
    CancelReply,
    ClauseReady,
    ClauseSent,
    CommitReply,
    DraftReply,
    FinalTranscript,
    FirstAudio,
    FirstToken,
    InterimTranscript,
    LlmRequested,
    LoopLagged,
    PlaybackStarted,
    ReplyCancelled,
    ReplyEvent,
    ReplyFailed,
    ReplyFinished,
    SpeechStarted,
    SpeechStopped,
    TurnId,
)
from voicecli.metrics.stages import Milestones
from voicecli.timeline import Entry
from voicecli.units import Seconds

SHORTEST_WORD: Seconds = 0.1
"""A voice that is shorter says nothing: a click or a breath, which is not when the user stopped."""

CUT_OFF: Seconds = 1.5
"""Who speaks again so soon after the commitment had not finished; the field's threshold."""

ReplyEnd = ReplyFinished | ReplyCancelled | ReplyFailed


@dataclass(slots=True)
class TurnTrace:
    """What the timeline tells of one reply.

    begin: when the reply before it had ended.
    text_at: when the final text of what it answers was in hand.
    voice_end, words_end: when the user stopped, by the detector and by the STT.
    """

    begin: Seconds
    text_at: Seconds | None = None
    voice_end: Seconds | None = None
    words_end: Seconds | None = None
    commit: CommitReply | None = None
    requests: list[LlmRequested] = field(default_factory=list)
    token: FirstToken | None = None
    clause: ClauseReady | None = None
    sent: list[ClauseSent] = field(default_factory=list)
    audio: FirstAudio | None = None
    playback: PlaybackStarted | None = None
    cancel: CancelReply | None = None
    end: ReplyEnd | None = None
    cut_off: bool = False
    _late_voice_end: Seconds | None = None

    @property
    def speech_end(self) -> Seconds | None:
        """When the user stopped: by the detector, else by the STT; None where the user typed."""
        if self.commit is None or self.commit.reason == "typed":
            return None
        return self.commit.speech_end if self._late_voice_end is None else self._late_voice_end

    def voice_stopped(self, speech_end: Seconds) -> bool:
        """A voice from before the commitment ends after it; whether the user had stopped by then.

        Then the detector was slower than the service's endpointing, and knows better all the same.
        """
        self.voice_end = speech_end
        if self.commit is None or speech_end > self.commit.at:
            return False
        self._late_voice_end = speech_end
        return True

    def spoke_again(self, at: Seconds) -> None:
        """The user is heard after the commitment."""
        if self.commit is None or self.end is not None:
            return
        if self.playback is None or at <= self.commit.at + CUT_OFF:
            self.cut_off = True

    def milestones(self) -> Milestones:
        """When things happened."""
        first = self.requests[0].at if self.requests else None
        won = [one.at for one in self.requests if self.token and one.attempt == self.token.attempt]
        return Milestones(
            speech_end=self.speech_end,
            text=self.text_at,
            commit=_at(self.commit),
            request=first,
            winner=won[0] if won else first,
            token=_at(self.token),
            clause=_at(self.clause),
            flush=self._flush(),
            byte=self.audio.first_byte if self.audio else None,
            audio=_at(self.audio),
            sound=_at(self.playback),
        )

    def _flush(self) -> Seconds | None:
        """When the TTS was told to speak, or else, if it spoke untold, when it had any words."""
        flushes = [one.at for one in self.sent if one.flushed]
        if flushes and (self.audio is None or flushes[0] <= self.audio.at):
            return flushes[0]
        return self.sent[0].at if self.sent else None


class TraceCollector:
    """The stories of a timeline.

    committed: those whose reply was committed, in order.
    """

    def __init__(self) -> None:
        self.committed: list[TurnTrace] = []
        self._stories: dict[TurnId, TurnTrace] = {}
        self._ears = _TranscriptTrace()
        self._glitches: list[AudioGlitched] = []
        self._lags: list[LoopLagged] = []

    def note(self, entry: Entry) -> TurnTrace | None:
        """``entry`` is what comes next; the story of the reply that it is about, if it is."""
        match entry:
            case DraftReply():
                return self._drafted(entry)
            case CommitReply():
                return self._committed(entry)
            case CancelReply():
                story = self._story(entry.turn)
                story.cancel = story.cancel or entry
                return story
            case ReplyEvent():
                return self._replied(entry, self._story(entry.turn))
            case AudioGlitched():
                self._glitches.append(entry)
            case LoopLagged():
                self._lags.append(entry)
            case _:
                self._ears.note(entry, self.committed[-1] if self.committed else None)
        return None

    def xruns(self, story: TurnTrace) -> int:
        """How often the sound card lost samples up to the reply's first sound."""
        until = _first_sound(story)
        return sum(one.xruns for one in self._glitches if story.begin <= one.at <= until)

    def lag(self, story: TurnTrace) -> Seconds:
        """How late the event loop was, at worst, up to the reply's first sound."""
        until = _first_sound(story)
        lags = (one.lag for one in self._lags if story.begin <= one.at <= until + one.lag)
        return max(lags, default=0.0)

    def _story(self, turn: TurnId) -> TurnTrace:
        if turn not in self._stories:
            before = self.committed[-1] if self.committed else None
            last = before and (before.end or before.commit)
            self._stories[turn] = TurnTrace(begin=last.at if last else 0.0)
        return self._stories[turn]

    def _drafted(self, draft: DraftReply) -> TurnTrace:
        story = self._story(draft.turn)
        story.text_at = self._ears.text_at(draft.at)
        return story

    def _committed(self, commit: CommitReply) -> TurnTrace:
        story = self._story(commit.turn)
        if story.commit is None:
            self.committed.append(story)
        story.commit = commit
        if story.text_at is None:
            story.text_at = self._ears.text_at(commit.at)
        story.voice_end, story.words_end = self._ears.voice_end, self._ears.words_end
        self._ears.voice_end = self._ears.words_end = None
        return story

    def _replied(self, event: ReplyEvent, story: TurnTrace) -> TurnTrace:
        match event:
            case LlmRequested():
                story.requests.append(event)
            case FirstToken():
                story.token = story.token or event
            case ClauseReady():
                story.clause = story.clause or event
            case ClauseSent():
                story.sent.append(event)
            case FirstAudio():
                story.audio = story.audio or event
            case PlaybackStarted():
                story.playback = story.playback or event
            case ReplyFinished() | ReplyCancelled() | ReplyFailed():
                story.end = story.end or event
        return story


class _TranscriptTrace:
    """What was heard of the user since the last commitment.

    voice_end, words_end: when they stopped, by the detector and by the STT; None: not said.
    """

    def __init__(self) -> None:
        self.voice_end: Seconds | None = None
        self.words_end: Seconds | None = None
        self._final_at: Seconds | None = None
        self._voiced = False
        self._voiced_before: TurnTrace | None = None
        self._voice_start: Seconds = 0.0
        self._earlier_end: Seconds | None = None

    def text_at(self, drafted: Seconds) -> Seconds:
        """When the text that is answered from ``drafted`` on was in hand.

        Words that never became final were taken as they were, then.
        """
        return drafted if self._final_at is None else self._final_at

    def note(self, entry: Entry, last: TurnTrace | None) -> None:
        """``entry`` is what comes next, after the commitment in ``last``."""
        match entry:
            case SpeechStarted():
                self._voiced, self._voiced_before = True, last
                self._voice_start, self._earlier_end = entry.speech_start, self.voice_end
                self.voice_end = None
                if last is not None:
                    last.spoke_again(entry.at)
            case SpeechStopped():
                began_before = self._voiced and self._voiced_before is not last
                self._voiced = False
                if entry.speech_end - self._voice_start < SHORTEST_WORD:
                    self.voice_end = self._earlier_end
                elif last is None or not began_before or not last.voice_stopped(entry.speech_end):
                    self.voice_end = entry.speech_end
            case InterimTranscript() if entry.text:
                self.words_end, self._final_at = entry.speech_end, None
            case FinalTranscript() if entry.text or entry.from_finalize or entry.speech_final:
                self._final_at = entry.at
                if entry.text:
                    self.words_end = entry.speech_end


def _at(entry: Entry | None) -> Seconds | None:
    return None if entry is None else entry.at


def _first_sound(story: TurnTrace) -> Seconds:
    """When the reply was first heard, or else had ended."""
    last = story.playback or story.end
    return last.at if last else float("inf")
