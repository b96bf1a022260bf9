"""Pictures from the web: with limits, redirects followed by hand, and no access to private networks."""

from __future__ import annotations

import contextlib
import email.utils
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urljoin
from urllib.request import getproxies

import urllib3
import urllib3.exceptions
import urllib3.util

from jobs.errors import InputError, InputNotFoundError, StorageUnreachableError
from jobs.inputs.addresses import display
from jobs.storage.base import USER_AGENT

MAX_REDIRECTS = 5
HTTP_DEADLINE = 600.0
"""Seconds for one download in total, so that a server that sends byte by byte cannot hold a worker."""

_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
"""OpenSSL's codes for certificates whose authority is not trusted: X509_V_ERR_UNABLE_TO_GET_..., ..."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
"""How web pages begin, whatever type the server gives them."""

_PLAIN = re.compile(r"https?://[a-z0-9.-]+(?::\d{1,4})?(?:[/?#]|$)", re.IGNORECASE)
"""Addresses that name a host for certain; of others the parser knows more, and takes fifty times as long."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Download(NamedTuple):
    """A server's answer."""

    data: bytes
    etag: str | None
    modified: float | None
    """Seconds since the epoch; None where the server does not say."""


def too_large(uri: str, limit: int, size: int | None = None) -> str:
    """Return the sentence for a picture that is too large.

    Args:
        uri: The picture's address.
        limit: The limit, in bytes.
        size: The picture's size, in bytes; None: unknown, but above the limit.
    """
    has = "is larger than" if size is None else f"has {size:,} bytes, more than"
    return f"{display(uri)} {has} the limit of {limit:,} bytes for one picture; make it smaller."


def check_address(uri: str) -> None:
    """Raise InputError for an ``http(s)://`` address that names no host, or none that can be."""
    if not _PLAIN.match(uri):
        _parse(uri, uri)


def download(
    uri: str, max_bytes: int, allow_private: bool, authorities: ssl.SSLContext | None = None
) -> Download:
    """Fetch one picture, with redirects followed by hand, so that the address of every hop is checked.

    The connection goes straight to the server. The proxy of HTTPS_PROXY is not used, because then only the
    proxy would see the address.

    Args:
        uri: An ``http(s)://`` address. ``user:password@`` in it is sent to its own origin only.
        max_bytes: Limit of the picture.
        allow_private: Connect to private addresses, too.
        authorities: How to verify servers; None: by the system's authorities.

    Returns:
        The bytes, ETag and time.

    Raises:
        InputError: The picture is missing, refused, too large, a web page, or behind a private address or too
            many redirects.
        StorageUnreachableError: The server does not answer; a retry may succeed.
    """
    deadline = time.monotonic() + HTTP_DEADLINE
    url = uri
    for _ in range(MAX_REDIRECTS + 1):
        response = _request(uri, url, allow_private, authorities)
        try:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                url = _next_hop(uri, url, location)
                continue
            _check_status(uri, response.status)
            data = _read_body(uri, response, max_bytes, deadline)
            if _PAGE.match(data):
                raise InputError(
                    f"{display(uri)} is a web page, not a picture: write the address of the picture itself."
                )
            etag = response.headers.get("ETag")
            return Download(data, etag, _http_date(response.headers.get("Last-Modified")))
        except (urllib3.exceptions.HTTPError, OSError):
            raise _broken_off(uri) from None
        finally:
            response.close()
    raise InputError(f"{display(uri)} redirects more than {MAX_REDIRECTS} times.")


def _next_hop(uri: str, url: str, location: str) -> str:
    with contextlib.suppress(UnicodeError):
        # Servers send names as UTF-8, and headers are read as Latin-1.
        location = location.encode("latin-1").decode()
    try:
        return urljoin(url, location)
    except ValueError:
        raise InputError(f"{display(uri)} redirects to something that is not an address.") from None


def _request(
    uri: str, url: str, allow_private: bool, authorities: ssl.SSLContext | None
) -> urllib3.BaseHTTPResponse:
    """Send one request, to an address that was checked. ``uri`` is what the user wrote."""
    asked, parts = _parse(uri, uri), _parse(uri, url)
    headers = {"Host": parts.netloc or "", "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if asked.auth and _origin(parts) == _origin(asked):
        headers.update(urllib3.util.make_headers(basic_auth=unquote(asked.auth)))
    last: Exception | None = None
    for address in _addresses(uri, parts, allow_private):
        try:
            return _connect(parts, address, authorities).urlopen(
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
        cause = error.args[0] if error.args else None
        why = getattr(cause, "verify_message", "")
        advice = "is the server's certificate valid?"
        if getattr(cause, "verify_code", 0) in _UNKNOWN_AUTHORITY:
            advice = (
                "if the server's certificate authority is your own, name it in storage.ca_bundle."
            )
        because = f" ({why})" if why else ""
        return StorageUnreachableError(
            f"No trusted TLS connection for {display(uri)}{because}; {advice}"
        )
    if isinstance(
        error, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    ):
        return StorageUnreachableError(
            f"Cannot connect to the server of {display(uri)}; is it up?{_no_proxy(uri)}"
        )
    return _broken_off(uri)


def _no_proxy(uri: str) -> str:
    """Return a sentence about a proxy that the environment names, and that is not used; else nothing."""
    scheme = "https" if uri[:6].lower() == "https:" else "http"
    if scheme not in getproxies():
        return ""
    return f" Pictures are fetched directly, not through the proxy of {scheme}_proxy."


def _parse(uri: str, url: str) -> urllib3.util.Url:
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        raise InputError(f"{display(uri)} is not a web address.") from None
    if parts.scheme not in ("http", "https"):
        raise InputError(f"{display(uri)} redirects to something that is not http or https.")
    if not parts.host:
        raise InputError(f"{display(uri)} names no host.")
    return parts


def _addresses(uri: str, parts: urllib3.util.Url, allow_private: bool) -> list[str]:
    """Return the host's addresses, checked. The connection goes to these, to no later answer of DNS."""
    host = (parts.host or "").strip("[]")
    try:
        answers = socket.getaddrinfo(host, parts.port or parts.scheme, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise StorageUnreachableError(
            f"The host of {display(uri)} is not found; check the address and the network.{_no_proxy(uri)}"
        ) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in answers))
    if not allow_private and not all(_is_public(address) for address in addresses):
        raise InputError(
            f"{display(uri)} leads to a private address; set inputs.allow_private to fetch it."
        )
    return addresses


def _is_public(address: str) -> bool:
    """Return whether an address is on the public internet; an IPv6 address may wrap a private IPv4 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _connect(
    parts: urllib3.util.Url, address: str, authorities: ssl.SSLContext | None
) -> urllib3.HTTPConnectionPool:
    """Return a connection to the address; with TLS, the server's certificate must name the host."""
    timeout = urllib3.Timeout(connect=10, read=60)
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(address, parts.port or 80, timeout=timeout)
    host = (parts.host or "").strip("[]")
    return urllib3.HTTPSConnectionPool(
        address,
        parts.port or 443,
        timeout=timeout,
        server_hostname=host,
        assert_hostname=host,
        ssl_context=authorities,
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
    """Return scheme, host and port: the only origin that may get the URL's ``user:password``."""
    return parts.scheme, parts.host, parts.port


def _http_date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
