"""The ``voicecli`` program: commands, common options, ``.env`` and signals.

Each command is a module of its own beside this one, imported only when it runs.
"""

from __future__ import annotations

import io
import logging
import os
import platform
import signal
import sys
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand
from typer.main import get_command, get_group

from voicecli import __version__
from voicecli.cli.errors import (
    EXIT_CODES,
    UNREAD,
    configure_logging,
    is_debugging,
    print_error,
)
from voicecli.cli.output import discard, prepare_streams, print_text
from voicecli.environment.files import read_text_file
from voicecli.environment.folders import find_home
from voicecli.errors import IO_FAILED, UsageError
from voicecli.loading import begin_start
from voicecli.sanitize import sanitize_short

COMMANDS = {
    "talk": ("talk:talk_command", "Talk with the agent and see what you wait for."),
    "probe": ("probe:probe_command", "Measure each service; predict a conversation's latency."),
    "replay": ("replay:replay", "Play a recording to the agent; measure its answers."),
    "report": ("report:report", "Print the numbers of a kept session again."),
    "labels": ("labels:labels_app", "Propose, check and import the truth about recordings."),
    "devices": ("devices:devices_app", "List and test microphones and loudspeakers."),
    "profiles": ("profiles:app", "List, show and validate profiles."),
    "models": ("models:models_app", "Fetch and list the models that run on this machine."),
    "serve": ("serve:serve_command", "Speak Deepgram's and OpenAI's protocols on this machine."),
}
"""Name → (MODULE:OBJECT in voicecli.cli, help), in the order of --help.

OBJECT is a function, which becomes a command, or a ``typer.Typer``, which becomes a group.
"""

EPILOG = "\n".join(
    ["\b", "Exit codes:", *(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())]
)

_log = logging.getLogger(__name__)

# Plain help and errors: rich would cost 0.1 s, and draw its boxes into pipes.
app = typer.Typer(
    name="voicecli",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class LazyCommand(TyperCommand):
    """A command whose module is imported when it runs or shows its own help."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Return the context of the real command, which then runs instead of this one."""
        assert self.name is not None
        shows_help = extra.get("resilient_parsing") or not {"-h", "--help"}.isdisjoint(args)
        if not shows_help:
            _load_environment(**parent.params)
        return load_command(self.name).make_context(info_name, args, parent, **extra)


def load_command(name: str) -> Any:
    """Import the command or group ``name``."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    target = getattr(import_module(f"voicecli.cli.{module}"), attribute)
    parent = typer.Typer(rich_markup_mode=None)
    if isinstance(target, typer.Typer):
        parent.add_typer(target, name=name)
    else:
        parent.command(name)(target)
    return get_group(parent).commands[name]


for _name, (_, _help) in COMMANDS.items():
    app.command(_name, cls=LazyCommand, short_help=_help)(lambda: None)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"voicecli {__version__}")
        print_text(f"Python {platform.python_version()} ({sys.executable})")
        print_text(f"{platform.system()} {platform.release()} {platform.machine()}")
        raise typer.Exit


@app.callback()
def options(
    env_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Read FILE, not the nearest .env; the shell's variables win."
        ),
    ] = None,
    no_env: Annotated[bool, typer.Option("--no-env", help="Read no .env.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, show_default=False, help="Log more; -vv: most."
        ),
    ] = 0,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print versions."),
    ] = False,
) -> None:
    """A voice agent in your terminal that proves its own latency."""
    configure_logging(verbose)


def run(arguments: Sequence[str], commands: typer.Typer = app) -> int:
    """Run the command line ``arguments``; return its exit code.  Failures are printed."""
    try:
        _check_arguments(arguments)
        result = get_command(commands).main(
            list(arguments), prog_name="voicecli", standalone_mode=False
        )
        sys.stdout.flush()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        discard(sys.stdout)  # typer ends with 1 then, which means something else here
        return UNREAD
    except BaseException as error:
        code = print_error(error, debug=is_debugging())
        if code in (UNREAD, IO_FAILED):
            discard(sys.stdout)
        return code
    return result if isinstance(result, int) else 0


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuse what no system can pass to a program, but a caller of ``run`` can."""
    for argument in arguments:
        try:
            passable = b"\0" not in os.fsencode(argument)
        except UnicodeEncodeError:
            passable = False
        if not passable:
            shown = sanitize_short(argument)
            raise UsageError(
                f"the argument {shown!r} contains a NUL or half a character", hint="Leave it out."
            )


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """Treat SIGTERM as Ctrl-C, even where a script's background job ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def main() -> NoReturn:
    """Run the program's command line and exit."""
    begin_start()
    prepare_streams()
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


# ── .env ─────────────────────────────────────────────────────────────────────


def _load_environment(env_file: Path | None, no_env: bool, **_: object) -> None:
    if env_file and no_env:
        raise UsageError("--env-file and --no-env contradict each other", hint="Leave one out.")
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        cause = "the current folder no longer exists"
        raise UsageError(cause, hint="Change to another one.") from error
    if no_env:
        return
    if file := Path(env_file) if env_file else find_env_file(here):
        load_env_file(file)


def find_env_file(start: Path) -> Path | None:
    """Find the nearest ``.env`` in ``start`` and the folders above it.

    The search ends at the folder that holds ``.git`` and at the user's home.
    """
    home = find_home()
    for folder in (start, *start.parents):
        file = folder / ".env"
        with suppress(PermissionError):  # this folder is another user's
            if file.is_file() or file.is_fifo():  # password managers serve it from a pipe
                return file
        if (home and folder == home.resolve()) or os.path.exists(folder / ".git"):
            break
    return None


def load_env_file(file: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables of ``file`` that ``environ`` lacks.

    A variable of the shell wins even if it is empty; an empty one in the file is not set.
    Raises UsageError with the line number, but never with the line: it may hold a key.
    """
    from dotenv.main import DotEnv  # 30 ms, which a run without .env does not pay
    from dotenv.parser import parse_stream

    text = _read_utf8(file)
    for binding in parse_stream(io.StringIO(text)):
        statement = binding.original.string
        if binding.error or "\0" in statement:  # no variable can hold a NUL
            blank = statement[: len(statement) - len(statement.lstrip())]
            line = binding.original.line + blank.count("\n")
            raise UsageError(
                f"{file}:{line}: expected NAME=VALUE",
                hint="Correct the line, or ignore the file with --no-env.",
            )
    variables = DotEnv(None, stream=io.StringIO(text), override=False).dict()
    found = {name: value for name, value in variables.items() if value and name not in environ}
    environ.update(found)
    _log.info("%s sets %s", file, ", ".join(found) or "nothing")


def _read_utf8(file: Path) -> str:
    try:
        return read_text_file(file)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{file}:{line}: not UTF-8 text",
            hint="Save it as UTF-8, or ignore the file with --no-env.",
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}",
            hint="Name another file with --env-file, or use --no-env.",
        ) from error
