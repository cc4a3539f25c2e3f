"""Runs ``python -m tests.bench [--brief] [PART…]``; without PART, what needs no sound system."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys

import tests.bench
from tests.bench.size import VARIABLE
from tests.bench.table import machine
from tests.support import ROOT
from voicecli.errors import suggest

PARTS = (
    "waiting", "fast", "overhead", "load", "startup",
    "local", "corpus", "scale", "devices", "soak",
)  # fmt: skip
DEFAULT = PARTS[:5]
FILE = ROOT / "bench.json"
BRIEF = "--brief"


def main(arguments: list[str]) -> int:
    """Run parts, and replace their numbers in bench.json; return the exit code.

    ``--brief``: only show that they run; nothing is kept.
    """
    parts = [one for one in arguments if one != BRIEF]
    for part in parts:
        if part not in PARTS:
            print(tests.bench.__doc__)
            print(f"error: there is no part {part}. {suggest(part, PARTS)}".rstrip())
            return 2
    if brief := BRIEF in arguments:
        os.environ[VARIABLE] = "1"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    kept = {part: numbers for part, numbers in kept.items() if part in PARTS}
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    for part in parts or DEFAULT:
        print()
        numbers = importlib.import_module(f"tests.bench.{part}").run()
        if brief:
            continue
        kept[part] = {"machine": machine(), **numbers}
        FILE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
