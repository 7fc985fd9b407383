"""Addresses whose escapes are UTF-8: others would be read as U+FFFD, and match nothing."""

from urllib.parse import unquote, unquote_to_bytes

from fastapi import Request

from optimization_tracking.problem_details import MAX_FIELD_CHARACTERS, invalid

_REASON = "is not UTF-8; escape the bytes of its UTF-8 text (é is %C3%A9)"


def require_utf8(request: Request) -> None:
    """Pass where path and query string can be read.

    Raises:
        Refusal: 422 names the parameter that cannot.
    """
    if not _is_utf8(request.scope.get("raw_path") or b""):
        unread = (name for name, value in request.path_params.items() if "\ufffd" in str(value))
        raise invalid(next(unread, "path"), _REASON)
    query: bytes = request.scope["query_string"]
    if not _is_utf8(query):
        wrong = next(field for field in query.split(b"&") if not _is_utf8(field))
        name = unquote(wrong.partition(b"=")[0].replace(b"+", b" ").decode("latin-1"))
        raise invalid(name[:MAX_FIELD_CHARACTERS] or "query", _REASON)


def _is_utf8(escaped: bytes) -> bool:
    try:
        unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError:
        return False
    return True
