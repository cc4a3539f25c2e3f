"""A timeline's turns, measured: what became of each, how long the user waited, and for what.

A turn is a commitment to answer (``CommitReply``).  Every one of them is in the result and has one
outcome; a greeting is none, and a dropped draft is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from voicecli.events import (
    MAX_LAG,
    CommitReply,
    EndReason,
    ReplyFailed,
    ReplyFinished,
    Service,
    TurnId,
)
from voicecli.metrics.collector import TraceCollector, TurnTrace
from voicecli.metrics.stages import measure_raw, measure_stages
from voicecli.timeline import Entry
from voicecli.units import Seconds

Outcome = Literal["answered", "interrupted", "discarded", "failed", "silent"]
"""What became of a turn.

answered: the reply was heard to its end.
interrupted: it was heard in part: the user took the floor, or the session ended.
discarded: the user went on before it was heard; the words are in a later turn.
failed: a service failed.
silent: nothing of it was heard, and no service said why.
"""

DISAGREEMENT: Seconds = 0.150
"""Detector and STT may differ by so much on when the user stopped; the field's threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Which service failed, and why, in one sentence of its own."""

    service: Service
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn.  Durations are seconds; what was not measured is None, or not in the mapping.

    reason: which rule ended the user's turn.
    heard_at: when the reply's first audible sample sounded.
    said, heard: of the reply: the words, as far as they were heard, and for how long.
    mouth_to_ear: None as well where the user typed, and where only an apology was heard.
    stages: sum to mouth_to_ear; see ``milestones.STAGES``.
    raw: durations by themselves; see ``milestones.RAW``.
    requests, hedges: to the LLM; the hedges are among the requests.
    cut_off: the user spoke again before the reply was heard, or soon after the commitment.
    cold: the first turn, which pays for what is used for the first time.
    unreliable: why the measurement cannot be relied on, a clause each.
    """

    turn: TurnId
    at: Seconds
    user_text: str
    reason: EndReason
    outcome: Outcome
    said: str = ""
    heard: Seconds = 0.0
    heard_at: Seconds | None = None
    failure: Failure | None = None
    mouth_to_ear: Seconds | None = None
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
    cold: bool = False
    unreliable: tuple[str, ...] = ()

    @property
    def retries(self) -> int:
        """Requests to the LLM that followed one that failed."""
        return max(self.requests - self.hedges - 1, 0)

    @property
    def replied(self) -> bool:
        """Whether anything of a reply was heard; an apology is none."""
        if self.outcome == "failed":
            return self.mouth_to_ear is not None
        return self.outcome in ("answered", "interrupted")


class TurnReader:
    """Reads a timeline, entry after entry: a follower of it, too."""

    def __init__(self) -> None:
        self._stories = TraceCollector()

    def note(self, entry: Entry) -> Turn | None:
        """``entry`` is what comes next; the turn that ended with it, if one did."""
        story = self._stories.note(entry)
        if story is None or story.commit is None or story.end is not entry:
            return None
        return _turn(story, story.commit, self._stories)

    def turns(self) -> list[Turn]:
        """All turns so far, in order; one that has not ended counts as it stands."""
        return [
            _turn(story, story.commit, self._stories)
            for story in self._stories.committed
            if story.commit is not None
        ]


def measure_turns(timeline: Iterable[Entry]) -> list[Turn]:
    """The turns of ``timeline``, measured, in order."""
    reader = TurnReader()
    for entry in timeline:
        reader.note(entry)
    return reader.turns()


def _turn(story: TurnTrace, commit: CommitReply, stories: TraceCollector) -> Turn:
    end, finished = story.end, story.end if isinstance(story.end, ReplyFinished) else None
    failed = end if isinstance(end, ReplyFailed) else None
    outcome = _outcome(story)
    milestones = story.milestones()
    measured = outcome != "discarded" and not (failed and milestones.clause is None)
    return Turn(
        turn=commit.turn,
        at=commit.at,
        user_text=commit.user_text,
        reason=commit.reason,
        outcome=outcome,
        said=end.said if end else "",
        heard=end.heard if end else 0.0,
        heard_at=story.playback.at if story.playback is not None else None,
        failure=Failure(service=failed.service, reason=failed.reason) if failed else None,
        mouth_to_ear=milestones.mouth_to_ear if measured else None,
        stages=measure_stages(milestones) if measured else {},
        raw=measure_raw(milestones),
        drafted=milestones.drafted,
        requests=len(story.requests),
        hedges=sum(request.hedge for request in story.requests),
        tokens=finished.tokens if finished else None,
        prompt_tokens=finished.prompt_tokens if finished else None,
        flushes=sum(clause.flushed for clause in story.sent),
        characters=sum(len(clause.text) for clause in story.sent),
        underruns=finished.underruns if finished else 0,
        cut_off=story.cut_off or outcome == "discarded",
        cold=story is stories.committed[0],
        unreliable=_doubts(story, commit, stories) if outcome != "discarded" else (),
    )


def _outcome(story: TurnTrace) -> Outcome:
    if story.cancel is not None and story.cancel.heard_nothing:
        return "discarded"
    if isinstance(story.end, ReplyFailed):
        return "failed"
    if story.playback is None and not (story.end and story.end.heard):
        return "silent"
    return "answered" if isinstance(story.end, ReplyFinished) else "interrupted"


def _doubts(story: TurnTrace, commit: CommitReply, stories: TraceCollector) -> tuple[str, ...]:
    """Why the turn's measurement cannot be relied on."""
    doubts = []
    if xruns := stories.xruns(story):
        doubts.append(f"the sound card lost samples (xruns: {xruns})")
    if (lag := stories.lag(story)) > MAX_LAG:
        doubts.append(f"the event loop was {lag * 1000:.0f} ms late")
    if story.playback is not None and story.playback.estimated:
        doubts.append("the sound card gave no time, so when the reply sounded is a guess")
    if commit.reason == "typed":
        return tuple(doubts)
    voice, words, start = story.voice_end, story.words_end, story.speech_end
    if start is None:
        doubts.append("nobody says when the user stopped")
    if voice is not None and words is not None and abs(voice - words) > DISAGREEMENT:
        apart = abs(voice - words) * 1000
        doubts.append(f"detector and STT are {apart:.0f} ms apart on when the user stopped")
    if start is not None and story.playback is not None and story.playback.at < start:
        doubts.append("the reply sounded before the user had stopped")
    return tuple(doubts)
