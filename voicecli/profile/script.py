"""Loads the scripts of the stand-ins: YAML files, checked as strictly as profiles are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voicecli.profile.load import find_script, read_layer
from voicecli.profile.validation import create_section, validate_layer
from voicecli.settings import list_settings
from voicecli.standin.script import Latency, LlmScript, Script, SttScript, TtsScript
from voicecli.units import ms

SECTIONS = {"stt": SttScript, "llm": LlmScript, "tts": TtsScript}


def load_script(name: str, cwd: Path | None = None) -> Script:
    """Load a script by its name or file; raise ProfileError that lists every problem.

    A number in the place of a latency is its p50; a latency without p50 has the default one.
    """
    cwd = cwd or Path.cwd()
    layer = read_layer(find_script(name, cwd), cwd, kind="script")
    for section in [key for key, value in layer.values.items() if value is None]:
        del layer.values[section]  # a heading without keys below it
    for section, key, default in _list_latencies():
        if isinstance(values := layer.values.get(section), dict) and key in values:
            given = values[key]
            values[key] = {"p50": default} | (given if isinstance(given, dict) else {"p50": given})
    script = validate_layer(layer, create_section(Script))
    assert isinstance(script, Script)
    return script


def script_schema() -> dict[str, Any]:
    """Make the JSON schema of a script, for editors."""
    schema = create_section(Script).model_json_schema()
    for section, key, default in _list_latencies():
        declared = schema["$defs"][SECTIONS[section].__name__]["properties"][key]
        declared["anyOf"] = [{"type": "number", "minimum": 0}, {"$ref": declared.pop("$ref")}]
        declared["default"] = default
    del schema["$defs"]["Latency"]["required"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _list_latencies() -> Iterator[tuple[str, str, float]]:
    """List the latencies of a script: section, key, default p50 in milliseconds."""
    for section, kind in SECTIONS.items():
        for name, key, _ in list_settings(kind):
            if isinstance(latency := getattr(kind(), name), Latency):
                yield section, key, round(ms(latency.p50), 3)
