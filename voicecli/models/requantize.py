"""Requantizes a language model for speed: Q4_1 weights of a GGUF file become Q4_0 and Q8_0.

llama.cpp has kernels for Q4_0 and Q8_0 that process several tokens of a prompt together; for Q4_1
it has none.  Q4_0 loses precision, so that the two kinds of weights that suffer most become Q8_0.
"""

from __future__ import annotations

from pathlib import Path

import gguf
from gguf import GGMLQuantizationType as Quantization

PRECISE = ("ffn_down", "attn_v")
"""Weights that become Q8_0."""


def requantize(source: Path, target: Path) -> None:
    """Write the GGUF file ``source`` to ``target`` with its Q4_1 weights requantized."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "")
    for field in reader.fields.values():
        if field.name.startswith("GGUF."):  # version and counts, which the writer adds
            continue
        of = field.types[-1] if field.types[0] is gguf.GGUFValueType.ARRAY else None
        writer.kv_data[0][field.name] = gguf.GGUFValue(field.contents(), field.types[0], of)
    for tensor in reader.tensors:
        data, kind = tensor.data, tensor.tensor_type
        if kind is Quantization.Q4_1:
            kind = _choose_type(tensor.name)
            data = gguf.quantize(gguf.dequantize(data, tensor.tensor_type), kind)
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _choose_type(name: str) -> Quantization:
    return Quantization.Q8_0 if any(part in name for part in PRECISE) else Quantization.Q4_0
