"""What the fuzz tests share: targets, odd values, mutations, and a limit on the time."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from hypothesis import strategies as st

from voicecli.cli.errors import EXIT_CODES
from voicecli.errors import BUG

KEYS = {
    "DEEPGRAM_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "OPENAI_API_KEY": "sk-proj-abcDEF123456_789-xyzXYZ",
}
"""The keys that the program has, and must never print."""

HANG = 60
"""Seconds of wall time.  The slowest example takes under 1; a busy machine may stop it for more."""


@dataclass(frozen=True)
class Target:
    """A kind of input: examples of it, and a check that raises AssertionError.

    share: how many examples it gets in the normal run.
    """

    name: str
    examples: st.SearchStrategy[Any] = field(repr=False)
    check: Callable[[Any], None] = field(repr=False)
    share: int


class Hang(BaseException):
    """An example takes longer than HANG; no ``except Exception`` can swallow it."""


@contextmanager
def limit_time(seconds: float = HANG) -> Iterator[None]:
    """Raise Hang in the main thread after ``seconds``, which must be wall time."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Hang(f"longer than {seconds:g} s")

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def check_exit(code: int, output: str, *, debugging: bool = False) -> None:
    """Check that the exit code is a documented one, and no bug; that no key is in the output."""
    assert code in EXIT_CODES, f"exit code {code}: {output}"
    assert code != BUG, output
    assert debugging or "Traceback" not in output, output
    for name, key in KEYS.items():
        assert key not in output, f"{name} in {output}"


# ── odd values ───────────────────────────────────────────────────────────────

NUMBERS: list[int | float] = [
    *(0, 1, -1, 2, 3, 10, 100, 1000, 65536, -65536, 2**31, 2**53, 2**63, 10**30, -(10**30)),
    *(0.0, -0.0, 0.5, -0.5, 1e-9, 1e9, 1e300, float("nan"), float("inf"), float("-inf")),
]
TEXTS = [
    *(
        "",
        " ",
        "\n",
        "\t",
        "0",
        "-1",
        "1e999",
        "nan",
        "null",
        "true",
        "~",
        "é",
        "日本語",
        "🎤",
        "ﷺ",
    ),
    *(
        "\x00",
        "\x1b[2J",
        "\x1b]0;x\x07",
        "\u202e",
        "\ufeff",
        "\ud800",
        "a" * 5000,
        "%s",
        "{}",
        "{0}",
    ),
    *("..", "/", "~", "~nobody", "$HOME", "-", "--", "'", '"', "[", "]", "[1;", "[red]", "[/red]"),
    *("<think>", "</think>", "```", "|", "http://", "http://[", "ws://:99999", "x" * 300, "\x80"),
    *("2026-11-27", "1_000", "0x10", "0o17", "1:30", "!!python/object:os.system", "&a", "*a", "<<"),
]

numbers = st.sampled_from(NUMBERS) | st.integers(-5, 5) | st.floats()
texts = st.sampled_from(TEXTS) | st.text(max_size=12)
scalars = st.none() | st.booleans() | numbers | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def nested(draw: st.DrawFn) -> str:
    """JSON nested deeper than a recursive parser can follow, or nearly so."""
    depth = draw(st.sampled_from([20, 900, 1100, 5000]))
    left, right = draw(st.sampled_from([("[", "]"), ('{"a":', "}")]))
    return left * depth + "1" * (left != "[") + right * (depth if draw(st.booleans()) else 0)


def encode_json(value: object) -> str:
    """Encode as a service would that is no friend of the standard: NaN, lone surrogates."""
    return json.dumps(value, ensure_ascii=True)


# ── mutations ────────────────────────────────────────────────────────────────


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """Change one place in a value of JSON: replace, remove, or wrap it."""
    match value:
        case dict() if value and draw(st.integers(0, 5)):
            key = draw(st.sampled_from(sorted(value)))
            if not draw(st.integers(0, 5)):
                return {name: one for name, one in value.items() if name != key}
            return value | {key: draw(mutated(value[key]))}
        case list() if value and draw(st.integers(0, 5)):
            index = draw(st.integers(0, len(value) - 1))
            action = draw(st.integers(0, 6))
            if action == 0:
                return value[:index] + value[index + 1 :]
            if action == 1:
                return value[: index + 1] + value[index:]
            return [*value[:index], draw(mutated(value[index])), *value[index + 1 :]]
        case _:
            return draw(json_values | st.just([value]) | st.just({"a": value}))


@st.composite
def mutated_bytes(draw: st.DrawFn, raw: bytes, odd: st.SearchStrategy[bytes]) -> bytes:
    """Cut, overwrite, insert and repeat parts of ``raw``, often near its beginning."""
    for _ in range(draw(st.integers(0, 4))):
        near = st.integers(0, min(len(raw), 64))
        at = draw(near | st.integers(0, len(raw)))
        length = draw(st.integers(0, 8) | st.integers(0, len(raw)))
        match draw(st.sampled_from(["cut", "overwrite", "insert", "repeat", "end"])):
            case "cut":
                raw = raw[:at] + raw[at + length :]
            case "overwrite":
                new = draw(odd)
                raw = raw[:at] + new + raw[at + len(new) :]
            case "insert":
                raw = raw[:at] + draw(odd) + raw[at:]
            case "repeat":
                raw = raw[: at + length] + raw[at:]
            case _:
                raw = raw[:at]
    return raw


# ── messages of JSON ───────────────────────────────────────────────────────────

MEANINGFUL = st.sampled_from(
    [
        *KEYS.values(),
        f"key {KEYS['OPENAI_API_KEY']} refused",
        "<think>",
        "</think>",
        "```",
        "1. ",
        "Hi.",
    ]
)


def odd_objects(known: Sequence[Mapping[str, Any]]) -> st.SearchStrategy[str]:
    """Messages of JSON: known ones with something changed, and others."""
    changed = st.sampled_from(known).flatmap(mutated)
    twice = changed.flatmap(mutated)
    times = st.sampled_from(known).flatmap(_other_leaves)
    return (changed | twice | times | json_values | st.sampled_from(known)).map(json.dumps)


@st.composite
def _other_leaves(draw: st.DrawFn, value: Any) -> Any:
    """Other values of the same types: another number for a number, another text for a text."""
    match value:
        case dict():
            return {
                key: one if key == "type" else draw(_other_leaves(one))
                for key, one in value.items()
            }
        case list():
            return [draw(_other_leaves(one)) for one in value]
        case bool():
            return draw(st.booleans())
        case int() | float():
            return draw(st.just(value) | st.just(value) | st.sampled_from(NUMBERS))
        case _:
            return draw(st.just(value) | st.just(value) | texts | MEANINGFUL)


raw_texts = texts | nested() | MEANINGFUL
blobs = st.binary(max_size=5) | st.sampled_from([b"", b"\0", bytes(3001), bytes(200_000)])
