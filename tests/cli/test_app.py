"""``voicecli`` as its users meet it: help, mistakes, exit codes, ``.env``, signals; and no keys."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import typer
import yaml

from voicecli import __version__, errors
from voicecli.cli.app import (
    COMMANDS,
    find_env_file,
    load_command,
    load_env_file,
    run,
)
from voicecli.cli.errors import EXIT_CODES, UNREAD, print_error
from voicecli.errors import (
    BUG,
    CredentialsError,
    DeviceError,
    RefusedError,
    ServiceError,
    UsageError,
    VoiceError,
)

VOICECLI = [sys.executable, "-m", "voicecli"]
KEY = "0123456789abcdef0123456789abcdef01234567"
OPENAI_KEY = "sk-proj-abcDEF123456_789-xyz"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in which the commands are run, and an environment with little in it."""
    for name in os.environ:
        if name.startswith(("VOICECLI_", "DEEPGRAM_", "OPENAI_", "PIP_", "NO_COLOR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("VOICECLI_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def voicecli(
    *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VOICECLI, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | (env or {}),
    )


def raising(error: BaseException) -> typer.Typer:
    """A program of one command, which fails."""
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    def fail() -> None:
        raise error

    return app


# ── help ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command_and_exit_code(home: Path, option: str) -> None:
    shown = voicecli(option)
    assert (shown.returncode, shown.stderr) == (0, "")
    for name, (_, sentence) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(sentence)}$", shown.stdout, re.MULTILINE)
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^ +{code}  {re.escape(meaning)}$", shown.stdout, re.MULTILINE)


def test_every_failure_has_its_exit_code_in_the_help() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert {kind.exit_code for kind in kinds if issubclass(kind, VoiceError)} <= set(EXIT_CODES)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_of_its_own(home: Path, name: str) -> None:
    (home / ".env").write_text("what is this?")  # needs no key, so it reads none
    shown = voicecli(name, "-h")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"Usage: voicecli {name} ")
    assert load_command(name).help.splitlines()[0] in " ".join(shown.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_name_of_each_command_is_in_the_table(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert command.get_short_help_str(limit=200) == command.help.split(".")[0] + "."


def test_help_imports_none_of_the_heavy_packages(home: Path) -> None:
    program = (
        "import sys; from voicecli.cli.app import run; code = run(['--help']);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "pydantic_core", "httpx2", "websockets", "soundfile", "asyncio", "rich"}
    heavy |= {"dotenv"}
    assert heavy.isdisjoint(ran.stderr.split())


def test_no_arguments_show_the_help_and_are_a_mistake(home: Path) -> None:
    shown = voicecli()
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("Usage: voicecli ")


def test_version_names_python_and_the_platform(home: Path) -> None:
    shown = voicecli("--version")
    assert shown.returncode == 0
    version, python, platform = shown.stdout.splitlines()
    assert version == f"voicecli {__version__}"
    assert python.startswith(f"Python {sys.version.split()[0]} ")
    assert os.uname().machine in platform


def test_the_installed_script_is_the_same_program(home: Path) -> None:
    script = Path(sys.executable).with_name("voicecli")
    if not script.exists():
        pytest.skip("voicecli is not installed here")
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith(f"voicecli {__version__}\n")


# ── mistakes on the command line ─────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serv"], "No such command 'serv'. Did you mean 'serve'?\nTry voicecli --help.\n"),
        (["profiles", "shw"], "No such command 'shw'. Did you mean 'show'"),
        (["serve", "--engin", "local"], "No such option: --engin (Possible options: --engine)"),
        (["serve", "--engine", "remote"], "'remote'"),
        (["profiles", "list", "-v"], "-v\nThat option comes before the command: voicecli OPTION"),
        (["profiles", "show"], "Missing argument 'NAME'"),
        (["--no-env", "--env-file", "a", "profiles", "list"], "contradict each other"),
    ],
)
def test_a_mistake_is_named_with_its_hint(home: Path, arguments: list[str], says: str) -> None:
    ran = voicecli(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: ")
    assert says in ran.stderr


def test_a_mistyped_word_is_sanitized(home: Path) -> None:
    ran = voicecli(f"{OPENAI_KEY}\x1b[31m")
    assert ran.returncode == 2
    assert OPENAI_KEY not in ran.stderr
    assert "\x1b" not in ran.stderr


# ── failures of real commands ────────────────────────────────────────────────


def test_a_profile_that_is_not_there_is_2(home: Path) -> None:
    ran = voicecli("profiles", "show", "nothere")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.fullmatch(r"error: there is no profile nothere\. Known: .*default.*\.\n", ran.stderr)


def test_every_fault_of_a_profile_is_reported_on_a_line(home: Path) -> None:
    Path("a.yaml").write_text("stt:\n  modl: x\n  languge: y\n")
    ran = voicecli("profiles", "validate", "a.yaml")
    assert ran.returncode == 2
    first, second = ran.stderr.splitlines()
    assert first.startswith("error: a.yaml:2: unknown key stt.modl")
    assert second.startswith("a.yaml:3: unknown key stt.languge")


def test_a_package_index_out_of_reach_is_5(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    index = f"http://me:hunter2@127.0.0.1:{closed}/simple"
    ran = voicecli("models", "fetch", env={"PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull})
    assert (ran.returncode, ran.stdout) == (5, "")
    *_, line = ran.stderr.splitlines()  # after the progress bar
    assert line.startswith("error: ")
    assert "Check the network" in line
    assert "hunter2" not in ran.stderr
    assert "\x1b" not in ran.stderr


def test_a_port_that_is_taken_is_2(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        ran = voicecli("serve", "--engine", "scripted", "--deepgram-port", port)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.fullmatch(r"error: cannot serve: .*[Aa]ddress.* Choose another port.*\n", ran.stderr)


def test_output_that_nobody_reads_ends_it_quietly(home: Path) -> None:
    with subprocess.Popen(
        [*VOICECLI, "profiles", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as printing:
        assert printing.stdout
        assert printing.stderr
        printing.stdout.close()
        assert printing.stderr.read() == b""
    assert printing.returncode == UNREAD


def test_output_that_nobody_reads_may_be_noticed_by_a_task() -> None:
    assert print_error(ExceptionGroup("", [BrokenPipeError()])) == UNREAD


def test_a_pipe_gets_no_colour(home: Path) -> None:
    listed = voicecli("models", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "\x1b" not in listed.stdout


# ── how failures are reported ────────────────────────────────────────────────────

REFUSED = RefusedError("llm", "the key is refused", hint="Copy it again.", status=401)
LOST = ServiceError("stt", "connection lost")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.ThresholdError("too slow"), 1, "error: too slow.\n"),
        (
            UsageError("--a is wrong", hint="Leave it out."),
            2,
            "error: --a is wrong. Leave it out.\n",
        ),
        (CredentialsError("no key"), 3, "error: no key.\n"),
        (REFUSED, 3, "error: LLM: the key is refused. Copy it again.\n"),
        (DeviceError("no microphone"), 4, "error: no microphone.\n"),
        (LOST, 5, "error: STT: connection lost.\n"),
        (errors.UnreliableError("xruns"), 6, "error: xruns.\n"),
        (errors.NoReplyError("silence"), 7, "error: silence.\n"),
        (KeyboardInterrupt(), 130, ""),
        (ExceptionGroup("", [LOST, ExceptionGroup("", [REFUSED])]), 3, f"error: {REFUSED}\n"),
        (ExceptionGroup("", [LOST, DeviceError("gone")]), 4, "error: gone.\n"),
        (
            ExceptionGroup("", [LOST, ServiceError("tts", "no")]),
            5,
            "error: STT: connection lost.\n",
        ),
        (BaseExceptionGroup("", [LOST, KeyboardInterrupt()]), 130, ""),
    ],
    ids=repr,
)
def test_a_failure_is_one_line_and_its_exit_code(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    monkeypatch.delenv("VOICECLI_DEBUG", raising=False)
    assert run([], raising(error)) == code
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("error", [REFUSED, UsageError("--a is wrong", hint="Leave it out.")])
def test_an_error_survives_the_way_to_another_process(error: VoiceError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_a_bug_is_one_line_with_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOICECLI_DEBUG", raising=False)
    with pytest.raises(AttributeError) as bug:
        load_env_file(None)  # type: ignore[arg-type]
    assert run([], raising(ExceptionGroup("", [LOST, bug.value]))) == BUG
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        r"error: AttributeError: [^\n]* \(voicecli/environment/files\.py:\d+\)\. "
        r"This is a bug in voicecli: [^\n]*VOICECLI_DEBUG=1[^\n]*\n",
        err,
    )


@pytest.mark.parametrize("debug", ["", "0", "1"])
def test_no_key_is_ever_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    monkeypatch.setenv("VOICECLI_DEBUG", debug)
    monkeypatch.setenv("OTHER_API_KEY", "gsk/Zm9v+YmFy==")
    text = f"Token {KEY}, {OPENAI_KEY}, gsk/Zm9v+YmFy==, https://me:hunter2@host/"
    assert run([], raising(ValueError(text))) == BUG
    err = capsys.readouterr().err
    assert "Token [redacted], [redacted], [redacted], https://[redacted]@host/" in err
    assert not re.search(r"0123456789|abcDEF|Zm9v|hunter2", err)
    assert ("Traceback" in err) == (debug == "1")


def test_a_foreseen_failure_shows_where_it_was_raised_when_debugging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICECLI_DEBUG", "1")
    assert run([], raising(UsageError("--a is wrong"))) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last == "error: --a is wrong."


# ── .env ─────────────────────────────────────────────────────────────────────


def endpointing(*options: str, env: Mapping[str, str] | None = None) -> object:
    """What a setting amounts to, as the program sees it."""
    ran = voicecli(*options, "profiles", "show", "default", "--resolved", env=env)
    assert ran.returncode == 0, ran.stderr
    return yaml.safe_load(ran.stdout)["stt"]["endpointing_ms"]


def test_the_nearest_env_file_counts_and_the_shell_before_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = endpointing()
    (home / ".env").write_text("VOICECLI_STT__ENDPOINTING_MS=111\n")
    (home / "other").write_text("export VOICECLI_STT__ENDPOINTING_MS='222'  # said so\n")
    (home / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(home / "deep" / "er")
    shell = {"VOICECLI_STT__ENDPOINTING_MS": "333"}
    assert endpointing() == 111
    assert endpointing("--env-file", "../../other") == 222
    assert endpointing("--no-env") == usual != 111
    assert endpointing(env=shell) == 333
    assert endpointing("--env-file", "../../other", env=shell) == 333


def test_the_search_ends_at_the_root_of_the_repository_and_at_home(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").touch()
    (home / "project" / "src").mkdir(parents=True)
    assert find_env_file(home / "project" / "src") == home / ".env"
    (home / "project" / ".git").touch()  # a work tree's is a file
    assert find_env_file(home / "project" / "src") is None
    (home / "project" / ".env").touch()
    assert find_env_file(home / "project" / "src") == home / "project" / ".env"

    (home / "user").mkdir()
    monkeypatch.setenv("HOME", str(home / "user"))
    assert find_env_file(home / "user") is None
    assert find_env_file(home / "project") == home / "project" / ".env"


def test_a_folder_called_env_is_ignored(home: Path) -> None:
    (home / ".env").mkdir()
    assert find_env_file(home) is None


def test_empty_variables_are_not_set_and_the_shell_wins_even_if_empty(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / ".env"
    file.write_text('\ufeffA=\nB=""\nC\n\n# D=d\nE=${S}-e\nS=file\nG=g\n', encoding="utf-8")
    monkeypatch.setenv("S", "shell")
    environ = {"S": "shell", "G": ""}
    load_env_file(file, environ)
    assert environ == {"S": "shell", "G": "", "E": "shell-e"}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"A=1\n\n\nOPENAI_API_KEY sk-secret-secret\nB=2\n", ":4: expected NAME=VALUE"),
        (b'A="1\n', ":1: expected NAME=VALUE"),
        (b"A=1\nB=2\0\n", ":2: expected NAME=VALUE"),
        (b"A=1\r\nB=\xff\r\n", ":2: not UTF-8 text"),
    ],
)
def test_a_file_that_is_wrong_is_2_with_the_line_but_not_what_it_says(
    home: Path, content: bytes, place: str
) -> None:
    (home / ".env").write_bytes(content)
    ran = voicecli("profiles", "list")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"error: {home / '.env'}{place}. ")
    assert "--no-env" in ran.stderr
    assert "secret" not in ran.stderr
    assert voicecli("--no-env", "profiles", "list").returncode == 0


def test_a_file_that_is_not_there_is_2(home: Path) -> None:
    ran = voicecli("--env-file", "gone", "profiles", "list")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: cannot read gone: No such file or directory. ")


# ── logging ──────────────────────────────────────────────────────────────────


def test_verbose_names_the_variables_and_never_their_values(home: Path) -> None:
    (home / ".env").write_text(f"DEEPGRAM_API_KEY={KEY}\nOPENAI_API_KEY={OPENAI_KEY}\n")
    quiet = voicecli("profiles", "list")
    assert quiet.stderr == ""
    for option in ("-v", "-vv"):
        logged = voicecli(option, "profiles", "list")
        assert logged.stdout == quiet.stdout
        assert logged.stderr == (
            f"info: voicecli.cli.app: {home / '.env'} sets DEEPGRAM_API_KEY, OPENAI_API_KEY\n"
        )


LOGGING = """
import logging, sys
from voicecli.cli.errors import configure_logging
configure_logging(int(sys.argv[1]))
ours, theirs = logging.getLogger("voicecli.pipeline.session"), logging.getLogger("websockets")
ours.debug("d"); ours.info("i"); ours.warning("w\\n\\033[31m%s", sys.argv[2])
theirs.debug("d"); theirs.info("i")
try:
    raise ValueError(sys.argv[2])
except ValueError:
    theirs.exception("e")
theirs.warning("%d", "no number")
"""


@pytest.mark.parametrize(
    ("verbosity", "lines"),
    [
        (0, ["warning: w [redacted]", "error: e (ValueError: [redacted])"]),
        (
            1,
            [
                "info: voicecli.pipeline.session: i",
                "warning: voicecli.pipeline.session: w [redacted]",
                "error: websockets: e (ValueError: [redacted])",
            ],
        ),
    ],
)
def test_warnings_are_plain_lines_and_more_of_ours_comes_with_v(
    home: Path, verbosity: int, lines: list[str]
) -> None:
    command = [sys.executable, "-c", LOGGING, str(verbosity), OPENAI_KEY]
    logged = subprocess.run(command, capture_output=True, text=True, check=True)
    assert logged.stdout == ""
    assert logged.stderr.splitlines() == lines


def test_vv_shows_debugging_and_tracebacks_without_keys(home: Path) -> None:
    command = [sys.executable, "-c", LOGGING, "2", OPENAI_KEY]
    logged = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert logged.startswith("debug: voicecli.pipeline.session: d\n")
    assert "debug: websockets" not in logged
    assert "Traceback (most recent call last)" in logged
    assert OPENAI_KEY not in logged


def test_vv_shows_the_traceback_of_a_failure(home: Path) -> None:
    ran = voicecli("-vv", "profiles", "show", "nothere")
    assert ran.returncode == 2
    assert ran.stderr.startswith("Traceback (most recent call last)")
    assert ran.stderr.splitlines()[-1].startswith("error: there is no profile nothere.")


# ── signals ──────────────────────────────────────────────────────────────────


def ignore_ctrl_c() -> None:
    """As a shell does for what a script starts with ``&``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("number", "before"),
    [(signal.SIGINT, None), (signal.SIGTERM, None), (signal.SIGTERM, ignore_ctrl_c)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM in the background"],
)
def test_serve_ends_normally_on_a_signal(
    home: Path, number: signal.Signals, before: Callable[[], None] | None
) -> None:
    with subprocess.Popen(
        [*VOICECLI, "serve", "--engine", "scripted"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    ) as serving:
        assert serving.stdout
        assert [serving.stdout.readline()[:7] for _ in range(2)] == ["export "] * 2
        serving.send_signal(number)
        out, err = serving.communicate(timeout=10)
    assert (serving.returncode, out, err) == (0, "", "")


# pip would wait for this index for ever
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_interrupted_says_nothing_and_ends_with_130(
    home: Path, number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as index:
        url = f"http://127.0.0.1:{index.getsockname()[1]}/simple"
        environ = os.environ | {"PIP_INDEX_URL": url, "PIP_CONFIG_FILE": os.devnull}
        with subprocess.Popen(
            [*VOICECLI, "models", "fetch"], stderr=subprocess.PIPE, text=True, env=environ
        ) as fetching:
            asking, _ = index.accept()
            fetching.send_signal(number)
            _, err = fetching.communicate(timeout=10)
            asking.close()
    assert fetching.returncode == 130
    assert err.strip() == ""
