"""The decoder of answers: the same events wherever the network cuts the bytes."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli.services.openai.body import LONGEST, BodyDecoder, Frame

STREAMS = [
    b'data: {"a": 1}\n\ndata: {"b": 2}\n\ndata: [DONE]\n\n',
    b': ping\r\n\r\ndata: {"a": 1}\r\n\r\nevent: error\r\ndata: gone\r\n\r\ndata: [DONE]\r\n\r\n',
    b'data:{"a": "\xc3\xa9"}\r\rdata: {\rdata: }\r\rdata: 5\r\r',
    b'\xef\xbb\xbf\n data: no field\ndata: {"a": 1}\ndata: {"b": [2]}\n',
    b'{"choices": []}\n',
    b"<html>\n\n</html>",
    b"",
]


def decode(pieces: list[bytes]) -> tuple[list[Frame], bytes]:
    decoder = BodyDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames + decoder.finish(), decoder.text


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 90), max_size=8))
def test_the_events_do_not_depend_on_the_cuts(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert decode(pieces) == decode([stream])


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers()), min_size=1))
def test_what_was_encoded_is_decoded(events: list[dict[str, object]]) -> None:
    stream = b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in events)
    assert decode([stream]) == ([Frame(one) for one in events], b"")


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    decode([data])
    decode([b"data: " + data])


def test_an_event_is_complete_with_its_line_if_that_is_json() -> None:
    decoder = BodyDecoder()
    assert decoder.feed(b'data: {"a": 1}\n') == [Frame({"a": 1})]
    assert decoder.feed(b"\n") == []


def test_a_line_without_end_is_refused() -> None:
    decoder = BodyDecoder()
    decoder.feed(b"data: ")
    with pytest.raises(ValueError, match="more than 4 MiB without an end"):
        decoder.feed(b"x" * LONGEST)
