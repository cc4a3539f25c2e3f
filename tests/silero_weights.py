"""Writes voicecli/data/silero_vad.npz from the published network.

python -m tests.silero_weights   # after pip install onnx==1.22.0
"""

from __future__ import annotations

import numpy as np

from tests.support import ROOT

PUBLISHED = ROOT / "tests" / "audio" / "vad" / "silero_vad.onnx"
WEIGHTS = ROOT / "voicecli" / "data" / "silero_vad.npz"
PREFIX = "If_0_then_branch__Inline_0__"
"""Of the names in the half of the file that is for 16 kHz; the other one is for 8 kHz."""


def main() -> None:
    """Copy the weights of the layers, under their names and in their shapes."""
    import onnx
    from onnx.numpy_helper import to_array

    (choice,) = (node for node in onnx.load(PUBLISHED).graph.node if node.op_type == "If")
    (branch,) = (part.g for part in choice.attribute if part.name == "then_branch")
    constants = {
        node.output[0].removeprefix(PREFIX): to_array(node.attribute[0].t)
        for node in branch.node
        if node.op_type == "Constant"
    }
    layers = {
        name: value for name, value in constants.items() if name.startswith(("encoder", "decoder"))
    }
    np.savez(WEIGHTS, **layers)
    print(f"{WEIGHTS}: {sum(value.size for value in layers.values())} weights")


if __name__ == "__main__":
    main()
