"""``python -m tests.bench [a b c d e f]``; a to d unless told, for e and f need PulseAudio."""

from __future__ import annotations

import importlib
import json
import signal
import sys

import tests.bench
from tests.bench.table import machine
from tests.support import ROOT

PARTS = {
    "a": "waiting",
    "b": "overhead",
    "c": "load",
    "d": "startup",
    "e": "devices",
    "f": "soak",
}
FILE = ROOT / "bench.json"


def main() -> int:
    """Run the parts that are asked for; keep their numbers beside those of the others."""
    asked = sys.argv[1:] or list(PARTS)[:4]
    if not set(asked) <= set(PARTS):
        print(tests.bench.__doc__)
        return 2
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    for part in asked:
        print()
        numbers = importlib.import_module(f"tests.bench.{PARTS[part]}").run()
        kept[part] = {"machine": machine(), **numbers}
        FILE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
