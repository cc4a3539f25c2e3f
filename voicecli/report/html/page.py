"""The document around pictures and tables: style, script, security policy, and its parts."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence

from htpy import (
    Element,
    Node,
    a,
    body,
    code,
    dd,
    details,
    div,
    dl,
    dt,
    footer,
    h1,
    h2,
    head,
    header,
    html,
    main,
    meta,
    p,
    script,
    section,
    style,
    summary,
    table,
    tbody,
    td,
    th,
    thead,
    title,
    tr,
)

from voicecli import __version__
from voicecli.metrics import stages, usage
from voicecli.metrics.interaction import INTERACTION_METRICS
from voicecli.report.html.plot import read_asset
from voicecli.sanitize import sanitize_line


def _build_policy() -> str:
    """Forbid everything but what is in the page: a report must not contact anybody."""
    digest = b64encode(hashlib.sha256(read_asset("page.js").encode()).digest()).decode()
    rules = {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "media-src": "data:",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def render_page(name: str, subtitle: Node, *content: Node) -> str:
    """Return a whole page as text.

    name: what it is about; foreign text may be in it.
    """
    shown = sanitize_line(name)
    page = html(lang="en")[
        head[
            meta(charset="utf-8"),
            meta(http_equiv="Content-Security-Policy", content=_build_policy()),
            meta(name="viewport", content="width=device-width, initial-scale=1"),
            meta(name="color-scheme", content="light dark"),
            meta(name="generator", content=f"voicecli {__version__}"),
            title[f"{shown} – voicecli"],
            style[read_asset("picture.css"), read_asset("page.css")],
        ],
        body[
            header[h1(dir="auto")[shown], p(".subtitle")[subtitle]],
            main[content],
            footer[
                p[
                    f"Made by voicecli {__version__}. This file is complete: it loads nothing and "
                    "contacts nobody."
                ]
            ],
            script[read_asset("page.js")],
        ],
    ]
    return f"{page}\n"


def compose_section(anchor: str, heading: str, *content: Node) -> Element:
    """Return a part of the page, which ``#anchor`` leads to."""
    return section(id=anchor)[h2[heading], content]


def compose_facts(facts: Mapping[str, Node]) -> Element:
    """Return the numbers at the top, each with what it is and its conditions."""
    return dl(".facts")[(div[dt[name], dd[value]] for name, value in facts.items())]


def compose_table(
    columns: Sequence[Node], rows: Iterable[Sequence[Node]], *, kind: str = ""
) -> Element:
    """Return a table that scrolls by itself where it is too wide.

    kind: a class: ``numbers`` aligns all columns but the first right.
    """
    return div(".scroll")[
        table(class_=kind or None)[
            thead[tr[(th(scope="col")[one] for one in columns)]],
            tbody[(tr[th(scope="row")[first], (td[one] for one in rest)] for first, *rest in rows)],
        ]
    ]


# ── definitions ──────────────────────────────────────────────────────────────

DEFINITIONS: Mapping[str, str] = {
    **{one.name: one.description for one in stages.DURATIONS},
    **usage.COUNTS,
    **{one.name: one.description for one in INTERACTION_METRICS.values()},
}
"""What each metric means, by name, from where it is declared."""


def compose_name(metric: str) -> Node:
    """Return the name of a metric, linked to its definition where it has one."""
    base = metric.strip().removeprefix(stages.RAW_PREFIX)
    if base not in DEFINITIONS:
        return code[metric.strip()]
    return a(href=f"#metric-{base}", title=DEFINITIONS[base])[code[metric.strip()]]


def compose_definitions(metrics: Iterable[str]) -> Element:
    """Return the definitions of ``metrics``, which ``compose_name`` links to."""
    bases = dict.fromkeys(one.removeprefix(stages.RAW_PREFIX) for one in metrics)
    entries = (
        div(id=f"metric-{base}")[dt[code[base]], dd[DEFINITIONS[base]]]
        for base in bases
        if base in DEFINITIONS
    )
    folded = details(data_print=True)[
        summary[f"of {len(bases)} metrics"], dl(".definitions")[entries]
    ]
    return compose_section("definitions", "Definitions", folded)
