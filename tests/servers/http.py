"""A client of the HTTP servers that tests start on this machine."""

import ssl
from typing import Any

import httpx

_TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""No server speaks TLS: to read the certificates that httpx trusts takes longer than most requests."""


def open_client(base_url: str, **options: Any) -> httpx.Client:
    """Return httpx's client with its options, which asks no proxy."""
    given = {"timeout": 30, **options}
    return httpx.Client(base_url=base_url, trust_env=False, verify=_TRUSTS_NOBODY, **given)
