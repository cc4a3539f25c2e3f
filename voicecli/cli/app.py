"""``voicecli``: what all commands share.  Each command is a module of its own beside this one."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand
from typer.main import get_command, get_group

from voicecli import __version__
from voicecli.cli import dotenv as environment
from voicecli.cli.errors import EXIT_CODES, UNREAD, hush, tell
from voicecli.errors import UsageError

COMMANDS = {
    "talk": "Talk with the agent; see what you wait for.",
    "probe": "Measure each service; predict the latency of a conversation.",
    "replay": "Play a recording to the agent; measure what it answers.",
    "devices": "Microphones and loudspeakers: list them, and try them out.",
    "profiles": "Show and check profiles.",
    "models": "The models of the local engines: small, pinned, fetched once.",
    "serve": "Speak Deepgram's and OpenAI's protocols on this machine.",
}
"""In the order of --help.  ``talk`` is ``talk_command`` or ``talk_app`` in voicecli/cli/talk.py."""

EPILOG = "\n".join(
    ["\b", "Exit codes:", *(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())]
)

# Plain help and errors: rich would cost 0.1 s, and draw its boxes into pipes.
app = typer.Typer(
    name="voicecli",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class LaterCommand(TyperCommand):
    """A command whose module is imported when it is run, or its own help is asked for."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """The context of the real command, which is what is run in it."""
        assert self.name is not None
        needless = extra.get("resilient_parsing") or not {"-h", "--help"}.isdisjoint(args)
        if not needless:
            _load_environment(**parent.params)
        return find_command(self.name).make_context(info_name, args, parent, **extra)


def find_command(name: str) -> Any:
    """The command or group ``name``, from the module of that name."""
    module = import_module(f"voicecli.cli.{name}")
    holder = typer.Typer(rich_markup_mode=None)
    if group := getattr(module, f"{name}_app", None):
        holder.add_typer(group, name=name)
    else:
        holder.command(name)(getattr(module, f"{name}_command"))
    return get_group(holder).commands[name]


for _name, _help in COMMANDS.items():
    app.command(_name, cls=LaterCommand, short_help=_help)(lambda: None)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"voicecli {__version__}")
        typer.echo(f"Python {platform.python_version()} ({sys.executable})")
        typer.echo(f"{platform.system()} {platform.release()} {platform.machine()}")
        raise typer.Exit


@app.callback()
def options(
    env_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Read this, not the nearest .env; the shell wins over both."
        ),
    ] = None,
    no_env: Annotated[bool, typer.Option("--no-env", help="Read no .env.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, show_default=False, help="Log more; -vv: still more."
        ),
    ] = 0,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print versions."),
    ] = False,
) -> None:
    """A voice agent in your terminal that proves its own latency."""
    from voicecli.cli import logs

    logs.configure(verbose)


def _load_environment(env_file: Path | None, no_env: bool, **_: object) -> None:
    if env_file and no_env:
        raise UsageError("--env-file and --no-env contradict each other", hint="Leave one out.")
    if no_env:
        return
    try:
        file = env_file or environment.nearest(Path.cwd())
    except FileNotFoundError as error:
        raise UsageError(
            "the current folder does not exist any more", hint="Change to another one."
        ) from error
    if file:
        environment.load(file)


def run(arguments: Sequence[str], commands: typer.Typer = app) -> int:
    """Run the command that ``arguments`` ask for; its exit code.  Failures are told, not raised."""
    try:
        result = get_command(commands).main(
            list(arguments), prog_name="voicecli", standalone_mode=False
        )
        sys.stdout.flush()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        hush()  # typer ends with 1 then, which is taken
        return UNREAD
    except BaseException as error:
        code = tell(error, debug=_debugging())
        if code == UNREAD:
            hush()
        return code
    return result if isinstance(result, int) else 0


def _debugging() -> bool:
    from voicecli.cli import logs

    return logs.debugging() or os.environ.get("VOICECLI_DEBUG", "0") not in ("", "0")


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C, also where a script that put us into the background ignores that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def main() -> NoReturn:
    """Run as a program: the command line in, an exit code out."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))
