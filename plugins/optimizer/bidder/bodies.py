"""Bodies of requests and answers: how long they may be, and how they are compressed."""

import zlib
from collections.abc import Mapping

from starlette.types import Message, Receive

from optimizer.errors import BodyError

MAX_BODY_BYTES = 256 * 1024
"""Of a request, as it comes and as it is once it is decompressed."""

MOST_ENCODINGS, MOST_STREAMS = 2, 16
"""Of one body: encodings that were applied one after the other, and gzip streams in a row."""

LEAST_COMPRESSED_BYTES = 1_024
"""A shorter answer fits into one packet anyway, and is sent as it is."""

_GZIP, _ZLIB_OR_GZIP, _RAW = 16 + zlib.MAX_WBITS, 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
"""What zlib takes for the formats: gzip, either of the two with a header, and deflate without a header."""

_GZIP_MAGIC = b"\x1f\x8b"
_FAST = 1
"""zlib's level: a third of the time of its default, for a tenth more bytes."""

Headers = Mapping[bytes, bytes]
"""By name in lower case."""


async def read_body(receive: Receive, headers: Headers, query: bytes) -> bytes:
    """Return the body of a request, decompressed.

    Raises:
        BodyError: it is too long (413), in an encoding that is not known (415) or damaged (400), or the client has gone
            (499).
    """
    message = await receive()
    body = _part_of(message)
    if message.get("more_body"):
        body = await _read_rest(body, receive)
    if len(body) > MAX_BODY_BYTES:
        raise _too_long()
    encoding, is_gzip_flagged = headers.get(b"content-encoding"), bool(query) and b"gzip=1" in query.split(b"&")
    if encoding is None and not is_gzip_flagged:
        return body
    return decompress(body, encoding=(encoding or b"").decode("latin-1"), is_gzip_flagged=is_gzip_flagged)


async def _read_rest(first: bytes, receive: Receive) -> bytes:
    parts = bytearray(first)
    while len(parts) <= MAX_BODY_BYTES:
        message = await receive()
        parts += _part_of(message)
        if not message.get("more_body"):
            break
    return bytes(parts)


def _part_of(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise BodyError(499, "the client closed the connection before its request had arrived")
    return message.get("body", b"")  # type: ignore[no-any-return]


def decompress(body: bytes, *, encoding: str = "", is_gzip_flagged: bool = False) -> bytes:
    """Return the body as it was before it was compressed.

    Args:
        encoding: of the header Content-Encoding.
        is_gzip_flagged: `gzip=1` in the query, which some exchanges send with plain bodies, too.

    Raises:
        BodyError: it is too long (413), in an encoding that is not known (415), or damaged (400).
    """
    names = [name for part in encoding.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if not names and is_gzip_flagged and body.startswith(_GZIP_MAGIC):
        names = ["gzip"]
    if len(names) > MOST_ENCODINGS:
        raise BodyError(415, f"the body has more than {MOST_ENCODINGS} encodings; send gzip, deflate or plain JSON")
    for name in reversed(names):  # the last one was applied last
        body = _decompress_one(body, name.removeprefix("x-"))
    return body


def _decompress_one(body: bytes, name: str) -> bytes:
    if name == "gzip":
        return _inflate(body, _GZIP)
    if name == "deflate":  # with zlib's header, as the standard wants it, or without, as many send it
        has_header = len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and (body[0] << 8 | body[1]) % 31 == 0
        return _inflate(body, _ZLIB_OR_GZIP if has_header else _RAW)
    raise BodyError(415, f"the body's Content-Encoding {name[:20]!r} is not known; send gzip, deflate or plain JSON")


def _inflate(body: bytes, window: int) -> bytes:
    found = bytearray()
    for _ in range(MOST_STREAMS):
        stream = zlib.decompressobj(window)
        try:
            found += stream.decompress(body, MAX_BODY_BYTES + 1 - len(found))
        except zlib.error as error:
            raise BodyError(400, f"the compressed body is damaged: {error}") from None
        if len(found) > MAX_BODY_BYTES:
            raise _too_long()
        if not stream.eof:
            raise BodyError(400, "the compressed body is cut off")
        body = stream.unused_data
        if window != _GZIP or not body.startswith(_GZIP_MAGIC):  # only gzip has several streams, one after the other
            return bytes(found)
    raise BodyError(400, f"the compressed body has more than {MOST_STREAMS} streams; send one")


def compress(body: bytes, accepted: bytes | None) -> tuple[bytes, str | None]:
    """Return the answer's body and its Content-Encoding, None where it is sent as it is.

    Args:
        accepted: the request's header Accept-Encoding.
    """
    if accepted is None or len(body) < LEAST_COMPRESSED_BYTES:
        return body, None
    encoding = _choose(accepted.decode("latin-1"))
    if encoding is None:
        return body, None
    stream = zlib.compressobj(_FAST, wbits=_GZIP if encoding == "gzip" else zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush(), encoding


def _choose(header: str) -> str | None:
    """The first of our encodings that the header allows: by name, or by * where it does not name it."""
    allowed = {}
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        weight = weight.replace(" ", "").removeprefix("q=")
        allowed[name.strip()] = not weight or bool(weight.strip("0."))
    return next((name for name in ("gzip", "deflate") if allowed.get(name, allowed.get("*", False))), None)


def _too_long() -> BodyError:
    return BodyError(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
