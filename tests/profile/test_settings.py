"""Settings: one declaration each, from which the profile, its documents and the README derive."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import PROFILES
from voicecli.errors import ProfileError
from voicecli.pipeline.wiring import Services
from voicecli.profile import (
    Profile,
    json_schema,
    load_profile,
    render_default_profile,
    restore_profile,
)
from voicecli.profile.model import list_rows
from voicecli.services import PROVIDERS, find_provider
from voicecli.services.interfaces import SttSettings
from voicecli.services.provider import ServiceAddress, SttProvider
from voicecli.settings import (
    Setting,
    encode_section,
    list_settings,
    milliseconds,
    section,
    setting,
)
from voicecli.units import Seconds

ROOT = PROFILES.parent


def sections(instance: Any) -> Iterator[Any]:
    """A section and all sections within it."""
    yield instance
    for one in fields(instance):
        if is_dataclass(value := getattr(instance, one.name)):
            yield from sections(value)


# ── declarations ─────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A section in a section."""

    wait: Seconds = milliseconds(450, key="wait", doc="A duration without a suffix.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One setting of each kind."""

    quiet: Seconds | None = milliseconds(200, off=False, doc="Off is false.")
    limit: Seconds | None = milliseconds(None, doc="Off is null.")
    hedge: Seconds | str = milliseconds("auto", doc="A duration or a word.")
    longest: Seconds | None = setting(None, unit="minutes", key="minutes", doc="In minutes.")
    idle: Seconds = setting(300.0, unit="_s", doc="In seconds.")
    words: tuple[str, ...] = setting(("a", "b"), doc="A list.")
    inner: Inner = section(Inner, key="inner_ms")


def test_a_section_encodes_in_the_units_of_a_profile():
    assert encode_section(Example()) == {
        "quiet_ms": 200,
        "limit_ms": None,
        "hedge_ms": "auto",
        "minutes": None,
        "idle_s": 300.0,
        "words": ["a", "b"],
        "inner_ms": {"wait": 450},
    }
    changed = replace(Example(), quiet=None, limit=0.25, hedge=0.9, longest=90.0)
    assert encode_section(changed) == encode_section(Example()) | {
        "quiet_ms": False,
        "limit_ms": 250,
        "hedge_ms": 900,
        "minutes": 1.5,
    }


@given(st.integers(0, 60_000))
def test_milliseconds_survive_the_conversion(number):
    declared = Setting(doc="", unit="_ms")
    assert declared.encode(declared.decode(number)) == number
    assert type(declared.encode(declared.decode(number))) is int


def test_a_section_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Example().idle = 1.0  # type: ignore[misc]


def test_every_setting_has_a_meaning_in_one_line():
    for row in list_rows(Profile()):
        assert row.meaning.endswith("."), row
        assert "\n" not in row.meaning
        assert len(row.meaning) <= 100, row


# ── documents ────────────────────────────────────────────────────────────────


def test_the_default_profile_is_the_one_the_declarations_make():
    """If this fails: ``voicecli profiles schema --yaml > profiles/default.yaml``."""
    assert (PROFILES / "default.yaml").read_text(encoding="utf-8") == render_default_profile()


def list_sections(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema of a section and of all sections within it."""
    if "properties" in node:
        yield node
    for inner in (*node.get("properties", {}).values(), *node.get("anyOf", ())):
        yield from list_sections(inner)


def test_the_schema_describes_every_key_and_allows_no_other():
    sections = [*list_sections(json_schema())]
    undescribed = [
        name
        for section in sections
        for name, key in section["properties"].items()
        if "description" not in key and name != "standin"
    ]
    assert undescribed == []
    assert all(section["additionalProperties"] is False for section in sections)
    assert len(sections) == 15


def test_the_schema_has_the_declared_defaults_and_meanings():
    schema = json_schema()
    for part in sections(Profile()):
        for name, key, declared in list_settings(type(part)):
            found = [
                node["properties"][key]
                for node in list_sections(schema)
                if node["properties"].get(key, {}).get("description") == declared.doc
            ]
            if declared.doc and key != "extends":
                default = declared.encode(getattr(part, name))
                assert default in [node.get("default") for node in found], key


def test_a_profile_loads_again_from_what_it_resolves_to():
    profile = load_profile("scripted", environ={})
    assert restore_profile(profile.resolved(), "here") == replace(profile, extends=None)
    with pytest.raises(ProfileError, match=r"here: unknown key stt\.x"):
        restore_profile({"stt": {"x": 1}}, "here")


# ── declared once ────────────────────────────────────────────────────────────

SHARED = {
    "model", "language", "policy", "default", "complete", "incomplete", "empty", "flush", "script",
    "tag", "numerals", "punctuate", "engine", "total", "speed", "block", "extra", "threads", "llm",
    "tts", "stt", "hold", "confirm", "description", "standin", "provider",
    "hedge", "agent",
}  # fmt: skip
"""Names of settings that are usual words, and mean something else elsewhere."""


def defaults(tree: ast.AST) -> Iterator[tuple[str, ast.expr, int]]:
    """Every parameter and every field of a class that has a default."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            plain = [*given.posonlyargs, *given.args]
            pairs = [*zip(reversed(plain), reversed(given.defaults), strict=False)]
            pairs += [
                (name, value)
                for name, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)
                if value is not None
            ]
            yield from ((name.arg, value, name.lineno) for name, value in pairs)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value, node.lineno


def repeated(source: str) -> list[tuple[str, int]]:
    """Where ``source`` gives a setting a number, a text or a truth value by default."""
    names = {
        name
        for instance in sections(Profile())
        for one, key, _ in list_settings(type(instance))
        for name in (one, key)
    } - SHARED
    return [
        (name, line)
        for name, value, line in defaults(ast.parse(source))
        if name in names and isinstance(value, ast.Constant) and value.value is not None
    ]


def test_no_default_is_given_twice():
    found = {
        str(file.relative_to(ROOT)): hits
        for folder in ("voicecli", "tests/bench")
        for file in sorted((ROOT / folder).rglob("*.py"))
        if "standin" not in file.parts  # the other side of the wire has defaults of its own
        if (hits := repeated(file.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_default_that_is_given_twice_is_found():
    assert repeated("def f(a, *, finalize_timeout: float = 0.35): ...") == [("finalize_timeout", 1)]
    assert repeated("class A:\n    prebuffer: float = 0.06") == [("prebuffer", 2)]
    assert repeated("def f(prebuffer: float, hangover=None): ...") == []


def test_no_key_is_declared_twice():
    seen = [row.key for row in list_rows(Profile())]
    assert len(seen) == len(set(seen))
    declared = [
        (key, declared.doc)
        for instance in sections(Profile())
        for _, key, declared in list_settings(type(instance))
        if declared.doc
    ]
    shared = {"provider", "base_url", "key_env", "model", "connect_timeout_ms", "sample_rate"}
    twice = {key for key, doc in declared if declared.count((key, doc)) > 1}
    assert twice <= shared | {"microphone", "speaker", "mip_opt_out", "extra"}


# ── another provider ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSettings(SttSettings):
    """Another service."""

    base_url: str | None = setting(None, doc="URL of the service.")
    key_env: str = setting("OTHER_KEY", doc="Name of the variable.")
    diarize: bool = setting(False, doc="Who is speaking.")


@asynccontextmanager
async def open_other(
    settings: OtherSettings, address: ServiceAddress, sample_rate: int
) -> AsyncGenerator[Any, None]:
    yield (settings, address, sample_rate)


OTHER = SttProvider(
    settings=OtherSettings,
    open=open_other,
    handshake=find_provider("stt", "deepgram").handshake,
    url="wss://other.example",
    url_env="OTHER_URL",
    standin="deepgram",
    list_price=lambda settings: (0.001,),
    capabilities=find_provider("stt", "deepgram").capabilities,
)


def test_another_service_takes_its_file_and_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setitem(PROVIDERS["stt"], "other", f"{__name__}:OTHER")
    profile = load_profile(
        "default", overrides=["stt.provider=other", "stt.diarize=true"], environ={}, cwd=tmp_path
    )
    assert profile.stt == OtherSettings(provider="other", diarize=True)
    assert profile.resolved()["stt"]["key_env"] == "OTHER_KEY"
    assert profile.find_prices().stt == 0.001
    address = Services(profile=profile, environ={"OTHER_KEY": "x"}).find_address("stt")
    assert (address.url, address.key) == ("wss://other.example", "x")
    with pytest.raises(ProfileError, match=r"unknown key stt\.numerals"):
        load_profile("default", overrides=["stt.provider=other", "stt.numerals=true"], environ={})


def test_an_unknown_provider_is_refused():
    with pytest.raises(
        ProfileError, match=r'stt.provider should be deepgram or deepgram-flux, not "x"'
    ):
        load_profile("default", overrides=["stt.provider=x"], environ={})


def test_loading_a_profile_loads_no_services_library():
    code = (
        "import sys; from voicecli.profile import load_profile; load_profile('default');"
        "heavy = {'pydantic', 'websockets', 'openai', 'httpx2', 'numpy'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
