"""What the phases of a route mean, in one sentence.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from voicecli.probe.trace import Route
from voicecli.services.endpoint import is_loopback
from voicecli.units import Seconds

SLOW_NAMES: Seconds = 0.1
FAR: Seconds = 0.1
"""A round trip of so long is between continents; Deepgram has hosts in the EU, Australia, India."""

SLOW_TLS = 3.5
"""TLS 1.2 takes two round trips, 1.3 takes one; more of them is computing, or somebody between."""

SLOW_SERVER: Seconds = 0.25
"""Of an answer, beyond the round trip."""

_FAILED = {
    "dns": "the name {host} is not resolved ({why}): check the network and the URL",
    "tcp": "{host} takes no connection ({why}): check the network, the URL and any firewall",
    "proxy": "the proxy {proxy} does not let through ({why}): check HTTPS_PROXY",
    "tls": "no secure connection ({why}): this machine does not trust who answers, be it a proxy "
    "that reads along or a wrong clock",
    "open": "{host} is reached, but does not answer as the service would ({why}): check the URL, "
    "and any proxy in between",
    "trip": "the connection was lost as soon as it was open ({why})",
    "message": "it opens, and then says nothing ({why})",
}


def diagnosis(routes: Sequence[Route]) -> str:
    """One sentence on ``routes``, at least one, all to the same host."""
    for route in routes:
        if route.failed:
            return _FAILED[route.failed].format(host=route.host, proxy=route.proxy, why=route.why)
    host = routes[0].host.rpartition(":")[0] or routes[0].host
    if is_loopback(host.strip("[]")):
        return "this machine: there is no network in between"
    return _slowness(routes) or _fine(routes)


def phase(routes: Sequence[Route], name: str) -> Seconds:
    """The median of a phase; 0 where it was never completed."""
    took = [route.phases[name] for route in routes if name in route.phases]
    return median(took) if took else 0.0


def _slowness(routes: Sequence[Route]) -> str:
    """What is unusually slow, the worst for a conversation first; "" for nothing."""
    round_trip = phase(routes, "tcp")
    beyond = phase(routes, "open") - round_trip
    if round_trip >= FAR:
        nearer = " (api.eu.deepgram.com?)" if "deepgram" in routes[0].host else ""
        return (
            f"the host is {_ms(round_trip)} away, and every answer takes that longer: "
            f"look for a nearer one{nearer}"
        )
    if beyond >= SLOW_SERVER:
        return f"the service takes {_ms(beyond)} to answer, beyond the round trip: it is busy"
    if phase(routes, "tls") > max(SLOW_TLS * round_trip, 0.1):
        return (
            f"TLS takes {phase(routes, 'tls') / max(round_trip, 1e-3):.1f} round trips: somebody "
            "in between reads along, or this machine is busy"
        )
    if phase(routes, "dns") >= SLOW_NAMES:
        return (
            f"resolving the name takes {_ms(phase(routes, 'dns'))}: only new connections pay "
            "for it, and a local cache helps"
        )
    return ""


def _fine(routes: Sequence[Route]) -> str:
    trip = phase(routes, "trip") or phase(routes, "tcp")
    new = sum(phase(routes, name) for name in ("dns", "tcp", "proxy", "tls", "open"))
    return f"{_ms(trip)} away, nothing in the way; a new connection costs {_ms(new)}, once"


def _ms(took: Seconds) -> str:
    return f"{took * 1000:.0f} ms"
