"""Profiles, saved probes and sessions that were damaged, or changed by hand."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.wild import Case
from voicecli.cli.app import run

KIND = "damaged file"


@dataclass(frozen=True)
class FileCase(Case):
    """A file's text, and the command that reads it; after: what it prints."""

    text: str
    command: tuple[str, ...] = ("profiles", "validate", "file.yaml")


def probe(**changes: Any) -> str:
    """The parts of a saved probe that are read."""
    saved = {"kind": "probe", "schema_version": 1, "basis": {}, "metrics": {}}
    return json.dumps(saved | {"prediction": {"p50_ms": 500.0, "p95_ms": None}} | changes)


def compared(name: str, before: str, after: str, text: str) -> FileCase:
    command = ("probe", "llm", "-n", "1", "--profile", "scripted", "--fast", "--compare")
    return FileCase(KIND, name, before, after, text, (*command, "file.yaml"))


def predicted(name: str, before: str, after: str, text: str) -> FileCase:
    command = ("replay", "none.wav", "--profile", "scripted", "--predicted", "file.yaml")
    return FileCase(KIND, name, before, after, text, command)


NESTED = "brackets or sections are nested too deeply"
DAMAGED = "error: file.yaml is damaged. Save a new one with --save."
NO_JSON = "error: file.yaml is not JSON. Name a file saved with --save."

CASES = [
    FileCase(
        KIND,
        "profile: 900 brackets",
        "exits with 70: RecursionError",
        f"error: file.yaml:1: {NESTED}.",
        f"llm: {'[' * 900}{']' * 900}",
    ),
    FileCase(
        KIND,
        "profile: 5000 brackets, none closed",
        "exits with 70: RecursionError",
        f"error: file.yaml:1: {NESTED}.",
        f"llm: {'[' * 5000}",
    ),
    FileCase(
        KIND,
        "profile: 900 sections",
        "exits with 70: RecursionError",
        f"error: file.yaml:1: {NESTED}.",
        '{"a":' * 900 + "1" + "}" * 900,
    ),
    compared("probe: basis is a list", "exits with 70: AttributeError", DAMAGED, probe(basis=[{}])),
    compared(
        "probe: metrics are text",
        '"none of 0 statistics compared"; exit 0',
        DAMAGED,
        probe(metrics="none"),
    ),
    predicted("prediction is a list", "exits with 70: TypeError", DAMAGED, probe(prediction=[1])),
    predicted("prediction without P50", "exits with 70: KeyError", DAMAGED, probe(prediction={})),
    predicted(
        "prediction that is not a number",
        "prints nan ms; --json exits with 70: ValueError",
        NO_JSON,
        probe(prediction={"p50_ms": float("nan"), "p95_ms": None}),
    ),
    predicted(
        "prediction without end",
        "prints inf ms; --json exits with 70: ValueError",
        NO_JSON,
        probe(prediction={"p50_ms": 12345, "p95_ms": None}).replace("12345", "1e999"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_file_is_named(
    case: FileCase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in os.environ:
        if name.startswith("VOICECLI_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("file.yaml").write_text(case.text)
    assert run(["--no-env", *case.command]) == 2
    assert capsys.readouterr().err.strip() == case.after
