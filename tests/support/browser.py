"""A headless Chromium, driven over its DevTools protocol: what a page shows and does."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 20.0
"""Seconds that anything may take; a cold start of the browser takes three."""


class Browser:
    """The process; a context manager."""

    def __enter__(self) -> Self:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise FileNotFoundError(
                "there is no Chromium: apt-get install chromium, or leave these tests out"
                ' with -m "not browser"'
            )
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
        ]
        process = subprocess.Popen(
            [program, *options, "about:blank"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._stack.callback(self._end, process)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("DevTools listening on "):
                self.address = line.split()[-1]
                return self
        self._stack.close()
        raise RuntimeError(f"Chromium did not start: {''.join(said)}")

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        process.terminate()
        process.communicate(timeout=PATIENCE)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def open(
        self, file: Path, *, width: int = 1000, dark: bool = False, paper: bool = False
    ) -> Iterator[Page]:
        """Open ``file`` in a tab of that width."""
        with connect(self.address, max_size=None, open_timeout=PATIENCE) as socket:
            page = Page(socket)
            target = page.send("Target.createTarget", url="about:blank")["targetId"]
            attached = page.send("Target.attachToTarget", targetId=target, flatten=True)
            page.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.send(f"{domain}.enable")
            page.send(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=900,
                deviceScaleFactor=1,
                mobile=width < 500,
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            page.send(
                "Emulation.setEmulatedMedia",
                media="print" if paper else "screen",
                features=[scheme],
            )
            page.send("Page.navigate", url=file.resolve().as_uri())
            page.wait("Page.loadEventFired")
            yield page
            page.session = ""
            page.send("Target.closeTarget", targetId=target)


@dataclass
class Page:
    """A tab.

    requests: the addresses that were asked for, but for data.
    complaints: what was written to the console, and what the security policy blocked.
    """

    socket: ClientConnection
    session: str = ""
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _last: int = 0

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def wait(self, event: str) -> None:
        """Wait for an event of the protocol."""
        while not any(one["method"] == event for one in self._events):
            self._receive()

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression, a promise's when it is kept."""
        found = self.send(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def take_picture(self, file: Path) -> None:
        """Save the whole page as a PNG."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=PATIENCE))
        if "method" in message:
            self._events.append(message)
            self._note(message["method"], message["params"])
        return message

    def _note(self, event: str, values: dict[str, Any]) -> None:
        match event:
            case "Network.requestWillBeSent":
                if not (url := values["request"]["url"]).startswith("data:"):
                    self.requests.append(url)
            case "Log.entryAdded":
                self.complaints.append(values["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(values["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(values["exceptionDetails"]))
