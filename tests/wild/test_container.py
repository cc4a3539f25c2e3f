"""A bare container: no home, no user entry, no folder to write to."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import SPEECH
from tests.wild import Case
from voicecli.cli.app import run

REPLAY = ("replay", str(SPEECH / "librivox-0880.wav"), "--profile", "scripted", "--fast")


@dataclass(frozen=True, kw_only=True)
class ContainerCase(Case):
    """A command in a container.

    folders: whether there is a folder for temporary files.
    code, after: how it ends, and what it prints on standard error if that is not 0.
    """

    kind: str = "bare container"
    arguments: Sequence[str]
    code: int = 0
    temporary: bool = True


CASES = (
    ContainerCase(
        name="no home: replay",
        arguments=REPLAY,
        before="exits with 70: RuntimeError",
        after="exits with 0",
    ),
    ContainerCase(
        name="no home: profiles list",
        arguments=("profiles", "list"),
        before="exits with 70: RuntimeError",
        after="exits with 0",
    ),
    ContainerCase(
        name="no home: models list",
        arguments=("models", "list"),
        before="exits with 70: RuntimeError",
        after="exits with 0",
    ),
    ContainerCase(
        name="no home: models fetch",
        arguments=("models", "fetch"),
        before="exits with 70: RuntimeError",
        code=2,
        after="error: there is no home folder to keep the models in. "
        "Set VOICECLI_MODELS to a folder, or HOME.",
    ),
    ContainerCase(
        name="no home: ~ in a path",
        arguments=("profiles", "show", "~/own.yaml"),
        before="exits with 70: RuntimeError",
        code=2,
        after="error: ~/own.yaml: ~ stands for a home folder, and the system knows none. "
        "Set HOME, or write the path without ~.",
    ),
    ContainerCase(
        name="no such user: ~ in a path",
        arguments=("profiles", "show", "~nobody-here/own.yaml"),
        before="exits with 70: RuntimeError",
        code=2,
        after="error: ~nobody-here/own.yaml: ~nobody-here stands for a home folder, and the system "
        "knows none. Set HOME, or write the path without ~.",
    ),
    ContainerCase(
        name="no temporary folder: replay",
        arguments=REPLAY,
        temporary=False,
        before="exits with 70: FileNotFoundError",
        code=2,
        after="error: there is no folder for temporary files (No such file or directory). "
        "Set TMPDIR to a folder that you may write to, or name one with --out.",
    ),
    ContainerCase(
        name="no temporary folder: replay --out",
        arguments=(*REPLAY, "--out", "kept"),
        temporary=False,
        before="the same",
        after="exits with 0",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_runs_or_says_what_is_missing(
    case: ContainerCase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def know_nobody(_: object) -> None:
        raise KeyError("no such user")

    for name in ("HOME", "VOICECLI_MODELS", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", know_nobody)
    monkeypatch.setattr(pwd, "getpwnam", know_nobody)
    if not case.temporary:
        monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    monkeypatch.chdir(tmp_path)
    code = run(case.arguments)
    printed = capsys.readouterr()
    assert (code, printed.err.strip() if code else case.after) == (case.code, case.after)
    assert not (tmp_path / "~").exists()


AS_ANOTHER_USER = """
import os, sys
from voicecli.cli.app import run
arguments = ["--no-env", *sys.argv[1:]]
assert run(arguments) == 0  # loads the modules, which may be in root's home
os.chdir("/")
os.setgid(54321)
os.setuid(54321)
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command as another user")
@pytest.mark.parametrize("home", ["", "/root"], ids=["no HOME", "root's HOME"])
@pytest.mark.parametrize("arguments", [REPLAY, ("profiles", "list")], ids=["replay", "profiles"])
def test_a_user_without_an_entry_runs_it_in_a_folder_of_another(
    home: str, arguments: Sequence[str]
) -> None:
    """Another user's HOME is what ``docker run --user`` leaves; the folder is not writable."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    if home:
        environ["HOME"] = home
    command = [sys.executable, "-c", AS_ANOTHER_USER, *arguments]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
