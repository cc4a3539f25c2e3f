"""``voicecli serve``: the stand-ins as a server of their own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voicecli.cli.models import fetch_engine_models
from voicecli.cli.output import print_text
from voicecli.errors import UsageError
from voicecli.loading import end_start

if TYPE_CHECKING:
    from voicecli.standin import Engines, Fault

# The engines, their servers and the clock (numpy) take 0.2 s: the command imports them, not --help.


Port = Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")]


def serve_command(
    engine: Annotated[
        Literal["local", "scripted"], typer.Option(help="Small real models, or a script.")
    ] = "local",
    script: Annotated[
        str | None, typer.Option(help="For the scripted engines: a name, or a YAML file.")
    ] = None,
    llm_model: Annotated[
        Path | None, typer.Option(help="For the local engines: a GGUF file to answer with.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the local LLM; by default all cores but one.")
    ] = None,
    system_prompt: Annotated[
        str | None, typer.Option(help="What the local LLM processes ahead of the first request.")
    ] = None,
    deepgram_port: Port = 0,
    openai_port: Port = 0,
    require_key: Annotated[
        bool, typer.Option("--require-key", help="Refuse a client without a key.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON, not shell commands.")
    ] = False,
    attached: Annotated[
        bool, typer.Option("--attached", help="End with standard input.", hidden=True)
    ] = False,
) -> None:
    """Speak Deepgram's and OpenAI's protocols on this machine, until Ctrl-C."""
    from voicecli import clock
    from voicecli.standin import serve

    is_local = engine == "local"
    scripted = {"--script": script}
    local = {"--llm-model": llm_model, "--threads": threads, "--system-prompt": system_prompt}
    for option, value in (scripted if is_local else local).items():
        if value is not None:
            raise UsageError(f"{option} does not apply to --engine {engine}", hint="Leave it out.")
    opening: AbstractAsyncContextManager[Engines]
    faults: Sequence[Fault] = ()
    if is_local:
        from voicecli.standin.engines.local import open_local, require_packages

        require_packages()
        fetch_engine_models(own_llm=llm_model is not None)
        opening = open_local(llm_model, threads, system_prompt)
    else:
        from voicecli.profile import load_script
        from voicecli.standin.engines.scripted import create_scripted_engines

        loaded = load_script(script or "demo")
        opening, faults = nullcontext(create_scripted_engines(loaded)), loaded.faults

    async def run() -> None:
        async with (
            opening as engines,
            serve(
                engines,
                deepgram_port=deepgram_port,
                openai_port=openai_port,
                require_key=require_key,
                faults=faults,
            ) as endpoints,
        ):
            if as_json:
                print_text(json.dumps(asdict(endpoints)))
            else:
                print_text(f"export DEEPGRAM_BASE_URL={endpoints.deepgram}")
                print_text(f"export OPENAI_BASE_URL={endpoints.openai}")
            await (_wait_input_end() if attached else asyncio.Event().wait())

    with end_start(), suppress(KeyboardInterrupt):  # Ctrl-C is the normal end
        clock.run(run())


async def _wait_input_end() -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        await reader.read()
    finally:
        transport.close()
