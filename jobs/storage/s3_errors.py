"""Errors of S3 as sentences: replies of a server, and exchanges that failed on this side."""

from __future__ import annotations

import re
from typing import Any

import botocore.config
import botocore.exceptions as boto
import botocore.loaders
import botocore.parsers
import botocore.session
import urllib3.exceptions

from jobs.errors import (
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageFailingError,
    StorageFullError,
    StorageUnreachableError,
)
from jobs.storage.base import StorageOptions


def explain_reply(error: Any, task: str, bucket: str, place: str) -> StorageError:
    """Return the error for a server's error reply.

    Args:
        error: botocore's ClientError.
        task: The beginning of the sentence: "Cannot read s3://bucket/key".
        bucket: Its name.
        place: The endpoint, by ``place_of``.
    """
    code, status = error_code(error), _status(error)
    for codes, kind, sentence in _REPLIES:
        if code in codes:
            return kind(f"{task}: {sentence.format(bucket=bucket, place=place)}")
    if status == 507:
        return StorageFullError(f"{task}: {place} has no room left (HTTP 507).")
    # A number is the HTTP status: botocore found no S3 error in the reply. These four statuses are what
    # proxies answer while the S3 server behind them is down.
    if code.isdigit() and status not in (429, 502, 503, 504):
        return StorageUnreachableError(f"{task}: {_NOT_S3.format(place=place)}")
    if status == 429 or status >= 500:
        return StorageFailingError(
            f"{task}: {place} keeps answering {_answer(code, status)}; try again later."
        )
    return StorageError(f"{task}: {place} answered {_answer(code, status)}.")


_NO_CREDENTIALS = (
    "no credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile "
    "of ~/.aws/credentials in storage.profile or AWS_PROFILE, or run on a machine with an IAM role."
)


_EXPIRED = "the credentials have expired; get new ones (for a profile with SSO: aws sso login)."


_NOT_S3 = (
    "{place} answers, but not as S3 does; is this the S3 endpoint (MinIO's, say, is on port 9000, "
    "its web console on another)? See storage.endpoint_url."
)


_REPLIES: tuple[tuple[frozenset[str], type[StorageError], str], ...] = (
    (frozenset({"NoSuchKey"}), ObjectNotFoundError, "there is no such object."),
    (
        frozenset({"PreconditionFailed"}),
        StorageError,
        "the object was replaced while it was read; try again.",
    ),
    (
        frozenset({"NoSuchBucket"}),
        StorageUnreachableError,
        "there is no bucket {bucket!r} on {place}; create it or correct its name.",
    ),
    (
        frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"}),
        StorageDeniedError,
        "access denied by {place}. The credentials need s3:GetObject, s3:PutObject, "
        "s3:DeleteObject and s3:ListBucket on bucket {bucket!r}.",
    ),
    (
        frozenset({"InvalidAccessKeyId"}),
        StorageDeniedError,
        "{place} does not know the access key; check AWS_ACCESS_KEY_ID or the profile.",
    ),
    (
        frozenset({"SignatureDoesNotMatch"}),
        StorageDeniedError,
        "{place} rejects the signature: the secret key is wrong (check AWS_SECRET_ACCESS_KEY or "
        "the profile), or a proxy in between changes requests.",
    ),
    (
        frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}),
        StorageDeniedError,
        _EXPIRED,
    ),
    (
        frozenset({"InvalidToken", "InvalidSecurity"}),
        StorageDeniedError,
        "{place} rejects the session token; check AWS_SESSION_TOKEN, or unset it if the keys are "
        "permanent ones.",
    ),
    (
        frozenset({"RequestTimeTooSkewed", "RequestExpired"}),
        StorageDeniedError,
        "this machine's clock and that of {place} are more than 15 minutes apart; set the clock "
        "(NTP) and try again.",
    ),
    (
        frozenset(
            {
                "AuthorizationHeaderMalformed",
                "IllegalLocationConstraintException",
                "PermanentRedirect",
                "TemporaryRedirect",
                "301",
                "307",
                "308",
            }
        ),
        StorageUnreachableError,
        "bucket {bucket!r} is served elsewhere than {place}; set storage.region (or AWS_REGION) "
        "and storage.endpoint_url to the bucket's own.",
    ),
    (
        frozenset({"InvalidBucketName"}),
        StorageUnreachableError,
        "{place} says that {bucket!r} cannot be a bucket's name.",
    ),
    (
        frozenset(
            {
                "InsufficientCapacity",
                "QuotaExceeded",
                "XMinioAdminBucketQuotaExceeded",
                "XMinioStorageFull",
            }
        ),
        StorageFullError,
        "{place} has no room left, or the quota is used up.",
    ),
    (
        frozenset({"EntityTooLarge"}),
        StorageFullError,
        "{place} does not take objects of this size.",
    ),
    (
        frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"}),
        StorageUnreachableError,
        "the data was damaged on its way to {place}; try again.",
    ),
    (
        frozenset({"ObjectLocked", "InvalidObjectState"}),
        StorageError,
        "{place} keeps the object locked or archived.",
    ),
)


