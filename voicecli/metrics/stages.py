"""The durations of a turn: a row for each metric, and how stages and raw durations derive from it.

The stages are those of the critical path.  Each begins where the one before it ends and none is
negative, so they sum to mouth-to-ear.  Work that is done while something else is waited for counts
only as far as it had to be waited for.  The raw duration of the same name is what the service took
by itself, waited for or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from voicecli.units import Seconds

RAW_PREFIX = "raw."
"""Distinguishes the name of a raw duration from that of the stage."""


@dataclass(frozen=True, slots=True)
class Metric:
    """The declaration of one metric.

    name: in turn lines, JSON, ``--expect`` and ``--slo``.
    note: what it is, or, beside milestones, what else to know.
    unit: "ms" for a duration, which is in seconds inside the program; else what a value is in.
    start, end: the milestones of its raw duration.
    waited_from: the milestone at which the stage begins; "" if it is not a stage.
    budget: the setting of the profile's ``budgets`` that limits it.
    """

    name: str
    note: str = ""
    unit: str = "ms"
    start: str = ""
    end: str = ""
    waited_from: str = ""
    budget: str = ""

    @property
    def raw_name(self) -> str:
        """The name of the raw duration."""
        return f"{RAW_PREFIX}{self.name}"

    @property
    def description(self) -> str:
        """What it measures, as a clause."""
        span = " → ".join(_DESCRIPTIONS[name] for name in (self.start, self.end) if name)
        return "; ".join(filter(None, (span, self.note)))


def index_metrics(*metrics: Metric) -> dict[str, Metric]:
    """Index ``metrics`` by name, in their order."""
    return {metric.name: metric for metric in metrics}


def _milestone(description: str) -> Any:
    return field(default=None, metadata={"description": description})


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestones:
    """When things happened in one turn, in seconds on the session's clock; None: they did not."""

    speech_end: Seconds | None = _milestone("end of the user's voice at the microphone")
    text: Seconds | None = _milestone("text that is answered")
    commit: Seconds | None = _milestone("decision that the turn has ended")
    request: Seconds | None = _milestone("first request")
    winner: Seconds | None = _milestone("request")
    token: Seconds | None = _milestone("first token of the answer")
    clause: Seconds | None = _milestone("first clause complete")
    flush: Seconds | None = _milestone("flush")
    byte: Seconds | None = _milestone("first byte of audio")
    audio: Seconds | None = _milestone("first audible sample received")
    sound: Seconds | None = _milestone("first audible sample at the loudspeaker")

    @property
    def drafted(self) -> bool:
        """Whether the first request was made before the turn was committed."""
        return self.request is not None and self.commit is not None and self.request < self.commit

    @property
    def mouth_to_ear(self) -> Seconds | None:
        """End of the user's voice → first sound of the reply; None when one is unknown."""
        if self.speech_end is None or self.sound is None:
            return None
        return max(self.sound - self.speech_end, 0.0)


_DESCRIPTIONS = {one.name: one.metadata["description"] for one in fields(Milestones)}


def _stage(
    name: str, start: str, end: str, note: str = "", *, waited_from: str = "", budget: str = ""
) -> Metric:
    """Declare a stage, which begins where its raw duration does unless ``waited_from`` is given."""
    begin = waited_from or start
    return Metric(name, note, start=start, end=end, waited_from=begin, budget=budget)


MOUTH_TO_EAR = Metric(
    "mouth_to_ear", "the sum of the stages", start="speech_end", end="sound", budget="total"
)
ENDPOINTING = Metric("endpointing", start="speech_end", end="commit")
STT_TTFS = _stage("stt.ttfs", "speech_end", "text", "endpointing included", budget="stt")
TURN_COMMIT = _stage("turn.commit", "text", "commit")
LLM_TTFT = _stage(
    "llm.ttft",
    "winner",
    "token",
    "reasoning included; the stage includes failed requests",
    waited_from="request",
    budget="llm",
)
LLM_CLAUSE = _stage("llm.clause", "token", "clause")
TTS_TTFB = Metric("tts.ttfb", "audible or not", start="flush", end="byte")
TTS_TTFA = _stage("tts.ttfa", "flush", "audio", "skipped silence included", budget="tts")
PLAYOUT = _stage("playout", "audio", "sound")
PIPELINE = Metric("pipeline", "what is left over: voicecli's own share")

_SPANS = (ENDPOINTING, STT_TTFS, TURN_COMMIT, LLM_TTFT, LLM_CLAUSE, TTS_TTFB, TTS_TTFA, PLAYOUT)

DURATIONS = (MOUTH_TO_EAR, *_SPANS, PIPELINE)
"""Every metric of a turn, in the order in which things happen."""

BUDGETED = {one.budget: one for one in (STT_TTFS, LLM_TTFT, TTS_TTFA, MOUTH_TO_EAR)}
"""The metric that each budget limits: of a service its raw duration, since working while something
else is waited for makes it no faster.
"""

STAGES = (*(one.name for one in _SPANS if one.waited_from), PIPELINE.name)
"""The names of the stages, in the order of a turn."""

RAW = tuple(one.name for one in _SPANS)
"""The names of the raw durations, without prefix."""

# The critical path of a reply that is requested at the commitment, and of one drafted before it.
_COMMITTED = (STT_TTFS, TURN_COMMIT, LLM_TTFT, LLM_CLAUSE, TTS_TTFA, PLAYOUT)
_DRAFTED = (STT_TTFS, LLM_TTFT, LLM_CLAUSE, TURN_COMMIT, TTS_TTFA, PLAYOUT)


def order_stages(drafted: bool) -> tuple[str, ...]:
    """List the stages in the order of the critical path; the rest, ``pipeline``, comes last."""
    return (*(one.name for one in (_DRAFTED if drafted else _COMMITTED)), PIPELINE.name)


def measure_stages(at: Milestones) -> dict[str, Seconds]:
    """Measure the stages, which sum to mouth-to-ear; those whose milestone is missing are left out.

    A draft waits for the commitment with its first clause ready; any other request is made after
    the commitment.  The critical path is the one that happened.
    """
    if at.speech_end is None or at.sound is None:
        return {}
    took = {PIPELINE.name: 0.0}
    here = at.speech_end
    end = max(at.sound, here)
    for stage in _DRAFTED if at.drafted else _COMMITTED:
        for name, milestone in ((PIPELINE.name, stage.waited_from), (stage.name, stage.end)):
            when = getattr(at, milestone)
            if when is not None:
                there = min(max(when, here), end)
                took[name] = took.get(name, 0.0) + there - here
                here = there
    return {stage: took[stage] for stage in STAGES if stage in took}


def measure_raw(at: Milestones) -> dict[str, Seconds]:
    """Measure the raw durations whose milestones are known; negative ones become 0."""
    return {
        one.name: max(getattr(at, one.end) - getattr(at, one.start), 0.0)
        for one in _SPANS
        if getattr(at, one.start) is not None and getattr(at, one.end) is not None
    }
