"""Files without an end, or far larger than their kind ever is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import SPEECH
from tests.wild import Case
from voicecli.cli.app import run
from voicecli.environment.files import LARGEST_TEXT
from voicecli.timeline import LARGEST

KIND = "endless file"


@dataclass(frozen=True)
class EndlessCase(Case):
    """make: makes ``endless`` in the current folder; arguments: the command that reads it."""

    make: Callable[[Path], None]
    arguments: Sequence[str]


def link_zeros(file: Path) -> None:
    file.symlink_to("/dev/zero")


def fill(size: int) -> Callable[[Path], None]:
    """Make a file of ``size`` zero bytes, which takes no space."""

    def make(file: Path) -> None:
        file.parent.mkdir(exist_ok=True)
        with file.open("wb") as opened:
            opened.truncate(size)

    return make


def case(name: str, make: Callable[[Path], None], after: str, *arguments: str) -> EndlessCase:
    before = "reads until the memory is full" if make is link_zeros else "reads it all"
    return EndlessCase(KIND, name, before, after, make, arguments)


RECORDING = str(SPEECH / "librivox-0880.wav")
FAST = ("--profile", "scripted", "--fast")
TOO_LARGE = "it is larger than 16 MB."
NOT_READ = f"error: endless cannot be read: {TOO_LARGE}"

CASES = [
    case(
        "the file of --env-file",
        link_zeros,
        f"error: cannot read endless: {TOO_LARGE} Name another file with --env-file, or use "
        "--no-env.",
        *("--env-file", "endless", "profiles", "list"),
    ),
    case(
        "a saved probe for its prediction",
        link_zeros,
        NOT_READ,
        *("--no-env", "replay", "none.wav", *FAST, "--predicted", "endless"),
    ),
    case(
        "a saved probe to compare with",
        link_zeros,
        NOT_READ,
        *("--no-env", "probe", "llm", "-n", "1", *FAST, "--compare", "endless"),
    ),
    case(
        "a profile",
        fill(LARGEST_TEXT + 1),
        f"error: endless.yaml: {TOO_LARGE}",
        *("--no-env", "profiles", "validate", "endless.yaml"),
    ),
    case(
        "a script",
        fill(LARGEST_TEXT + 1),
        f"error: endless.yaml: {TOO_LARGE}",
        *("--no-env", "replay", RECORDING, *FAST, "--set=standin.script=endless.yaml"),
    ),
    case(
        "a timeline",
        fill(LARGEST + 1),
        "error: endless/timeline.jsonl cannot be read: it is larger than 256 MB.",
        *("--no-env", "report", "endless"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_more_is_read_than_such_a_file_can_have(
    case: EndlessCase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "report" in case.arguments:
        name = "endless/timeline.jsonl"
    else:
        name = "endless.yaml" if "endless.yaml" in case.arguments[-1] else "endless"
    case.make(Path(name))
    assert run(case.arguments) == 2
    assert capsys.readouterr().err.replace(f"{tmp_path}/", "").strip() == case.after
