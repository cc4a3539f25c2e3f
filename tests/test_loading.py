"""What loading changes of the interpreter, and that it changes it back."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from threading import Thread

import pytest

from voicecli.loading import STARTING_THRESHOLD, SWITCH_INTERVAL, Library, begin_start, end_start


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_garbage_is_collected_as_usual_once_the_program_has_started() -> None:
    before = gc.get_threshold()
    begin_start()
    assert gc.get_threshold()[0] == STARTING_THRESHOLD
    with end_start():
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0
    assert gc.isenabled()


def test_a_library_is_loaded_once_by_many_threads() -> None:
    loaded = []
    library = Library(lambda: loaded.append(sys.getswitchinterval()))
    interval = sys.getswitchinterval()
    threads = [Thread(target=library.load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == [pytest.approx(SWITCH_INTERVAL)]
    assert library.loaded
    assert sys.getswitchinterval() == interval
    assert gc.isenabled()


def test_a_library_that_cannot_be_loaded_is_tried_again() -> None:
    attempts = []

    def rehearse() -> None:
        assert not gc.isenabled()
        attempts.append(1)
        if len(attempts) == 1:
            raise ImportError("missing")

    library = Library(rehearse)
    with pytest.raises(ImportError, match="missing"):
        library.load()
    assert not library.loaded
    assert gc.isenabled()
    library.load()
    library.load()
    assert library.loaded
    assert len(attempts) == 2
