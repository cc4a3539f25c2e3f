"""Background threads: one for a purpose, in each process."""

from __future__ import annotations

import os
import signal
import warnings

import pytest

from voicecli.pipeline.background import open_thread


def test_a_purpose_has_one_thread() -> None:
    assert open_thread("one") is open_thread("one")
    assert open_thread("one") is not open_thread("another")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    assert open_thread("forked").submit(lambda: 1).result(5) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads, which wait
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        os._exit(open_thread("forked").submit(lambda: 7).result(5))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
