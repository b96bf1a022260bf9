"""S3 as storage, on AWS or any server that speaks S3: the only import of boto3.

S3 servers differ, so this module needs little: whole-object PUT with ``Content-MD5`` (the one checksum that
every server verifies), multipart uploads above a threshold, GET, HEAD, DELETE and ListObjectsV2.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import boto3.session
import botocore.config
import botocore.exceptions as boto
import botocore.loaders
import botocore.parsers
import botocore.session
import urllib3.exceptions

from jobs.errors import (
    ObjectNotFoundError,
    StorageError,
    StorageFailingError,
    StorageUnreachableError,
)
from jobs.storage.addresses import split_url
from jobs.storage.authorities import check_ca_bundle
from jobs.storage.base import USER_AGENT, ObjectStat, StorageOptions, check_key, probe
from jobs.storage.s3_errors import error_code, explain_exchange, explain_reply, place_of
from jobs.storage.scratch import opened, reading

MIB = 1024 * 1024
MAX_PARTS = 10_000
"""S3's own limit of a multipart upload."""

READ_ATTEMPTS = 6
"""Attempts at a request whose reply breaks off, which botocore does not retry."""

_LOADER = botocore.loaders.create_loader()
"""Shared by all clients: reading S3's description takes ten times as long as building a client from it."""

_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
"""Answers to a conditional PUT where there is an object."""
_NO_CONDITIONS = frozenset({"NotImplemented", "InvalidRequest", "InvalidArgument", "501"})
"""Answers of servers that do not implement the condition."""

_FOREIGN = (
    boto.BotoCoreError,
    boto.ClientError,
    botocore.parsers.ResponseParserError,
    urllib3.exceptions.HTTPError,
    RecursionError,  # how botocore fails where every request is redirected
)


