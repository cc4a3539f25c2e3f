"""Adds up the results of many units: percentiles over all turns, counts over all sessions.

Percentiles of percentiles and means of rates do not exist here.  A tally holds a number for each
duration of a turn, and nothing of the units themselves.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from voicecli.corpus.unit import Failure, Unit, UnitResult
from voicecli.errors import InputError
from voicecli.metrics.interaction import InteractionTally, decode_interaction
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
        if result.result is None:
            self.failed += 1
            return
        cost = decode_cost(result.result["cost"])
        self.cost = add_costs((self.cost, cost)) if self.units else cost
        self.usage = add_usages((self.usage, decode_usage(result.result["ledger"])))
        self.interaction.add(decode_interaction(result.result["interaction"]))
        self.units += 1
        self.repeated += result.attempts > 1
        for turn in result.result["turns"]:
            self.unreliable += not turn["reliable"]
            for name, took in list_durations(turn):
                self._values.setdefault(name, array("d")).append(took)
                if name == ENDPOINTING.raw_name and not turn["cut_off"]:
                    self._commit_waits.append(took)

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
        unit = result.unit
        if result.failure is not None:
            self.failures.append((unit, result.failure))
        self.whole.add(result)
        self.settings[unit.variant] = unit.profile, unit.overrides
        self.variants.setdefault(unit.variant, Tally()).add(result)
        self.recordings.setdefault((unit.variant, unit.recording), Tally()).add(result)
        for tag in dict.fromkeys(unit.tags):
            self.tags.setdefault((unit.variant, tag), Tally()).add(result)


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
