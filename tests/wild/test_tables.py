"""Tables in a pipe or a file: never folded."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wild import Case
from voicecli.cli import devices
from voicecli.cli.app import run

NAME = "HDA Intel PCH: ALC3246 Analog (hw:0,0), " * 5

CASES = (
    Case("table in a pipe", "devices", "names are folded at 80 columns", "one line a device"),
    Case("table in a pipe", "models list", "one line a model", "one line a model"),
    Case("table in a pipe", "profiles list", "one line a profile", "one line a profile"),
    Case("table in a pipe", "probe", "as wide as it is", "as wide as it is"),
)

PROBE = ("probe", "llm", "-n", "1", "--warmup", "0", "--profile", "scripted", "--fast")


def test_a_device_takes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    row: dict[str, Any] = {"index": 0, "name": NAME, "host_api": "ALSA", "default_rate": 48_000}
    for direction in ("input", "output"):
        row |= {f"{direction}_channels": 1, f"{direction}_latency_ms": 8.0}
        row |= {f"default_{direction}": True, f"{direction}_rates": {48_000: True}}
    devices.print_table([row])
    assert capsys.readouterr().out.count(NAME.strip()) == 2


@pytest.mark.parametrize("command", [("profiles", "list"), ("models", "list"), PROBE])
def test_the_width_of_a_terminal_matters_to_no_pipe(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = []
    for columns in ("20", "400"):
        monkeypatch.setenv("COLUMNS", columns)
        assert run(["--no-env", *command]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_a_model_takes_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from voicecli import models

    monkeypatch.setenv("VOICECLI_MODELS", "/x" * 200)
    assert run(["models", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(models.MODELS)
