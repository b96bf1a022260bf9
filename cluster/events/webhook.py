"""``notifying``: posts to a webhook how a run ended. It never delays the run for long or changes its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from cluster.events.events import Event, Finished, Listener, WebhookFailed
from cluster.proxies import Proxy, proxy_for
from jobs.errors import JobFileError, StylefarmError
from jobs.jobfile.job import Job
from jobs.spec.notify import Notify
from jobs.storage.authorities import trusting
from jobs.storage.base import resolve_options

if TYPE_CHECKING:
    import urllib3

log = logging.getLogger(__name__)

ATTEMPTS = 6
BACKOFF_SECONDS = 0.5
"""The pause before the first retry, in seconds; it doubles with each retry."""

TIMEOUT_SECONDS = 10.0
PATIENCE_SECONDS = 20.0
"""How long a run that has ended waits for the webhook, in seconds."""

What = Literal["done", "failed", "stopped"]
"""How a run ended, as ``notify.on`` names it."""


@contextlib.contextmanager
def notifying(job: Job, output: str, listen: Listener) -> Iterator[Listener]:
    """Post to the job's webhook, on exit, how the run ended.

    Args:
        job: The job; without a ``notify`` section nothing is posted.
        output: The output's address, for the message.
        listen: Hears every event, and WebhookFailed when the webhook does not accept the message.

    Yields:
        The listener to which the run must send its events.

    Raises:
        JobFileError: The webhook's address is in an environment variable that has none.
        StorageError: ``storage.ca_bundle`` cannot be read.
    """
    notify = job.spec.notify
    if notify is None:
        yield listen
        return
    webhook = _Webhook(job, notify, listen)
    finished: list[Finished] = []

    def forward(event: Event) -> None:
        if isinstance(event, Finished):
            finished.append(event)
        listen(event)

    try:
        yield forward
    except StylefarmError as error:
        webhook.report("failed", _body(job, output, "failed", None, str(error)))
        raise
    except KeyboardInterrupt:
        webhook.report("stopped", _body(job, output, "stopped", None, "stopped by Ctrl-C"))
        raise
    for event in finished:
        what = what_happened(event)
        # A nightly run without anything to render is not worth a message.
        if event.done or event.failed or event.videos or what != "done":
            webhook.report(what, _body(job, output, what, event, None))


def what_happened(event: Finished) -> What:
    """Return how a run ended, as ``notify.on`` names it.

    Args:
        event: The run's last event.
    """
    if event.reason != "complete":
        return "stopped"
    return "failed" if event.failed or event.videos_failed else "done"


def _resolve(job: Job, notify: Notify) -> str:
    if not notify.url.startswith("$"):
        return notify.url
    name = notify.url[1:]
    url = os.environ.get(name, "")
    if not url.startswith(("http://", "https://")):
        problem = f"the environment variable {name} holds no web address"
        raise JobFileError([job.problem(("notify", "url"), problem)])
    return url


def _body(
    job: Job, output: str, what: What, event: Finished | None, error: str | None
) -> dict[str, Any]:
    name = job.spec.name
    if event is None:
        text = f"stylefarm {name}: {what}: {error}"
    else:
        left = "more" if event.left is None else f"{event.left:,}"
        videos = f", {event.videos:,} videos made" if event.videos else ""
        videos += f", {event.videos_failed:,} videos failed" if event.videos_failed else ""
        text = (
            f"stylefarm {name}: {what} ({event.reason}): {event.done:,} done, {event.failed:,} failed, "
            f"{left} left{videos} in {event.seconds:,.0f} s; {output}"
        )
    return {
        "event": what,
        "job": name,
        "output": output,
        "reason": None if event is None else event.reason,
        "done": None if event is None else event.done,
        "failed": None if event is None else event.failed,
        "left": None if event is None else event.left,
        "videos": None if event is None else event.videos,
        "videos_failed": None if event is None else event.videos_failed,
        "seconds": None if event is None else event.seconds,
        "error": error,
        "text": text,  # the field that chat programs show
    }


class _Webhook:
    """Where the reports of a job go, and how.

    Args:
        job: The job, for the base of paths and for ``storage.ca_bundle``.
        notify: Its section.
        listen: Hears WebhookFailed when a report is not accepted.

    Raises:
        JobFileError: The address is in an environment variable that has none.
        StorageError: ``storage.ca_bundle`` cannot be read.
    """

    def __init__(self, job: Job, notify: Notify, listen: Listener) -> None:
        self._on = notify.on
        self._url = _resolve(job, notify)
        self._listen = listen
        ca_bundle = resolve_options(job.spec.storage, job.base).ca_bundle
        self._authorities = None if ca_bundle is None else trusting(ca_bundle)

    def report(self, what: What, body: dict[str, Any]) -> None:
        """Post a report if it is wanted; wait for ``PATIENCE_SECONDS`` at most."""
        if what not in self._on:
            return
        problems: list[str] = []
        sender = threading.Thread(
            target=lambda: problems.extend(self._post(body)), name="notify", daemon=True
        )
        sender.start()
        sender.join(PATIENCE_SECONDS)
        if sender.is_alive():
            problems.append(f"has not accepted the report within {PATIENCE_SECONDS:.0f} s")
        for problem in problems[:1]:
            log.warning("the webhook at %s %s", _host(self._url), problem)
            self._listen(WebhookFailed(host=_host(self._url), reason=problem))

    def _post(self, body: dict[str, Any]) -> list[str]:
        """Post the message; return what went wrong, as at most one phrase."""
        import urllib3

        retry = urllib3.Retry(
            total=ATTEMPTS - 1,
            backoff_factor=BACKOFF_SECONDS,
            status_forcelist=(408, 425, 429, 500, 502, 503, 504),
            allowed_methods=None,  # also POST: a message that comes twice is better than none
            redirect=0,
            raise_on_status=False,
        )
        proxy = proxy_for(self._url)
        try:
            answer = self._connections(proxy).request(
                "POST",
                self._url,
                body=json.dumps(body).encode(),
                headers={"Content-Type": "application/json", "User-Agent": "stylefarm"},
                timeout=TIMEOUT_SECONDS,
                retries=retry,
            )
        except Exception as error:  # whatever it is, it must not change how the run ended
            through = "" if proxy is None else f" through {proxy}"
            return [f"could not be reached{through} ({_reason(error)})"]
        return [f"answers {answer.status}"] if answer.status >= 300 else []

    def _connections(self, proxy: Proxy | None) -> urllib3.PoolManager:
        import urllib3

        if proxy is None:
            return urllib3.PoolManager(ssl_context=self._authorities)
        login = urllib3.util.parse_url(proxy.url).auth
        headers = urllib3.util.make_headers(proxy_basic_auth=login and unquote(login))
        return urllib3.ProxyManager(proxy.url, proxy_headers=headers, ssl_context=self._authorities)


def _reason(error: Exception) -> str:
    """Return why urllib3 has failed, in a few words that hold no address."""
    cause = getattr(error, "reason", None) or error
    inner = cause.args[0] if cause.args else None
    return getattr(inner, "verify_message", "") or type(cause).__name__


def _host(url: str) -> str:
    """Return the host, the part of an address that may be shown: with many services the path is a secret."""
    return urlsplit(url).hostname or "?"
