"""Names that are bytes, not text; and texts that no file can have as a name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import SPEECH
from tests.wild import Case
from tests.wild.fuzz_process import run_forked
from voicecli.cli.app import run

KIND = "name of a file"
RAW = "raw\udcff.wav"
"""How Python spells a name with the byte FF, which is no UTF-8."""


@dataclass(frozen=True)
class NameCase(Case):
    """arguments: the command line; {raw} is a recording whose name is no text."""

    arguments: Sequence[str]
    code: int = 2


FAST = ("--profile", "scripted", "--fast")


def refused(name: str, argument: str, *arguments: str) -> NameCase:
    after = f"error: the argument '{argument}' contains a NUL or half a character. Leave it out."
    return NameCase(KIND, name, "exits with 70", after, arguments)


def unusable(name: str, key: str, value: str) -> NameCase:
    option = key.partition("=")[0]
    after = f"error: --set {option}: {key.replace('=', '.')} contains a NUL or half a character."
    sets = ("--set", f"{option}={value}")
    return NameCase(KIND, name, "exits with 70", after, ("replay", RAW, "-p", "local", *sets))


CASES = [
    NameCase(KIND, "bytes: a recording", "exits with 70", "", ("replay", RAW, *FAST), code=0),
    NameCase(
        KIND,
        "bytes: a recording that is not there",
        "exits with 70: UnicodeEncodeError",
        "error: there is no file none\\udcff.wav. Give the path of a recording.",
        ("replay", "none\udcff.wav", *FAST),
    ),
    refused("half a character: a recording", "a?.wav", "replay", "a\ud800.wav", *FAST),
    refused("NUL: a recording", "a.wav", "replay", "a\0.wav", *FAST),
    refused("NUL: --out", "out", "replay", RAW, *FAST, "--out", "out\0"),
    refused("NUL: --compare", "old", "probe", "llm", *FAST, "--compare", "old\0"),
    refused("half a character: --env-file", "?", "--env-file", "\udc00", "profiles", "list"),
    unusable("NUL: a setting", "local.llm.model", '"/a\\0.gguf"'),
    unusable("half a character: a setting", "local.llm.model", '"/a\\uD800.gguf"'),
    unusable("half a character: a parameter", "stt.extra=a\\ud800", '{"a\\uD800": 1}'),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_name_is_used_or_refused(
    case: NameCase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(SPEECH / "librivox-0880.wav", RAW)
    assert (run(case.arguments), capsys.readouterr().err.strip()) == (case.code, case.after)


def test_a_session_in_a_folder_whose_name_is_bytes_is_reported(tmp_path: Path) -> None:
    shutil.copy(SPEECH / "librivox-0880.wav", tmp_path / RAW)
    first, again = (
        run_forked(["--no-env", *command], environ=os.environ, folder=tmp_path)
        for command in (("replay", RAW, *FAST, "--out", "kept\udcff"), ("report", "kept\udcff"))
    )
    said, repeated = (
        [line for line in ended.out.splitlines() if line.startswith("#1")]
        for ended in (first, again)
    )
    assert len(said) == 3
    assert repeated == said
