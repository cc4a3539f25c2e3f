"""Collects, in one pass over a timeline, the entries that belong to each reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from voicecli import events
from voicecli.events import TurnId
from voicecli.metrics.recording import MIN_SPEECH, Recording
from voicecli.metrics.stages import Milestones
from voicecli.timeline import Entry
from voicecli.units import Seconds

CUT_OFF_WINDOW: Seconds = 1.5
"""A user who goes on within this time of the commitment was cut off; the field's threshold."""


@dataclass(slots=True)
class TurnTrace:
    """The entries of one reply, and of the user's speech that it answers.

    begin: when the reply before it had ended.
    text_at: when the text that it answers was known.
    voice_end, words_end: when the user stopped, by the detector and by the STT.
    end_score: the probability that the turn had ended, by its sound; None: not scored.
    went_on: how long after the commitment the user went on, if soon; in a recording, would have.
    """

    begin: Seconds
    text_at: Seconds | None = None
    voice_end: Seconds | None = None
    words_end: Seconds | None = None
    end_score: float | None = None
    commit: events.CommitReply | None = None
    requests: list[events.LlmRequested] = field(default_factory=list)
    token: events.FirstToken | None = None
    clause: events.ClauseReady | None = None
    sent: list[events.ClauseSent] = field(default_factory=list)
    audio: events.FirstAudio | None = None
    playback: events.PlaybackStarted | None = None
    cancel: events.CancelReply | None = None
    end: events.ReplyFinished | events.ReplyCancelled | events.ReplyFailed | None = None
    reported: events.HeardReported | None = None
    went_on: Seconds | None = None
    _corrected_end: Seconds | None = None

    @property
    def speech_end(self) -> Seconds | None:
        """When the user stopped: by the detector, else by the STT; None where the user typed."""
        if self.commit is None or self.commit.reason == "typed":
            return None
        return self.commit.speech_end if self._corrected_end is None else self._corrected_end

    def note(self, entry: events.ReplyEvent | events.CancelReply) -> None:
        """Take an entry of the reply; of those that should come once, the first counts.

        A first token or clause that comes again replaces one that turned out to be reasoning.
        """
        match entry:
            case events.LlmRequested():
                self.requests.append(entry)
            case events.FirstToken():
                self.token = entry
            case events.ClauseReady():
                self.clause = entry
            case events.ClauseSent():
                self.sent.append(entry)
            case events.FirstAudio():
                self.audio = self.audio or entry
            case events.PlaybackStarted():
                self.playback = self.playback or entry
            case events.CancelReply():
                self.cancel = self.cancel or entry
            case events.ReplyFinished() | events.ReplyCancelled() | events.ReplyFailed():
                self.end = self.end or entry
            case events.HeardReported():
                self.reported = entry

    def correct_voice_end(self, speech_end: Seconds) -> bool:
        """Take the end of speech that began before the commitment and was reported after it.

        Returns whether the user had stopped by the commitment: the service's endpointing was then
        faster than the detector, which is still the more exact of the two.
        """
        self.voice_end = speech_end
        if self.commit is None or speech_end > self.commit.at:
            return False
        self._corrected_end = speech_end
        return True

    def measure_voice_end(self, measured: events.SpeechEndMeasured) -> None:
        """Take the measured end of the user's voice, if it is this turn's that was measured."""
        if self.voice_end == measured.reported:
            self.voice_end = measured.speech_end
        if self.speech_end == measured.reported:
            self._corrected_end = measured.speech_end

    def note_speech(self, speech: events.SpeechStarted) -> None:
        """Take the start of speech that followed the commitment."""
        if self.commit is None or self.end is not None or self.went_on is not None:
            return
        if self.playback is None or speech.at <= self.commit.at + CUT_OFF_WINDOW:
            self.went_on = max(speech.speech_start - self.commit.at, 0.0)

    def look_ahead(self, recording: Recording) -> None:
        """Take from the recording whether its user would have gone on."""
        if self.commit is None or (position := recording.find_position(self.commit.at)) is None:
            return
        wait = recording.find_wait(position)
        if wait is not None and wait <= CUT_OFF_WINDOW:
            self.went_on = wait

    def collect_milestones(self) -> Milestones:
        """Return when things happened."""
        first = self.requests[0].at if self.requests else None
        answered = self.token and self.token.attempt
        return Milestones(
            speech_end=self.speech_end,
            text=self.text_at,
            commit=_at(self.commit),
            request=first,
            winner=next((one.at for one in self.requests if one.attempt == answered), first),
            token=_at(self.token),
            clause=_at(self.clause),
            flush=self._flush(),
            byte=self.audio.first_byte if self.audio else None,
            audio=_at(self.audio),
            sound=_at(self.playback),
        )

    def _flush(self) -> Seconds | None:
        """When the first flush was sent, or, if audio came before it, the first words.

        To a TTS that speaks as text comes: when the first clause was.
        """
        if self.clause and any(one.streamed for one in self.sent):
            ends = zip(accumulate(len(one.text) for one in self.sent), self.sent, strict=True)
            return next((one.at for end, one in ends if end >= len(self.clause.text)), None)
        flushes = [one.at for one in self.sent if one.flushed]
        if flushes and (self.audio is None or flushes[0] <= self.audio.at):
            return flushes[0]
        return self.sent[0].at if self.sent else None


