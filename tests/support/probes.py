"""Probes of scripted stand-ins, in virtual time; and servers that are no stand-ins."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import yaml

from voicecli import clock
from voicecli.events import Service
from voicecli.pipeline.wiring import Services, open_services
from voicecli.probe.results import SERVICES, ProbeResults
from voicecli.probe.run import Probe
from voicecli.probe.schedule import Plan
from voicecli.profile import Profile, load_profile

T = TypeVar("T")

SENTENCES = [
    "He was not an ill-disposed young man.",
    "He might even have been made amiable himself.",
]
"""The words of the clips, in the order in which they are played."""


def scripted(folder: Path, script: dict[str, object], *settings: str) -> Profile:
    """Load the profile ``scripted`` with another script and other settings."""
    file = folder / "script.yaml"
    file.write_text(yaml.safe_dump(script), encoding="utf-8")
    overrides = [f"standin.script={file}", "audio.vad=energy", *settings]
    return load_profile("scripted", overrides=overrides)


def run_probe(profile: Profile, wanted: Sequence[Service] = SERVICES, **plan: int) -> ProbeResults:
    """Probe ``profile`` in virtual time."""
    return run_with_services(
        profile,
        lambda services: Probe(
            profile, services, ProbeResults(wanted=tuple(wanted)), Plan(**plan)
        ).run(),
    )


def run_with_services(profile: Profile, work: Callable[[Services], Awaitable[T]]) -> T:
    """Run ``work`` with the profile's stand-ins, in virtual time."""

    async def main() -> T:
        async with open_services(profile) as services:
            return await work(services)

    return clock.run(main(), virtual=True)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def open_server(
    speak: Serve, context: ssl.SSLContext | None = None
) -> AsyncGenerator[int, None]:
    """Serve on a port of this machine, which is yielded."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


def answer_with(text: bytes, after: float = 0.0) -> Serve:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(after)
            writer.write(text)

    return speak
