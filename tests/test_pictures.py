"""The README's pictures are those that the program draws today."""

from __future__ import annotations

import xml.etree.ElementTree as xml

import pytest

from tests.pictures import FOLDER, PICTURES


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_its_command_draws(name: str):
    drawn = PICTURES[name]()
    xml.fromstring(drawn)
    assert (FOLDER / name).read_text(encoding="utf-8") == drawn, "run python -m tests.pictures"