class S3Storage:
    """Stores objects below ``s3://bucket/prefix``.

    It holds its URL and options, and builds its client on first use. So it can be pickled to a worker, which
    then finds credentials of its own.

    Args:
        url: ``s3://bucket/prefix``.
        options: How to reach the server.
        attempts: How often botocore tries each request, >= 1.
        multipart_threshold: Bytes above which an object is uploaded in parts.
        part_size: Bytes of each part, larger where an object would have more than 10,000 parts.
    """

    def __init__(
        self,
        url: str,
        options: StorageOptions | None = None,
        *,
        attempts: int = 6,
        multipart_threshold: int = 64 * MIB,
        part_size: int = 16 * MIB,
    ) -> None:
        self.bucket, self.prefix = split_url(url)
        self.url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self.options = options or StorageOptions()
        self.attempts = attempts
        self.multipart_threshold = multipart_threshold
        self.part_size = part_size
        self._lazy_client: Any = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"S3Storage({self.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lazy_client": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def check(self) -> None:
        # Fewer attempts, so that a typing error in the endpoint shows in seconds instead of a minute.
        try:
            probe(S3Storage(self.url, self.options, attempts=min(3, self.attempts)))
        except StorageFailingError:  # the endpoint is right
            probe(self)

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        check_key(key)
        with self._translated("write", key):
            if len(data) > self.multipart_threshold:
                return self._put_in_parts(key, _Pieces(io.BytesIO(data), len(data)), content_type)
            reply = self._put_whole(key, data, ContentType=content_type)
            return _etag(reply)

    def put_file(
        self, key: str, path: Path, *, content_type: str = "application/octet-stream"
    ) -> str:
        check_key(key)
        with opened(path) as (file, size):
            pieces = _Pieces(file, size)
            if size <= self.multipart_threshold:
                return self.put(key, pieces.read(0, size), content_type=content_type)
            with self._translated("write", key):
                return self._put_in_parts(key, pieces, content_type)

    def put_new(self, key: str, data: bytes) -> bool:
        check_key(key)
        # Some servers ignore the condition without saying so.
        if self.stat(key) is not None:
            return False
        with self._translated("write", key):
            try:
                self._put_whole(key, data, IfNoneMatch="*")
            except boto.ClientError as error:
                if error_code(error) in _TAKEN:
                    # It was refused, or it was written by a first attempt whose reply was lost.
                    return self._holds(key, data)
                if error_code(error) not in _NO_CONDITIONS:
                    raise
                self._put_whole(key, data)
        return True

    def _put_whole(self, key: str, data: bytes, **more: str) -> Any:
        """Send one PUT and return its reply."""
        where = {"Bucket": self.bucket, "Key": self.prefix + key}
        return self._call("put_object", **where, Body=data, ContentMD5=_content_md5(data), **more)

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.get(key) == data
        except ObjectNotFoundError:
            return False

    def get(self, key: str) -> bytes:
        _, data = self.fetch(key)
        assert data is not None  # fetch leaves it out only above a limit
        return data

    def fetch(self, key: str, *, at_most: int | None = None) -> tuple[ObjectStat, bytes | None]:
        """Return an object with its stat, by one request.

        A connection that breaks halfway is retried; botocore does that only for the reply's head.

        Args:
            key: The object.
            at_most: Bytes above which the object is not read; None: no limit.

        Returns:
            The stat, and the bytes, or None for an object larger than ``at_most``.

        Raises:
            ObjectNotFoundError: There is no such object.
            StorageError: The object cannot be read.
        """
        return self._read(key, at_most)

    def download(self, key: str, file: BinaryIO) -> None:
        """Copy an object of any size into ``file``, part by part.

        Raises:
            ObjectNotFoundError: There is no such object.
            StorageError: The object cannot be read, or is replaced meanwhile.
        """
        whole = self.stat(key)
        if whole is None:
            raise ObjectNotFoundError(f"There is no object {self.url}/{key}.")
        for start in range(0, whole.size, self.part_size):
            file.write(self.read_range(whole, start, self.part_size))

    def read_range(self, known: ObjectStat, start: int, size: int) -> bytes:
        end = min(start + size, known.size)
        if end <= start:
            return b""
        same = {"IfMatch": f'"{known.etag}"'} if known.etag else {}
        there, data = self._read(known.key, None, Range=f"bytes={start}-{end - 1}", **same)
        if not same and there.modified != known.modified:  # a server without ETags, as JuiceFS
            raise StorageError(
                f"Cannot read {self.url}/{known.key}: the object was replaced while it was read; try again."
            )
        if data is None or len(data) != end - start:
            raise StorageError(f"Cannot read {self.url}/{known.key}: its size changes; try again.")
        return data

    def _read(self, key: str, at_most: int | None, **more: str) -> tuple[ObjectStat, bytes | None]:
        """Send a GET, and repeat it when its body breaks off."""
        where = {"Bucket": self.bucket, "Key": self.prefix + key}
        for attempt in range(READ_ATTEMPTS):
            with self._translated("read", key):
                reply = self._call("get_object", **where, **more)
                stat = _object_stat(key, reply)
                with closing(reply["Body"]) as body:
                    if at_most is not None and stat.size > at_most:
                        return stat, None
                    try:
                        return stat, bytes(body.read())
                    except (boto.HTTPClientError, boto.IncompleteReadError):
                        if attempt == READ_ATTEMPTS - 1:
                            raise
            time.sleep(_pause(attempt))
        raise AssertionError("the last attempt returns or raises")

    def stat(self, key: str) -> ObjectStat | None:
        with self._translated("read", key):
            try:
                reply = self._call("head_object", Bucket=self.bucket, Key=self.prefix + key)
            except boto.ClientError:
                # HEAD replies have no body: a bare 403 or 404 may mean a missing bucket, a wrong
                # signature or a missing object. A GET of one byte says which.
                return self._stat_by_get(key)
            return _object_stat(key, reply)

    def _stat_by_get(self, key: str) -> ObjectStat | None:
        try:
            reply = self._call(
                "get_object", Bucket=self.bucket, Key=self.prefix + key, Range="bytes=0-0"
            )
        except boto.ClientError as error:
            if error_code(error) == "NoSuchKey":
                return None
            raise
        reply["Body"].close()
        total = reply.get("ContentRange", "").rpartition("/")[2]
        return _object_stat(key, {**reply, "ContentLength": total} if total.isdigit() else reply)

    def list(self, prefix: str = "", *, deep: bool = True) -> Iterator[ObjectStat]:
        """Yield objects as ``Storage.list``; ``deep=False``: only keys without ``/`` after the prefix."""
        for page in self._pages(prefix, deep=deep):
            for entry in page.get("Contents", ()):
                key = entry["Key"][len(self.prefix) :]
                if key and not key.endswith("/"):  # markers that consoles leave for folders
                    yield _object_stat(key, entry)

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders in a prefix that ends in ``/`` or is empty. Raises StorageError."""
        for page in self._pages(prefix, deep=False):
            for entry in page.get("CommonPrefixes", ()):
                name = entry["Prefix"][len(self.prefix) + len(prefix) :].rstrip("/")
                if name:
                    yield name

    def _pages(self, prefix: str, *, deep: bool) -> Iterator[Any]:
        request = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        if not deep:
            request["Delimiter"] = "/"
        with self._translated("list", prefix):
            while True:
                page = self._call("list_objects_v2", **request)
                yield page
                if not page.get("IsTruncated") or not page.get("NextContinuationToken"):
                    return
                request["ContinuationToken"] = page["NextContinuationToken"]

    def has(self, prefix: str) -> bool:
        """Return whether the key of any object begins with ``prefix``. Raises StorageError."""
        request = {"Bucket": self.bucket, "Prefix": self.prefix + prefix, "MaxKeys": 1}
        with self._translated("list", prefix):
            return bool(self._call("list_objects_v2", **request).get("Contents"))

    def delete(self, key: str) -> None:
        with self._translated("delete", key):
            self._call("delete_object", Bucket=self.bucket, Key=self.prefix + key)

    def remove_empty(self, prefix: str) -> None:
        pass  # there are no folders

    def _put_in_parts(self, key: str, pieces: _Pieces, content_type: str) -> str:
        """Upload in parts. The object appears whole when the upload is completed, or not at all."""
        where = {"Bucket": self.bucket, "Key": self.prefix + key}
        upload = self._call("create_multipart_upload", **where, ContentType=content_type).get(
            "UploadId"
        )
        digests: list[bytes] = []
        try:
            parts = []
            for number, piece in enumerate(pieces.of(self.part_size), start=1):
                digests.append(_md5(piece))
                at = {**where, "UploadId": upload, "PartNumber": number}
                reply = self._call("upload_part", **at, Body=piece, ContentMD5=_content_md5(piece))
                parts.append({"PartNumber": number, "ETag": reply.get("ETag", "")})
            reply = self._call(
                "complete_multipart_upload",
                **where,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
            return _etag(reply)
        except BaseException as error:
            if error_code(error) == "NoSuchUpload" and self._is_complete(where, digests):
                return ""  # it was completed before, but that reply was lost and botocore sent it again
            with suppress(boto.BotoCoreError, boto.ClientError):
                self._client.abort_multipart_upload(**where, UploadId=upload)
            raise

    def _is_complete(self, where: dict[str, str], digests: Sequence[bytes]) -> bool:
        expected = f"{_md5(b''.join(digests)).hex()}-{len(digests)}"
        with suppress(boto.BotoCoreError, boto.ClientError):
            return _etag(self._call("head_object", **where)) == expected
        return False

    def _call(self, operation: str, **request: Any) -> Any:
        """Send a request, and repeat it when the reply breaks off within an error's text: botocore leaves
        reading that to urllib3, and does not retry it."""
        for attempt in range(READ_ATTEMPTS):
            try:
                return getattr(self._client, operation)(**request)
            except urllib3.exceptions.HTTPError:
                if attempt == READ_ATTEMPTS - 1:
                    raise
            time.sleep(_pause(attempt))
        raise AssertionError("the last attempt returns or raises")

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._lazy_client is None:
                self._lazy_client = _build_client(self.options, self.attempts)
            return self._lazy_client

    @contextmanager
    def _translated(self, verb: str, key: str) -> Iterator[None]:
        """Turn exceptions of botocore in the block into a StorageError with one sentence."""
        try:
            yield
        except _FOREIGN as error:
            # "from None", because botocore's text may quote a request, and chained exceptions get logged.
            raise self._explain(error, verb, key) from None

    def _explain(self, error: Exception, verb: str, key: str) -> StorageError:
        task = f"Cannot {verb} s3://{self.bucket}/{self.prefix}{key}"
        if isinstance(error, boto.ClientError):
            return explain_reply(error, task, self.bucket, place_of(self.options))
        return explain_exchange(error, task, self.options)


def _pause(attempt: int) -> float:
    """Return the seconds between attempt ``attempt`` (from 0) at reading and the next."""
    return 0.25 * 2.0**attempt


def _build_client(options: StorageOptions, attempts: int) -> Any:
    """Build a client with a session of its own: sessions are not thread safe, clients are."""
    if options.ca_bundle is not None:
        check_ca_bundle(options.ca_bundle)
    path_style = options.addressing == "auto" and options.endpoint_url is not None
    config = botocore.config.Config(
        retries={"mode": "adaptive", "total_max_attempts": attempts},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
        signature_version="s3v4",
        s3={"addressing_style": "path" if path_style else options.addressing},
        # By default boto3 adds checksums of its own, over https as trailers, which older servers
        # refuse with 411 MissingContentLength. Content-MD5 is sent instead.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent_extra=USER_AGENT,
    )
    try:
        session = botocore.session.Session(profile=options.profile)
        session.register_component("data_loader", _LOADER)
        region = options.region or session.get_config_variable("region")
        return boto3.session.Session(botocore_session=session).client(
            "s3",
            endpoint_url=options.endpoint_url,
            region_name=region or ("us-east-1" if options.endpoint_url else None),
            verify=options.ca_bundle,
            config=config,
        )
    except ValueError:
        raise StorageUnreachableError(
            f"storage.endpoint_url: {place_of(options)} is not an address that can be reached; write "
            "http://host:port or https://host."
        ) from None


def _object_stat(key: str, reply: dict[str, Any]) -> ObjectStat:
    """Return the stat in an entry of a listing, or in the head of a GET or HEAD reply."""
    size = reply.get("Size", reply.get("ContentLength"))
    modified = reply.get("LastModified")
    if size is None or modified is None:  # such as from a web server that answers 200 to everything
        raise botocore.parsers.ResponseParserError("no size or no time in the reply")
    return ObjectStat(key, int(size), modified.timestamp(), _etag(reply))


def _etag(reply: dict[str, Any]) -> str:
    return str(reply.get("ETag", "")).strip('"')


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What is uploaded in parts."""

    file: BinaryIO
    size: int
    """Bytes."""

    def read(self, start: int, size: int) -> bytes:
        """Return a piece. Raises StorageError where the file is shorter by now, or cannot be read."""
        with reading(self.file):
            self.file.seek(start)
            piece = self.file.read(size)
        if len(piece) != size:
            raise StorageError(f"{self.file.name} has become shorter while it was stored.")
        return piece

    def of(self, size: int) -> Iterator[bytes]:
        """Yield all pieces, each of ``size`` bytes, or of more where there would be too many."""
        size = max(size, -(-self.size // MAX_PARTS))
        for start in range(0, self.size, size):
            yield self.read(start, min(size, self.size - start))


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _content_md5(data: bytes) -> str:
    return base64.b64encode(_md5(data)).decode("ascii")
