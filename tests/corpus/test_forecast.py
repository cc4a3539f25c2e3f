"""What a run will cost is said before it starts, and agreed to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from voicecli.cli.app import run
from voicecli.corpus.forecast import Forecaster
from voicecli.corpus.manifest import find_recordings
from voicecli.corpus.plan import Conditions, load_variants, plan_units
from voicecli.corpus.unit import Unit

LABELS = "version: 1\nspans:\n- {start: 1, end: 3, kind: turn, text: One question.}\n"


@pytest.fixture
def minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording of a minute."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "minute.wav"
    soundfile.write(path, np.zeros(60 * 8000, dtype="int16"), 8000)
    return path


def plan(*profiles: str, repeats: int = 1) -> tuple[Unit, ...]:
    variants = load_variants(profiles, ())
    conditions = Conditions(repeats=repeats)
    return plan_units(find_recordings(["minute.wav"]), variants, conditions).units


def test_a_forecast_is_by_length_and_turns(minute: Path) -> None:
    (unit,) = plan("duplex")
    usage = Forecaster().forecast(unit)
    assert (usage.turns, usage.listened) == (8, 60.0)
    assert usage.tokens == 8 * 40
    minute.with_suffix(".labels.yaml").write_text(LABELS)
    (unit,) = plan("duplex")
    assert Forecaster().forecast(unit).turns == 1


def test_a_polite_user_waits_for_the_replies(minute: Path) -> None:
    """Eight replies of 160 characters, at 15 a second."""
    (unit,) = plan("default")
    assert Forecaster().forecast(unit).listened == 60.0 + 8 * 160 / 15


def test_the_cost_is_that_of_the_list_prices(minute: Path) -> None:
    """Two replays of 145 s; 1,280 characters each at $0.03 a thousand."""
    cost = Forecaster().estimate_cost(plan("default", repeats=2))
    assert cost.tts == pytest.approx(2 * 1.28 * 0.03)
    assert cost.stt is not None
    assert cost.stt > 0
    free = Forecaster().estimate_cost(plan("scripted", "local"))
    assert (free.total, free.lower_bound) == (0.0, False)


def test_a_recording_that_cannot_be_read_costs_nothing(minute: Path) -> None:
    (unit,) = plan("default")
    minute.write_text("no sound")
    assert Forecaster().estimate_cost([unit]).total == 0.0


def test_paid_services_need_an_agreement(
    minute: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal and without --yes nothing is opened, nor kept."""
    for name in ("DEEPGRAM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    command = ("replay", "minute.wav", "--repeat=2", "--profile=default", "--out=out")
    assert run(command) == 2
    printed = capfd.readouterr().err
    assert "2 replays will cost about $0." in printed
    assert "nobody can be asked whether it may. Agree with --yes." in printed
    assert not list(Path("out").rglob("*.json"))
    assert run((*command, "--yes")) == 3  # there is no key
    assert "DEEPGRAM_API_KEY" in capfd.readouterr().err
