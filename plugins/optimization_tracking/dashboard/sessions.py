"""A session: the API key that a user entered once, encrypted in a cookie of the browser's session.

The cookie holds the key encrypted, so a thief can read the dashboard for a while and never has the key. The
key inside is checked with every request: revoked, it ends the session too. A session that its user ended is remembered
in the database until it would be over by itself. The sealing key follows from the database's
URL where that holds a password, so all processes of a service open each other's cookies. Without one anyone could
guess the URL: then each process has a random sealing key, and people sign in again after a restart.
"""

import base64
import hashlib
from datetime import timedelta

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg.conninfo import conninfo_to_dict
from starlette.requests import Request
from starlette.responses import Response

from optimization_tracking.database import Database
from optimization_tracking.queries import render_query

COOKIE = "optimization_session"
LIFETIME_S = 12 * 3600
_LIFETIME = timedelta(seconds=LIFETIME_S)


class Sessions:
    """Seals keys into cookies and opens them again."""

    def __init__(self, database_url: str) -> None:
        self._box = Fernet(_sealing_key(database_url))

    def begin(self, response: Response, *, key: str, path: str, is_secure: bool) -> None:
        """Give the browser a cookie for the pages under `path`; it forgets it when it is closed."""
        sealed = self._box.encrypt(key.encode()).decode()
        response.set_cookie(COOKIE, sealed, path=path, httponly=True, samesite="strict", secure=is_secure)

    async def end(self, request: Request, response: Response, *, database: Database, path: str) -> None:
        """Take the cookie away, and take it never again."""
        if self.key_of(request) is not None:
            async with database.connection("sessions") as connection:
                await connection.execute(render_query("end_session"), {**_digest(request), "lifetime": _LIFETIME})
        response.delete_cookie(COOKIE, path=path, httponly=True, samesite="strict")

    def key_of(self, request: Request) -> str | None:
        """Return the key of the request's session, or None where there is no session or it is over."""
        sealed = request.cookies.get(COOKIE)
        if sealed is None:
            return None
        try:
            return self._box.decrypt(sealed.encode(), ttl=LIFETIME_S).decode()
        except InvalidToken:
            return None


async def is_over(request: Request, *, database: Database) -> bool:
    """Return whether the session of the request was ended."""
    async with database.connection("sessions") as connection:
        row = await (await connection.execute(render_query("is_session_over"), _digest(request))).fetchone()
    return bool(row and row[0])


def _digest(request: Request) -> dict[str, bytes]:
    """Return the digest of what the cookie holds: its text has several spellings, which all open the session."""
    return {"sha256": hashlib.sha256(base64.urlsafe_b64decode(request.cookies[COOKIE])).digest()}


def _sealing_key(database_url: str) -> bytes:
    # libpq reads PGPASSWORD and .pgpass itself, so only the URL shows whether it is a secret.
    if not conninfo_to_dict(database_url).get("password"):
        return Fernet.generate_key()
    derived = HKDF(SHA256(), length=32, salt=None, info=b"optimization dashboard session")
    return base64.urlsafe_b64encode(derived.derive(database_url.encode()))


def with_key(request: Request, key: str) -> Request:
    """Return the request with the key where the API reads it."""
    headers = [*request.scope["headers"], (b"x-api-key", key.encode())]
    return Request({**request.scope, "headers": headers}, request.receive)
