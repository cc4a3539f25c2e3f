"""``voicecli profiles``: lists, shows and validates profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from voicecli.cli.options import Sets
from voicecli.cli.output import print_text

# The commands import voicecli.profile, which takes 0.1 s that --help does not pay.

app = typer.Typer(help="List, show and validate profiles.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A name, or a path ending in .yaml.", metavar="NAME")]


@app.command("list")
def list_profiles(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the profiles that a name can select."""
    from voicecli.profile import list_profiles

    known = list_profiles()
    if as_json:
        print_text(json.dumps([profile._asdict() for profile in known], indent=2))
        return
    names, origins = (max(map(len, column)) for column in list(zip(*known, strict=True))[:2])
    for name, origin, description in known:
        print_text(f"{name:{names}}  {origin:{origins}}  {description}".rstrip())


@app.command("show")
def show_profile(
    name: Name,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print every setting with its effective value.")
    ] = False,
    overrides: Sets = None,
) -> None:
    """Print a profile as it is written, or with --resolved all effective settings."""
    import yaml

    from voicecli.profile import load_profile, read_source

    origin, file, text = read_source(name)
    if resolved:
        settings = load_profile(name, overrides=overrides or ()).resolved()
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=88)
    print_text(f"{origin}: {file}", err=True)
    print_text(text, end="")


@app.command("validate")
def validate_profile(
    file: Annotated[Path, typer.Argument(help="A profile's file or name.", metavar="FILE")],
) -> None:
    """Check a profile and those it extends, without the environment's settings."""
    from voicecli.profile import load_profile

    load_profile(str(file), environ={})
    print_text(f"{file}: valid")


@app.command("schema")
def print_schema(
    script: Annotated[bool, typer.Option("--script", help="Of a stand-in's script.")] = False,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Every setting with its default, as a profile.")
    ] = False,
) -> None:
    """Print the JSON schema of a profile, for editors."""
    from voicecli.profile import json_schema, render_default_profile, script_schema

    if as_yaml:
        print_text(render_default_profile(), end="")
    else:
        print_text(json.dumps(script_schema() if script else json_schema(), indent=2))
