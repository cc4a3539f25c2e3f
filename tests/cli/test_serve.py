"""``voicecli serve``: the stand-ins as a process of their own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from voicecli import clock, models
from voicecli.cli.serve import serve_command
from voicecli.errors import UsageError
from voicecli.standin.engines.process import open_worker

SERVE = [
    *(sys.executable, "-c"),
    "import typer; from voicecli.cli.serve import serve_command; typer.run(serve_command)",
]


def test_serve_speaks_both_protocols_and_ends_with_its_input() -> None:
    async def main() -> tuple[list[str], int, int]:
        command = [*SERVE, "--engine", "scripted", "--attached", "--json"]
        async with (
            open_worker(command) as endpoints,
            httpx2.AsyncClient(trust_env=False) as client,
        ):
            models = (await client.get(f"{endpoints.openai}/models")).json()
            deepgram = endpoints.deepgram.replace("ws:", "http:")
            listen = (await client.get(f"{deepgram}/v1/listen")).status_code
            elsewhere = (await client.get(f"{deepgram}/elsewhere")).status_code
        return [model["id"] for model in models["data"]], listen, elsewhere

    names, listen, elsewhere = clock.run(main())
    assert "scripted" in names
    assert (listen, elsewhere) == (426, 404)


def test_serve_prints_shell_commands_and_ends_normally_with_ctrl_c() -> None:
    with subprocess.Popen([*SERVE, "--engine", "scripted"], stdout=subprocess.PIPE) as serving:
        assert serving.stdout
        lines = [serving.stdout.readline().decode() for _ in range(2)]
        serving.send_signal(signal.SIGINT)
        assert serving.stdout.read() == b""
    assert serving.returncode == 0
    assert re.fullmatch(r"export DEEPGRAM_BASE_URL=ws://127\.0\.0\.1:\d+\n", lines[0])
    assert re.fullmatch(r"export OPENAI_BASE_URL=http://127\.0\.0\.1:\d+/v1\n", lines[1])


def test_an_attached_server_ends_with_its_input() -> None:
    command = [*SERVE, "--engine", "scripted", "--attached"]
    served = subprocess.run(command, input=b"", capture_output=True, timeout=20)
    assert served.returncode == 0
    assert served.stderr == b""
    assert served.stdout.startswith(b"export DEEPGRAM_BASE_URL=")


@pytest.mark.parametrize(
    ("engine", "option", "value"),
    [("local", "script", "demo"), ("scripted", "llm_model", Path("a")), ("scripted", "threads", 1)],
)
def test_an_option_of_the_other_engines_is_refused(engine: str, option: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"--engine {engine}"):
        serve_command(engine=engine, **{option: value})


@pytest.mark.local
@pytest.mark.skipif(
    not all(map(models.find, models.ENGINE_MODELS)), reason="run: voicecli models fetch"
)
def test_the_real_engines_serve_too() -> None:
    async def main() -> str:
        command = [*SERVE, "--engine", "local", "--attached", "--json"]
        async with (
            open_worker(command) as endpoints,
            httpx2.AsyncClient(trust_env=False, timeout=20) as client,
        ):
            message = {"role": "user", "content": "What is the capital of Australia?"}
            request = {"model": "local", "messages": [message], "temperature": 0}
            answer = await client.post(f"{endpoints.openai}/chat/completions", json=request)
            return str(answer.json()["choices"][0]["message"]["content"])

    pytest.importorskip("xllamacpp")
    assert "Canberra" in clock.run(main())
