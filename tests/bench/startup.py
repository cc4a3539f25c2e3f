"""startup: the time to --help, and of replay and talk to the first audio sent."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import soundfile
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.bench.devices import open_virtual_audio
from tests.bench.size import choose_size
from tests.bench.table import Check, format_table, print_checks
from tests.support.speech_like import alternate_speech
from tests.support.virtual_audio import missing_programs
from voicecli import clock
from voicecli.audio.pcm import samples_of
from voicecli.units import Seconds

RUNS = choose_size(9, 1)

HELP, REPLAY, TALK = "--help", "replay to first audio sent", "talk to first audio sent"

BARS: dict[str, Seconds] = {HELP: 0.1, REPLAY: 0.6, TALK: 0.6}
"""What the medians must not exceed."""

PYTHON = [sys.executable, "-c", "import sys"]
PROGRAM = [sys.executable, "-m", "voicecli"]


def _make_environment(more: dict[str, str]) -> dict[str, str]:
    """Users have Python keep its byte code; some machines for tests say that it should not."""
    kept = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | more


async def _run(command: list[str], environ: dict[str, str] | None = None) -> Seconds:
    began = clock.now()
    child = await asyncio.create_subprocess_exec(
        *command,
        env=_make_environment(environ or {}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await child.wait()
    return clock.now() - began


async def _to_first_audio(*arguments: str) -> Seconds:
    """Return the time from the start of a command to the arrival of its first audio at the STT."""
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
            *arguments,
            env=_make_environment(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(20):
                return await arrived - began
        finally:
            child.kill()
            await child.wait()


async def _measure(*, sound: bool) -> dict[str, list[Seconds]]:
    """Take each measurement RUNS times, in turn; ``sound``: whether there is a sound card."""
    found: dict[str, list[Seconds]] = {}
    with TemporaryDirectory() as name:
        file = str(Path(name) / "spoken.wav")
        soundfile.write(file, samples_of(alternate_speech(0.2, 1.0)[0]), 16_000)
        await _to_first_audio("replay", file)  # fills the caches
        for _ in range(RUNS):
            for what, command in (
                ("python alone", _run(PYTHON)),
                (HELP, _run([*PROGRAM, "--help"])),
                (f"{REPLAY}, energy", _to_first_audio("replay", file, "--set", "audio.vad=energy")),
                (REPLAY, _to_first_audio("replay", file)),
                *([(TALK, _to_first_audio("talk", "--plain"))] if sound else []),
            ):
                found.setdefault(what, []).append(await command)
    return found


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    missing = missing_programs()
    with nullcontext() if missing else open_virtual_audio():
        found = clock.run(_measure(sound=not missing))
    rows = {
        name: [len(times), 1000 * median(times), 1000 * max(times)] for name, times in found.items()
    }
    print("startup: after a first run that fills the caches; talk through a virtual sound card.")
    print(format_table(["ms", "n", "P50", "max"], [[name, *row] for name, row in rows.items()]))
    if missing:
        print(f"talk is not measured: {', '.join(missing)} not installed.")
    checks: list[Check] = [
        (
            f"{name}: P50 {1000 * median(found[name]):.0f} ms <= {1000 * bar:.0f}",
            median(found[name]) <= bar,
        )
        for name, bar in BARS.items()
        if name in found
    ]
    return {"startup": rows, "checks": print_checks(checks)}
