"""``voicecli models``: what is listed and fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voicecli import models
from voicecli.cli.models import models_app


def test_the_list_of_models_says_what_is_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOICECLI_MODELS", str(tmp_path))
    listed = json.loads(CliRunner().invoke(models_app, ["list", "--json"]).stdout)
    assert [(row["name"], row["licence"], row["fetched"]) for row in listed] == [
        ("moonshine-tiny-en", "MIT", False),
        ("smollm2-135m-instruct-q4_0", "Apache-2.0", False),
        ("smart-turn-v3.2", "BSD-2", False),
    ]
    assert listed[0]["path"] == str(tmp_path / "moonshine-tiny-en")
    table = CliRunner().invoke(models_app, ["list"], env={"COLUMNS": "200"}).stdout
    assert "44 MB" in table
    assert "107 MB" in table
    assert table.count("not fetched") == 3


def test_models_that_are_here_are_not_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOICECLI_MODELS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    for model in models.MODELS:
        (tmp_path / model.name).mkdir()
        for file in model.files:
            with (tmp_path / model.name / file.name).open("wb") as sparse:
                sparse.truncate(file.size)
    result = CliRunner().invoke(models_app, ["fetch"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{model.name}: {tmp_path / model.name}" for model in models.MODELS
    ]
