"""Services that say our keys: in transcripts and replies; and users who type them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import SPEECH
from tests.wild import Case
from tests.wild.fuzz_process import run_forked

KIND = "keys that are said"
KEY = "0123456789abcdef0123456789abcdef01234567"
PASSWORD = "correct horse battery staple"
"""The value of a secret variable.  A script may contain it: it does not look like a key."""


@dataclass(frozen=True)
class SecretCase(Case):
    """script: of the stand-ins; typed: by the user, in ``talk --text``."""

    script: Mapping[str, Any] = field(hash=False)
    typed: str = ""
    options: Sequence[str] = ()


def case(name: str, script: Mapping[str, Any], *options: str, typed: str = "") -> SecretCase:
    before = "is kept in timeline.jsonl"
    return SecretCase(KIND, name, before, "is nowhere", script, typed, options)


CASES = [
    case("as a transcript", {"stt": {"hears": [f"It is {PASSWORD}."]}}),
    case("as a reply", {"llm": {"says": [f"You said {PASSWORD}. Right?"]}}),
    case("typed by the user", {}, "--json", typed=f"I typed {KEY} by mistake"),
    case("a variable's value, typed", {}, "--json", typed=f"I typed {PASSWORD} by mistake"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_key_is_neither_kept_nor_printed(case: SecretCase, tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text(json.dumps(case.script))
    options = ["--profile", "scripted", "--set", "standin.script=script.yaml", "--out", "kept"]
    if case.typed:
        command = ["talk", "--text", *options]
    else:
        command = ["replay", str(SPEECH / "librivox-0880.wav"), "--fast", *options]
    ended = run_forked(
        ["--no-env", *command, *case.options],
        environ=os.environ | {"MY_PASSWORD": PASSWORD},
        folder=tmp_path,
        stdin=f"{case.typed}\n".encode(),
    )
    assert ended.code == 0, ended.err
    kept = {file.name: file.read_bytes() for file in (tmp_path / "kept").iterdir()}
    assert b"[redacted]" in kept["timeline.jsonl"]
    for secret in (KEY, PASSWORD):
        assert secret not in ended.out + ended.err
        assert [name for name, content in kept.items() if secret.encode() in content] == []
