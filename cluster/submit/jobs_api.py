"""Hand a job to a cluster, find it again, read what it says, stop it: Ray's Jobs API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from cluster.listening import check_listening
from cluster.submit.submission import ADDRESSES, Submission, split_id, submission_of
from jobs.errors import ClusterError, UsageError

REQUEST_SECONDS = 120.0
"""Without it Ray waits for ever for a head that took the connection and says nothing."""

RECONNECT_SECONDS = 60.0
"""For how long a log that is followed may be out of reach."""


class _Client(JobSubmissionClient):  # type: ignore[misc]
    """Ray's own, which gives up in the end."""

    def _do_request(self, method: str, endpoint: str, **how: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": REQUEST_SECONDS, **how})


class Head:
    """A cluster, by the address of its dashboard. Everything here raises ClusterError when it cannot be
    reached or lets nobody in."""

    def __init__(self, address: str) -> None:
        self.address = address
        for name in ("dashboard_sdk", "job.sdk"):  # it says what it uploads, on standard error
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.ERROR)
        with self._cluster_errors():
            _check_address(address)
            with _without_variables(ADDRESSES):
                self._client = _Client(address)

    def submissions(self) -> list[Submission]:
        """Ours, the newest first."""
        with self._cluster_errors():
            listed = [submission_of(details) for details in self._client.list_jobs()]
        ours = [submission for submission in listed if submission is not None]
        return sorted(ours, key=lambda s: (s.started or 0.0, s.number), reverse=True)

    def find(self, name: str) -> Submission:
        """The submission with this id; without a number, the latest, and with -1 the first. Raises UsageError
        when there is none."""
        every = self.submissions()
        same = [s for s in every if s.base == name]
        base, number = split_id(name)
        exact = [s for s in every if s.id == name or (s.base, s.number) == (base, number)]
        # Of the id without a number there may be later ones.
        submission = max(same, key=lambda s: s.number) if same else exact[0] if exact else None
        if submission is None:
            raise UsageError(
                f"the cluster at {self.address} knows no submission {name}; stylefarm list shows those it "
                "does. A head that was started anew has forgotten all: ask with the job file then"
            )
        return submission

    def submit(
        self,
        submission: str,
        *,
        command: str,
        archive: Path | None,
        environment: dict[str, str],
        metadata: dict[str, str],
    ) -> bool:
        """Have a command run on the head, in the folder that the archive is unpacked to. Whether it will: it
        will not when there is such a submission already."""
        runtime: dict[str, Any] = {"env_vars": environment}
        if archive is not None:
            runtime["working_dir"] = str(archive)
        with self._cluster_errors():
            try:
                self._client.submit_job(
                    entrypoint=command,
                    submission_id=submission,
                    runtime_env=runtime,
                    metadata=metadata,
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    return False
                raise
        return True

    def stop(self, submission: str) -> None:
        """Have Ray send SIGTERM, and SIGKILL after a while."""
        with self._cluster_errors():
            self._client.stop_job(submission)

    def log(self, submission: str) -> str:
        """All that it has said."""
        with self._cluster_errors():
            return str(self._client.get_job_logs(submission))

    def last_lines(self, submission: str, count: int) -> list[str]:
        """The last that it has said; the log may be very long."""
        query = urlencode({"submission_id": submission, "lines": count})
        with self._cluster_errors():
            answer = self._client._do_request("GET", f"/api/v0/logs/file?{query}")
            if answer.status_code == 200:
                return list(answer.text.splitlines()[-count:])
        return self.log(submission).splitlines()[-count:]

    def follow(self, submission: str, on_line: Callable[[str], None]) -> Submission:
        """Hear every line of its log, also those that are yet to come, until it has ended."""
        lines = _Lines(on_line)
        failing_since: float | None = None
        while True:
            whole = asyncio.run(self._tail(submission, lines))
            try:
                # Ray also ends the stream without a word when it loses its own agent.
                current = self.find(submission)
                failing_since = None
                if not current.alive and not whole:
                    lines.restart()
                    lines.add(self.log(submission))
                if not current.alive:
                    lines.end()
                    return current
            except ClusterError:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > RECONNECT_SECONDS:
                    raise
            time.sleep(1.0)
            lines.restart()

    async def _tail(self, submission: str, lines: _Lines) -> bool:
        """Add its log as it comes. Whether the stream came to its end; else the connection broke."""
        stream = self._client.tail_job_logs(submission)
        while True:
            try:
                text = await anext(stream)
            except StopAsyncIteration:
                return True
            except Exception:  # aiohttp's, RuntimeError
                return False
            lines.add(text)

    @contextlib.contextmanager
    def _cluster_errors(self) -> Iterator[None]:
        """Ray's errors, and those of what it is built on, become sentences."""
        try:
            yield
        except (ClusterError, UsageError):
            raise
        except AuthenticationError as error:
            raise ClusterError(self._unwelcome(str(error))) from error
        # ConnectionError, requests', aiohttp's, RuntimeError, ValueError
        except Exception as error:
            raise ClusterError(
                f"the cluster at {self.address} cannot be reached: {_reason(error)}; is its head up, and "
                "this the address of its dashboard?"
            ) from error

    def _unwelcome(self, refusal: str) -> str:
        if "Authentication failed" in refusal:  # 403; else 401, or there is no token here to send
            return (
                f"the cluster at {self.address} has another token than this machine: put the cluster's "
                "into RAY_AUTH_TOKEN or ~/.ray/auth_token"
            )
        return (
            f"the cluster at {self.address} asks for a token: set RAY_AUTH_MODE=token, and put the "
            "cluster's token into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        )


class _Lines:
    """Text as it comes -> whole lines, each once, although every new connection tells all from the start."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._passed_on = 0
        """Characters, of all lines that were passed on."""
        self._skip = 0
        self._part = ""

    def restart(self) -> None:
        """What comes now begins at the beginning."""
        self._skip, self._part = self._passed_on, ""

    def add(self, text: str) -> None:
        """Some more of it."""
        skipped = min(self._skip, len(text))
        self._skip -= skipped
        *whole, self._part = (self._part + text[skipped:]).split("\n")
        for line in whole:
            self._passed_on += len(line) + 1
            self._on_line(line)

    def end(self) -> None:
        """Nothing comes any more."""
        if self._part:
            self._on_line(self._part)


def _check_address(address: str) -> None:
    """Raise when nobody listens there: the client itself would wait for minutes for an address that swallows
    packets."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    proxied = parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)
    if not proxied:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        check_listening(host, port)


def _reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()).rstrip(".")
    # Ray quotes whole tracebacks of the head.
    return text if 0 < len(text) <= 200 else f"{text[:200]}..." if text else type(error).__name__


@contextlib.contextmanager
def _without_variables(names: Sequence[str]) -> Iterator[None]:
    """Ray's client lets the environment overrule the address that it is given."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
