"""How the parties of a conversation take turns, by the field's names, windows and counts.

The names follow the tau-voice panel, EVA, Full-Duplex-Bench and eot-bench.  Everything is computed
from scored events, which ``scoring.measure_interaction`` finds in a timeline: a rate is the share
of those with certain outcomes.  So a report can show what is behind a rate, the counts of sessions
add up, and a percentile is over all values, never a mean of percentiles.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from voicecli.events import TurnId
from voicecli.metrics.collector import CUT_OFF_WINDOW
from voicecli.units import Seconds

MIN_EVENTS = 10
"""A rate of fewer events is withheld; its counts are not."""

SHORTEST_PAUSE: Seconds = 0.2
LONGEST_PAUSE: Seconds = 5.0
"""The pauses within a turn in which a commitment is a cut-off (eot-bench)."""

YIELD_WINDOW: Seconds = 2.0
"""An agent that is interrupted must be silent by then, from the user's first sample (tau-voice)."""

HOLD_WINDOW: Seconds = 1.0
"""Until this long after a sound that is no interruption, the agent must speak on (tau-voice)."""

QUIET_WINDOW: Seconds = 2.0
"""A silent agent must not answer such a sound, until this long after its end (tau-voice)."""

DEAD_AIR: Seconds = 3.0
"""A longer silence of both is dead air."""

EARLY: Seconds = 0.200
LATE: Seconds = 2.750
"""A reply is on time from EARLY to LATE after the end of the user's speech (EVA)."""

WINDOWS: Mapping[str, object] = {
    "cutoff_s": CUT_OFF_WINDOW,
    "pause_s": [SHORTEST_PAUSE, LONGEST_PAUSE],
    "yield_s": YIELD_WINDOW,
    "hold_s": HOLD_WINDOW,
    "quiet_s": QUIET_WINDOW,
    "dead_air_s": DEAD_AIR,
    "on_time_s": [EARLY, LATE],
    "least_events": MIN_EVENTS,
}
"""What a result says about how it was scored."""

