"""Pictures from the web: limits, redirects followed by hand, no way into private networks."""

from __future__ import annotations

import email.utils
import ipaddress
import socket
import time
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urljoin

import urllib3
import urllib3.exceptions
import urllib3.util

from jobs.errors import InputError, InputNotFoundError, StorageUnreachableError
from jobs.inputs.addresses import display
from jobs.storage.base import USER_AGENT

MAX_REDIRECTS = 5
HTTP_DEADLINE = 600.0
"""Seconds for one download in all, so that a server that drips bytes cannot hold a worker."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Download(NamedTuple):
    """What a server gave. ``modified``: epoch seconds."""

    data: bytes
    etag: str | None
    modified: float | None


def too_large(uri: str, limit: int, size: int | None = None) -> str:
    has = "is larger than" if size is None else f"has {size:,} bytes, more than"
    return f"{display(uri)} {has} the limit of {limit:,} bytes for one picture; make it smaller."


def download(uri: str, max_bytes: int, allow_private: bool) -> Download:
    """GET with redirects followed by hand, so that every hop's address is looked at.

    Straight to the server: a proxy of HTTPS_PROXY is not used, for only it would see the address.
    """
    deadline = time.monotonic() + HTTP_DEADLINE
    url = uri
    for _ in range(MAX_REDIRECTS + 1):
        response = _request(uri, url, allow_private)
        try:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                url = _next_hop(uri, url, location)
                continue
            _check_status(uri, response.status)
            data = _read_body(uri, response, max_bytes, deadline)
            etag = response.headers.get("ETag")
            return Download(data, etag, _http_date(response.headers.get("Last-Modified")))
        except (urllib3.exceptions.HTTPError, OSError):
            raise _broken_off(uri) from None
        finally:
            response.close()
    raise InputError(f"{display(uri)} redirects more than {MAX_REDIRECTS} times.")


def _next_hop(uri: str, url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise InputError(f"{display(uri)} redirects to something that is no address.") from None


def _request(uri: str, url: str, allow_private: bool) -> urllib3.BaseHTTPResponse:
    """One request, to an address that was looked at. ``uri`` is what the user wrote."""
    asked, parts = _parse(uri, uri), _parse(uri, url)
    headers = {"Host": parts.netloc or "", "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if asked.auth and _origin(parts) == _origin(asked):
        headers.update(urllib3.util.make_headers(basic_auth=unquote(asked.auth)))
    last: Exception | None = None
    for address in _addresses(uri, parts, allow_private):
        try:
            return _connect(parts, address).urlopen(
                "GET",
                parts.request_uri,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            last = error
    raise _no_answer(uri, last) from None


def _no_answer(uri: str, error: Exception | None) -> StorageUnreachableError:
    if isinstance(error, urllib3.exceptions.SSLError):
        return StorageUnreachableError(
            f"No trusted TLS connection for {display(uri)}; is the server's certificate valid?"
        )
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return StorageUnreachableError(f"Cannot connect to the server of {display(uri)}; is it up?")
    return _broken_off(uri)


def _parse(uri: str, url: str) -> urllib3.util.Url:
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        raise InputError(f"{display(uri)} is no web address.") from None
    if parts.scheme not in ("http", "https"):
        raise InputError(f"{display(uri)} redirects to something that is not http or https.")
    if not parts.host:
        raise InputError(f"{display(uri)} names no host.")
    return parts


def _addresses(uri: str, parts: urllib3.util.Url, allow_private: bool) -> list[str]:
    """Where the host is. The connection goes to these and to no later answer of its DNS."""
    host = (parts.host or "").strip("[]")
    try:
        found = socket.getaddrinfo(host, parts.port or parts.scheme, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise StorageUnreachableError(
            f"The host of {display(uri)} is not found; check the address and the network."
        ) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private and not all(_is_public(address) for address in addresses):
        raise InputError(
            f"{display(uri)} leads to a private address; set inputs.allow_private to fetch it."
        )
    return addresses


def _is_public(address: str) -> bool:
    """Nothing on this machine or network, also not by way of an IPv6 address that wraps IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _connect(parts: urllib3.util.Url, address: str) -> urllib3.HTTPConnectionPool:
    """A connection to the address, which proves itself by the host's name where it is TLS."""
    timeout = urllib3.Timeout(connect=10, read=60)
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(address, parts.port or 80, timeout=timeout)
    host = (parts.host or "").strip("[]")
    return urllib3.HTTPSConnectionPool(
        address, parts.port or 443, timeout=timeout, server_hostname=host, assert_hostname=host
    )


def _check_status(uri: str, status: int) -> None:
    if 200 <= status < 300:
        return
    if status in (404, 410):
        raise InputNotFoundError(f"There is no picture at {display(uri)} (HTTP {status}).")
    if status in (408, 425, 429) or status >= 500:
        raise StorageUnreachableError(
            f"The server of {display(uri)} answers HTTP {status}; try again later."
        )
    raise InputError(f"The server of {display(uri)} refuses it (HTTP {status}).")


def _read_body(
    uri: str, response: urllib3.BaseHTTPResponse, max_bytes: int, deadline: float
) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for chunk in _stream(response):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise InputError(too_large(uri, max_bytes))
        if time.monotonic() > deadline:
            raise StorageUnreachableError(
                f"{display(uri)} takes more than {HTTP_DEADLINE:.0f} s to download; try again."
            )
    return b"".join(chunks)


def _stream(response: urllib3.BaseHTTPResponse) -> Iterable[bytes]:
    return response.stream(64 * 1024, decode_content=True)


def _broken_off(uri: str) -> StorageUnreachableError:
    return StorageUnreachableError(f"The connection for {display(uri)} broke; try again later.")


def _origin(parts: urllib3.util.Url) -> tuple[str | None, str | None, int | None]:
    """Scheme, host and port: who may be sent the URL's ``user:password``."""
    return parts.scheme, parts.host, parts.port


def _http_date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
