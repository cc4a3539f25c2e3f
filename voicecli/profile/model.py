"""All settings of a conversation.  The sections are declared where they are used."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from voicecli.audio.interfaces import AudioSettings
from voicecli.metrics.summary import Budgets
from voicecli.metrics.usage import Prices
from voicecli.services import find_provider
from voicecli.services.interfaces import LlmSettings, SttSettings, TtsSettings
from voicecli.settings import (
    Setting,
    SettingsConflict,
    encode_section,
    list_settings,
    section,
    setting,
)
from voicecli.turns.policy import AgentSettings, BargeInPolicy, SessionLimits, TurnPolicy

SERVICE_SETTINGS: dict[str, Any] = {"stt": SttSettings, "llm": LlmSettings, "tts": TtsSettings}
"""The settings of each service that do not depend on its provider."""

DEFAULT_PROVIDERS = {role: base().provider for role, base in SERVICE_SETTINGS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinSettings:
    """Servers on this machine in the place of the services."""

    engine: Literal["scripted", "local"] = setting(
        doc="scripted: exact latencies and faults; local: small real models."
    )
    script: str | None = setting(
        None, "Name of a script, or a path ending in .yaml, relative to the profile."
    )
    require_key: bool = setting(False, "Refuse a connection without a key, as the services do.")

    def check(self) -> None:
        """Raise SettingsConflict where the script is missing."""
        if self.engine == "scripted" and self.script is None:
            raise SettingsConflict("engine: scripted needs a script", "engine", "script")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLlmSettings:
    """The language model of the local engine."""

    model: str | None = setting(
        None, "Path of a .gguf file, relative to the profile; null: the downloaded one."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """The local engine."""

    llm: LocalLlmSettings = section(LocalLlmSettings)
    threads: int | None = setting(
        None, "Threads of the language model; null: all cores but one.", ge=1, le=256
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """All settings of a conversation."""

    description: str = setting("", "One line for the list of profiles; not inherited.", empty=True)
    extends: str | None = setting(
        None,
        "Profile that this one changes: a name, or a path ending in .yaml, relative to this file.",
        empty=True,
    )
    audio: AudioSettings = section(AudioSettings)
    stt: SttSettings = section(lambda: find_provider("stt", DEFAULT_PROVIDERS["stt"]).settings())
    llm: LlmSettings = section(lambda: find_provider("llm", DEFAULT_PROVIDERS["llm"]).settings())
    tts: TtsSettings = section(lambda: find_provider("tts", DEFAULT_PROVIDERS["tts"]).settings())
    agent: AgentSettings = section(AgentSettings)
    turn: TurnPolicy = section(TurnPolicy)
    interrupt: BargeInPolicy = section(BargeInPolicy)
    limits: SessionLimits = section(SessionLimits)
    budgets: Budgets = section(Budgets)
    standin: StandinSettings | None = setting(None, StandinSettings.__doc__ or "")
    local: LocalSettings = section(LocalSettings)

    def check(self) -> None:
        """Raise SettingsConflict for what the STT cannot do."""
        capabilities = find_provider("stt", self.stt.provider).capabilities
        if self.audio.sample_rate not in capabilities.sample_rates:
            known = ", ".join(map(str, capabilities.sample_rates))
            rule = f"audio.sample_rate must be one that {self.stt.provider} takes: {known}"
            raise SettingsConflict(rule, "audio.sample_rate", "stt.provider")
        if self.turn.detect == "service" and not capabilities.end_of_turn_events:
            rule = f"turn.detect: service needs an STT that ends turns, not {self.stt.provider}"
            raise SettingsConflict(rule, "turn.detect", "stt.provider")

    def resolved(self) -> dict[str, Any]:
        """Every setting as plain data, in the shape of a profile that extends nothing."""
        return {key: value for key, value in encode_section(self).items() if key != "extends"}

    def find_prices(self) -> Prices:
        """List prices of the services; stand-ins cost nothing."""
        if self.standin is not None:
            return Prices(stt=0.0, llm=(0.0, 0.0), tts=0.0)
        stt, llm, tts = (
            find_provider(role, settings.provider).list_price(settings) or ()
            for role, settings in (("stt", self.stt), ("llm", self.llm), ("tts", self.tts))
        )
        return Prices(
            stt=stt[0] if stt else None,
            llm=(llm[0], llm[1]) if llm else None,
            tts=tts[0] if tts else None,
        )


# ── documents ────────────────────────────────────────────────────────────────


class Row(NamedTuple):
    """A setting, or the start of a section, in a document.

    key: its path, as in ``stt.endpointing_ms``.
    default: as a profile would say it; None for a section.
    allowed: the values in words, where neither the default nor the meaning tells them.
    """

    key: str
    default: Any
    allowed: str
    meaning: str
    is_section: bool = False


def list_rows(section: Any, parent: str = "") -> Iterator[Row]:
    """List every setting of a section, then those of the sections within it."""
    hints = get_type_hints(type(section))
    nested = []
    for name, key, declared in list_settings(type(section)):
        value, path = getattr(section, name), f"{parent}{key}"
        if is_dataclass(value):
            nested.append((path, value))
        elif path not in ("description", "extends"):
            allowed = _describe_values(hints[name], declared)
            yield Row(path, declared.encode(value), allowed, declared.doc)
    for path, value in nested:
        meaning = (type(value).__doc__ or "").splitlines()[0]
        yield Row(path, None, "", meaning, is_section=True)
        yield from list_rows(value, f"{path}.")


def _describe_values(hint: Any, declared: Setting) -> str:
    options = [one for one in (hint, *get_args(hint)) if get_origin(one) is Literal]
    words = [str(word) for one in options for word in get_args(one)]
    if declared.ge is not None and declared.le is not None:
        words.insert(0, f"{declared.ge:g} to {declared.le:g}")
    elif declared.ge is not None:
        words.insert(0, f"at least {declared.ge:g}")
    return ", ".join(word for word in words if f"{word}:" not in declared.doc)


DEFAULT_HEADER = """\
description: Nova-3, GPT-4o mini and Aura-2 at 48 kHz, half duplex

# Every setting with its default; made from the declarations by
#   voicecli profiles schema --yaml > profiles/default.yaml
# A profile that says `extends: default` states what it changes:
#   voicecli profiles show default --resolved    all settings, as they are used
#   voicecli talk --set stt.endpointing_ms=300   one value, for one run
"""


def render_default_profile() -> str:
    """Render ``profiles/default.yaml``: every setting with its meaning and its default."""
    lines = DEFAULT_HEADER.splitlines()
    for row in list_rows(Profile()):
        indent = "  " * row.key.count(".")
        if not indent:
            lines.append("")
        comment = f"{row.meaning} [{row.allowed}]" if row.allowed else row.meaning
        lines += textwrap.wrap(
            comment, 98, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        value = "" if row.is_section else f" {_render_value(row.default)}"
        text = f"{indent}{row.key.rpartition('.')[2]}:{value}"
        lines += textwrap.wrap(text, 98, subsequent_indent=f"{indent}    ")
    return "\n".join(lines) + "\n"


def _render_value(value: Any) -> str:
    """A value as YAML, in one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_render_value, value))}]"
    # YAML 1.1 reads these as truth values.
    if isinstance(value, str) and value not in ("off", "on", "yes", "no"):
        return value if re.fullmatch(r"[\w./-][\w ./+-]*", value) else json.dumps(value)
    return json.dumps(value)
