"""The options that judge a run and tell CI: a baseline, JUnit XML and Markdown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voicecli.cli.output import print_text
from voicecli.corpus.unit import Unit, UnitResult, describe_failure
from voicecli.errors import UsageError
from voicecli.metrics.stages import MOUTH_TO_EAR

if TYPE_CHECKING:
    from voicecli.cli.result import SessionResult
    from voicecli.corpus.baseline import Baseline
    from voicecli.corpus.plan import Conditions
    from voicecli.corpus.verdict import RunVerdict
    from voicecli.metrics.thresholds import Verdict
    from voicecli.profile import Profile

Results = Callable[[], "Iterable[UnitResult]"]
"""Reads the results of a run, once more at each call."""

SaveBaseline = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Keep the measurements for a later --baseline."),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        metavar="FILE",
        help="Tell what changed beyond noise since FILE was saved; exit with 1 if it is worse.",
    ),
]
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML, for CI.")
]
Markdown = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write a summary for a pull request."),
]


@dataclass(frozen=True, slots=True)
class Judging:
    """What a run is compared with, and which files tell of it.

    baseline: read before the run; None: it is compared with nothing.
    file: of the baseline.
    """

    baseline: Baseline | None = None
    file: Path | None = None
    save: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None

    @property
    def wanted(self) -> bool:
        """Whether anything is to be done."""
        return any((self.baseline, self.save, self.junit, self.markdown))

    def list_baseline(self) -> list[float]:
        """List mouth-to-ear of the baseline's turns, in milliseconds; none without a baseline."""
        return self.baseline.list_values(MOUTH_TO_EAR.name) if self.baseline is not None else []

    def judge(
        self, results: Results, expectations: Mapping[str, Sequence[Verdict]], *, whole: bool = True
    ) -> RunVerdict:
        """Compare with the baseline, and write the files; raises InputError, OSError.

        whole: whether everything was measured; else nothing is compared, and no baseline saved.
        """
        from voicecli.corpus.baseline import compare_baselines, make_baseline, save_baseline
        from voicecli.corpus.verdict import RunVerdict

        comparisons = []
        if whole and (self.baseline is not None or self.save is not None):
            found = make_baseline(results())
            if self.baseline is not None and self.file is not None:
                comparisons = compare_baselines(self.baseline, found, self.file)
            if self.save is not None:
                save_baseline(found, self.save)
        verdict = RunVerdict(expectations, comparisons)
        self._write(results, verdict)
        return verdict

    def _write(self, results: Results, verdict: RunVerdict) -> None:
        from voicecli.environment.files import write_text_file

        checks = verdict.list_checks()
        if self.junit is not None:
            from voicecli.corpus.junit import render_junit

            write_text_file(self.junit, render_junit(results(), checks))
        if self.markdown is not None:
            from voicecli.corpus.markdown import render_markdown
            from voicecli.corpus.tally import tally_results

            text = render_markdown(tally_results(results()), checks, verdict.comparisons)
            write_text_file(self.markdown, text)

    def print_comparisons(self, verdict: RunVerdict) -> None:
        """Print what changed since the baseline."""
        from voicecli.corpus.verdict import format_comparisons

        if self.file is not None:
            for line in format_comparisons(verdict.comparisons, str(self.file)):
                print_text(line)
            if not verdict.comparisons:
                print_text("not compared with the baseline: not everything was measured")


@dataclass(slots=True)
class SingleReplay:
    """The replay of one recording, judged as a corpus of one; without a unit, nothing is judged."""

    judging: Judging
    unit: Unit | None
    _began: float = field(default_factory=time.monotonic)
    _verdict: RunVerdict | None = None

    def judge(self, result: SessionResult, *, quiet: bool) -> None:
        """Judge the result and write the files; print what changed unless ``quiet``."""
        if self.unit is not None:
            self._write(result=json.loads(result.as_json()), expectations=result.verdicts)
        if self._verdict is not None and not quiet:
            self.judging.print_comparisons(self._verdict)

    def check(self) -> None:
        """Raise ThresholdError for a regression."""
        if self._verdict is not None:
            self._verdict.check()

    def fail(self, error: Exception) -> None:
        """Tell in the files that nothing was measured."""
        if self.unit is not None:
            self._write(failure=describe_failure(error))

    def _write(self, expectations: Sequence[Verdict] = (), **found: Any) -> None:
        assert self.unit is not None
        one = UnitResult(unit=self.unit, took_s=time.monotonic() - self._began, **found)
        self._verdict = self.judging.judge(
            lambda: [one], {self.unit.variant: expectations}, whole=one.failure is None
        )


@contextmanager
def follow_single(
    judging: Judging, file: Path, profile: Profile, profile_name: str, conditions: Conditions
) -> Iterator[SingleReplay]:
    """Judge the replay of one recording; if it fails, tell so in the files.

    Raises InputError where the recording or its labels are wrong.
    """
    unit = None
    if judging.wanted:
        from voicecli.corpus.manifest import find_recordings
        from voicecli.corpus.plan import Variant, plan_units

        variant = Variant(name=profile_name, profile=profile)
        unit = plan_units(find_recordings([str(file)]), [variant], conditions).units[0]
    single = SingleReplay(judging, unit)
    try:
        yield single
    except Exception as error:
        if single._verdict is None:
            single.fail(error)
        raise


def prepare_judging(
    save: Path | None, baseline: Path | None, junit: Path | None, markdown: Path | None
) -> Judging:
    """Read the baseline and check the files to be written.

    Raises InputError for a baseline that cannot be read, UsageError for a folder that is missing.
    """
    for option, file in (("--save-baseline", save), ("--junit", junit), ("--markdown", markdown)):
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            why = "it is a folder" if file.is_dir() else f"there is no folder {file.parent}"
            raise UsageError(f"{option} {file} cannot be written: {why}", hint="Name a file.")
    read = None
    if baseline is not None:
        from voicecli.corpus.baseline import load_baseline

        read = load_baseline(baseline)
    return Judging(read, baseline, save, junit, markdown)
