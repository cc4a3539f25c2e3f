"""Fuzzes the program for as long as one likes: ``python -m tests.wild.fuzz --minutes 30``.

Each round gives every target some examples from a seed that is printed with what it finds, and
goes on after a failure.  The suite runs the same targets shortly, from a fixed seed.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.wild import fuzz_chat, fuzz_commands, fuzz_files, fuzz_labels, fuzz_wires
from tests.wild.fuzz_target import Target

TARGETS = (
    *fuzz_wires.TARGETS,
    *fuzz_chat.TARGETS,
    *fuzz_files.TARGETS,
    *fuzz_labels.TARGETS,
    *fuzz_commands.TARGETS,
)

OPTIONS = settings(
    deadline=None,  # limit_time ends an example
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


def run_target(target: Target, options: settings, number: int | None = None) -> int:
    """Check examples of ``target``; raise what the shortest failing one raises.

    number: the seed; None takes the same examples each time.

    Returns the number of examples.
    """
    count = 0

    def check(example: object) -> None:
        nonlocal count
        count += 1
        target.check(example)

    check.__name__ = target.name.replace(" ", "_")
    test = given(target.examples)(check)
    settings(options, derandomize=number is None)(test if number is None else seed(number)(test))()
    return count


@dataclass
class Findings:
    """What a long run found: the failures of each target, by where they were raised."""

    examples: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def run(self, target: Target, number: int, examples: int) -> None:
        """Run a round of ``target``; print the first failure of each place."""
        options = settings(
            OPTIONS, max_examples=examples, phases=[Phase.generate, Phase.target, Phase.shrink]
        )
        try:
            self.examples[target.name] += run_target(target, options, number)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.examples[target.name] += examples
            leaf = error
            while isinstance(leaf, BaseExceptionGroup):
                leaf = leaf.exceptions[0]
            frame = traceback.extract_tb(leaf.__traceback__)[-1]
            what = f"{target.name}: {type(leaf).__name__} at {frame.filename}:{frame.lineno}"
            self.failures[what] += 1
            if self.failures[what] <= 3:
                print(f"── {what}, seed {number}", flush=True)
                traceback.print_exception(error, limit=-8, file=sys.stdout)
                sys.stdout.flush()


def main() -> None:
    """Run rounds until the time is up; exit with 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--only", help="names of targets that contain this", default="")
    parser.add_argument("--examples", type=int, default=50, help="of a target in a round")
    given = parser.parse_args()
    targets = [target for target in TARGETS if given.only in target.name]
    findings, end, number = Findings(), time.monotonic() + given.minutes * 60, given.seed
    print(f"seed {number}", flush=True)
    while time.monotonic() < end:
        for target in targets:
            if time.monotonic() < end:
                findings.run(target, number, given.examples)
        number += 1
    for target in targets:
        print(f"{findings.examples[target.name]:>7} examples of {target.name}")
    for what, times in findings.failures.most_common():
        print(f"{times:>7} rounds failed: {what}")
    raise SystemExit(bool(findings.failures))


if __name__ == "__main__":
    main()
