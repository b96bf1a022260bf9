"""``make_app``: the application that serves outputs. It reads; nothing here writes."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from email.utils import formatdate

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from cluster.serve.ranges import UnsatisfiableError, asked_range
from cluster.serve.served import Served, content_type
from jobs.errors import ObjectNotFoundError, StorageError
from jobs.report.templates import gallery_icon, gallery_style, load_template
from jobs.storage import keys
from jobs.storage.base import ObjectStat

log = logging.getLogger(__name__)

CHUNK = 1 << 20
"""Bytes that are read of an object at a time."""

COOKIE = "stylefarm_token"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Pages and pictures change while a job runs; each has an ETag.
    "Cache-Control": "private, no-cache",
}
"""Headers of every answer: a page runs no script but the gallery's own, and loads nothing from elsewhere."""

Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(outputs: Sequence[Served], token: str = "", hosts: Sequence[str] = ()) -> Starlette:
    """Return the application.

    Args:
        outputs: What is served, each under ``/NAME/``.
        token: What a request has to know, as ``?token=`` once, later as a cookie; empty: nothing.
        hosts: The names under which it may be asked, without a port; empty: any. Where no token guards it, a
            page elsewhere could else have its own name mean this machine.
    """
    by_name = {served.name: served for served in outputs}

    async def front(request: Request) -> Response:
        if len(outputs) == 1:
            return RedirectResponse(f"/{outputs[0].name}/")
        about = [await run_in_threadpool(_about, served) for served in outputs]
        return HTMLResponse(load_template("front.html.j2").render(outputs=about))

    async def style(request: Request) -> Response:
        return Response(gallery_style(), media_type="text/css")

    async def icon(request: Request) -> Response:
        return Response(gallery_icon(), media_type="image/svg+xml")

    async def read(request: Request) -> Response:
        served = by_name.get(request.path_params["name"])
        if served is None:
            return PlainTextResponse("no such output\n", 404)
        key = request.path_params["key"] or keys.INDEX
        found = await run_in_threadpool(served.find, key)
        if found is None:
            return PlainTextResponse(_missing(key), 404)
        return _answer(request, served, found)

    async def bare(request: Request) -> Response:
        name = request.path_params["name"]
        if name in by_name:
            return RedirectResponse(f"/{name}/")
        return PlainTextResponse("no such output\n", 404)

    def guarded(endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            response = _refusal(request, token, hosts)
            if response is None:
                try:
                    response = await endpoint(request)
                except ObjectNotFoundError:
                    response = PlainTextResponse("it is gone\n", 404)
                except StorageError as error:
                    log.warning("%s", error)
                    response = PlainTextResponse(f"{error}\n", 502)
            response.headers.update(HEADERS)
            if not token:  # browsers heed it, without a word, on this machine alone or over TLS
                response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
            return response

        return answer

    routes = [
        Route("/", guarded(front)),
        Route("/front.css", guarded(style)),
        Route("/icon.svg", guarded(icon)),
        Route("/{name}", guarded(bare)),
        Route("/{name}/{key:path}", guarded(read)),
    ]
    return Starlette(routes=routes)


def _about(served: Served) -> dict[str, object]:
    try:
        return served.about()
    except StorageError as error:
        return {
            "name": served.name,
            "title": served.name,
            "url": served.storage.url,
            "error": str(error),
        }


def _missing(key: str) -> str:
    if key == keys.INDEX:
        return "there is no gallery yet: stylefarm report writes it, and a run when it ends\n"
    return "there is no such object, or none that may be read\n"


def _refusal(request: Request, token: str, hosts: Sequence[str]) -> Response | None:
    """Return the answer to a request that may not read; None: it may."""
    if hosts and (request.url.hostname or "").lower() not in hosts:
        return PlainTextResponse("this server is not known under that name\n", 421)
    if not token:
        return None
    given = request.query_params.get("token")
    if given is not None and hmac.compare_digest(given.encode(), token.encode()):
        # The token does not stay in the address, which is copied and kept.
        address = request.url.remove_query_params("token").replace(scheme="", netloc="")
        response = RedirectResponse(str(address))
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response
    if hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), token.encode()):
        return None
    return PlainTextResponse("open the address that stylefarm serve printed, with its token\n", 403)


def _answer(request: Request, served: Served, found: ObjectStat) -> Response:
    """Return an object, or the part of it that is asked for."""
    etag = f'"{found.etag or f"{found.modified}-{found.size}"}"'
    headers = {
        "ETag": etag,
        "Last-Modified": formatdate(found.modified, usegmt=True),
        "Accept-Ranges": "bytes",
    }
    if etag in (request.headers.get("if-none-match") or "").replace(" ", "").split(","):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range")
    if request.headers.get("if-range") not in (None, etag):
        asked = None  # it has changed since the first part
    try:
        part = asked_range(asked, found.size)
    except UnsatisfiableError:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{found.size}"})
    whole = part is None
    part = range(found.size) if part is None else part
    headers["Content-Length"] = str(len(part))
    if not whole:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{found.size}"
    status = 200 if whole else 206
    kind = content_type(found.key)
    if request.method == "HEAD" or not part:
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(_chunks(served, found, part), status, headers, kind)


def _chunks(served: Served, found: ObjectStat, part: range) -> Iterator[bytes]:
    for start in range(part.start, part.stop, CHUNK):
        yield served.storage.read_range(found, start, min(CHUNK, part.stop - start))
