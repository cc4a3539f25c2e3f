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
)

CONNECTED: list[tuple[str, Any]] = []
"""What was connected to or looked up, while a test listens."""

_listening = False


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        CONNECTED.append((event, arguments))


sys.addaudithook(_note)


def test_scripted_services_are_reached_on_loopback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    global _listening
    monkeypatch.setenv("HOME", str(tmp_path))
    CONNECTED.clear()
    _listening = True
    try:
        clip = str(SPEECH / "librivox-0880.wav")
        assert run(["--no-env", "replay", clip, "--profile", "scripted", "--fast"]) == 0
    finally:
        _listening = False
    hosts = {
        str(arguments[0] if event == "socket.getaddrinfo" else arguments[1][0])
        for event, arguments in CONNECTED
    }
    assert hosts
    assert all(ip_address(host).is_loopback for host in hosts - {"localhost"})


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
