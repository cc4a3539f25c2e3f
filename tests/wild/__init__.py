"""Inputs as users' machines, recordings and servers bring them, by kind.

Each module tests one kind.  Its ``CASES`` are the rows of the table that ``test_table.py`` prints.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One input of a kind: what the program once did with it, and what it does.

    before, after: short phrases for the table; the module's tests check what ``after`` says.
    """

    kind: str
    name: str
    before: str
    after: str
