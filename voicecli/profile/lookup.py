"""Where profiles are: in the project, the user's settings, the package; the first one counts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs

from voicecli.errors import ProfileError, suggest
from voicecli.profile.overlay import Place, Problem, profile_error
from voicecli.profile.yaml_source import read_file
from voicecli.sanitize import escape_controls


class KnownProfile(NamedTuple):
    """A profile that can be had by its name."""

    name: str
    origin: str
    description: str


def folders(cwd: Path) -> dict[str, Path]:
    """Where names are looked up, first come first, by origin."""
    installed = Path(__file__).parents[1] / "profiles"
    shipped = installed if installed.is_dir() else Path(__file__).parents[2] / "profiles"
    found = {
        "project": cwd / "profiles",
        "user": platformdirs.user_config_path("voicecli") / "profiles",
        "shipped": shipped,
    }
    if found["project"].resolve() == shipped.resolve():  # at work on voicecli itself
        del found["project"]
    return found


def source_of(name: str, cwd: Path | None = None) -> tuple[str, Path, str]:
    """Where a profile is from (an origin of ``folders``, or "file"), its file, and its text."""
    cwd = cwd or Path.cwd()
    file = find(name, cwd=cwd)
    origins = [origin for origin, folder in folders(cwd).items() if file.parent == folder]
    return (origins[0] if origins else "file"), file, read(file, cwd)


def find(
    name: str,
    *,
    cwd: Path,
    kind: Literal["profile", "script"] = "profile",
    beside: Path | None = None,
    place: Place | None = None,
) -> Path:
    """The file that is called ``name``; raises ProfileError.

    name: a name, or a path ending in .yaml or .yml.
    beside: the profile that extends ``name``: relative paths start at its folder, and its own name
        means the next profile of that name.
    place: where the name was written.
    """
    if is_path(name):
        path = (beside.parent if beside else cwd) / Path(name).expanduser()
        if path.is_file():
            return path
        raise profile_error([Problem(place, f"there is no file {shown(path, cwd)}")])
    inside = "scripts" if kind == "script" else ""
    places = [folder / inside for folder in folders(cwd).values()]
    files = [file for folder in places if (file := folder / f"{name}.yaml").is_file()]
    if beside in files:
        files = files[files.index(beside) + 1 :] or [beside]
    if files:
        return files[0]
    names = sorted({file.stem for folder in places for file in folder.glob("*.yaml")})
    hint = f"{suggest(name, names)} Known: {', '.join(names)}.".lstrip()
    raise profile_error([Problem(place, f"there is no {kind} {name}", hint)])


def find_script(name: str, cwd: Path | None = None) -> Path:
    """The file of a stand-in's script, named as in ``standin.script``; raises ProfileError."""
    return find(name, cwd=cwd or Path.cwd(), kind="script")


def is_path(value: object) -> bool:
    """Whether a setting that may be a name or a path is a path."""
    return isinstance(value, str) and value.endswith((".yaml", ".yml", ".gguf"))


def read(path: Path, cwd: Path) -> str:
    """Text of the file; raises ProfileError."""
    place = Place(shown(path, cwd))
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise profile_error([Problem(place, "this is not UTF-8 text")]) from None
    except OSError as error:
        raise profile_error([Problem(place, str(error.strerror))]) from None


def shown(path: Path, cwd: Path) -> str:
    """The path as a person would write it."""
    return str(path.relative_to(cwd) if path.is_relative_to(cwd) else path)


def known_profiles(cwd: Path | None = None) -> list[KnownProfile]:
    """Every profile that can be had by its name, in the order of names."""
    cwd = cwd or Path.cwd()
    found: dict[str, KnownProfile] = {}
    for origin, folder in folders(cwd).items():
        for file in folder.glob("*.yaml"):
            found.setdefault(file.stem, KnownProfile(file.stem, origin, _description(file, cwd)))
    return sorted(found.values())


def _description(file: Path, cwd: Path) -> str:
    """What the file says of itself, or what is wrong with it."""
    try:
        values = read_file(read(file, cwd), shown(file, cwd)).values
    except ProfileError as error:
        return error.cause.splitlines()[0]
    return escape_controls(str(values.get("description", "")))