Subject = Literal[
    "pause", "commit", "turn", "answer", "floor", "onset", "interruption", "backchannel", "tic",
    "other", "noise", "reply", "wait", "talk_over", "dead_air",
]  # fmt: skip
"""What a scored event is about.

pause: a labelled pause within a turn.  commit: without labels, a commitment.
turn: a labelled turn or interruption.  answer: without labels, a turn that was committed.
floor: a turn of a user who does not wait for replies.
onset: the first sound of a reply to such a user.
interruption, backchannel, tic, other, noise: a label; other is speech not meant for the agent.
reply: a reply that was heard.
wait: mouth-to-ear of a turn.
talk_over, dead_air: a stretch in which both speak, or neither.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredEvent:
    """Something that the agent did well or not.

    start, end: on the session's clock.
    position: of the start in the recording, in seconds; None where there is none.
    turn: whose reply it is about.
    ducked: whether the reply became softer, or was held, meanwhile.
    duck, stop: from the start to -20 dB and to silence at the loudspeaker.
    """

    subject: Subject
    outcome: str
    start: Seconds
    end: Seconds
    position: Seconds | None = None
    turn: TurnId | None = None
    ducked: bool = False
    duck: Seconds | None = None
    stop: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordErrors:
    """How the transcripts of a recording differ from its labels.

    words: in the labels.
    wrong: substitutions, deletions and insertions.
    differences: (words of the label, words of the transcript), one of them "" where there are none.
    """

    words: int
    wrong: int
    differences: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """What was scored in one session, or in many.

    labelled: whether there were labels.
    start: when the recording of the session begins, on its clock.
    transcripts: a row for each recording whose labels have texts.
    unscorable: why a metric cannot be scored, by its name.
    """

    events: tuple[ScoredEvent, ...] = ()
    labelled: bool = False
    start: Seconds = 0.0
    transcripts: tuple[WordErrors, ...] = ()
    unscorable: Mapping[str, str] = field(default_factory=dict)

    @property
    def tally(self) -> InteractionTally:
        """Its counts."""
        tally = InteractionTally()
        tally.add(self)
        return tally


@dataclass(slots=True)
class InteractionTally:
    """The counts of one session, or of many: all that the metrics are computed from.

    If any session has labels, the others count only where labels make no difference.

    outcomes: events by subject and outcome.
    seconds: how long the events lasted, by subject.
    values: what the distributions are of, by the attribute's name.
    words, wrong: of all transcripts.
    """

    labelled: bool = False
    outcomes: Counter[tuple[Subject, str]] = field(default_factory=Counter)
    seconds: dict[Subject, Seconds] = field(default_factory=dict)
    values: dict[str, array[float]] = field(default_factory=dict)
    words: int = 0
    wrong: int = 0
    unscorable: dict[str, str] = field(default_factory=dict)

    def add(self, interaction: Interaction) -> None:
        """Add a session."""
        self.labelled = self.labelled or interaction.labelled
        self.unscorable |= interaction.unscorable
        for event in interaction.events:
            self.outcomes[event.subject, event.outcome] += 1
            lasted = self.seconds.get(event.subject, 0.0) + event.end - event.start
            self.seconds[event.subject] = lasted
            if event.subject == "interruption":
                for name, took in (("duck", event.duck), ("stop", event.stop)):
                    if took is not None:
                        self.values.setdefault(name, array("d")).append(took)
        for row in interaction.transcripts:
            self.words += row.words
            self.wrong += row.wrong

    def count(self, subjects: Iterable[Subject], outcomes: Iterable[str] = ()) -> int:
        """Count the events about ``subjects``; outcomes: those that count, or all."""
        wanted = tuple(outcomes)
        return sum(
            count
            for (subject, outcome), count in self.outcomes.items()
            if subject in subjects and (not wanted or outcome in wanted)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionMetric:
    """The declaration of a metric.

    unit: rate: a share, from 0 to 1; ms: a distribution; count; s: total seconds.
    subjects: of the events that are counted.
    unlabelled: of those that are counted instead where there are no labels.
    outcomes: of the events that a rate or a count is of; empty: all.
    among: subjects of the events that a rate is a share of, where they are others.
    value: the attribute whose distribution it is.
    higher_is_better: whether a rate is of what should happen.
    """

    name: str
    unit: Literal["rate", "ms", "count", "s"]
    description: str
    subjects: tuple[Subject, ...]
    unlabelled: tuple[Subject, ...] = ()
    outcomes: tuple[str, ...] = ()
    among: tuple[Subject, ...] = ()
    value: Literal["", "duck", "stop"] = ""
    higher_is_better: bool = False


_HELD = ("held", "ignored")


def _hold_rate(subject: Subject, what: str) -> InteractionMetric:
    return InteractionMetric(
        name=f"hold_rate.{subject}",
        unit="rate",
        description=f"{what} despite which the agent spoke on, or stayed silent",
        subjects=(subject,),
        outcomes=_HELD,
        higher_is_better=True,
    )


_DECLARED = (
    InteractionMetric(
        name="cutoff_rate",
        unit="rate",
        description="labelled pauses of 0.2 to 5 s within a turn in which it was committed; "
        "without labels, turns whose user went on within 1.5 s of it, or would have",
        subjects=("pause",),
        unlabelled=("commit",),
        outcomes=("cut off", "cut off and heard"),
    ),
    InteractionMetric(
        name="cutoff_heard_rate",
        unit="rate",
        description="of the same, those whose reply was heard before the user went on",
        subjects=("pause",),
        unlabelled=("commit",),
        outcomes=("cut off and heard",),
    ),
    InteractionMetric(
        name="response_rate",
        unit="rate",
        description="turns that want an answer and got one before the user spoke again",
        subjects=("turn",),
        unlabelled=("answer",),
        outcomes=("answered",),
        higher_is_better=True,
    ),
    InteractionMetric(
        name="no_reply",
        unit="count",
        description="the other turns; without labels, turns, but for discarded ones, of whose "
        "reply nothing was heard",
        subjects=("turn",),
        unlabelled=("answer",),
        outcomes=("no reply",),
    ),
    InteractionMetric(
        name="agent_interruption_rate",
        unit="rate",
        description="replies that began while the user spoke, per turn of the user",
        subjects=("onset",),
        outcomes=("over the user",),
        among=("floor",),
    ),
    InteractionMetric(
        name="duck_ms",
        unit="ms",
        description="first voiced sample of an interruption → -20 dB at the loudspeaker",
        subjects=("interruption",),
        value="duck",
    ),
    InteractionMetric(
        name="stop_ms",
        unit="ms",
        description="first voiced sample of an interruption → silence at the loudspeaker",
        subjects=("interruption",),
        value="stop",
    ),
    InteractionMetric(
        name="yield_rate",
        unit="rate",
        description="interruptions after which the agent was silent for good within 2 s",
        subjects=("interruption",),
        outcomes=("yielded",),
        higher_is_better=True,
    ),
    _hold_rate("backchannel", "back-channels over a reply"),
    _hold_rate("tic", "coughs, laughs and sighs"),
    _hold_rate("other", "stretches of speech not meant for the agent"),
    _hold_rate("noise", "noises"),
    InteractionMetric(
        name="false_interruption_rate",
        unit="rate",
        description="replies that stopped though the user said nothing to stop them",
        subjects=("reply",),
        outcomes=("stopped without words",),
    ),
    InteractionMetric(
        name="talk_over_s",
        unit="s",
        description="seconds in which both spoke",
        subjects=("talk_over",),
    ),
    InteractionMetric(
        name="dead_air_s",
        unit="s",
        description="seconds in silences of more than 3 s between the first and the last voice",
        subjects=("dead_air",),
    ),
    InteractionMetric(
        name="on_time_rate",
        unit="rate",
        description="turns whose mouth-to-ear is 200 to 2750 ms",
        subjects=("wait",),
        outcomes=("on time",),
        higher_is_better=True,
    ),
    InteractionMetric(
        name="wer",
        unit="rate",
        description="word error rate of the transcripts against the labels, over all words",
        subjects=(),
    ),
)

INTERACTION_METRICS = {metric.name: metric for metric in _DECLARED}
"""Every metric, by name, in the order in which they are shown."""

INTERACTION_COUNTS = {
    metric.name: metric.description for metric in _DECLARED if metric.unit != "ms"
}
"""What each rate, count or sum means, by name."""

INTERACTION_DURATIONS = tuple(metric.name for metric in _DECLARED if metric.unit == "ms")
"""The names of those that are distributions."""


def encode_interaction(interaction: Interaction) -> dict[str, Any]:
    """Return everything as plain data, from which ``decode_interaction`` makes the same."""
    return {
        "labelled": interaction.labelled,
        "start": interaction.start,
        "events": [asdict(event) for event in interaction.events],
        "transcripts": [asdict(row) for row in interaction.transcripts],
        "unscorable": dict(interaction.unscorable),
    }


def decode_interaction(values: Mapping[str, Any]) -> Interaction:
    """Return what ``encode_interaction`` encoded."""

    def pair(row: Sequence[str]) -> tuple[str, str]:
        return (row[0], row[1])

    return Interaction(
        labelled=values["labelled"],
        start=values.get("start", 0.0),  # without it, the result is of an earlier version
        events=tuple(ScoredEvent(**event) for event in values["events"]),
        transcripts=tuple(
            WordErrors(
                words=row["words"],
                wrong=row["wrong"],
                differences=tuple(map(pair, row["differences"])),
            )
            for row in values["transcripts"]
        ),
        unscorable=values["unscorable"],
    )
