"""Opens a network that onnxruntime computes in the calling thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voicecli.errors import InputError
from voicecli.sanitize import sanitize_short


def open_network(file: Path, entries: Mapping[str, str]) -> Any:
    """Return an ``onnxruntime.InferenceSession`` of ``file``, which takes 40 to 200 ms.

    entries: of the session's configuration.

    Raises InputError for a file that is no network, such as a damaged one.
    """
    import onnxruntime  # 0.15 s

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # no pool of threads
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes have no other base
        raise InputError(
            f"{file} cannot be loaded: {sanitize_short(str(error)).rstrip('.')}",
            hint="If it is damaged, delete it, and fetch it again with: voicecli models fetch.",
        ) from error
