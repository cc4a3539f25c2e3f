"""Finds profiles and loads them: a profile over the one it extends, the environment, the options.
Loads the stand-ins' scripts, too: YAML files that are checked as strictly.

A name is looked up in the project's folder, the user's, and the package's; the first one counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from voicecli.environment.files import read_text_file
from voicecli.environment.folders import expand_home, find_config_folder
from voicecli.errors import ProfileError, suggest
from voicecli.profile.layers import (
    Key,
    Layer,
    Place,
    Problem,
    profile_error,
    read_assignment,
    read_yaml,
)
from voicecli.profile.model import SERVICE_SETTINGS, Profile
from voicecli.profile.validation import (
    create_json_schema,
    create_schema,
    validate_layer,
    validate_profile,
)
from voicecli.sanitize import escape_controls
from voicecli.settings import list_settings

if TYPE_CHECKING:
    from voicecli.standin.script import Script

PREFIX = "VOICECLI_"

PATHS: tuple[Key, ...] = (("standin", "script"), ("local", "llm", "model"))
"""Settings whose value, if it is a path, is relative to the file that contains it."""


class KnownProfile(NamedTuple):
    """A profile that can be loaded by its name."""

    name: str
    origin: str
    description: str


# ── finding ──────────────────────────────────────────────────────────────────


def find_file(
    name: str,
    *,
    cwd: Path,
    kind: Literal["profile", "script"] = "profile",
    beside: Path | None = None,
    place: Place | None = None,
) -> Path:
    """Find the file of a profile or a script; raises ProfileError.

    name: a name, or a path ending in .yaml or .yml.
    beside: the profile that extends ``name``: relative paths start at its folder, and its own name
        means the next profile of that name.
    place: where the name was written.
    """
    if is_path(name):
        path = (beside.parent if beside else cwd) / expand_home(name)
        if os.path.isfile(path):
            return path
        raise profile_error([Problem(place, f"there is no file {_shorten(path, cwd)}")])
    subfolder = "scripts" if kind == "script" else ""
    folders = [folder / subfolder for folder in list_folders(cwd).values()]
    files = [file for folder in folders if os.path.isfile(file := folder / f"{name}.yaml")]
    if beside in files:
        files = files[files.index(beside) + 1 :] or [beside]
    if files:
        return files[0]
    names = sorted({file.stem for folder in folders for file in _list_files(folder)})
    hint = f"{suggest(name, names)} Known: {', '.join(names)}.".lstrip()
    raise profile_error([Problem(place, f"there is no {kind} {name}", hint)])


def list_folders(cwd: Path) -> dict[str, Path]:
    """List the folders in which names are looked up, in order, by origin."""
    installed = Path(__file__).parents[1] / "profiles"
    shipped = installed if installed.is_dir() else Path(__file__).parents[2] / "profiles"
    folders = {"project": cwd / "profiles"}
    if (config := find_config_folder()) is not None:
        folders["user"] = config / "profiles"
    folders["shipped"] = shipped
    if folders["project"].resolve() == shipped.resolve():  # in voicecli's own source tree
        del folders["project"]
    return folders


def _list_files(folder: Path) -> list[Path]:
    """List the profiles or scripts in ``folder``: none, if it may not be read."""
    try:
        return list(folder.glob("*.yaml"))
    except OSError:
        return []


def list_profiles(cwd: Path | None = None) -> list[KnownProfile]:
    """List every profile that can be loaded by name, sorted by name."""
    cwd = cwd or Path.cwd()
    found: dict[str, KnownProfile] = {}
    for origin, folder in list_folders(cwd).items():
        for file in _list_files(folder):
            known = KnownProfile(file.stem, origin, _read_description(file, cwd))
            found.setdefault(file.stem, known)
    return sorted(found.values())


def read_source(name: str, cwd: Path | None = None) -> tuple[str, Path, str]:
    """Return a profile's origin (of ``list_folders``, or "file"), its file and its text."""
    cwd = cwd or Path.cwd()
    file = find_file(name, cwd=cwd)
    origins = [origin for origin, folder in list_folders(cwd).items() if file.parent == folder]
    return (origins[0] if origins else "file"), file, _read_text(file, cwd)


