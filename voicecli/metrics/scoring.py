"""Scores a session: how its parties took turns, from its timeline and the labels of its recording.

Labels are positions in the recording; a replayed recording may be paused, so the timeline says when
each position was at the microphone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from math import inf

from voicecli import events
from voicecli.metrics.interaction import (
    DEAD_AIR,
    EARLY,
    HOLD_WINDOW,
    INTERACTION_METRICS,
    LATE,
    LONGEST_PAUSE,
    QUIET_WINDOW,
    SHORTEST_PAUSE,
    YIELD_WINDOW,
    Interaction,
    ScoredEvent,
    Subject,
)
from voicecli.metrics.labels import Kind, Labels, Span
from voicecli.metrics.recording import Recording, find_kept_start
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.voices import (
    Interval,
    Playback,
    find_playbacks,
    find_user_voice,
    intersect,
    merge,
)
from voicecli.metrics.word_errors import find_word_errors
from voicecli.timeline import Entry
from voicecli.units import Seconds

LABEL_ERROR: Seconds = 0.05
"""A commitment this long before a labelled end may still be one after it."""

LAST_WORDS: Seconds = 3.0
"""How long after a reply was cut its user's words may arrive."""

_FLOOR: tuple[Kind, ...] = ("turn", "interruption")
_SPEECH: tuple[Kind, ...] = (*_FLOOR, "backchannel", "other")

_SOUNDS: Mapping[Kind, Subject] = {
    "backchannel": "backchannel",
    "tic": "tic",
    "other": "other",
    "background": "other",
    "noise": "noise",
}
"""What the rates call the sounds that are no interruption."""

_KEYS = (events.AgentStopped, events.TextTyped, events.UserQuit, events.ConnectionLost)
"""What stops a reply without a sound of the user."""

_NEEDS_LABELS = "not scorable: needs labels"
NO_POSITIONS = "not scorable: the timeline does not say which part of the recording was when"
PARTIES_MIXED = (
    "not scorable: several parties are played as the user, and no labels tell whose turn is whose"
)
_USER_WAITS = "not scorable: the user waits for replies; see --user oblivious"


def measure_interaction(
    timeline: Iterable[Entry], labels: Labels | None = None, turns: Sequence[Turn] | None = None
) -> Interaction:
    """Score a session.

    labels: of the recording that was played; None: there are none.
    turns: of the timeline, where they have been measured.
    """
    timeline = list(timeline)
    turns = measure_turns(timeline) if turns is None else turns
    recording = Recording(timeline)
    usable = labels if recording.exists else None
    scorer = _Scorer(timeline, turns, usable, recording)
    transcripts, problem = find_word_errors(timeline, usable, mixed=recording.mixed)
    why = ({"wer": f"not scorable: {problem}"} if problem else {}) | scorer.explain()
    if labels is not None and usable is None:
        why = dict.fromkeys(why, NO_POSITIONS)
    return Interaction(
        events=tuple(sorted(scorer.score(), key=lambda event: event.start)),
        labelled=usable is not None,
        start=find_kept_start(timeline),
        transcripts=transcripts,
        unscorable=why,
    )


