"""The parts of the benchmark exist under the names that its help gives."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

import tests.bench
from tests.bench.__main__ import DEFAULT, FILE, PARTS, main
from tests.support import ROOT


@pytest.mark.parametrize("part", PARTS)
def test_a_part_can_be_run(part: str) -> None:
    module = importlib.import_module(f"tests.bench.{part}")
    assert callable(module.run)
    assert (module.__doc__ or "").startswith(f"{part}: ")


@pytest.mark.parametrize("part", ["fast", "overhead", "load"])
def test_a_part_runs_briefly_and_keeps_nothing(part: str) -> None:
    before = FILE.read_bytes() if FILE.exists() else b""
    run = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--brief", part],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert re.search("^[✓✗] ", run.stdout, re.MULTILINE), run.stdout
    assert (FILE.read_bytes() if FILE.exists() else b"") == before


def test_the_help_names_all_parts() -> None:
    assert tuple(re.findall(r"^(\w+)   +\w", tests.bench.__doc__, re.MULTILINE)) == PARTS
    assert set(DEFAULT) < set(PARTS)


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lod"]) == 2
    assert "there is no part lod. Did you mean load?" in capsys.readouterr().out
