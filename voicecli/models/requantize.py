"""Requantizes a language model for speed: Q4_1 weights of a GGUF file become Q4_0 and Q8_0.

llama.cpp has kernels for Q4_0 and Q8_0 that process several tokens of a prompt together; for Q4_1
it has none.  Q4_0 loses precision, so that the two kinds of weights that suffer most become Q8_0.

The result is the same on every machine: all arithmetic is element by element, in a fixed order.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Q4_0, Q4_1, Q8_0 = 2, 3, 8
"""Numbers of the types in the file; each has blocks of BLOCK weights."""

BLOCK = 32
BLOCK_SIZES = {Q4_0: 2 + 16, Q4_1: 2 + 2 + 16, Q8_0: 2 + 32}
"""Bytes of a block: the scale, for Q4_1 the minimum, and the weights."""

PRECISE = (b"ffn_down", b"attn_v")
"""Weights that become Q8_0."""

ALIGNMENT = 32

_STRING, _ARRAY = 8, 9
_SCALAR_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

Blocks = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One entry of the table of tensors; ``offset`` is from the start of the data."""

    name: bytes
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def blocks(self) -> int:
        return math.prod(self.shape) // BLOCK


def requantize(source: Path, target: Path) -> None:
    """Write the GGUF file ``source`` to ``target`` with its Q4_1 weights requantized.

    Raises ValueError when ``source`` is not a GGUF file of version 3.
    """
    with source.open("rb") as file, target.open("wb") as out:
        head, tensors = _read_head(file)
        begin = _align(file.tell())
        size = source.stat().st_size - begin
        ends = sorted([tensor.offset for tensor in tensors] + [size])
        out.write(head)
        table: list[tuple[_Tensor, _Tensor, int]] = []
        at = 0
        for tensor in tensors:
            length = min(end for end in ends if end > tensor.offset) - tensor.offset
            new = replace(tensor, type=_choose_type(tensor), offset=at)
            at += _align(length if new.type == tensor.type else new.blocks * BLOCK_SIZES[new.type])
            table.append((tensor, new, length))
            _write_tensor(out, new)
        for tensor, new, length in table:
            _pad(out)
            file.seek(begin + tensor.offset)
            data = file.read(length)
            out.write(data if new.type == tensor.type else _convert(data, new))
        _pad(out)


def _choose_type(tensor: _Tensor) -> int:
    if tensor.type != Q4_1:
        return tensor.type
    return Q8_0 if any(name in tensor.name for name in PRECISE) else Q4_0


def _convert(data: bytes, new: _Tensor) -> bytes:
    """Convert Q4_1 weights to the type of ``new``."""
    size = BLOCK_SIZES[Q4_1]
    weights = _dequantize(np.frombuffer(data, np.uint8, new.blocks * size).reshape(-1, size))
    return (_quantize_q8 if new.type == Q8_0 else _quantize_q4)(weights).tobytes()


# ── the file ─────────────────────────────────────────────────────────────────


def _read_head(file: BinaryIO) -> tuple[bytes, list[_Tensor]]:
    """Read up to the table of tensors; return what precedes it, as it stands, and the table."""
    magic, version, tensors, keys = struct.unpack("<4sIQQ", file.read(24).ljust(24))
    if magic != b"GGUF" or version != 3:
        raise ValueError("not a GGUF file of version 3")
    for _ in range(keys):
        _read_string(file)
        _skip_value(file, _read_number(file, "<I"))
    end = file.tell()
    file.seek(0)
    head = file.read(end)
    return head, [_read_tensor(file) for _ in range(tensors)]


def _read_tensor(file: BinaryIO) -> _Tensor:
    name = _read_string(file)
    shape = tuple(_read_number(file, "<Q") for _ in range(_read_number(file, "<I")))
    return _Tensor(name, shape, _read_number(file, "<I"), _read_number(file, "<Q"))


def _skip_value(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _read_string(file)
    elif kind == _ARRAY:
        of, count = _read_number(file, "<I"), _read_number(file, "<Q")
        for _ in range(count):
            _skip_value(file, of)
    else:
        file.seek(_SCALAR_SIZES[kind], 1)


def _read_number(file: BinaryIO, format: str) -> int:
    number: int = struct.unpack(format, file.read(struct.calcsize(format)))[0]
    return number


def _read_string(file: BinaryIO) -> bytes:
    return file.read(_read_number(file, "<Q"))


def _write_tensor(out: BinaryIO, tensor: _Tensor) -> None:
    out.write(struct.pack("<Q", len(tensor.name)) + tensor.name)
    dimensions = len(tensor.shape)
    out.write(struct.pack(f"<I{dimensions}Q", dimensions, *tensor.shape))
    out.write(struct.pack("<IQ", tensor.type, tensor.offset))


def _align(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def _pad(out: BinaryIO) -> None:
    out.write(bytes(_align(out.tell()) - out.tell()))


# ── weights: arrays of (blocks, BLOCK) ───────────────────────────────────────


def _dequantize(blocks: Blocks) -> NDArray[np.float32]:
    """Compute the weights of Q4_1 blocks: scale × (0 to 15) + minimum."""
    scale, minimum = (_read_half(blocks[:, at : at + 2]) for at in (0, 2))
    levels = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return levels.astype(np.float32) * scale + minimum


def _quantize_q8(weights: NDArray[np.float32]) -> Blocks:
    """Make Q8_0 blocks: scale × (-127 to 127)."""
    scale = np.abs(weights).max(axis=1, keepdims=True) / np.float32(127)
    levels = _divide(weights, scale)
    whole = np.floor(np.abs(levels) + np.float32(0.5)) * np.sign(levels)
    return np.hstack([_to_bytes(scale), whole.astype(np.int8).view(np.uint8)])


def _quantize_q4(weights: NDArray[np.float32]) -> Blocks:
    """Make Q4_0 blocks: scale × (-8 to 7); the largest weight becomes -8, exactly."""
    largest = np.abs(weights).argmax(axis=1)[:, None]
    scale = np.take_along_axis(weights, largest, axis=1) / np.float32(-8)
    levels = np.floor(_divide(weights, scale) + np.float32(8.5)).clip(0, 15).astype(np.uint8)
    low, high = levels[:, : BLOCK // 2], levels[:, BLOCK // 2 :]
    return np.hstack([_to_bytes(scale), low | high << 4])


def _divide(weights: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.divide(weights, scale, out=np.zeros_like(weights), where=scale != 0)


def _read_half(blocks: Blocks) -> NDArray[np.float32]:
    return np.ascontiguousarray(blocks).view("<f2").astype(np.float32)


def _to_bytes(scale: NDArray[np.float32]) -> Blocks:
    return scale.astype("<f2").view(np.uint8)
