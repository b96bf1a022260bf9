"""``notifying``: posts to a webhook how a run ended. It never delays the run for long or changes its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from cluster.events.events import Event, Finished, Listener, WebhookFailed
from jobs.errors import JobFileError, StylefarmError
from jobs.jobfile.job import Job
from jobs.spec.notify import Notify

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
    """
    notify = job.spec.notify
    if notify is None:
        yield listen
        return
    url = _resolve(job, notify)
    finished: list[Finished] = []

    def forward(event: Event) -> None:
        if isinstance(event, Finished):
            finished.append(event)
        listen(event)

    try:
        yield forward
    except StylefarmError as error:
        _notify(notify, url, listen, "failed", _body(job, output, "failed", None, str(error)))
        raise
    except KeyboardInterrupt:
        _notify(
            notify, url, listen, "stopped", _body(job, output, "stopped", None, "stopped by Ctrl-C")
        )
        raise
    for event in finished:
        what = what_happened(event)
        # A nightly run without anything to render is not worth a message.
        if event.done or event.failed or what != "done":
            _notify(notify, url, listen, what, _body(job, output, what, event, None))


def what_happened(event: Finished) -> What:
    """Return how a run ended, as ``notify.on`` names it.

    Args:
        event: The run's last event.
    """
    if event.reason != "complete":
        return "stopped"
    return "failed" if event.failed else "done"


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
        text = (
            f"stylefarm {name}: {what} ({event.reason}): {event.done:,} done, {event.failed:,} failed, "
            f"{left} left in {event.seconds:,.0f} s; {output}"
        )
    return {
        "event": what,
        "job": name,
        "output": output,
        "reason": None if event is None else event.reason,
        "done": None if event is None else event.done,
        "failed": None if event is None else event.failed,
        "left": None if event is None else event.left,
        "seconds": None if event is None else event.seconds,
        "error": error,
        "text": text,  # the field that chat programs show
    }


def _notify(notify: Notify, url: str, listen: Listener, what: What, body: dict[str, Any]) -> None:
    if what not in notify.on:
        return
    problems: list[str] = []
    sender = threading.Thread(
        target=lambda: problems.extend(_post(url, body)), name="notify", daemon=True
    )
    sender.start()
    sender.join(PATIENCE_SECONDS)
    if sender.is_alive():
        problems.append(f"has not accepted the report within {PATIENCE_SECONDS:.0f} s")
    for problem in problems[:1]:
        log.warning("the webhook at %s %s", _host(url), problem)
        listen(WebhookFailed(host=_host(url), reason=problem))


def _post(url: str, body: dict[str, Any]) -> list[str]:
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
    try:
        answer = urllib3.PoolManager().request(
            "POST",
            url,
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "stylefarm"},
            timeout=TIMEOUT_SECONDS,
            retries=retry,
        )
    except Exception as error:  # whatever it is, it must not change how the run ended
        return [f"could not be reached ({type(error).__name__})"]
    return [f"answers {answer.status}"] if answer.status >= 300 else []


def _host(url: str) -> str:
    """Return the host, the part of an address that may be shown: with many services the path is a secret."""
    return urlsplit(url).hostname or "?"
