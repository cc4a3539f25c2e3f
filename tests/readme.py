"""Keeps the generated parts of the documentation: ``python -m tests.readme`` rewrites them.

- The block between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is a table of ``TABLES``.
- A ``console`` block that begins with ``$ voicecli …`` holds that command's output; ``| tail -N``
  and ``| head -N`` keep the last and first lines of it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.support import ROOT
from tests.wild.llm_servers import SERVERS
from voicecli.cli.app import COMMANDS, run
from voicecli.cli.errors import EXIT_CODES
from voicecli.metrics import interaction, stages, usage
from voicecli.probe import results
from voicecli.profile.model import Profile, list_rows

FILES = (
    ROOT / "README.md",
    ROOT / "voicecli" / "metrics" / "README.md",
    ROOT / "profiles" / "README.md",
)

_TABLE = re.compile(r"(<!-- (?P<name>[\w-]+) -->\n).*?(<!-- /(?P=name) -->)", re.DOTALL)
_CONSOLE = re.compile(
    r"(```console\n\$ voicecli (?P<arguments>[^\n]*)\n).*?(^```)", re.DOTALL | re.MULTILINE
)


def render_file(text: str) -> str:
    """Return ``text`` with its tables and sample outputs generated."""
    text = _TABLE.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}\n{found[3]}", text)
    return _CONSOLE.sub(
        lambda found: f"{found[1]}{run_command(found['arguments'])}\n{found[3]}", text
    )


def run_command(arguments: str) -> str:
    """Return what ``voicecli ARGUMENTS`` prints in the project's folder, unconfigured."""
    arguments, _, cut = arguments.partition(" | ")
    before, folder = dict(os.environ), Path.cwd()
    printed = io.StringIO()
    try:
        for name in before:
            if name.startswith(("VOICECLI_", "DEEPGRAM_", "OPENAI_")):
                del os.environ[name]
        os.environ["XDG_CONFIG_HOME"] = os.devnull
        os.chdir(ROOT)
        with contextlib.redirect_stdout(printed):
            code = run(["--no-env", *shlex.split(arguments)])
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)
    assert code == 0, f"voicecli {arguments} ends with {code}"
    lines = printed.getvalue().rstrip("\n").splitlines()
    match cut.split(" -"):
        case ["tail", count]:
            lines = lines[-int(count) :]
        case ["head", count]:
            lines = lines[: int(count)]
    return "\n".join(lines)


def _format_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in cells)


def _render_servers() -> str:
    rows = []
    for server in SERVERS:
        settings = [f"`llm.{name}: {value}`" for name, value in server.settings.items()]
        rows.append([server.name, f"`{server.url}`", ", ".join(settings)])
    return _format_table(["server", "`llm.base_url`", "also needs"], rows)


def _render_commands() -> str:
    rows = ([f"`{name}`", help.removesuffix(".")] for name, (_, help) in COMMANDS.items())
    return _format_table(["command", "what it does"], rows)


def _render_exit_codes() -> str:
    """Render three codes in each row."""
    cells = [cell for code in EXIT_CODES.items() for cell in code]
    cells += [""] * (-len(cells) % 6)
    rows = (cells[start : start + 6] for start in range(0, len(cells), 6))
    return _format_table(["code", "meaning"] * 3, rows)


def _render_turn_metrics() -> str:
    rows = []
    for one in stages.DURATIONS:
        kinds = [
            "stage" if one.waited_from or one is stages.PIPELINE else "",
            f"`{one.raw_name}`" if one.name in stages.RAW else "",
        ]
        rows.append([f"`{one.name}`", ", ".join(filter(None, kinds)), one.description])
    return _format_table(["name", "also", "from → to"], rows)


def _render_session_counts() -> str:
    rows = ([f"`{name}`", meaning] for name, meaning in usage.COUNTS.items())
    return _format_table(["name", "meaning"], rows)


def _render_interaction_metrics() -> str:
    rows = (
        [f"`{one.name}`", one.unit, one.description]
        for one in interaction.INTERACTION_METRICS.values()
    )
    return _format_table(["name", "unit", "meaning"], rows)


def _render_probe_metrics() -> str:
    metrics = {**results.SERVICE_METRICS, **results.AUDIO_METRICS}
    rows = [[f"`{one.name}`", one.unit, one.description] for one in metrics.values()]
    rows += [[f"`{name}`", "", meaning] for name, meaning in results.COUNTS.items()]
    return _format_table(["name", "unit", "meaning"], rows)


def _render_settings() -> str:
    rows = (
        [f"**`{row.key}`**", "", "", row.meaning]
        if row.is_section
        else [f"`{row.key}`", _format_default(row.default), row.allowed, row.meaning]
        for row in list_rows(Profile())
    )
    return _format_table(["setting", "default", "values", "meaning"], rows)


def _format_default(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"


TABLES: dict[str, Callable[[], str]] = {
    "commands": _render_commands,
    "exit-codes": _render_exit_codes,
    "metrics": _render_turn_metrics,
    "session-counts": _render_session_counts,
    "interaction-metrics": _render_interaction_metrics,
    "probe-metrics": _render_probe_metrics,
    "settings": _render_settings,
    "servers": _render_servers,
}


def main() -> None:
    """Rewrite the generated parts."""
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        new = render_file(text)
        if new != text:
            file.write_text(new, encoding="utf-8")
            print(file.relative_to(ROOT))


if __name__ == "__main__":
    main()
