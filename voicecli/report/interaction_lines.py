"""Writes how the parties took turns: the metrics that have something to say, and what is behind."""

from __future__ import annotations

from collections.abc import Iterable

from voicecli.metrics.interaction import MIN_EVENTS, Interaction, ScoredEvent
from voicecli.metrics.scoring import NO_POSITIONS, PARTIES_MIXED
from voicecli.metrics.summary import Score, score
from voicecli.report.format import format_ms, format_table
from voicecli.sanitize import sanitize_line

LONGEST_LIST = 10
"""Events, or differing words, that are listed."""

_FAULTS = {
    ("pause", "cut off"): "cut off in a pause",
    ("pause", "cut off and heard"): "cut off in a pause, and the reply was heard",
    ("turn", "no reply"): "a turn without a reply",
    ("interruption", "spoke on"): "interrupted, and spoke on",
    ("backchannel", "stopped"): "stopped by a back-channel",
    ("tic", "stopped"): "stopped by a cough, a laugh or a sigh",
    ("other", "stopped"): "stopped by speech that was not meant for the agent",
    ("noise", "stopped"): "stopped by noise",
    ("tic", "answered"): "answered a cough, a laugh or a sigh",
    ("other", "answered"): "answered speech that was not meant for the agent",
    ("noise", "answered"): "answered noise",
    ("reply", "stopped without words"): "stopped without words",
    ("onset", "over the user"): "began to speak while the user spoke",
}
"""What the agent did wrong, by subject and outcome."""


def format_interaction(interaction: Interaction) -> list[str]:
    """Return the table, what was done wrong where, and what cannot be scored.

    Without labels only what went wrong; the ledger and the cut-offs are elsewhere in the summary.
    """
    scores = score(interaction.tally)
    rows = [format_score(one) for one in scores.values() if is_telling(one, interaction.labelled)]
    table = format_table([["turn-taking", "events", "value"], *rows]) if rows else []
    lines = [*table, *list_faults(interaction), *list_word_errors(interaction)]
    told = {NO_POSITIONS, PARTIES_MIXED} & set(interaction.unscorable.values())
    if interaction.labelled or told:
        lines += list_unscorable(scores.values())
    return ["", *lines] if lines else []


def is_telling(one: Score, labelled: bool) -> bool:
    """Whether a metric has something to say; without labels, only if something went wrong."""
    if one.metric.unit == "s":
        return bool(one.value)
    if labelled:
        return one.n > 0
    faulty = {"false_interruption_rate", "agent_interruption_rate"}
    late = one.metric.name == "on_time_rate" and one.hits < one.n
    return late or (one.metric.name in faulty and one.hits > 0)


def format_score(one: Score) -> list[str]:
    """Return the name of a metric, the events behind it, and its value."""
    name, found = one.metric.name, one.distribution
    if found is not None:
        if not found.n:
            return [name, "0", ""]
        return [name, str(found.n), f"P50 {format_ms(found.p50)}, max {format_ms(found.max)} ms"]
    if one.metric.unit == "s":
        return [name, "", f"{one.value:.1f} s" if one.value is not None else ""]
    events = f"{one.hits} of {one.n}"
    if one.metric.unit == "count":
        return [name, events, ""]
    return [
        name,
        events,
        f"{100 * one.value:.1f} %" if one.value is not None else f"n < {MIN_EVENTS}",
    ]


def find_faults(interaction: Interaction) -> list[ScoredEvent]:
    """Find the events in which the agent did wrong."""
    return [one for one in interaction.events if (one.subject, one.outcome) in _FAULTS]


def list_faults(interaction: Interaction, *, in_session: bool = False) -> list[str]:
    """List what the agent did wrong, and where.

    in_session: in the recording of the session; else in the one that was played, if there is one.
        They differ where that was paused.
    """
    faults = find_faults(interaction)
    lines = []
    for event in faults[:LONGEST_LIST]:
        where = None if in_session else event.position
        if where is None:
            at = event.end if event.subject == "reply" else event.start
            where = at - interaction.start
        turn = f"  #{event.turn}" if event.turn is not None else ""
        lines.append(f"  at {where:.2f} s: {_FAULTS[event.subject, event.outcome]}{turn}")
    if (more := len(faults) - LONGEST_LIST) > 0:
        lines.append(f"  and {more} more")
    return lines


def list_word_errors(interaction: Interaction) -> list[str]:
    """List the words that differ from the labels, in one line if there are any."""
    pairs = [pair for row in interaction.transcripts for pair in row.differences]
    if not pairs:
        return []
    shown = [f"{said or '–'} → {heard or '–'}" for said, heard in pairs[:LONGEST_LIST]]
    more = [f"and {len(pairs) - LONGEST_LIST} more"] if len(pairs) > LONGEST_LIST else []
    return [f"words: {sanitize_line('; '.join([*shown, *more]))}"]


def list_unscorable(scores: Iterable[Score]) -> list[str]:
    """List why metrics cannot be scored, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for one in scores:
        if one.why.startswith("not scorable") and not one.n:
            reasons.setdefault(one.why.partition(": ")[2], []).append(one.metric.name)
    return [f"not scorable: {', '.join(names)}: {why}" for why, names in reasons.items()]
