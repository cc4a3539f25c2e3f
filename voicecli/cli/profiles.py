"""``voicecli profiles``: which there are, what they say, whether they are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

# voicecli.profile brings pydantic, 0.1 s: it is imported by the command that runs, not by --help.

profiles_app = typer.Typer(help="Show and check profiles.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A name, or a path ending in .yaml.", metavar="NAME")]


@profiles_app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the profiles that can be had by name."""
    from voicecli.profile import known_profiles

    known = known_profiles()
    if as_json:
        typer.echo(json.dumps([profile._asdict() for profile in known], indent=2))
        return
    names, origins = (max(map(len, column)) for column in list(zip(*known, strict=True))[:2])
    for name, origin, description in known:
        typer.echo(f"{name:{names}}  {origin:{origins}}  {description}".rstrip())


@profiles_app.command()
def show(
    name: Name,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="All settings, as they count in the end.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting (--resolved)."),
    ] = None,
) -> None:
    """Print a profile as it is written, or with --resolved all that it amounts to."""
    import yaml

    from voicecli.profile import load_profile, source_of

    origin, file, text = source_of(name)
    if resolved:
        settings = load_profile(name, overrides=overrides or ()).resolved()
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=88)
    typer.echo(f"{origin}: {file}", err=True)
    typer.echo(text, nl=False)


@profiles_app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="A profile's file, or its name.", metavar="FILE")],
) -> None:
    """Check a profile and those it extends, whatever the environment says."""
    from voicecli.profile import load_profile

    load_profile(str(file), environ={})
    typer.echo(f"{file}: valid")


@profiles_app.command()
def schema() -> None:
    """Print the JSON schema of a profile, for editors."""
    from voicecli.profile import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
