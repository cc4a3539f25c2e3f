"""What a picture shows: its elements, texts and places, read back from the SVG."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from htpy import Element

Shape = ElementTree.Element


def read_picture(picture: Element | str) -> Shape:
    """Parse a picture, without its namespace."""
    return ElementTree.fromstring(str(picture).replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def find_all(picture: Shape, tag: str, kind: str = "") -> list[Shape]:
    """The elements of a tag that have the class ``kind``, or any."""
    found = picture.iter(tag)
    return [one for one in found if not kind or kind in one.get("class", "").split()]


def list_texts(picture: Shape, kind: str = "") -> list[str]:
    """The texts in an order of reading."""
    return [one.text or "" for one in find_all(picture, "text", kind)]


def place(shape: Shape, name: str) -> float:
    """A place or length, in percent of the width or in pixels."""
    return float(shape.get(name, "").removesuffix("%"))


def list_spans(picture: Shape, kind: str) -> list[tuple[float, float]]:
    """Where the bars of a class start and end, in percent."""
    return [
        (place(one, "x"), place(one, "x") + place(one, "width"))
        for one in find_all(picture, "rect", kind)
    ]


def list_corners(path: str) -> Iterator[tuple[float, float]]:
    """The corners of a path of straight lines: ``M0 1L2 3``."""
    for step in path.removeprefix("M").split("L"):
        x, y = step.split()
        yield float(x), float(y)