class TraceCollector:
    """Collects the traces of a timeline.

    committed: those whose reply was committed, in order.
    calibrated: how exact the measurements are; None if that is not known.
    recording: the one that was played, if one was.
    """

    def __init__(self) -> None:
        self.committed: list[TurnTrace] = []
        self._traces: dict[TurnId, TurnTrace] = {}
        self._speech = _SpeechTrace()
        self.recording = Recording()
        self.calibrated: events.ErrorCalibrated | None = None
        self._glitches: list[events.AudioGlitched] = []
        self._lags: list[events.LoopLagged] = []

    def note(self, entry: Entry) -> TurnTrace | None:
        """Take the next entry; return the trace of the reply that it is about, if it is."""
        match entry:
            case events.DraftReply():
                trace = self.find_trace(entry.turn)
                trace.text_at = self._speech.find_text_time(entry.at)
                return trace
            case events.CommitReply():
                return self._note_commit(entry)
            case events.ReplyEvent() | events.CancelReply():
                trace = self.find_trace(entry.turn)
                trace.note(entry)
                return trace
            case events.ErrorCalibrated() | events.AudioGlitched() | events.LoopLagged():
                self._note_conditions(entry)
            case (
                events.RecordingResumed()
                | events.RecordingPaused()
                | events.RecordedSpeechStarted()
                | events.RecordedSpeechStopped()
            ):
                self.recording.note(entry)
            case events.SpeechEndMeasured():
                self._speech.measured = entry
                if self.committed:
                    self.committed[-1].measure_voice_end(entry)
            case _:
                last = self.committed[-1] if self.committed else None
                self._speech.note(entry, last)
                # of a recording, what was found ahead tells whether the user went on
                if isinstance(entry, events.SpeechStarted) and last and not self.recording.speech:
                    last.note_speech(entry)
        return None

    def _note_conditions(
        self, entry: events.ErrorCalibrated | events.AudioGlitched | events.LoopLagged
    ) -> None:
        """Take what is known of how the session was measured."""
        match entry:
            case events.ErrorCalibrated():
                self.calibrated = entry
            case events.AudioGlitched():
                self._glitches.append(entry)
            case events.LoopLagged():
                self._lags.append(entry)

    def count_xruns(self, trace: TurnTrace) -> int:
        """How often the sound card lost samples up to the reply's first sound."""
        until = _first_sound(trace)
        return sum(one.xruns for one in self._glitches if trace.begin <= one.at <= until)

    def find_lag(self, trace: TurnTrace) -> Seconds:
        """How late the event loop was, at worst, up to the reply's first sound."""
        until = _first_sound(trace)
        lags = (one.lag for one in self._lags if trace.begin <= one.at <= until + one.lag)
        return max(lags, default=0.0)

    def find_trace(self, turn: TurnId) -> TurnTrace:
        """Return the trace of a reply, which begins where the reply before it ended."""
        if turn not in self._traces:
            before = self.committed[-1] if self.committed else None
            last = before and (before.end or before.commit)
            self._traces[turn] = TurnTrace(begin=last.at if last else 0.0)
        return self._traces[turn]

    def _note_commit(self, commit: events.CommitReply) -> TurnTrace:
        trace = self.find_trace(commit.turn)
        if trace.commit is None:
            self.committed.append(trace)
        trace.commit = commit
        if trace.text_at is None:
            trace.text_at = self._speech.find_text_time(commit.at)
        speech = self._speech
        trace.voice_end, trace.words_end = speech.voice_end, speech.words_end
        trace.end_score = speech.end_score
        if speech.measured is not None:
            trace.measure_voice_end(speech.measured)
        trace.look_ahead(self.recording)
        speech.voice_end = speech.words_end = speech.end_score = None
        return trace


@dataclass(slots=True)
class _SpeechTrace:
    """What detector and STT reported about the user since the last commitment.

    voice_end, words_end: when the user stopped, by the detector and by the STT; None: not reported.
    end_score: the score of the last pause, by its sound; None while it has none.
    measured: the latest end of the user's voice that was measured.
    """

    voice_end: Seconds | None = None
    words_end: Seconds | None = None
    end_score: float | None = None
    measured: events.SpeechEndMeasured | None = None
    _final_at: Seconds | None = None
    _speaking: bool = False
    _start: Seconds = 0.0
    _start_after: TurnTrace | None = None
    _earlier_end: Seconds | None = None

    def find_text_time(self, drafted: Seconds) -> Seconds:
        """When the text of a reply was known; text that is not final counts from ``drafted``."""
        return drafted if self._final_at is None else self._final_at

    def note(self, entry: Entry, last: TurnTrace | None) -> None:
        """Take the next entry, which follows the commitment of ``last``."""
        match entry:
            case events.SpeechStarted():
                self._speaking, self._start_after = True, last
                self._start, self._earlier_end = entry.speech_start, self.voice_end
                self.voice_end = self.end_score = None
            case events.SpeechResumed():
                self.end_score = None
            case events.EndOfTurnScored():
                self.end_score = entry.probability
            case events.SpeechStopped():
                self._note_stop(entry.speech_end, last)
            case events.InterimTranscript() if entry.text:
                self.words_end, self._final_at = entry.speech_end, None
            case events.FinalTranscript() if (
                entry.text or entry.from_finalize or entry.speech_final
            ):
                self._final_at = entry.at
                if entry.text:
                    self.words_end = entry.speech_end

    def _note_stop(self, speech_end: Seconds, last: TurnTrace | None) -> None:
        began_before = self._speaking and self._start_after is not last
        self._speaking = False
        if speech_end - self._start < MIN_SPEECH:
            self.voice_end = self._earlier_end
        elif last is None or not began_before or not last.correct_voice_end(speech_end):
            self.voice_end = speech_end


def _at(entry: Entry | None) -> Seconds | None:
    return None if entry is None else entry.at


def _first_sound(trace: TurnTrace) -> Seconds:
    """When the reply was first heard; if it was not, when it ended."""
    last = trace.playback or trace.end
    return last.at if last else float("inf")
