"""A proxy between here and a service: which one it is, and what is said to it.  Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote
from urllib.request import proxy_bypass

from voicecli.services.endpoint import Endpoint


def proxy_for(endpoint: Endpoint, proxies: Mapping[str, str]) -> str:
    """The URL of the proxy to ``endpoint``; "" for none, as for everything on this machine.

    proxies: by scheme, as the environment has them; NO_PROXY is heeded.
    """
    if endpoint.loopback or proxy_bypass(endpoint.host):
        return ""
    proxy = proxies.get("https") or proxies.get("all") or ""
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def connect_request(proxy: SplitResult, host: str, port: int) -> bytes:
    """What asks an HTTP proxy for a connection to ``host``."""
    target = f"{f'[{host}]' if ':' in host else host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username:
        user, password = unquote(proxy.username), unquote(proxy.password or "")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {pair}")
    return "\r\n".join([*lines, "", ""]).encode()


def check_connected(answer: bytes) -> None:
    """Raise OSError unless the proxy says that there is a connection."""
    status = answer.partition(b"\r\n")[0].decode(errors="replace")
    if " 200" not in status[:13]:
        raise OSError(f"the proxy says: {status or 'nothing'}")
