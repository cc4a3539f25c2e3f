"""startup: the time to --help, and of replay to the first audio sent."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import soundfile
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.bench.table import Check, format_table, print_checks
from tests.support.speech_like import alternate_speech
from voicecli import clock
from voicecli.audio.pcm import samples_of
from voicecli.units import Seconds

RUNS = 9

PYTHON = [sys.executable, "-c", "import sys"]
PROGRAM = [sys.executable, "-m", "voicecli"]


async def _run(command: list[str], environ: dict[str, str] | None = None) -> Seconds:
    began = clock.now()
    child = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **(environ or {})},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await child.wait()
    return clock.now() - began


async def _to_first_audio(folder: Path, settings: list[str]) -> Seconds:
    """Return the time from the start of ``replay`` to the arrival of its first audio."""
    arrived: asyncio.Future[Seconds] = asyncio.get_running_loop().create_future()

    async def note(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # the program is killed
            async for message in socket:
                if isinstance(message, bytes) and not arrived.done():
                    arrived.set_result(clock.now())

    async with serve(note, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        environ = {"DEEPGRAM_BASE_URL": url, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
        began = clock.now()
        child = await asyncio.create_subprocess_exec(
            *PROGRAM,
            "replay",
            str(folder / "spoken.wav"),
            *settings,
            env={**os.environ, **environ},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(20):
                return await arrived - began
        finally:
            child.kill()
            await child.wait()


async def _measure() -> dict[str, list[Seconds]]:
    found: dict[str, list[Seconds]] = {}
    energy = ["--set", "audio.vad=energy"]
    with TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "spoken.wav", samples_of(alternate_speech(0.2, 1.0)[0]), 16_000)
        for _ in range(RUNS):
            for what, took in (
                ("python alone", _run(PYTHON)),
                ("--help", _run([*PROGRAM, "--help"])),
                ("replay to first audio sent, energy", _to_first_audio(folder, energy)),
                ("replay to first audio sent", _to_first_audio(folder, [])),
            ):
                found.setdefault(what, []).append(await took)
    return found


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    found = clock.run(_measure())
    rows = {
        name: [len(times), 1000 * median(times), 1000 * max(times)] for name, times in found.items()
    }
    print("startup: after a first run that fills the caches.")
    print(format_table(["ms", "n", "P50", "max"], [[name, *row] for name, row in rows.items()]))
    took = median(found["--help"])
    checks: list[Check] = [(f"--help: {1000 * took:.0f} ms <= 250", took <= 0.25)]
    return {"startup": rows, "checks": print_checks(checks)}
