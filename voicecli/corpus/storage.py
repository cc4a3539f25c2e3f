"""Files below a folder, or below a URL through fsspec: ``s3://bucket/run``, ``gs://…``, ``az://…``.

A file is written as a whole or not at all.  Packages and credentials of a service are the user's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from voicecli.environment.files import write_text_file
from voicecli.errors import UsageError
from voicecli.sanitize import sanitize_line, sanitize_short

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "memory"}
"""Protocols in which an upload replaces a file as a whole; in others it is renamed."""


class LocalStorage:
    """Files below a folder of this machine.  What fails raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.location = str(folder)

    def list_names(self, folder: str) -> set[str]:
        """Return the names of the files in ``folder``; none if there is no such folder."""
        try:
            return {one.name for one in (self.folder / folder).iterdir()}
        except FileNotFoundError:
            return set()

    def read(self, name: str) -> bytes:
        """Return the content of a file; raises FileNotFoundError."""
        return (self.folder / name).read_bytes()

    def write(self, name: str, text: str) -> None:
        """Write a file as a whole, or leave what is there as it is."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_file(path, text)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        (self.folder / name).unlink(missing_ok=True)


class RemoteStorage:
    """Files below a URL.  What fails raises OSError."""

    def __init__(self, url: str) -> None:
        self.location = sanitize_line(url)
        self._files, self._root = _open_file_system(url)
        self._atomic = url.partition("://")[0] in OBJECT_STORES

    def list_names(self, folder: str) -> set[str]:
        """Return the names of the files in ``folder``; none if there is no such folder."""
        with _translate(self.location):
            try:
                found = self._files.ls(self._find(folder), detail=False, refresh=True)
            except FileNotFoundError:
                return set()
        return {PurePosixPath(one).name for one in found}

    def read(self, name: str) -> bytes:
        """Return the content of a file; raises FileNotFoundError."""
        with _translate(self.location):
            content: bytes = self._files.cat_file(self._find(name))
        return content

    def write(self, name: str, text: str) -> None:
        """Write a file as a whole, or leave what is there as it is."""
        path = self._find(name)
        with _translate(self.location):
            self._files.makedirs(self._files._parent(path), exist_ok=True)
            target = path if self._atomic else f"{path}.part"
            self._files.pipe_file(target, text.encode())
            if target != path:
                self._files.mv(target, path)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        with _translate(self.location):
            try:
                self._files.rm_file(self._find(name))
            except FileNotFoundError:
                return

    def upload(self, folder: Path, name: str) -> None:
        """Copy the files of ``folder`` to the folder ``name``."""
        path = self._find(name)
        with _translate(self.location):
            self._files.makedirs(path, exist_ok=True)
            for one in folder.iterdir():
                self._files.put_file(str(one), f"{path}/{one.name}")

    def download(self, name: str, folder: Path) -> None:
        """Copy the files of the folder ``name`` to ``folder``."""
        for one in self.list_names(name):
            with _translate(self.location):
                self._files.get_file(self._find(f"{name}/{one}"), str(folder / one))

    def _find(self, name: str) -> str:
        return f"{self._root}/{name}"


Storage = LocalStorage | RemoteStorage


def is_url(location: str) -> bool:
    """Whether ``location`` is a URL, not a path."""
    return "://" in location


def open_storage(location: str | Path) -> Storage:
    """Return the files below a path or a URL; raises UsageError where a package is missing."""
    text = str(location)
    return RemoteStorage(text) if is_url(text) else LocalStorage(Path(location))


def _open_file_system(url: str) -> tuple[Any, str]:
    user, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if at and ":" in user:  # it would be printed, and sent to workers
        raise UsageError(
            f"{sanitize_line(url)}: a password does not belong in a URL",
            hint="Give it to the service's package by its environment variables.",
        )
    try:
        from fsspec.core import url_to_fs  # 0.1 s, which a folder does not pay

        files, root = url_to_fs(url)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or "the package that its text names"
        raise UsageError(
            f"{sanitize_line(url)}: {sanitize_short(str(error))}",
            hint=f"pip install {missing}",
        ) from error
    except ValueError as error:  # an unknown protocol
        raise UsageError(f"{sanitize_line(url)}: {sanitize_short(str(error))}") from error
    return files, root.rstrip("/")


@contextmanager
def _translate(location: str) -> Iterator[None]:
    """Raise what a service's package raises as OSError."""
    try:
        yield
    except (OSError, NotImplementedError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise OSError(None, sanitize_short(str(error)), location) from error
    except Exception as error:  # each package has its own
        text = sanitize_short(f"{type(error).__name__}: {error}")
        raise OSError(None, text, location) from error
