"""Property tests of the sanitizer: what it must remove, and what must stay readable."""

from __future__ import annotations

import string
import uuid

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from voicecli.sanitize import (
    SHORT,
    escape_controls,
    has_secret,
    redact_secrets,
    sanitize_line,
    sanitize_message,
    sanitize_short,
    strip_controls,
)

KEY = "0123456789abcdef0123456789abcdef01234567"
ALNUM = string.ascii_letters + string.digits

TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("\x1b\x9b[]\n\t\u200b\u202e; m\ud800")))

SECRETS = st.one_of(
    st.text(string.hexdigits.lower(), min_size=32, max_size=64),  # Deepgram, Azure
    st.text(ALNUM + "-_*", min_size=20, max_size=60).map("sk-{}".format),  # OpenAI
    st.text(ALNUM, min_size=48, max_size=52).map("gsk_{}".format),  # Groq
    st.text(ALNUM + "-_", min_size=35, max_size=35).map("AIza{}".format),  # Google
).filter(lambda key: any(map(str.isdigit, key)))

HARMLESS = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda one: f"req_{one.hex}"),  # OpenAI's request ids
    st.text(string.ascii_letters, min_size=1, max_size=60),  # words, however long
    st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=9)).map("_".join),  # file names
    st.floats().map(str),
)


@given(TEXTS)
def test_a_line_is_one_printable_line(text: str) -> None:
    line = sanitize_line(text)
    assert line == line.strip()
    assert line == sanitize_line(line)
    assert not {"\n", "\r", "\x1b", "\x9b", "\u200b", "\u202e"} & set(line)
    assert line.encode().decode() == line  # no lone surrogates
    assert len(sanitize_short(text)) <= SHORT


@given(TEXTS)
def test_a_message_keeps_its_lines_and_shows_controls(text: str) -> None:
    message = sanitize_message(text)
    assert message.replace("\n", "").isprintable()
    assert message.count("\n") <= text.count("\n")


@given(secret=SECRETS, before=TEXTS, after=TEXTS)
@example(secret=f"AIza{'0' * 28}-000000", before="\x9b", after="")
def test_no_secret_survives(secret: str, before: str, after: str) -> None:
    text = f"{before} '{secret}' {after}"
    secret_part = secret.removeprefix("gsk_").removeprefix("AIza").strip("*-")
    assume(secret_part not in before + after)
    for sanitize in (sanitize_line, sanitize_message, redact_secrets):
        assert secret_part not in sanitize(text)
    assert has_secret(text)


@given(secret=SECRETS, at=st.integers(1, 19), hidden=st.sampled_from(["\x1b[31m", "\u200b", "\0"]))
def test_a_secret_cannot_hide_behind_invisible_characters(
    secret: str, at: int, hidden: str
) -> None:
    assert "[redacted]" in sanitize_line(f"{secret[:at]}{hidden}{secret[at:]}")


@given(st.lists(HARMLESS, min_size=1))
def test_ids_words_file_names_and_numbers_stay_readable(words: list[str]) -> None:
    text = " ".join(words)
    assume("sk-" not in text)
    assert redact_secrets(text) == text
    assert not has_secret(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\x1b[31mb\x1b]0;title\x07c\r\n\td\x00", "abc d"),
        ("a\x1b]8;;https://x.example\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("\u202eevil\u200b", "evil"),
        ("Incorrect key sk-proj-ab12***********9xyz.", "Incorrect key [redacted]"),
        (f"token {KEY} is wrong", "token [redacted] is wrong"),
        ("wss://me:hunter2@host/v1", "wss://[redacted]@host/v1"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-x", "token [redacted]"),
        ("id 01a07aad-cb1e-78c3-80ef-181d08b56576",) * 2,
        (f"id req_{uuid.UUID(int=2**100 + 7).hex}",) * 2,
        ("keys sk-12345 and sk-a**z", "keys [redacted] and [redacted]"),
        ("unknown key ask-proj-abcDEF123456_789-xyzXYZudio", "unknown key a[redacted]"),
        ("task-proj-2025-annual-report, desk-proj-Berlin-and-Hamburg",) * 2,
        ("sk-learn, a risk-averse desk-bound clerk",) * 2,
        ("\ud800", "?"),
        ("Grüße – 你好",) * 2,
    ],
)
def test_what_a_line_shows(text: str, line: str) -> None:
    assert sanitize_line(text) == line


def test_a_short_line_is_cut() -> None:
    assert sanitize_short("x y " * 200) == ("x y " * 75)[:299] + "…"


def test_typed_words_are_not_redacted() -> None:
    assert strip_controls(f"my key\tis\x1b[1m {KEY}\n") == f"my key is {KEY}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\x1b[31mred\x07\x1b[0m", r"red\x07"),
        ("a\nb", "a\nb"),
        ("caf\udce9", r"caf\udce9"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("recordings/this_is_a_rather_long_name_of_a_recording.wav",) * 2,
        ("Grüße – 你好", "Grüße – 你好"),
    ],
)
def test_what_a_message_shows(text: str, message: str) -> None:
    assert sanitize_message(text) == message


def test_escapes_are_visible() -> None:
    assert escape_controls("a\nb\x1b") == r"a\nb\x1b"


def test_values_of_secret_variables_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "gsk/Zm9v+YmFy==")
    monkeypatch.setenv("db_password", "correct horse")
    monkeypatch.setenv("SHORT_TOKEN", "is")
    monkeypatch.setenv("OTHER_NAME", "remains")
    assert redact_secrets("gsk/Zm9v+YmFy== is correct horse, remains") == (
        "[redacted] is [redacted], remains"
    )