def explain_exchange(error: Exception, task: str, options: StorageOptions) -> StorageError:
    """Return the error for an exchange without a reply: no credentials, no connection, no sense in it.

    Args:
        error: From botocore or urllib3.
        task: The beginning of the sentence: "Cannot read s3://bucket/key".
        options: How the server was to be reached.
    """
    place = place_of(options)
    if isinstance(error, boto.NoCredentialsError):
        return StorageDeniedError(f"{task}: {_NO_CREDENTIALS}")
    if isinstance(error, boto.PartialCredentialsError):
        missing = error.kwargs.get("cred_var", "a part")
        return StorageDeniedError(f"{task}: the credentials are incomplete: {missing} is missing.")
    if isinstance(error, boto.ProfileNotFound):
        name = options.profile or "of AWS_PROFILE"
        return StorageDeniedError(
            f"{task}: there is no profile {name} in ~/.aws/config or ~/.aws/credentials."
        )
    if isinstance(error, _EXPIRED_LOGINS):
        return StorageDeniedError(f"{task}: {_EXPIRED}")
    if isinstance(error, _BAD_CREDENTIALS):
        return StorageDeniedError(
            f"{task}: the AWS configuration gives no usable credentials ({type(error).__name__}); "
            "see ~/.aws/config, or what your instance's role says."
        )
    if isinstance(error, boto.SSLError):
        trusted = (
            "if its certificate is your own, name its authority in storage.ca_bundle"
            if options.ca_bundle is None
            else f"for S3, only the authorities in {options.ca_bundle} (storage.ca_bundle) are trusted"
        )
        return StorageUnreachableError(
            f"{task}: no trusted TLS connection to {place}; {trusted}, and if it speaks plain http, write "
            "http://."
        )
    if isinstance(error, boto.ProxyConnectionError):
        return StorageUnreachableError(
            f"{task}: the proxy of HTTP_PROXY or HTTPS_PROXY does not answer; correct it, or add "
            "the endpoint to NO_PROXY."
        )
    if isinstance(error, (boto.ConnectTimeoutError, boto.ReadTimeoutError)):
        return StorageUnreachableError(
            f"{task}: {place} does not answer in time; is it up, and is no firewall in between?"
        )
    if isinstance(error, boto.EndpointConnectionError):
        return StorageUnreachableError(
            f"{task}: cannot connect to {place}; is it up, and is storage.endpoint_url right?"
        )
    if isinstance(error, (boto.EndpointProviderError, boto.InvalidRegionError)):
        return StorageUnreachableError(
            f"{task}: storage.endpoint_url or storage.region does not lead to an S3 server; write "
            "http://host:port or https://host, and a region such as eu-west-1."
        )
    if isinstance(error, RecursionError):
        return StorageUnreachableError(
            f"{task}: {place} redirects every request; set storage.endpoint_url to where S3 itself "
            "answers (https:// instead of http://, perhaps)."
        )
    if isinstance(error, botocore.parsers.ResponseParserError):
        return StorageUnreachableError(f"{task}: {_NOT_S3.format(place=place)}")
    broken = (boto.HTTPClientError, boto.IncompleteReadError, urllib3.exceptions.HTTPError)
    if isinstance(error, broken):
        return StorageFailingError(f"{task}: {place} breaks off the connection; try again later.")
    return StorageError(f"{task}: botocore refuses the request ({type(error).__name__}).")


_EXPIRED_LOGINS: tuple[type[Exception], ...] = (
    boto.SSOError,
    getattr(boto, "LoginError", boto.SSOError),  # absent from the oldest boto3 that is supported
    boto.TokenRetrievalError,
    boto.RefreshWithMFAUnsupportedError,
)


_BAD_CREDENTIALS: tuple[type[Exception], ...] = (
    boto.CredentialRetrievalError,
    boto.ConfigParseError,
    boto.ConfigNotFound,
    boto.InvalidConfigError,
    boto.MetadataRetrievalError,
    boto.NoAuthTokenError,
    boto.UnknownCredentialError,
)


def place_of(options: StorageOptions) -> str:
    """Return the endpoint as users know it, without ``user:password@`` and path."""
    if options.endpoint_url is None:
        return "AWS S3"
    scheme, _, rest = options.endpoint_url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"


def _answer(code: str, status: int) -> str:
    return f"HTTP {status}" if code.isdigit() or not code else f"{code} (HTTP {status})"


def error_code(error: BaseException) -> str:
    """Return S3's error code, letters, digits and dots only; the HTTP status for a reply without a body."""
    if not isinstance(error, boto.ClientError):
        return ""
    response: dict[str, Any] = error.response
    return re.sub(r"[^A-Za-z0-9.]", "", str(response.get("Error", {}).get("Code", "")))[:80]


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
