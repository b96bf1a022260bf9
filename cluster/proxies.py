"""The proxy that the environment names for an address, as the HTTP clients here take it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy


@dataclass(frozen=True)
class Proxy:
    """A proxy through which requests go."""

    url: str
    """Its address, with a scheme; may hold a password."""
    variable: str
    """The environment variable that names it."""

    def __str__(self) -> str:
        return f"the proxy {urlsplit(self.url).netloc.rpartition('@')[2]} of {self.variable}"


def proxy_for(address: str) -> Proxy | None:
    """Return the proxy for an http or https address; None: it is reached directly.

    The rules are those of requests: ``http_proxy``, ``https_proxy``, else ``all_proxy``, also in capitals;
    and ``no_proxy`` with hosts, domains and networks.
    """
    proxy = select_proxy(address, get_environ_proxies(address))
    if not proxy:
        return None
    url = proxy if "://" in proxy else f"http://{proxy}"
    names = (f"{urlsplit(address).scheme}_proxy", "all_proxy")
    every = [name for lower in names for name in (lower, lower.upper())]
    variable = next((name for name in every if os.environ.get(name)), "the system")
    return Proxy(url, variable)


def without_proxy(address: str) -> str:
    """Return what to do where a host is to be reached without the proxy, as the end of a sentence."""
    return f"if no proxy leads there, add {urlsplit(address).hostname} to no_proxy"
