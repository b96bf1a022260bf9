"""``Head``: submit jobs to a cluster, list and stop them and read their logs, by Ray's Jobs API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient
from requests.exceptions import SSLError

from cluster.listening import check_listening
from cluster.proxies import proxy_for, without_proxy
from cluster.submit.submission import ADDRESSES, Submission, split_id, submission_of
from jobs.errors import ClusterError, UsageError

REQUEST_SECONDS = 120.0
"""The timeout of a request, in seconds. Ray has none for a head that accepts the connection and is silent."""

RECONNECT_SECONDS = 60.0
"""How long a log that is followed may be out of reach, in seconds."""


class _Client(JobSubmissionClient):  # type: ignore[misc]
    """Ray's client, with a timeout for every request."""

    def _do_request(self, method: str, endpoint: str, **how: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": REQUEST_SECONDS, **how})


class Head:
    """A cluster, by the address of its dashboard.

    Every method raises ClusterError when the cluster cannot be reached or refuses the token.

    Args:
        address: The dashboard's address, such as ``http://head:8265``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        for name in ("dashboard_sdk", "job.sdk"):  # they log uploads to standard error
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.ERROR)
        with self._cluster_errors():
            _check_address(address)
            with _without_variables(ADDRESSES):
                self._client = _Client(address)

    def submissions(self) -> list[Submission]:
        """Return the submissions that stylefarm made, the newest first."""
        with self._cluster_errors():
            listed = [submission_of(details) for details in self._client.list_jobs()]
        ours = [submission for submission in listed if submission is not None]
        return sorted(ours, key=lambda s: (s.started or 0.0, s.number), reverse=True)

    def find(self, name: str) -> Submission:
        """Return the submission with this id.

        Args:
            name: An id. Without a number it means the latest submission of a job, with ``-1`` the first.

        Raises:
            UsageError: The cluster knows no such submission.
        """
        every = self.submissions()
        same = [s for s in every if s.base == name]
        base, number = split_id(name)
        exact = [s for s in every if s.id == name or (s.base, s.number) == (base, number)]
        # The first submission's id has no number, but without one the latest is meant.
        submission = max(same, key=lambda s: s.number) if same else exact[0] if exact else None
        if submission is None:
            raise UsageError(
                f"the cluster at {self.address} knows no submission {name}; stylefarm list shows those that "
                "it knows. A restarted head has forgotten all of them: use the job file then"
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
        """Have a command run on the head.

        Args:
            submission: The id of the submission.
            command: A line of shell.
            archive: A ZIP file that Ray unpacks into the command's working directory; None: no files.
            environment: Environment variables of the command.
            metadata: Labels that Ray keeps with the submission.

        Returns:
            Whether it was submitted; False where a submission has this id already.
        """
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
        """Have Ray send SIGTERM, and SIGKILL to what has not ended after the time that ``hand_over`` sets."""
        with self._cluster_errors():
            self._client.stop_job(submission)

    def log(self, submission: str) -> str:
        """Return the whole log of a submission."""
        with self._cluster_errors():
            return str(self._client.get_job_logs(submission))

    def last_lines(self, submission: str, count: int) -> list[str]:
        """Return at most ``count`` lines from the end of the log, which may be very long."""
        query = urlencode({"submission_id": submission, "lines": count})
        with self._cluster_errors():
            answer = self._client._do_request("GET", f"/api/v0/logs/file?{query}")
            if answer.status_code == 200:
                return list(answer.text.splitlines()[-count:])
        return self.log(submission).splitlines()[-count:]

    def follow(self, submission: str, on_line: Callable[[str], None]) -> Submission:
        """Pass on every line of a log as it is written, until the submission has ended.

        Args:
            submission: The id of the submission.
            on_line: Takes each line once, without its line break.

        Returns:
            The submission, which has ended.

        Raises:
            ClusterError: The cluster is out of reach for longer than ``RECONNECT_SECONDS``.
        """
        lines = _Lines(on_line)
        failing_since: float | None = None
        # Ray's client streams past every proxy.
        streams = proxy_for(self.address) is None
        while True:
            whole = streams and asyncio.run(self._tail(submission, lines))
            try:
                # Ray ends the stream without an error, too, when it loses its own agent.
                current = self.find(submission)
                failing_since = None
                if not whole:
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
        """Add the log as it arrives. Return whether the stream ended; otherwise the connection broke."""
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
        """Turn errors of Ray and of its HTTP clients into a ClusterError with one sentence."""
        try:
            yield
        except (ClusterError, UsageError):
            raise
        except AuthenticationError as error:
            raise ClusterError(self._unwelcome(str(error))) from error
        # ConnectionError, requests', aiohttp's, RuntimeError, ValueError
        except Exception as error:
            proxy = proxy_for(self.address)
            if proxy is not None:
                raise ClusterError(
                    f"the cluster at {self.address} cannot be reached through {proxy}: {_reason(error)}; "
                    f"{without_proxy(self.address)}, else see whether the head and the proxy are up"
                ) from error
            raise ClusterError(
                f"the cluster at {self.address} cannot be reached: {_reason(error)}; is its head up, and "
                "is this the address of its dashboard?"
            ) from error

    def _unwelcome(self, refusal: str) -> str:
        proxy = proxy_for(self.address)
        doubt = "" if proxy is None else f"; or {proxy} refuses it: {without_proxy(self.address)}"
        return f"{self._why_unwelcome(refusal)}{doubt}"

    def _why_unwelcome(self, refusal: str) -> str:
        if "Authentication failed" in refusal:  # 403; else 401, or no token is set here
            return (
                f"the cluster at {self.address} has a different token than this machine: put the cluster's "
                "into RAY_AUTH_TOKEN or ~/.ray/auth_token"
            )
        return (
            f"the cluster at {self.address} asks for a token: set RAY_AUTH_MODE=token, and put the "
            "cluster's token into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        )


class _Lines:
    """Cuts text into lines and passes each on once, although every connection repeats the log."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._passed_on = 0
        """Characters in the lines that were passed on, with their line breaks."""
        self._skip = 0
        self._part = ""

    def restart(self) -> None:
        """Expect the text from its start again."""
        self._skip, self._part = self._passed_on, ""

    def add(self, text: str) -> None:
        """Take the next piece of text and pass on the lines that it completes."""
        skipped = min(self._skip, len(text))
        self._skip -= skipped
        *whole, self._part = (self._part + text[skipped:]).split("\n")
        for line in whole:
            self._passed_on += len(line) + 1
            self._on_line(line)

    def end(self) -> None:
        """Pass on the last line if it has no line break."""
        if self._part:
            self._on_line(self._part)


def _check_address(address: str) -> None:
    """Raise OSError when nobody listens at an address.

    Ray's client would wait for minutes for an address that swallows packets. Where a proxy leads there, it is
    the proxy that must listen.
    """
    proxy = proxy_for(address)
    parts = urlsplit(address if proxy is None else proxy.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    check_listening(parts.hostname or "", port)


def _reason(error: Exception) -> str:
    """Return what went wrong, in a few words."""
    if _is_untrusted(error):
        return "no trusted TLS connection, so name its certificate authority in REQUESTS_CA_BUNDLE"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()).rstrip(".")
    # Ray may quote whole tracebacks of the head.
    return text if 0 < len(text) <= 200 else f"{text[:200]}..." if text else type(error).__name__


def _is_untrusted(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised for, is that a certificate is not trusted."""
    while error is not None:
        if isinstance(error, SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _without_variables(names: Sequence[str]) -> Iterator[None]:
    """Unset environment variables meanwhile: Ray's client prefers them to the address that it gets."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