def is_path(value: object) -> bool:
    """Whether a setting that may be a name or a path is a path."""
    return isinstance(value, str) and value.endswith((".yaml", ".yml", ".gguf"))


def read_layer(file: Path, cwd: Path, kind: str = "profile") -> Layer:
    """Read a YAML file; raises ProfileError."""
    return read_yaml(_read_text(file, cwd), _shorten(file, cwd), kind)


def _read_text(file: Path, cwd: Path) -> str:
    place = Place(_shorten(file, cwd))
    try:
        return read_text_file(file)
    except UnicodeDecodeError:
        raise profile_error([Problem(place, "this is not UTF-8 text")]) from None
    except OSError as error:
        raise profile_error([Problem(place, str(error.strerror))]) from None


def _read_description(file: Path, cwd: Path) -> str:
    """The profile's own description, or why it cannot be read."""
    try:
        return escape_controls(str(read_layer(file, cwd).values.get("description", "")))
    except ProfileError as error:
        return error.cause.splitlines()[0]


def _shorten(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd) if path.is_relative_to(cwd) else path)


# ── loading ──────────────────────────────────────────────────────────────────


def load_profile(
    name: str,
    *,
    overrides: Sequence[str] = (),
    swept: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Profile:
    """Load the profile ``name``; raises ProfileError.

    name: looked up in the folders of profiles, or a path ending in .yaml or .yml.
    overrides: SECTION.KEY=VALUE each, as given to ``--set``; the value is a YAML scalar or flow.
    swept: the same for one setting of a ``--sweep``, over the overrides.
    environ: where VOICECLI_SECTION__KEY is looked up; the process's own if None.
    """
    cwd = cwd or Path.cwd()
    layer = _load_stack(find_file(name, cwd=cwd), cwd)
    variables = _read_variables(os.environ if environ is None else environ)
    options = (*_read_options("--set", overrides), *_read_options("--sweep", swept))
    for upper in (*variables, *options):
        layer = _lay(_resolve_paths(upper, cwd), layer)
    return validate_profile(layer)


def restore_profile(resolved: Mapping[str, Any], place: str) -> Profile:
    """Return the profile that ``Profile.resolved`` turned into plain data; raises ProfileError.

    place: where the data was read, for errors.
    """
    return validate_profile(Layer(dict(resolved), {(): Place(place)}))


def _load_stack(file: Path, cwd: Path, extended_by: tuple[Path, ...] = ()) -> Layer:
    """The layer of ``file`` over those of the profiles that it extends."""
    layer = _resolve_paths(read_layer(file, cwd), file.parent)
    name = layer.values.get("extends")
    if not isinstance(name, str):  # absent, or refused by the validation
        return layer
    place = layer.place(("extends",))
    base = find_file(name, cwd=cwd, beside=file, place=place)
    chain = (*extended_by, file)
    if base.resolve() in [one.resolve() for one in chain]:
        names = " → ".join(one.stem for one in (*chain, base))
        raise profile_error([Problem(place, f"profiles extend each other: {names}")])
    lower = _load_stack(base, cwd, chain)
    lower.values.pop("description", None)
    return _lay(layer, lower)


def _lay(upper: Layer, lower: Layer) -> Layer:
    """Lay ``upper`` over ``lower``; what is said of another provider's service does not apply."""
    values, places = dict(lower.values), dict(lower.places)
    for role, base in SERVICE_SETTINGS.items():
        above, below = upper.values.get(role), values.get(role)
        if not isinstance(above, dict) or not isinstance(below, dict) or "provider" not in above:
            continue
        if above["provider"] != below.get("provider", base().provider):
            shared = {key for _, key, _ in list_settings(base)}
            values[role] = {key: value for key, value in below.items() if key in shared}
            dropped = {(role, key) for key in below if key not in shared}
            places = {key: at for key, at in places.items() if key[:2] not in dropped}
    return upper.over(Layer(values, places))


def _read_variables(environ: Mapping[str, str]) -> Iterator[Layer]:
    """VOICECLI_STT__MODEL sets stt.model; a name without ``__`` is not a setting."""
    for name, text in sorted(environ.items()):
        if name.startswith(PREFIX) and "__" in name:
            keys = name.removeprefix(PREFIX).lower().split("__")
            yield read_assignment(keys, text, name)


def _read_options(option: str, overrides: Sequence[str]) -> Iterator[Layer]:
    for override in overrides:
        name, equals, text = override.partition("=")
        source = f"{option} {name}"
        if not equals or "." not in name:
            raise profile_error([Problem(Place(source), "is not of the form SECTION.KEY=VALUE")])
        yield read_assignment(name.split("."), text, source)


def _resolve_paths(layer: Layer, folder: Path) -> Layer:
    """Make the layer's relative paths absolute; they start at ``folder``."""
    for *sections, name in PATHS:
        values: Any = layer.values
        for section in sections:
            values = values.get(section) if isinstance(values, dict) else None
        if isinstance(values, dict) and is_path(values.get(name)):
            values[name] = str((folder / expand_home(values[name])).absolute())
    return layer


# ── scripts ──────────────────────────────────────────────────────────────────

# Importing voicecli.standin takes 0.1 s, which a profile without stand-ins does not pay.


def load_script(name: str, cwd: Path | None = None) -> Script:
    """Load a stand-in's script, named as in ``standin.script``; raises ProfileError.

    A number in the place of a latency is its p50; a latency without p50 has the default one.
    """
    from voicecli.standin.script import Script

    cwd = cwd or Path.cwd()
    layer = read_layer(find_file(name, cwd=cwd, kind="script"), cwd, kind="script")
    for section in [key for key, value in layer.values.items() if value is None]:
        del layer.values[section]  # a heading without keys below it
    for section, key, p50 in _list_latencies(Script()):
        for values in _list_sections(layer.values.get(section)):
            if key in values:
                given = values[key]
                values[key] = {"p50": p50} | (given if isinstance(given, dict) else {"p50": given})
    script = validate_layer(layer, create_schema(Script))
    assert isinstance(script, Script)
    return script


def script_schema() -> dict[str, Any]:
    """Make the JSON schema of a script, for editors."""
    from voicecli.standin.script import Script

    schema = create_json_schema(create_schema(Script))
    keys = ("title", "type", "properties", "additionalProperties")
    for section, key, p50 in _list_latencies(Script()):
        properties = schema["properties"][section]["properties"]
        models = properties.get("models", {}).get("additionalProperties", {})
        for place in (properties, models.get("properties", {})):
            if key in place:
                declared = place[key]
                del declared["required"]
                latency = {name: declared.pop(name) for name in keys}
                declared |= {"anyOf": [{"type": "number", "minimum": 0}, latency], "default": p50}
    return schema


def _list_sections(values: Any) -> Iterator[dict[str, Any]]:
    """List a section of a script as it was written, and those of its models."""
    if isinstance(values, dict):
        yield values
        models = values.get("models")
        for model in models.values() if isinstance(models, dict) else ():
            yield from _list_sections(model)


def _list_latencies(script: Script) -> Iterator[tuple[str, str, float]]:
    """List the latencies of a script: section, key, default p50 in milliseconds."""
    for section, kind in (("stt", script.stt), ("llm", script.llm), ("tts", script.tts)):
        for name, key, declared in list_settings(type(kind)):
            if is_dataclass(latency := getattr(kind, name)):
                yield section, key, declared.encode(latency)["p50"]
