"""Whose certificates are trusted: also those of ``storage.ca_bundle``, an own certificate authority."""

from __future__ import annotations

import ssl
from pathlib import Path

from urllib3.util.ssl_ import create_urllib3_context

from jobs.errors import StorageError


def trusting(ca_bundle: str) -> ssl.SSLContext:
    """Return how to verify servers: by the authorities of a file, and by the system's besides.

    The system's are OpenSSL's, in whose place SSL_CERT_FILE and SSL_CERT_DIR may name others.

    Args:
        ca_bundle: The absolute path of a PEM file.

    Raises:
        StorageError: The file cannot be read, or has no certificates.
    """
    context = create_urllib3_context()
    context.load_default_certs()
    _add(context, ca_bundle)
    return context


def check_ca_bundle(ca_bundle: str) -> None:
    """Raise StorageError where a file cannot be read, or has no certificates."""
    _add(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca_bundle)


def _add(context: ssl.SSLContext, ca_bundle: str) -> None:
    try:
        Path(ca_bundle).open("rb").close()  # OpenSSL calls some errors of the disk errors of TLS
        context.load_verify_locations(cafile=ca_bundle)
    except FileNotFoundError:
        raise StorageError(
            f"storage.ca_bundle: there is no file {ca_bundle} on this machine."
        ) from None
    except ssl.SSLError:
        raise StorageError(
            f"storage.ca_bundle: {ca_bundle} has no certificates, or damaged ones; it must be a PEM file."
        ) from None
    except OSError as error:
        raise StorageError(
            f"storage.ca_bundle: {ca_bundle} cannot be read ({error.strerror or error})."
        ) from None
