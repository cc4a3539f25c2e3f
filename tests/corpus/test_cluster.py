"""Dask: the same numbers as without it, whatever happens to workers and scheduler."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.corpus.test_pool import list_turns, measure, plan
from voicecli import clock
from voicecli.cli.app import run
from voicecli.corpus.cluster import connect, describe_task, parse_engine
from voicecli.corpus.dispatch import EngineError
from voicecli.corpus.host import measure_chunk
from voicecli.corpus.manifest import Recording
from voicecli.corpus.plan import Conditions, load_variants, plan_units
from voicecli.corpus.run import Resources
from voicecli.corpus.unit import UnitResult, decode, encode
from voicecli.errors import UsageError

ONE = Resources(workers=1)
SECRET = "4f1c7d09e2b84a6c95d3f08e1b7a62c4d5e9f013"


def start(*command: str) -> subprocess.Popen[bytes]:
    """Start a Dask process whose output is not shown."""
    environ = os.environ | {"DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + command[0], *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environ,
    )


def start_scheduler(port: int) -> subprocess.Popen[bytes]:
    return start("dask_scheduler", "--port", str(port), "--no-dashboard", "--no-show")


def start_worker(address: str) -> subprocess.Popen[bytes]:
    options = ("--nthreads=2", "--no-nanny", "--no-dashboard", "--resources=sessions=1")
    return start("dask_worker", address, *options)


@contextmanager
def ending(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def test_a_cluster_of_this_machine_comes_to_the_same(tmp_path: Path) -> None:
    units = plan(tmp_path, 3)
    broken = replace(units[2], labels="missing.labels.yaml")
    found = measure([*units[:2], broken], Resources(workers=2, scheduler=""))
    failure = found.pop(broken.id).failure
    assert failure is not None
    assert failure.kind == "InputError"
    assert list_turns(found) == list_turns(measure(units[:2], ONE))
    assert {id: one.unit for id, one in found.items()} == {one.id: one for one in units[:2]}


def test_sessions_of_a_worker_share_a_loop(tmp_path: Path) -> None:
    """They begin at once, in threads, and must find the same loop and stand-ins."""
    units = plan(tmp_path, 4, fast=False)
    found = measure(units, Resources(workers=1, concurrency=4, scheduler="")).values()
    assert not any(one.failure for one in found)
    assert [len(one.result["turns"]) for one in found if one.result] == [1] * 4
    assert max(one.lag_ms for one in found) > 0, "measured in no loop"


def test_a_scheduler_that_restarts_and_workers_that_die_lose_nothing(tmp_path: Path) -> None:
    """A worker is killed, then the scheduler with the workers; others take their places."""
    units = plan(tmp_path, 8)
    address = f"tcp://127.0.0.1:{(port := find_free_port())}"
    started = [start_scheduler(port), start_worker(address), start_worker(address)]

    def disturb(found: list[UnitResult]) -> None:
        if len(found) == 2:
            started[1].send_signal(signal.SIGKILL)
            started.append(start_worker(address))
        if len(found) == 4:
            started[0].send_signal(signal.SIGKILL)
            started[0].wait()
            started.extend([start_scheduler(port), start_worker(address)])

    with ending(started):
        found = measure(units, Resources(scheduler=address), after=disturb)
    assert not any(one.failure for one in found.values())
    assert list_turns(found) == list_turns(measure(units, ONE))


def test_no_key_is_in_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of any shipped profile that needs one, nor of one that names other variables."""
    (tmp_path / "one.wav").write_text("not opened")
    (tmp_path / "mine.yaml").write_text("extends: default\nllm: {key_env: MY_SECRET_KEY}\n")
    for name in ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "MY_SECRET_KEY"):
        monkeypatch.setenv(name, SECRET)
    variants = load_variants(["default", "duplex", f"{tmp_path}/mine.yaml"], ())
    recordings = [Recording(path=tmp_path / "one.wav")]
    tasks = [
        pickle.dumps(describe_task(unit, "s3://bucket/run"))
        for unit in plan_units(recordings, variants, Conditions()).units
    ]
    assert len(tasks) == 3
    assert all(b"_KEY" in task and SECRET.encode() not in task for task in tasks)


def test_another_file_of_the_same_name_is_not_measured(tmp_path: Path) -> None:
    (unit,) = plan(tmp_path, 1)
    (values,) = measure_chunk([encode(unit)])
    assert decode(values, UnitResult).result is not None
    (tmp_path / "one.wav").write_bytes((tmp_path / "one.wav").read_bytes()[:-2])
    (values,) = measure_chunk([encode(unit)])
    failure = decode(values, UnitResult).failure
    assert failure is not None
    assert "has another content on this machine" in failure.message


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    address = f"tcp://127.0.0.1:{find_free_port()}"
    with pytest.raises(EngineError, match=f"no Dask scheduler answers at {address}"):
        clock.run(connect(address, patience=0.5))


@pytest.mark.parametrize("text", ["ray", "dask=", "dask=localhost:8786", "dask=tcp"])
def test_an_engine_that_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--engine"):
        parse_engine(text)
    assert run(("replay", "x.wav", "--engine", text)) == 2


def test_engines_are_named() -> None:
    assert parse_engine("dask") == ""
    assert parse_engine("dask=tls://10.0.0.1:8786") == "tls://10.0.0.1:8786"