@dataclass
class _Scorer:
    timeline: Sequence[Entry]
    turns: Sequence[Turn]
    labels: Labels | None
    recording: Recording
    playbacks: dict[int, Playback] = field(init=False)
    voice: list[Interval] = field(init=False)

    def __post_init__(self) -> None:
        self.playbacks = {one.turn: one for one in find_playbacks(self.timeline)}
        self.voice = merge(self._find_voice(*_SPEECH))
        self._spans = self.labels.spans if self.labels else ()
        self._floor = [span for span in self._spans if span.kind in _FLOOR]
        self._last = max((entry.at for entry in self.timeline), default=0.0)

    @property
    def _is_ambiguous(self) -> bool:
        """Whether what is heard may be another party's, so that no event is anybody's."""
        return self.labels is None and self.recording.mixed

    def _find_voice(self, *kinds: Kind) -> list[Interval]:
        return find_user_voice(self.recording, self.labels, self.timeline, *kinds)

    def score(self) -> Iterator[ScoredEvent]:
        """Yield every event, in any order."""
        if self._is_ambiguous:
            return
        yield from self._score_waits()
        yield from self._score_replies()
        yield from self._score_overlaps()
        yield from self._score_commits()
        for event in chain(self._score_answers(), *map(self._score_span, self._spans)):
            yield event
            if event.subject in ("turn", "answer") and not self.recording.waited:
                yield replace(event, subject="floor", outcome="")
        if not self.recording.waited:
            yield from self._score_onsets()

    def explain(self) -> dict[str, str]:
        """Say of each metric that cannot be scored why."""
        why = {}
        if self._is_ambiguous:
            return dict.fromkeys(INTERACTION_METRICS, PARTIES_MIXED)
        if self.labels is None:
            holds = (f"hold_rate.{subject}" for subject in _SOUNDS.values())
            why = dict.fromkeys(("duck_ms", "stop_ms", "yield_rate", *holds), _NEEDS_LABELS)
        elif self.recording.waited:
            names = ("duck_ms", "stop_ms", "yield_rate", "hold_rate.backchannel")
            why = dict.fromkeys(names, _USER_WAITS)
        if self.recording.waited:
            why["agent_interruption_rate"] = why["talk_over_s"] = _USER_WAITS
        return why

    # ── without labels ───────────────────────────────────────────────────────

    def _score_commits(self) -> Iterator[ScoredEvent]:
        for turn in self.turns if self.labels is None else ():
            end = turn.at + (turn.went_on or 0.0)
            yield self._make("commit", _name_cut_off(turn), turn.at, end, turn)

    def _score_answers(self) -> Iterator[ScoredEvent]:
        for turn in self.turns if self.labels is None else ():
            if turn.outcome != "discarded":
                outcome = "answered" if turn.replied else "no reply"
                yield self._make("answer", outcome, turn.at, turn.heard_at or turn.at, turn)

    # ── with labels or without ───────────────────────────────────────────────

    def _score_waits(self) -> Iterator[ScoredEvent]:
        for turn in self.turns:
            if turn.mouth_to_ear is None or turn.heard_at is None:
                continue
            early, late = turn.mouth_to_ear < EARLY, turn.mouth_to_ear > LATE
            outcome = "early" if early else "late" if late else "on time"
            yield self._make(
                "wait", outcome, turn.heard_at - turn.mouth_to_ear, turn.heard_at, turn
            )

    def _score_replies(self) -> Iterator[ScoredEvent]:
        for playback in self.playbacks.values():
            end = self._last if playback.end is None else playback.end
            outcome = self._judge_end(playback)
            where = self.recording.find_position(end)
            yield self._make("reply", outcome, playback.start, end, None, playback, position=where)

    def _judge_end(self, playback: Playback) -> str:
        if playback.cancel is None:
            return "heard to its end"
        if isinstance(playback.cause, _KEYS):
            return "stopped by a key"
        spoke = self._has_words if self.labels is None else self._has_label
        onset = self._find_onset(playback.start, playback.cancel.at) - LABEL_ERROR
        return "interrupted" if spoke(onset, playback.cancel.at) else "stopped without words"

    def _find_onset(self, start: Seconds, cut: Seconds) -> Seconds:
        """Return the start of the speech that cut a reply which began at ``start``."""
        onset = start
        for entry in self.timeline:
            if isinstance(entry, events.SpeechStarted) and start < entry.at <= cut:
                onset = entry.speech_start
        return onset

    def _has_words(self, onset: Seconds, cut: Seconds) -> bool:
        """Whether the user said anything when the reply was cut."""
        return any(
            isinstance(entry, events.InterimTranscript | events.FinalTranscript)
            and bool(entry.text)
            and entry.at <= cut + LAST_WORDS
            and entry.speech_end >= onset
            for entry in self.timeline
        )

    def _has_label(self, onset: Seconds, cut: Seconds) -> bool:
        """Whether the user spoke to the agent when the reply was cut."""
        times = (self.recording.find_times(span.start, span.end) for span in self._floor)
        return any(start <= cut and end >= onset for one in times for start, end in one)

    def _score_onsets(self) -> Iterator[ScoredEvent]:
        voice = self._find_voice(*_FLOOR)
        for playback in self.playbacks.values():
            at = playback.start
            over = any(one.start <= at < one.end for one in voice)
            yield self._make("onset", "over the user" if over else "clear", at, at, None, playback)

    def _score_overlaps(self) -> Iterator[ScoredEvent]:
        audible = merge(
            interval
            for playback in self.playbacks.values()
            for interval in playback.list_audible(self._last)
        )
        for both in intersect(self.voice, audible):
            yield self._make("talk_over", "", *both)
        for before, after in pairwise(merge([*self.voice, *audible])):
            if after.start - before.end > DEAD_AIR:
                yield self._make("dead_air", "", before.end, after.start)

    # ── labels ───────────────────────────────────────────────────────────────

    def _score_span(self, span: Span) -> Iterator[ScoredEvent]:
        times = self.recording.find_times(span.start, span.end)
        if not times:  # the session ended before it
            return
        start, end = times[0][0], times[-1][1]
        counts = SHORTEST_PAUSE <= span.end - span.start <= LONGEST_PAUSE
        if span.kind == "pause" and span.expect == "hold" and counts:
            yield self._judge_pause(span, start, end)
        if span.kind in _FLOOR and span.expect in ("respond", "yield"):
            yield self._judge_turn(span, start, end)
        if span.expect == "yield":
            yield from self._judge_interruption(span, start, end)
        elif span.kind in _SOUNDS and span.expect in ("hold", "ignore"):
            yield from self._judge_sound(span, start, end)

    def _judge_pause(self, span: Span, start: Seconds, end: Seconds) -> ScoredEvent:
        goes_on = self.recording.find_time(span.end)
        outcome, number = "waited", None
        for turn in self.turns:
            if (
                span.start <= self._find_position(turn) < span.end
                and outcome != "cut off and heard"
            ):
                heard = turn.replied and turn.heard_at is not None
                heard = heard and (goes_on is None or (turn.heard_at or inf) < goes_on)
                outcome, number = "cut off and heard" if heard else "cut off", turn.turn
        return self._make("pause", outcome, start, end, turn=number, position=span.start)

    def _judge_turn(self, span: Span, start: Seconds, end: Seconds) -> ScoredEvent:
        following = [one for one in self._floor if one.start >= span.end]
        until = following[0].start if following else inf
        next_at = self.recording.find_time(until) if following else None
        for turn in self.turns:
            if not (turn.replied and turn.heard_at is not None):
                continue
            in_time = next_at is None or turn.heard_at <= next_at
            if span.end - LABEL_ERROR <= self._find_position(turn) < until and in_time:
                return self._make("turn", "answered", start, end, turn, position=span.start)
        return self._make("turn", "no reply", start, end, position=span.start)

    def _judge_interruption(
        self, span: Span, start: Seconds, end: Seconds
    ) -> Iterator[ScoredEvent]:
        playback = self._find_playing(start)
        if playback is None:
            return
        cut = playback.end if playback.cancel is not None else None
        over = inf if playback.end is None else playback.end
        if cut is None and over - start <= YIELD_WINDOW:
            return  # it would have been silent anyway: neither a yield nor none
        duck = playback.find_softer(start, min(over, start + YIELD_WINDOW))
        if cut is not None:
            duck = cut if duck is None else min(duck, cut)
        yielded = cut is not None and cut - start <= YIELD_WINDOW
        yield self._make(
            "interruption",
            "yielded" if yielded else "spoke on",
            start,
            end,
            None,
            playback,
            position=span.start,
            duck=None if duck is None else duck - start,
            stop=None if cut is None else cut - start,
        )

    def _judge_sound(self, span: Span, start: Seconds, end: Seconds) -> Iterator[ScoredEvent]:
        if any(one.start <= span.start < one.end for one in self._floor):
            return  # within the user's own turn
        subject = _SOUNDS[span.kind]
        playback = self._find_playing(start)
        if playback is not None:
            until = end + HOLD_WINDOW
            cut = playback.end if playback.cancel is not None else None
            stopped = cut is not None and cut <= until and not self._has_floor(span, until)
            yield self._make(
                subject,
                "stopped" if stopped else "held",
                start,
                end,
                None,
                playback,
                position=span.start,
                duck=playback.find_softer(start, until),
                stop=cut if stopped else None,
            )
        elif subject != "backchannel" and not self._is_answer_due(span):
            replies = (
                turn.turn
                for turn in self.turns
                if turn.replied
                and self._find_position(turn) >= span.start
                and start <= (turn.heard_at or inf) <= end + QUIET_WINDOW
                and not self._has_floor(span, end + QUIET_WINDOW)
            )
            answer = next(replies, None)
            outcome = "ignored" if answer is None else "answered"
            yield self._make(subject, outcome, start, end, turn=answer, position=span.start)

    def _has_floor(self, span: Span, until: Seconds) -> bool:
        """Whether the user takes the floor after the start of ``span``, before ``until``."""
        starts = (self.recording.find_time(one.start) for one in self._floor)
        begin = self.recording.find_time(span.start) or 0.0
        return any(at is not None and begin <= at <= until for at in starts)

    def _is_answer_due(self, span: Span) -> bool:
        """Whether a turn before ``span`` still waits for its answer there."""
        before = [one for one in self._floor if one.end <= span.start]
        return bool(before) and not any(
            before[-1].end - LABEL_ERROR <= self._find_position(turn) < span.start
            for turn in self.turns
            if turn.outcome != "discarded"
        )

    def _find_playing(self, at: Seconds) -> Playback | None:
        return next((one for one in self.playbacks.values() if one.is_playing(at)), None)

    def _find_position(self, turn: Turn) -> Seconds:
        position = self.recording.find_position(turn.at)
        return -1.0 if position is None else position

    def _make(
        self,
        subject: Subject,
        outcome: str,
        start: Seconds,
        end: Seconds,
        turn: Turn | int | None = None,
        playback: Playback | None = None,
        *,
        position: Seconds | None = None,
        duck: Seconds | None = None,
        stop: Seconds | None = None,
    ) -> ScoredEvent:
        number = turn.turn if isinstance(turn, Turn) else turn
        if position is None:
            position = self.recording.find_position(start)
        return ScoredEvent(
            subject=subject,
            outcome=outcome,
            start=start,
            end=end,
            position=position,
            turn=playback.turn if playback is not None else number,
            ducked=duck is not None,
            duck=duck,
            stop=stop,
        )


def _name_cut_off(turn: Turn) -> str:
    if not turn.cut_off:
        return "waited"
    return "cut off and heard" if turn.cut_off_heard else "cut off"
