"""Compressed bodies: what is read, what is refused, and how much memory a bomb takes."""

import gzip
import tracemalloc
import zlib

import pytest

from optimizer.bidder.bodies import LEAST_COMPRESSED_BYTES, MAX_BODY_BYTES, compress, decompress
from optimizer.errors import BodyError

BODY = b'{"id": "auction-1"}' * 20
FORMS = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "GZIP": gzip.compress(BODY),
    " gzip ": gzip.compress(BODY),
    "identity, gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "deflate, gzip": gzip.compress(zlib.compress(BODY)),
    "": BODY,
    "identity": BODY,
}


@pytest.mark.parametrize("encoding", FORMS)
def test_a_compressed_body_is_read_as_it_was(encoding):
    assert decompress(FORMS[encoding], encoding=encoding) == BODY


def test_deflate_is_read_without_the_header_that_the_standard_wants():
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert decompress(stream.compress(BODY) + stream.flush(), encoding="deflate") == BODY


def test_the_flag_in_the_query_means_gzip_only_where_the_body_is():
    assert decompress(gzip.compress(BODY), is_gzip_flagged=True) == BODY
    assert decompress(BODY, is_gzip_flagged=True) == BODY


def test_several_gzip_streams_are_one_body_and_what_follows_them_is_ignored():
    assert decompress(gzip.compress(BODY[:7]) + gzip.compress(BODY[7:]) + b"\0\0", encoding="gzip") == BODY


WRONG = {
    "plain as gzip": (BODY, "gzip", 400),
    "plain as deflate": (BODY, "deflate", 400),
    "cut off": (gzip.compress(BODY)[:-9], "gzip", 400),
    "wrong checksum": (gzip.compress(BODY)[:-1] + b"x", "gzip", 400),
    "empty": (b"", "gzip", 400),
    "too many streams": (b"".join([gzip.compress(b" ")] * 17), "gzip", 400),
    "brotli": (BODY, "br", 415),
    "zstd": (BODY, "zstd", 415),
    "too many encodings": (BODY, "gzip, gzip, gzip", 415),
    "too long": (gzip.compress(bytes(MAX_BODY_BYTES + 1)), "gzip", 413),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_body_that_cannot_be_read_is_refused_with_the_status_that_says_why(name):
    body, encoding, status = WRONG[name]
    with pytest.raises(BodyError) as refused:
        decompress(body, encoding=encoding)
    assert refused.value.status == status


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
def test_a_bomb_is_cut_at_the_limit_with_flat_memory(encoding):
    bomb = bytes(100_000_000)
    for name in encoding.split(", "):
        bomb = gzip.compress(bomb) if name == "gzip" else zlib.compress(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(BodyError) as refused:
            decompress(bomb, encoding=encoding)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BODY_BYTES
    finally:
        tracemalloc.stop()
    assert refused.value.status == 413


LONG = b"x" * LEAST_COMPRESSED_BYTES


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        (None, None),
        (b"", None),
        (b"br", None),
        (b"gzip;q=0", None),
        (b"gzip; q=0.00, br", None),
        (b"gzip", "gzip"),
        (b"br, GZIP;q=0.5", "gzip"),
        (b"*", "gzip"),
        (b"gzip;q=0, *", "deflate"),
        (b"*;q=0", None),
        (b"gzip, *;q=0", "gzip"),
        (b"deflate", "deflate"),
    ],
)
def test_an_answer_is_compressed_as_the_request_allows(accepted, encoding):
    body, used = compress(LONG, accepted)
    assert used == encoding
    assert decompress(body, encoding=used or "") == LONG


def test_a_short_answer_is_sent_as_it_is():
    assert compress(LONG[:-1], b"gzip") == (LONG[:-1], None)
