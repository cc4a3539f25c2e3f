"""``voicecli serve``: the services' stand-ins, for as long as one likes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.errors import UsageError

if TYPE_CHECKING:
    from voicecli.standin import Endpoints, Engines, Fault

# the engines, their servers and the clock (numpy) take 0.2 s to import: the command does, --help
# does not


class Engine(StrEnum):
    """What is behind the stand-ins."""

    LOCAL = "local"
    SCRIPTED = "scripted"


Behind = Annotated[Engine, typer.Option("--engine", help="Small real models, or a script.")]
ScriptName = Annotated[
    str | None, typer.Option("--script", help="For the scripted engines: a name, or a YAML file.")
]
LlmModel = Annotated[
    Path | None, typer.Option(help="For the local engines: a GGUF file to answer with.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Of the local LLM; by default all cores but one.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")]
RequireKey = Annotated[bool, typer.Option("--require-key", help="Refuse a client without a key.")]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON, not shell commands.")]
Attached = Annotated[
    bool, typer.Option("--attached", help="End when standard input, a pipe, does.", hidden=True)
]

Opening = AbstractAsyncContextManager["Engines"]
Serving = Callable[["Engines"], AbstractAsyncContextManager["Endpoints"]]


def serve_command(
    engine: Behind = Engine.LOCAL,
    script: ScriptName = None,
    llm_model: LlmModel = None,
    threads: Threads = None,
    deepgram_port: Port = 0,
    openai_port: Port = 0,
    require_key: RequireKey = False,
    as_json: AsJson = False,
    attached: Attached = False,
) -> None:
    """Speak Deepgram's and OpenAI's protocols on this machine, until Ctrl-C."""
    from voicecli import clock
    from voicecli.standin import serve

    faults: Sequence[Fault] = ()
    if engine is Engine.LOCAL:
        _refuse(engine, {"--script": script})
        opening = _local(llm_model, threads)
    else:
        _refuse(engine, {"--llm-model": llm_model, "--threads": threads})
        opening, faults = _scripted(script or "demo")

    serving = partial(
        serve,
        deepgram_port=deepgram_port,
        openai_port=openai_port,
        require_key=require_key,
        faults=faults,
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it is meant to end
        clock.run(_serve(opening, serving, as_json=as_json, attached=attached))


async def _serve(opening: Opening, serving: Serving, *, as_json: bool, attached: bool) -> None:
    async with opening as engines, serving(engines) as endpoints:
        _announce(endpoints, as_json=as_json)
        await (_input_ended() if attached else asyncio.Event().wait())


def _local(llm_model: Path | None, threads: int | None) -> Opening:
    from voicecli.cli.models import fetch_missing
    from voicecli.standin.engines.local import open_local, require_packages

    require_packages()
    fetch_missing(llm_model)
    return open_local(llm_model, threads)


def _scripted(name: str) -> tuple[Opening, Sequence[Fault]]:
    from voicecli.profile.lookup import find_script
    from voicecli.standin.engines.scripted import create_scripted_engines
    from voicecli.standin.script_file import load_script

    script = load_script(find_script(name))
    return nullcontext(create_scripted_engines(script)), script.faults


def _refuse(engine: Engine, options: dict[str, object]) -> None:
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"{option} means nothing to --engine {engine}", hint="Leave it out.")


def _announce(endpoints: Endpoints, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(endpoints)))
    else:
        typer.echo(f"export DEEPGRAM_BASE_URL={endpoints.deepgram}")
        typer.echo(f"export OPENAI_BASE_URL={endpoints.openai}")


async def _input_ended() -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        await reader.read()
    finally:
        transport.close()
