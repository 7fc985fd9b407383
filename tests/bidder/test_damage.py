"""Damaged files: whatever byte of whatever file is wrong, the bidder prices as before or not at all."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bidder.market import BIDS, DOMAINS, ENTITY, NPIS, Market, ask

from optimizer.artifacts.store import PART_BYTES, ObjectStore
from optimizer.bidder.pricing import price

FILES = ("manifest.json", "memcache.csv", "domain_multipliers.csv", "npi_multipliers.csv")
TABLES = FILES[1:]
FORGET_CHECKSUM = "UPDATE opt_runs SET manifest_sha256 = NULL"

Rewrite = Callable[[list[list[str]]], str]
"""Returns a file's text, made of its rows; the header is the first, and the value's column the last."""


def plain(rows: list[list[str]]) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


def with_value(value: str) -> Rewrite:
    """Put the value into the first row."""
    return lambda rows: plain([rows[0], [*rows[1][:-1], value], *rows[2:]])


ANOTHER_FORM: dict[str, Rewrite] = {
    "no end of the last line": lambda rows: plain(rows)[:-1],
    "CRLF": lambda rows: plain(rows).replace("\n", "\r\n"),
    "columns the other way round": lambda rows: plain([row[::-1] for row in rows]),
    "a column more": lambda rows: plain([["more", *rows[0]], *(["1", *row] for row in rows[1:])]),
    "quotes": lambda rows: plain([[f'"{field}"' for field in row] for row in rows]),
    "spaces around a value": lambda rows: plain([rows[0], *([*row[:-1], f" {row[-1]} "] for row in rows[1:])]),
}
DAMAGES: dict[str, Rewrite] = {
    "semicolons": lambda rows: plain(rows).replace(",", ";"),
    "tabs": lambda rows: plain(rows).replace(",", "\t"),
    "a byte order mark": lambda rows: "\ufeff" + plain(rows),
    "a column name in capitals": lambda rows: plain([[*rows[0][:-1], rows[0][-1].upper()], *rows[1:]]),
    "no header": lambda rows: plain(rows[1:]),
    "the column of values twice": lambda rows: plain(
        [[*row, "1.0"] if at else [*row, row[-1]] for at, row in enumerate(rows)]
    ),
    "the column of keys twice": lambda rows: plain([[row[0], *row] for row in rows]),
    "a key twice": lambda rows: plain([*rows, [*rows[1][:-1], "9.0"]]),
    "an empty key": lambda rows: plain([*rows[:-1], ["", *rows[-1][1:]]]),
    "a field that is missing": lambda rows: plain([rows[0], rows[1][:-1], *rows[2:]]),
    "a field too many": lambda rows: plain([rows[0], [*rows[1], "1"], *rows[2:]]),
    "an empty line": lambda rows: plain(rows) + "\n",
    "a quote that is not closed": lambda rows: plain([rows[0], [f'"{rows[1][0]}', *rows[1][1:]], *rows[2:]]),
    "a letter behind a quote": lambda rows: plain([rows[0], [f'"{rows[1][0]}"x', *rows[1][1:]], *rows[2:]]),
    "half of it": lambda rows: plain(rows)[: len(plain(rows)) // 2],
    **{
        f"the value {value or 'of nothing'}": with_value(value)
        for value in ("", "NaN", "-1.0", "1e309", "-inf", "x", "1_0", "\u0661", "0x10", "1.0.0", "1 0", "None")
    },
}


@dataclass(frozen=True, slots=True)
class Replaced(ObjectStore):
    """The store with other content in some of its objects, as it would read them: to write each takes far longer."""

    replaced: Mapping[str, bytes] = field(default_factory=dict)

    def stream(self, uri: str, *, part_bytes: int = PART_BYTES) -> Iterator[bytes]:
        return (
            iter([self.replaced[uri]]) if uri in self.replaced else ObjectStore.stream(self, uri, part_bytes=part_bytes)
        )


@pytest.fixture(scope="module")
def market(new_market: Callable[[Path], Market], tmp_path_factory: pytest.TempPathFactory) -> Market:
    """Return one market for all tests: each of them publishes and deploys a run of its own, and reads it anew."""
    return new_market(tmp_path_factory.mktemp("market"))


@pytest.fixture
def run_id(market) -> str:
    """Return a deployed run with bids and both kinds of multipliers."""
    run_id = market.publish(domains=DOMAINS, npis=NPIS)
    market.deploy({run_id: 100})
    return run_id


@pytest.mark.parametrize("name", FILES)
def test_no_single_wrong_byte_of_a_file_is_served(market, run_id, name):
    uri = market.uris[run_id] + name
    content = market.store.get_bytes(uri)
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        refresher = market.refresher(store=Replaced(market.store.client, replaced={uri: bytes(damaged)}))
        assert "sha256 differ" in refresher.refresh().errors[ENTITY], f"byte {at}"
        assert ENTITY not in refresher.generations, f"byte {at}"
    assert market.refresher().refresh().switched == (ENTITY,)


def test_a_damaged_file_is_not_served_until_it_is_as_it_was_written(market, run_id):
    for name in FILES:
        uri = market.uris[run_id] + name
        content = market.store.get_bytes(uri)
        market.store.put_bytes(uri, content.swapcase())
        refresher = market.refresher()
        assert "sha256 differ" in refresher.refresh().errors[ENTITY] and ENTITY not in refresher.generations
        market.store.put_bytes(uri, content)
        assert refresher.refresh().switched == (ENTITY,)


def republished(market, name: str, rewrite: Rewrite) -> str:
    """Return a run whose file was written wrongly, so that its checksum is the one of the wrong file."""

    def change(files: dict[str, Path]) -> None:
        rows = [line.split(",") for line in files[name].read_text(encoding="utf-8").splitlines()]
        files[name].write_bytes(rewrite(rows).encode())

    return market.publish(domains=DOMAINS, npis=NPIS, change=change)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_its_run_wrote_wrongly_is_refused(market, name, damage):
    market.deploy({republished(market, name, DAMAGES[damage]): 100})
    refresher = market.refresher()
    assert name in refresher.refresh().errors[ENTITY]
    assert ENTITY not in refresher.generations


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", ANOTHER_FORM)
def test_a_file_in_another_form_has_the_same_prices(market, name, form):
    market.deploy({republished(market, name, ANOTHER_FORM[form]): 100})
    refresher = market.refresher()
    refresher.refresh()
    (run,) = refresher.generations[ENTITY].runs.values()
    assert {key: run.bids.find(key) for key in BIDS} == BIDS
    assert (run.domain_multipliers, run.npi_multipliers) == (DOMAINS, NPIS)


def test_a_run_without_the_checksum_of_its_manifest_is_served_and_said(market, run_id, caplog):
    market.execute(FORGET_CHECKSUM)
    refresher = market.refresher()
    assert refresher.refresh().switched == (ENTITY,)
    assert f"the manifest of run {run_id} is not checked" in caplog.text
    generation = refresher.generations[ENTITY]
    assert not generation.runs[run_id].is_manifest_checked
    assert price(ask(), generation=generation).bid_cpm == BIDS["Ohio|android"]


def test_the_manifest_of_another_run_is_refused(market, run_id):
    other = market.publish(bids={"Ohio|android": 29.0})
    content = market.store.get_bytes(market.uris[other] + "manifest.json")
    market.store.put_bytes(market.uris[run_id] + "manifest.json", content)
    assert "its sha256 differs" in market.refresher().refresh().errors[ENTITY]
