"""Standard output and error of any encoding, closed, full, or read by nobody."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import SPEECH
from tests.wild import Case
from voicecli.cli.app import run
from voicecli.cli.output import ENCODING_ERRORS, prepare_streams

REPLAY = ("replay", str(SPEECH / "librivox-0880.wav"), "--profile", "scripted", "--fast")
LIST = ("profiles", "list")
MISTAKE = ("profiles", "show", "nobody")
FULL = "error: standard output: No space left on device."
SAME = "exits with 0; the same lines, @ for ⏱"


@dataclass(frozen=True, kw_only=True)
class EncodingCase(Case):
    """An encoding of standard output."""

    kind: str = "output: encoding"
    name: str
    after: str = SAME


@dataclass(frozen=True, kw_only=True)
class StreamCase(Case):
    """A command whose streams the shell redirects.

    code, after: how it ends, and what it prints on standard error.
    """

    kind: str = "output: streams"
    redirection: str
    arguments: Sequence[str]
    code: int


UNENCODABLE = "exits with 70: UnicodeEncodeError"

ENCODINGS = (
    EncodingCase(name="ascii", before="UTF-8 on a terminal of ASCII"),
    EncodingCase(name="latin-1", before=UNENCODABLE),
    EncodingCase(name="cp1252", before=UNENCODABLE),
    EncodingCase(name="cp437", before=UNENCODABLE),
    EncodingCase(name="koi8-r", before=UNENCODABLE),
    EncodingCase(name="utf-8", before="the same", after="exits with 0; the same lines"),
    EncodingCase(
        name="utf-8-sig", before="exits with 0", after="exits with 0; one byte order mark"
    ),
    EncodingCase(
        name="utf-16",
        before="exits with 0; a mark for each writer",
        after="exits with 0; one byte order mark",
    ),
    EncodingCase(
        name="utf-32",
        before="exits with 0; a mark for each writer",
        after="exits with 0; one byte order mark",
    ),
)


def redirect(
    name: str, redirection: str, arguments: Sequence[str], before: str, code: int, after: str = ""
) -> StreamCase:
    return StreamCase(
        name=name,
        redirection=redirection,
        arguments=arguments,
        before=before,
        code=code,
        after=after,
    )


STREAMS = (
    redirect("closed output", ">&-", LIST, "exits with 70: AttributeError", 0),
    redirect("closed error", "2>&-", MISTAKE, "exits with 2", 2),
    redirect("all closed", "<&- >&- 2>&-", LIST, "exits with 70", 0),
    redirect("closed output, help", ">&-", ("--help",), "exits with 70: AttributeError", 0),
    redirect("full output", ">/dev/full", LIST, "exits with 70: OSError", 74, FULL),
    redirect(
        "full output, JSON", ">/dev/full", (*LIST, "--json"), "exits with 70: OSError", 74, FULL
    ),
    redirect(
        "full output, version", ">/dev/full", ("--version",), "exits with 70: OSError", 74, FULL
    ),
    redirect(
        "full output, help",
        ">/dev/full",
        ("--help",),
        "exits with 70: OSError",
        74,
        "error: No space left on device.",
    ),
    redirect("full error", "2>/dev/full", MISTAKE, "exits with 2", 2),
    redirect("nobody reads the errors", "2>&1 >/dev/null | true", MISTAKE, "exits with 2", 2),
    redirect(
        "output opened for reading",
        "1</dev/null",
        LIST,
        "exits with 70: OSError",
        74,
        "error: standard output: Bad file descriptor.",
    ),
)

CASES = (*ENCODINGS, *STREAMS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def print_with(
    encoding: str, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]
) -> tuple[int, bytes]:
    """Return the exit code and what was written to a standard output of ``encoding``."""
    written = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
        prepare_streams()
        code = run(["--no-env", *arguments])
        sys.stdout.flush()
        return code, written.getvalue()


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What ``REPLAY`` prints where every character can be printed."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        code, written = print_with("utf-8", monkeypatch, REPLAY)
    assert code == 0
    assert "⏱" in written.decode()
    return written.decode()


def mask(text: str) -> str:
    return re.sub(r"\d+", "0", text)


@pytest.mark.parametrize("case", ENCODINGS, ids=lambda case: case.name)
def test_what_the_encoding_lacks_is_replaced(
    case: EncodingCase, lines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, written = print_with(case.name, monkeypatch, REPLAY)
    shown = written.decode(case.name)
    assert code == 0
    assert mask(shown) == mask(lines.encode(case.name, ENCODING_ERRORS).decode(case.name))
    assert shown.count("@") == (lines.count("⏱") if case.after == SAME else 0)
    assert "\ufeff" not in shown


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_json_is_ascii(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, written = print_with(encoding, monkeypatch, (*REPLAY, "--json"))
    assert code == 0
    assert written.decode(encoding).isascii()
    assert json.loads(written.decode(encoding))["turns"]


def test_a_file_name_that_is_not_text_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / os.fsdecode(b"\xff.yaml")
    file.write_text("description: odd\n")
    code, written = print_with("utf-8", monkeypatch, ("profiles", "validate", str(file)))
    assert (code, written.decode()) == (0, f"{tmp_path}/?.yaml: valid\n")


def test_letters_and_lines_are_replaced_by_those_that_look_like_them() -> None:
    shown = "é Ł ½ – … → ├─┐ █░ 日 €".encode("ascii", ENCODING_ERRORS).decode()
    assert shown == "e ? ? - . > +-+ #. ? ?"


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_the_exit_code_is_what_it_would_be(case: StreamCase) -> None:
    command = [sys.executable, "-m", "voicecli", "--no-env", *case.arguments]
    shell = ["bash", "-c", f'"$@" {case.redirection}; exit ${{PIPESTATUS[0]}}', "bash"]
    ran = subprocess.run([*shell, *command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.strip()) == (case.code, case.after)
