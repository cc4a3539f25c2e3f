"""Adds up the results of many units: percentiles over all turns, counts over all sessions.

Percentiles of percentiles and means of rates do not exist here.  A tally holds a number for each
duration of a turn, and nothing of the units themselves.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from voicecli.corpus.unit import Failure, Unit, UnitResult
from voicecli.errors import InputError
from voicecli.metrics.interaction import Interaction, InteractionTally, decode_interaction
from voicecli.metrics.stages import ENDPOINTING
from voicecli.metrics.summary import Summary, score, summarize_values
from voicecli.metrics.usage import Cost, SessionUsage, add_costs, add_usages
from voicecli.report.json_result import (
    decode_cost,
    decode_usage,
    encode_cost,
    encode_distribution,
    encode_scores,
    encode_usage,
    list_durations,
)
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What is added up of a result; see ``Tally``."""

    usage: SessionUsage
    interaction: Interaction
    cost: Cost
    durations: Sequence[tuple[str, Seconds]]
    commit_waits: Sequence[Seconds]
    unreliable: int
    repeated: bool


def decode_numbers(result: UnitResult) -> Numbers | None:
    """Return the numbers of a result; None if the unit failed.

    Raises LookupError, TypeError, ValueError or AttributeError where it is of another shape.
    """
    values = result.result
    if values is None:
        return None
    durations = [
        # One name for all results: JSON's own would take 2 KB for each.
        [(sys.intern(name), took) for name, took in list_durations(turn)]
        for turn in values["turns"]
    ]
    return Numbers(
        usage=decode_usage(values["ledger"]),
        interaction=decode_interaction(values["interaction"]),
        cost=decode_cost(values["cost"]),
        durations=[one for turn in durations for one in turn],
        commit_waits=[
            took
            for turn, found in zip(values["turns"], durations, strict=True)
            for name, took in found
            if name == ENDPOINTING.raw_name and not turn["cut_off"]
        ],
        unreliable=sum(not turn["reliable"] for turn in values["turns"]),
        repeated=result.attempts > 1,
    )


@dataclass(slots=True)
class Tally:
    """The sum of some results.

    units: that were measured; failed: that were not.
    repeated: that were measured again because the event loop was late.
    unreliable: turns whose measurement is doubtful.
    """

    units: int = 0
    failed: int = 0
    repeated: int = 0
    unreliable: int = 0
    usage: SessionUsage = field(default_factory=SessionUsage)
    interaction: InteractionTally = field(default_factory=InteractionTally)
    cost: Cost = field(default_factory=Cost)
    _values: dict[str, array[float]] = field(default_factory=dict)
    _commit_waits: array[float] = field(default_factory=lambda: array("d"))

    def count_cutoffs(self) -> tuple[int, int]:
        """Count the cut-offs, and what their rate is a share of.

        That is pauses within turns where there are labels, and turns where there are none.
        """
        found = score(self.interaction)["cutoff_rate"]
        return found.hits, found.n

    def mean_commit_wait(self) -> Seconds | None:
        """Return the mean silence from the end of a turn to its commitment, cut-offs left out."""
        return sum(self._commit_waits) / len(self._commit_waits) if self._commit_waits else None

    def list_durations(self, name: str) -> Sequence[Seconds]:
        """List a duration of every turn that has it."""
        return self._values.get(name, ())

    def add(self, result: UnitResult) -> None:
        """Add the result of a unit."""
        self.add_numbers(decode_numbers(result))

    def add_numbers(self, found: Numbers | None) -> None:
        """Add the numbers of a result; None: the unit failed."""
        if found is None:
            self.failed += 1
            return
        self.cost = add_costs((self.cost, found.cost)) if self.units else found.cost
        self.usage = add_usages((self.usage, found.usage))
        self.interaction.add(found.interaction)
        self.units += 1
        self.repeated += found.repeated
        self.unreliable += found.unreliable
        for name, took in found.durations:
            self._values.setdefault(name, array("d")).append(took)
        self._commit_waits.extend(found.commit_waits)

    def summarize(self) -> Summary:
        """Sum up all turns and sessions, as those of one session are."""
        return summarize_values(self._values, self.usage, self.interaction)

    def encode(self) -> dict[str, Any]:
        """Return the sum as plain data; durations in milliseconds."""
        summary = self.summarize()
        return {
            "units": self.units,
            "failed_units": self.failed,
            "repeated_units": self.repeated,
            "unreliable_turns": self.unreliable,
            "summary": {
                name: encode_distribution(one) for name, one in summary.distributions.items()
            },
            "ledger": encode_usage(self.usage),
            "interaction": encode_scores(self.interaction),
            "cost": encode_cost(self.cost),
        }


@dataclass(slots=True)
class CorpusTally:
    """The sums over a corpus: of everything, and by what it consists of.

    variants: by profile and what a sweep changes in it.
    settings: what each of these is: the profile's name, the overrides.
    tags, recordings: by variant and tag, by variant and the recording's path.
    failures: the units that failed, and why.
    """

    whole: Tally = field(default_factory=Tally)
    variants: dict[str, Tally] = field(default_factory=dict)
    settings: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    tags: dict[tuple[str, str], Tally] = field(default_factory=dict)
    recordings: dict[tuple[str, str], Tally] = field(default_factory=dict)
    failures: list[tuple[Unit, Failure]] = field(default_factory=list)

    def add(self, result: UnitResult) -> None:
        """Add the result of a unit to every sum that it is part of."""
        unit, found = result.unit, decode_numbers(result)
        if result.failure is not None:
            self.failures.append((unit, result.failure))
        self.whole.add_numbers(found)
        self.settings[unit.variant] = unit.profile, unit.overrides
        self.variants.setdefault(unit.variant, Tally()).add_numbers(found)
        self.recordings.setdefault((unit.variant, unit.recording), Tally()).add_numbers(found)
        for tag in dict.fromkeys(unit.tags):
            self.tags.setdefault((unit.variant, tag), Tally()).add_numbers(found)


def tally_results(results: Iterable[UnitResult]) -> CorpusTally:
    """Add up ``results``, of which only one is in memory at a time; raises InputError."""
    tally = CorpusTally()
    for result in results:
        try:
            tally.add(result)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"the result {result.unit.id} is damaged, or of another version of voicecli",
                hint="Delete it in the folder's results; it is measured again then.",
            ) from error
    return tally
