"""What seals the cookie: nobody who knows a database's address opens it, and the processes of one service do."""

import pytest
from starlette.requests import Request
from starlette.responses import Response

from optimization_tracking.dashboard.sessions import COOKIE, Sessions

KEY = "sk_live_pears"


def begin(sessions: Sessions) -> Request:
    """Return a request that a browser sends after signing in."""
    response = Response()
    sessions.begin(response, key=KEY, path="/", is_secure=False)
    cookie = response.headers["set-cookie"].split(";")[0]
    assert cookie.startswith(f"{COOKIE}=")
    return Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})


@pytest.mark.parametrize("url", ["postgresql://owner:secret@host/tracking", "host=host user=owner password=secret"])
def test_with_a_password_in_the_url_another_process_of_the_service_opens_the_cookie(url):
    request = begin(Sessions(url))
    assert Sessions(url).key_of(request) == KEY
    assert Sessions(url.replace("secret", "guessed")).key_of(request) is None


@pytest.mark.parametrize(
    "url", ["postgresql://owner@host/tracking", "postgresql://owner:@host/tracking", "postgresql:///tracking?host=/run"]
)
def test_without_a_password_in_the_url_who_knows_it_does_not_open_the_cookie(url, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "secret")
    sessions = Sessions(url)
    request = begin(sessions)
    assert sessions.key_of(request) == KEY
    assert Sessions(url).key_of(request) is None
