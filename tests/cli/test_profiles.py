"""``voicecli profiles``: data on stdout, the rest on stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.support import PROFILES
from voicecli.cli.profiles import app
from voicecli.errors import ProfileError
from voicecli.profile import load_profile

SHIPPED = PROFILES


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def profiles(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_list_gives_a_line_for_each_profile():
    lines = profiles("list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [name, "shipped"] for name in sorted(file.stem for file in SHIPPED.glob("*.yaml"))
    ]


def test_list_as_json_holds_name_origin_and_description():
    known = json.loads(profiles("list", "--json").stdout)
    assert {
        "name": "duplex",
        "origin": "shipped",
        "description": load_profile("duplex", environ={}).description,
    } in known


def test_show_prints_the_file_as_it_is_and_its_origin_beside_it():
    result = profiles("show", "lowband")
    assert result.stdout == (SHIPPED / "lowband.yaml").read_text(encoding="utf-8")
    assert result.stderr == f"shipped: {SHIPPED / 'lowband.yaml'}\n"


def test_show_resolved_is_a_profile_of_its_own(tmp_path):
    result = profiles("show", "lowband", "--resolved", "--set", "stt.tag=mine")
    (tmp_path / "again.yaml").write_text(result.stdout, encoding="utf-8")
    again = load_profile("again.yaml", environ={})
    expected = load_profile("lowband", overrides=["stt.tag=mine"], environ={})
    assert again.resolved() == expected.resolved()


def test_show_resolved_heeds_the_environment(monkeypatch):
    monkeypatch.setenv("VOICECLI_STT__ENDPOINTING_MS", "false")
    resolved = yaml.safe_load(profiles("show", "default", "--resolved").stdout)
    assert resolved["stt"]["endpointing_ms"] is False


def test_validate_says_that_a_file_is_valid(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: default", encoding="utf-8")
    result = profiles("validate", "a.yaml")
    assert (result.stdout, result.exit_code) == ("a.yaml: valid\n", 0)


def test_validate_heeds_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("VOICECLI_STT__NONSENSE", "1")
    (tmp_path / "a.yaml").write_text("extends: default", encoding="utf-8")
    assert profiles("validate", "a.yaml").exit_code == 0


def test_validate_refuses_what_is_wrong(tmp_path):
    (tmp_path / "a.yaml").write_text("stt:\n  modl: x", encoding="utf-8")
    result = profiles("validate", "a.yaml")
    assert isinstance(result.exception, ProfileError)
    assert str(result.exception) == "a.yaml:2: unknown key stt.modl. Did you mean stt.model?"
    assert result.stdout == ""


def test_schema_is_json():
    schema = json.loads(profiles("schema").stdout)
    stt = schema["properties"]["stt"]
    assert (stt["title"], stt["type"]) == ("Stt", "object")
    assert stt["properties"]["endpointing_ms"]["anyOf"][0]["minimum"] == 10


def test_schema_of_a_script():
    schema = json.loads(profiles("schema", "--script").stdout)
    assert schema["properties"]["faults"]["items"]["required"] == ["service", "kind"]


def test_help_loads_no_profile():
    code = "import sys, voicecli.cli.profiles; sys.exit('voicecli.profile' in sys.modules)"
    root = SHIPPED.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
