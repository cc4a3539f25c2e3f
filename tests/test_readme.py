"""The documentation: generated parts are current, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.readme import FILES, TABLES, render_file
from tests.support import ROOT
from voicecli.cli.app import COMMANDS, load_command
from voicecli.errors import VoiceError

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *FILES,
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / "tests" / "bench" / "README.md",
    ROOT / "voicecli" / "corpus" / "README.md",
]


def command_lines() -> list[str]:
    """Every line of a README code block that runs voicecli, without its comment."""
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in line.partition("  #")[0].split("&&")]
    found = (re.search(r"(?:^|/|\s)voicecli\s+(.+)$", part.strip()) for part in parts)
    return [one[1].strip() for one in found if one]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_generated_parts_are_current(file: Path) -> None:
    """``python -m tests.readme`` rewrites them."""
    text = file.read_text(encoding="utf-8")
    assert render_file(text) == text


@pytest.mark.parametrize("name", TABLES)
def test_a_stale_table_is_noticed(name: str) -> None:
    stale = f"<!-- {name} -->\n| `gone` | of yesterday |\n<!-- /{name} -->\n"
    assert render_file(stale) != stale
    assert "of yesterday" not in render_file(stale)


def test_every_table_is_somewhere() -> None:
    pages = "".join(file.read_text(encoding="utf-8") for file in FILES)
    for name in TABLES:
        assert f"<!-- {name} -->" in pages


def test_the_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 220


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", text):
        path = target[0] or target[1]
        if "://" not in path:
            assert (page.parent / path).exists(), path


def test_commands_work_as_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names an existing command, options that it has, and recordings that exist."""
    lines = command_lines()
    assert len(lines) > 10
    for line in lines:
        name, *arguments = shlex.split(line)
        assert name in COMMANDS, line
        assert load_command(name)
        try:
            context = load_command(name).make_context(name, list(arguments), resilient_parsing=True)
        except VoiceError as error:
            pytest.fail(f"{line}: {error}")
        assert context is not None
        for argument in arguments:
            if argument.endswith(".wav") and not argument.startswith("out/"):
                assert (ROOT / argument).exists(), line


def test_the_test_command_checks_everything() -> None:
    block = README.partition("<!-- tests -->")[2].partition("```sh\n")[2].partition("```")[0]
    for tool in ("ruff check", "ruff format --check", "lint-imports", "mypy", "pytest"):
        assert tool in block
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").count("<!-- tests -->") == 1


def test_the_workflow_runs_every_supported_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    matrix = workflow["jobs"]["matrix"]["strategy"]["matrix"]
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos"}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert matrix["python"] == re.findall(r"Python :: (3\.\d+)", project)
