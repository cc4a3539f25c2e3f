"""Calibrations of devices on the disk: kept by pair, and ignored when they are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from voicecli.audio.devices.calibrations import (
    FILE,
    is_alias,
    load_calibration,
    save_calibration,
)
from voicecli.errors import UsageError
from voicecli.metrics.accuracy import Calibration

FOUND = Calibration(error=0.012, bias=-0.004, signals=24)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "voicecli"


def test_each_pair_has_its_own(cache: Path) -> None:
    other = Calibration(error=0.03, bias=0.0, signals=12)
    assert load_calibration("mic", "speaker") is None
    assert save_calibration("mic", "speaker", FOUND) == cache / FILE
    save_calibration("mic", "headset", other)
    assert load_calibration("mic", "speaker") == FOUND
    assert load_calibration("mic", "headset") == other


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 5000,
        '{"mic + speaker": 1}',
        '{"mic + speaker": {"error": "0.1", "bias": 0.0, "signals": 1}}',
        '{"mic + speaker": {"error": NaN, "bias": 0.0, "signals": 1}}',
        "\udc00",
    ],
)
def test_a_damaged_file_says_nothing_and_is_replaced(cache: Path, text: str) -> None:
    cache.mkdir()
    (cache / FILE).write_bytes(text.encode(errors="surrogatepass"))
    assert load_calibration("mic", "speaker") is None
    save_calibration("mic", "speaker", FOUND)
    assert load_calibration("mic", "speaker") == FOUND


def test_a_folder_that_cannot_be_made_is_named(cache: Path) -> None:
    cache.write_text("a file in its place")
    with pytest.raises(UsageError, match=f"{FILE} cannot be written: File exists"):
        save_calibration("mic", "speaker", FOUND)


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("default", True),
        ("sysdefault", True),
        ("pulse", True),
        ("Microsoft Sound Mapper - Input", True),
        ("Primary Sound Capture Driver", True),
        ("MacBook Pro Microphone", False),
        ("HDA Intel PCH: ALC257 Analog (hw:0,0)", False),
    ],
)
def test_names_that_stand_for_another_device_tomorrow(name: str, alias: bool) -> None:
    assert is_alias(name) is alias
