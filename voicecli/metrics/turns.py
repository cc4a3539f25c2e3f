"""Measures a timeline's turns: what became of each, how long the user waited, and for what.

A turn is a commitment to answer (``CommitReply``), so greetings and dropped drafts are not turns.
Every turn is in the result, with one outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from voicecli import events
from voicecli.events import MAX_LAG, TurnId
from voicecli.metrics.collector import TraceCollector, TurnTrace
from voicecli.metrics.recording import Recording
from voicecli.metrics.stages import measure_raw, measure_stages
from voicecli.timeline import Entry
from voicecli.units import Seconds, ms

Outcome = Literal["answered", "interrupted", "discarded", "failed", "silent"]
"""What became of a turn; ``usage.SessionUsage`` describes each.

interrupted: the user took the floor, or the session ended.
discarded: the words are in a later turn.
"""

MAX_DISAGREEMENT: Seconds = 0.150
"""How far detector and STT may be apart on when the user stopped; the field's threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One measured turn.  Durations are seconds; what was not measured is None, or missing.

    reason: which rule ended the user's turn.
    end_score: the probability that it had ended, by its sound; see ``turn.end_model``.
    said: the words of the reply, as far as they were heard.
    said_estimated: whether the end of ``said`` is estimated: it lies within a flush.
    heard: how long the reply was heard, in seconds.
    heard_at: when the reply's first audible sample sounded.
    mouth_to_ear: also None where the user typed, and where only an apology was heard.
    error: 95 of 100 values of mouth_to_ear are off by less; None where that was not calibrated.
    stages: sum to mouth_to_ear; see ``stages.STAGES``.
    raw: what each service took by itself; see ``stages.RAW``.
    requests, hedges: to the LLM; the requests include the hedges.
    cut_off: the user spoke again before the reply was heard, or soon after the commitment; in a
        recording, would have.
    cut_off_heard: and the reply was heard before that.
    went_on: how long after the commitment that was; None where it is not known.
    truncated: why the LLM ended the reply before it was complete; None if it did not.
    cold: the first turn, which pays for everything that is used for the first time.
    lag: how late the event loop was, at worst, up to the reply's first sound; 0: not too late.
    unreliable: why the measurement cannot be relied on, a clause each.
    """

    turn: TurnId
    at: Seconds
    user_text: str
    reason: events.EndReason
    outcome: Outcome
    end_score: float | None = None
    said: str = ""
    said_estimated: bool = False
    heard: Seconds = 0.0
    heard_at: Seconds | None = None
    failure: events.ReplyFailed | None = None
    mouth_to_ear: Seconds | None = None
    error: Seconds | None = None
    stages: Mapping[str, Seconds] = field(default_factory=dict)
    raw: Mapping[str, Seconds] = field(default_factory=dict)
    drafted: bool = False
    requests: int = 0
    hedges: int = 0
    tokens: int | None = None
    prompt_tokens: int | None = None
    flushes: int = 0
    characters: int = 0
    underruns: int = 0
    cut_off: bool = False
    cut_off_heard: bool = False
    went_on: Seconds | None = None
    truncated: events.Truncation | None = None
    cold: bool = False
    lag: Seconds = 0.0
    unreliable: tuple[str, ...] = ()

    @property
    def retries(self) -> int:
        """Requests to the LLM that followed a failed one."""
        return max(self.requests - self.hedges - 1, 0)

    @property
    def replied(self) -> bool:
        """Whether any of the reply was heard; an apology does not count."""
        if self.outcome == "failed":
            return self.mouth_to_ear is not None
        return self.outcome in ("answered", "interrupted")


class TurnReader:
    """Measures turns while the timeline grows."""

    def __init__(self) -> None:
        self._traces = TraceCollector()

    def note(self, entry: Entry) -> Turn | None:
        """Take the next entry; return the turn that it ends, if it ends one."""
        trace = self._traces.note(entry)
        if trace is None or trace.commit is None or trace.end is not entry:
            return None
        return _measure(trace, self._traces)

    def measure_raw(self, turn: TurnId) -> Mapping[str, Seconds]:
        """Return the raw durations of a reply under way that are known so far."""
        return measure_raw(self._traces.find_trace(turn).collect_milestones())

    def list_turns(self) -> list[Turn]:
        """All turns up to now, in order; one that has not ended counts as it stands."""
        return [_measure(trace, self._traces) for trace in self._traces.committed]


def measure_turns(timeline: Iterable[Entry]) -> list[Turn]:
    """Measure the turns of ``timeline``, in order."""
    reader = TurnReader()
    for entry in timeline:
        reader.note(entry)
    return reader.list_turns()


def _measure(trace: TurnTrace, traces: TraceCollector) -> Turn:
    commit, end = trace.commit, trace.end
    assert commit is not None
    finished = end if isinstance(end, events.ReplyFinished) else None
    failed = end if isinstance(end, events.ReplyFailed) else None
    outcome = _classify(trace)
    milestones = trace.collect_milestones()
    measured = outcome != "discarded" and not (failed and milestones.clause is None)
    return Turn(
        turn=commit.turn,
        at=commit.at,
        user_text=commit.user_text,
        reason=commit.reason,
        outcome=outcome,
        end_score=trace.end_score,
        said=trace.reported.said if trace.reported else end.said if end else "",
        said_estimated=isinstance(end, events.ReplyCancelled)
        and end.estimated
        and not trace.reported,
        heard=end.heard if end else 0.0,
        heard_at=trace.playback.at if trace.playback is not None else None,
        failure=failed,
        mouth_to_ear=milestones.mouth_to_ear if measured else None,
        error=traces.calibrated.error if traces.calibrated and measured else None,
        stages=measure_stages(milestones) if measured else {},
        raw=measure_raw(milestones),
        drafted=milestones.drafted,
        requests=len(trace.requests),
        hedges=sum(request.hedge for request in trace.requests),
        tokens=finished.tokens if finished else None,
        prompt_tokens=finished.prompt_tokens if finished else None,
        flushes=sum(clause.flushed for clause in trace.sent),
        characters=sum(len(clause.text) for clause in trace.sent),
        underruns=finished.underruns if finished else 0,
        cut_off=trace.went_on is not None or outcome == "discarded",
        cut_off_heard=outcome != "discarded" and _is_heard_first(trace, traces.recording),
        went_on=trace.went_on,
        truncated=finished.truncated if finished else None,
        cold=trace is traces.committed[0],
        lag=traces.find_lag(trace),
        unreliable=_find_doubts(trace, traces) if outcome != "discarded" else (),
    )


def _classify(trace: TurnTrace) -> Outcome:
    if trace.cancel is not None and trace.cancel.heard_nothing:
        return "discarded"
    if isinstance(trace.end, events.ReplyFailed):
        return "failed"
    if trace.playback is None and not (trace.end and trace.end.heard):
        return "silent"
    return "answered" if isinstance(trace.end, events.ReplyFinished) else "interrupted"


def _is_heard_first(trace: TurnTrace, recording: Recording) -> bool:
    """Whether the reply was heard before the user went on."""
    if trace.commit is None or trace.playback is None or trace.went_on is None:
        return False
    went_on_at: Seconds | None = trace.commit.at + trace.went_on
    if (position := recording.find_position(trace.commit.at)) is not None:
        went_on_at = recording.find_time(position + trace.went_on)
    return went_on_at is None or trace.playback.at < went_on_at


def _find_doubts(trace: TurnTrace, traces: TraceCollector) -> tuple[str, ...]:
    doubts = []
    if xruns := traces.count_xruns(trace):
        doubts.append(f"the sound card lost samples (xruns: {xruns})")
    if (lag := traces.find_lag(trace)) > MAX_LAG:
        doubts.append(f"the event loop was {ms(lag):.0f} ms late")
    if trace.playback is not None and trace.playback.estimated:
        doubts.append("the sound card gives no times, so the start of the reply is an estimate")
    if trace.commit is not None and trace.commit.reason == "typed":
        return tuple(doubts)
    voice, words, stopped = trace.voice_end, trace.words_end, trace.speech_end
    if stopped is None:
        doubts.append("neither detector nor STT reported when the user stopped")
    if voice is not None and words is not None and abs(voice - words) > MAX_DISAGREEMENT:
        apart = f"{ms(abs(voice - words)):.0f} ms apart"
        doubts.append(f"detector and STT are {apart} on when the user stopped")
    if stopped is not None and trace.playback is not None and trace.playback.at < stopped:
        doubts.append("the reply sounded before the user had stopped")
    return tuple(doubts)
