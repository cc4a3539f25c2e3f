"""Layer on layer: a profile over the one it extends, then the environment, then the options."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voicecli.profile.lookup import find, is_path, read, shown
from voicecli.profile.model import Profile
from voicecli.profile.overlay import Key, Layer, Place, Problem, profile_error
from voicecli.profile.validation import validate
from voicecli.profile.yaml_source import read_assignment, read_file

PREFIX = "VOICECLI_"

PATHS: tuple[Key, ...] = (("standin", "script"), ("local", "llm", "model"))
"""Values that are relative to the file they stand in, if they are paths."""


def load_profile(
    name: str,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Profile:
    """The settings of the profile ``name``; raises ProfileError.

    name: looked up in the folders of profiles, or a path ending in .yaml or .yml.
    overrides: SECTION.KEY=VALUE each, as given to ``--set``; the value is a YAML scalar or flow.
    environ: where VOICECLI_SECTION__KEY is looked for; the process's own if None.
    """
    cwd = cwd or Path.cwd()
    layer = _stacked(find(name, cwd=cwd), cwd)
    for over in (*_variables(os.environ if environ is None else environ), *_options(overrides)):
        layer = _anchored(over, cwd).over(layer)
    return validate(layer)


def restore_profile(resolved: Mapping[str, Any], place: str) -> Profile:
    """Return the profile that ``Profile.resolved`` turned into plain data; raises ProfileError.

    place: where the data was read, for errors.
    """
    return validate(Layer(dict(resolved), {(): Place(place)}))


def _stacked(file: Path, cwd: Path, above: tuple[Path, ...] = ()) -> Layer:
    """The layer of ``file`` over those it extends; ``above`` are the files that extend it."""
    layer = _anchored(read_file(read(file, cwd), shown(file, cwd)), file.parent)
    name = layer.values.get("extends")
    if not isinstance(name, str):  # absent, or refused by the check
        return layer
    place = layer.place(("extends",))
    base = find(name, cwd=cwd, beside=file, place=place)
    chain = (*above, file)
    if base.resolve() in [extended.resolve() for extended in chain]:
        names = " → ".join(extended.stem for extended in (*chain, base))
        raise profile_error([Problem(place, f"profiles extend each other: {names}")])
    below = _stacked(base, cwd, chain)
    below.values.pop("description", None)
    return layer.over(below)


def _variables(environ: Mapping[str, str]) -> Iterator[Layer]:
    """VOICECLI_STT__MODEL sets stt.model; without ``__`` it is no setting."""
    for name, text in sorted(environ.items()):
        if name.startswith(PREFIX) and "__" in name:
            keys = name.removeprefix(PREFIX).lower().split("__")
            yield read_assignment(keys, text, name)


def _options(overrides: Sequence[str]) -> Iterator[Layer]:
    for override in overrides:
        name, equals, text = override.partition("=")
        source = f"--set {name}"
        if not equals or "." not in name:
            raise profile_error([Problem(Place(source), "is not of the form SECTION.KEY=VALUE")])
        yield read_assignment(name.split("."), text, source)


def _anchored(layer: Layer, folder: Path) -> Layer:
    """The layer with its relative paths made absolute: they start at ``folder``."""
    for *sections, name in PATHS:
        values: Any = layer.values
        for section in sections:
            values = values.get(section) if isinstance(values, dict) else None
        if isinstance(values, dict) and is_path(values.get(name)):
            values[name] = str((folder / Path(values[name]).expanduser()).absolute())
    return layer
