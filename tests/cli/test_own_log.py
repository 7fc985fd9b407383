"""A team's own event files, as `optimizer demo --bids … --views … --clicks …` loads them."""

import gzip
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from servers.embedded import connect_schema, systems
from snowflake.connector.errors import ProgrammingError
from sqlalchemy import Engine

from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.tables import Events
from lab.market.world import World
from lab.stack import LocalStack
from lab.stack.catalogue import check_entity, ensure_entity
from lab.stack.event_log import create_tables
from lab.stack.own_log import load_own_log, read_events, read_own_log
from optimizer.control_plane.entities import read_definitions
from optimizer.errors import ConfigError, DataError

__all__ = ["systems"]

NAMES = ("bids", "views", "clicks")
NOW = datetime(2026, 1, 9, tzinfo=UTC)
HEADER = "bid_id,bid_ts,object_id,internal_adspace_id,geo_region_name,os_code,npi,bid_cpm\n"


@pytest.fixture(scope="module")
def events() -> Events:
    return generate_events(World.create(3, settings=PRESETS["drugs_hcp"]), start_day=date(2026, 1, 5), days=3, bids=600)


def write(events: Events, folder: Path, *, kind: str) -> dict[str, Path]:
    files = {name: folder / f"{name}.{kind}" for name in NAMES}
    for name, path in files.items():
        (pq.write_table if kind == "parquet" else pa_csv.write_csv)(getattr(events, name), path)
    return files


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_comes_back_in_the_tables_columns_and_types(events: Events, tmp_path: Path, kind: str, name: str):
    wanted = getattr(events, name)
    read = read_events(name, write(events, tmp_path, kind=kind)[name])
    assert read.schema == wanted.schema
    for column in wanted.column_names:
        blank = pa.scalar("") if pa.types.is_string(wanted[column].type) else None
        filled = (
            (read[column], wanted[column]) if blank is None else (pc.fill_null(t[column], "") for t in (read, wanted))
        )
        assert pc.all(pc.equal(*filled)).as_py() in (True, None), column


def test_text_columns_of_a_csv_file_keep_their_leading_zeros(tmp_path: Path):
    path = tmp_path / "bids.csv"
    path.write_text(HEADER + "0007,2026-01-05 10:00:00,1334,0042,Ohio,ios,0012345678,2.5\n")
    row = read_events("bids", path).to_pylist()[0]
    assert (row["bid_id"], row["internal_adspace_id"], row["npi"]) == ("0007", "0042", "0012345678")


def test_columns_may_be_in_capitals_in_any_order_and_optional_ones_may_be_missing(tmp_path: Path):
    path = tmp_path / "bids.csv"
    columns = "BID_CPM,OBJECT_ID,Bid_Id,BID_TS,GEO_REGION_NAME,OS_CODE,INTERNAL_ADSPACE_ID,EXTRA"
    path.write_text(f"{columns}\n2.5,1334,007,2026-01-05T10:00:00Z,Ohio,ios,a1,x\n")
    row = read_events("bids", path).to_pylist()[0]
    assert row["bid_ts"] == datetime(2026, 1, 5, 10, tzinfo=UTC).replace(tzinfo=None)
    assert (row["bid_id"], row["bid_cpm"], row["npi"], row["floor_cpm"]) == ("007", 2.5, None, None)


def test_all_missing_columns_are_named_together_with_file_and_table(tmp_path: Path):
    path = tmp_path / "bids.csv"
    path.write_text("bid_id,bid_ts,os_code\nb,2026-01-05,ios\n")
    with pytest.raises(DataError) as raised:
        read_events("bids", path)
    assert str(path) in str(raised.value)
    assert "object_id, internal_adspace_id, geo_region_name, bid_cpm of BIDS" in str(raised.value)


UNREADABLE = {
    "text for a number": HEADER + "b,2026-01-05,1334,a,Ohio,ios,,dear\n",
    "text for a time": HEADER + "b,noon,1334,a,Ohio,ios,,2.5\n",
    "no row": HEADER,
    "nothing": "",
    "another number of fields": HEADER + "b,2026\n",
    "a bid without a price": HEADER + "b,2026-01-05,1334,a,Ohio,ios,,\nc,2026-01-05,1334,a,Ohio,ios,,2.5\n",
    "a bid without a client": HEADER + "b,2026-01-05,,a,Ohio,ios,,2.5\nc,2026-01-05,1334,a,Ohio,ios,,2.5\n",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_rows_of_bids_is_refused_by_name(tmp_path: Path, content: str):
    path = tmp_path / "bids.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"bids\.csv.*BIDS"):
        read_events("bids", path)


def test_a_parquet_file_that_is_none_is_refused_by_name(tmp_path: Path):
    (tmp_path / "bids.parquet").write_text("bid_id\n")
    with pytest.raises(DataError, match=r"bids\.parquet cannot be read as rows of BIDS"):
        read_events("bids", tmp_path / "bids.parquet")


ROW = "b{n},2026-01-0{n} 10:00:00,1334,a,Ohio,ios,,2.5\n"
GOOD = HEADER + "".join(ROW.format(n=number) for number in range(1, 5))


def bids_of(tmp_path: Path, content: str) -> list[dict[str, Any]]:
    (tmp_path / "bids.csv").write_text(content, encoding="utf-8")
    return read_events("bids", tmp_path / "bids.csv").to_pylist()


@pytest.mark.parametrize(
    "epoch",
    [
        *("1767607200", "1767607200.0", "1767607200000", "1767607200000000", "1767607200000000000", "1.7676072e9"),
        *("202601051000", "20260105100000"),
    ],
)
def test_an_epoch_of_any_unit_is_its_time(tmp_path: Path, epoch: str):
    (row,) = bids_of(tmp_path, HEADER + f"b,{epoch},1334,a,Ohio,ios,,2.5\n")
    assert row["bid_ts"] == datetime(2026, 1, 5, 10)  # noqa: DTZ001 - as the warehouse keeps it
    table = pa.table({**read_events("bids", tmp_path / "bids.csv").to_pydict(), "bid_ts": [int(float(epoch))]})
    pq.write_table(table, tmp_path / "bids.parquet")
    assert read_events("bids", tmp_path / "bids.parquet").to_pylist() == [row]


@pytest.mark.parametrize(
    "written",
    [
        *("2026-01-05T12:00:00+02:00", "2026-01-05 10:00:00Z", "2026-01-05T10:00", "20260105T100000Z"),
        *("2026-01-05 10:00:00 UTC", " 2026-01-05 10:00:00 "),
    ],
)
def test_a_time_with_a_zone_is_in_utc(tmp_path: Path, written: str):
    (row,) = bids_of(tmp_path, HEADER + f"b,{written},1334,a,Ohio,ios,,2.5\n")
    assert row["bid_ts"] == datetime(2026, 1, 5, 10)  # noqa: DTZ001 - as above


def test_a_quoted_cell_may_hold_line_breaks_commas_and_quotes(tmp_path: Path):
    rows = bids_of(
        tmp_path, HEADER + 'b,2026-01-05,1334,"a\n1, ""x""",Ohio,ios,,2.5\nc,2026-01-05,1334,a,Ohio,ios,,3\n'
    )
    assert [row["internal_adspace_id"] for row in rows] == ['a\n1, "x"', "a"]


def test_an_empty_cell_is_no_value_in_any_column_and_words_are_words(tmp_path: Path):
    first, second = bids_of(tmp_path, HEADER + 'b,2026-01-05,1334,,"",,,2.5\nc,2026-01-05,1334,NULL,NA,nan,,2\n')
    assert [first[name] for name in ("internal_adspace_id", "geo_region_name", "os_code", "npi")] == [None] * 4
    assert [second[name] for name in ("internal_adspace_id", "geo_region_name", "os_code")] == ["NULL", "NA", "nan"]


REFUSED = {
    "an id that was a float": (
        "1.23e+19,2026-01-05,1334,a,Ohio,ios,,2.5",
        "BIDS.bid_id in row 6: '1.23e+19' was a float",
    ),
    "an NPI that was a float": (
        "b,2026-01-05,1334,a,Ohio,ios,1.234567893E9,2",
        "BIDS.npi in row 6: a value was a float",
    ),
    "a word for a price": ("b,2026-01-05,1334,a,Ohio,ios,,dear", "BIDS.bid_cpm in row 6: 'dear' is not a number"),
    "a comma for a point": ('b,2026-01-05,1334,a,Ohio,ios,,"2,5"', "BIDS.bid_cpm in row 6: '2,5' is not a number"),
    "an infinite price": ("b,2026-01-05,1334,a,Ohio,ios,,inf", "BIDS.bid_cpm in row 6: 'inf' is infinite"),
    "a word for a time": ("b,noon,1334,a,Ohio,ios,,2.5", "BIDS.bid_ts in row 6: 'noon' is no time"),
    "half a client": ("b,2026-01-05,1334.5,a,Ohio,ios,,2.5", "BIDS.object_id in row 6: '1334.5' is not a whole number"),
    "no client": ("b,2026-01-05,,a,Ohio,ios,,2.5", "BIDS.object_id in row 6 is empty"),
    "no id": (",2026-01-05,1334,a,Ohio,ios,,2.5", "BIDS.bid_id in row 6 is empty"),
    "another number of fields": ("b,2026", "Row #6: Expected 8 columns, got 2"),
    "a time without an end": ("b,inf,1334,a,Ohio,ios,,2.5", "BIDS.bid_ts in row 6: 'inf' is no time"),
    "a word of pandas for a time": ("b,now,1334,a,Ohio,ios,,2.5", "BIDS.bid_ts in row 6: 'now' is no time"),
    "a date with the day first": ("b,05/01/2026,1334,a,Ohio,ios,,2.5", "BIDS.bid_ts in row 6: '05/01/2026' is no time"),
    "digits of no date": ("b,20261301,1334,a,Ohio,ios,,2.5", "BIDS.bid_ts in row 6: '20261301' is no time"),
    "a client beyond 64 bits": ("b,2026-01-05,1.23e+19,a,Ohio,ios,,2.5", "BIDS.object_id in row 6: '1.23e+19' is too"),
    "a client of more digits than a float": (
        "b,2026-01-05,9007199254740993,a,Ohio,ios,,2.5",
        "BIDS.object_id in row 6: '9007199254740993' is too large",
    ),
    "an id that is a float": ("123.0,2026-01-05,1334,a,Ohio,ios,,2.5", "BIDS.bid_id in row 6: '123.0' was a float"),
    "a NUL byte": ("b\0,2026-01-05,1334,a,Ohio,ios,,2.5", "BIDS.bid_id in row 6: 'b\\x00' holds a NUL byte"),
    "a currency": ("b,2026-01-05,1334,a,Ohio,ios,,$1.20", "BIDS.bid_cpm in row 6: '$1.20' is not a number"),
}


@pytest.mark.parametrize(("row", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_file_row_and_column(tmp_path: Path, row: str, said: str):
    with pytest.raises(DataError) as raised:
        bids_of(tmp_path, GOOD + row + "\n" + ROW.format(n=6))
    assert str(tmp_path / "bids.csv") in str(raised.value) and said in str(raised.value)


def test_no_refusal_repeats_a_row_which_may_hold_a_doctors_identifier(tmp_path: Path):
    for row in ("b,2026-01-05,1334,a,Ohio,ios,1234567893,2,2,2", 'b,2026-01-05,1334,a,Ohio,ios,1234567893,"2'):
        with pytest.raises(DataError) as raised:
            bids_of(tmp_path, GOOD + row + "\n" + ROW.format(n=6))
        assert "1234567893" not in str(raised.value)


def test_a_quote_that_never_closes_does_not_take_the_rest_of_the_file_along(tmp_path: Path):
    header = HEADER.strip() + ",domain\n"
    rows = "".join(f'b{number},2026-01-05,1334,a,Ohio,ios,,2.5,"a.com"\n' for number in range(3))
    stray = rows + 'x,2026-01-05,1334,a,Ohio,ios,,2.5,"a.com\n' + rows.replace('"', "")
    with pytest.raises(DataError, match="a quote opens in row 5 and never closes"):
        bids_of(tmp_path, header + stray)
    assert len(bids_of(tmp_path, header + rows + 'x,2026-01-05,1334,a,Ohio,ios,,2.5,"a\nb"\n')) == 4


def test_bytes_that_are_not_utf8_are_refused_by_column_and_row(tmp_path: Path):
    (tmp_path / "bids.csv").write_bytes((GOOD + "b,2026-01-05,1334,a,Québec,ios,,2.5\n").encode("latin-1"))
    with pytest.raises(DataError, match=r"bids\.csv.*BIDS: the column geo_region_name in row 6 is not UTF-8"):
        read_events("bids", tmp_path / "bids.csv")


ENCODED = {
    "UTF-8 with a mark": ("bids.csv", GOOD.encode("utf-8-sig")),
    "UTF-16": ("bids.csv", GOOD.encode("utf-16")),
    "carriage returns": ("bids.csv", GOOD.replace("\n", "\r\n").encode()),
    "semicolons": ("bids.csv", GOOD.replace(",", ";").encode()),
    "tabs": ("bids.tsv", GOOD.replace(",", "\t").encode()),
    "gzip": ("bids.csv.gz", gzip.compress(GOOD.encode())),
    "a blank first line": ("bids.csv", b"\n" + GOOD.encode()),
    "a line break in the header": (
        "bids.csv",
        GOOD.replace("npi", '"npi","a\nb"', 1).replace(",ios,", ",ios,,").encode(),
    ),
}


@pytest.mark.parametrize(("file", "content"), ENCODED.values(), ids=ENCODED)
def test_a_file_of_another_encoding_or_separator_holds_the_same_rows(tmp_path: Path, file: str, content: bytes):
    wanted = bids_of(tmp_path, GOOD)
    (tmp_path / file).write_bytes(content)
    assert read_events("bids", tmp_path / file).to_pylist() == wanted


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("bids.csv", gzip.compress(GOOD.encode())),
        ("bids.csv.gz", gzip.compress(GOOD.encode())[:-12]),
        ("bids.csv", GOOD.encode("utf-16-le")),
        ("bids.csv", bytes(range(128, 256)) * 20),
        ("BIDS.PARQUET", GOOD.encode()),
    ],
)
def test_bytes_that_are_no_log_are_refused_by_name(tmp_path: Path, file: str, content: bytes):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=r"(?i)bids\.(csv|parquet).* cannot be read as rows of BIDS"):
        read_events("bids", tmp_path / file)


COLUMNS = {
    "npi": (pa.array([["1234567893"]]), pa.array([b"\xff1234567893"]), pa.array([True])),
    "bid_ts": (pa.array([{"day": 1}]), pa.array([True]), pa.array([3], pa.duration("s"))),
    "bid_cpm": (pa.array([[2.5]]), pa.array([b"\xff"]), pa.array([date(2026, 1, 5)])),
    "object_id": (pa.array([2**64 - 1], pa.uint64()), pa.array([2**53 + 1]), pa.array([Decimal(10) ** 20])),
    "is_test": (pa.array([[True]]), pa.array([2]), pa.array([0.5])),
}


@pytest.mark.parametrize(
    ("name", "column"), [(name, column) for name, columns in COLUMNS.items() for column in columns]
)
def test_a_parquet_column_of_a_type_that_has_no_such_values_is_refused_by_name(
    events: Events, tmp_path: Path, name: str, column: pa.Array
):
    bids = events.bids.slice(0, 1)
    pq.write_table(bids.set_column(bids.schema.get_field_index(name), name, column), tmp_path / "bids.parquet")
    with pytest.raises(DataError, match=rf"bids\.parquet: BIDS\.{name}") as raised:
        read_events("bids", tmp_path / "bids.parquet")
    assert "1234567893" not in str(raised.value)


READABLE = {
    "bid_ts": [
        pa.array([datetime(2026, 1, 5, 10, tzinfo=UTC)], pa.timestamp("ns", "America/New_York")),
        pa.array([20260105100000]),
        pa.array([Decimal(1767607200)]),
        pa.array(["2026-01-05T10:00:00Z"]).dictionary_encode(),
        pa.array([b"2026-01-05 10:00"]),
    ],
    "bid_cpm": [pa.array([Decimal("2.50")]), pa.array(["2.5"]).dictionary_encode(), pa.array([2.5], pa.float32())],
    "npi": [pa.array(["7"]).dictionary_encode(), pa.array([7]), pa.array([b"7"]), pa.array(["7"], pa.string_view())],
    "is_test": [pa.array([1]), pa.array([1.0]), pa.array(["yes"]), pa.array([True])],
}
READ = {"bid_ts": datetime(2026, 1, 5, 10), "bid_cpm": 2.5, "npi": "7", "is_test": True}  # noqa: DTZ001 - as above


@pytest.mark.parametrize(
    ("name", "column"), [(name, column) for name, columns in READABLE.items() for column in columns]
)
def test_a_parquet_column_of_another_type_is_read_by_its_values(
    events: Events, tmp_path: Path, name: str, column: pa.Array
):
    bids = events.bids.slice(0, 1)
    pq.write_table(bids.set_column(bids.schema.get_field_index(name), name, column), tmp_path / "bids.parquet")
    assert read_events("bids", tmp_path / "bids.parquet").to_pylist()[0][name] == READ[name]


def test_a_damaged_parquet_file_is_refused_wherever_the_damage_is(events: Events, tmp_path: Path):
    path = tmp_path / "bids.parquet"
    pq.write_table(events.bids.slice(0, 50), path)
    whole = path.read_bytes()
    refused = 0
    for position in range(4, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            read_events("bids", path)
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("bid_id", ["7599e43339245719", "12e4", "1e19", "0x1e+5a", "1.2.3", "e+19"])
def test_an_id_that_only_looks_like_a_float_is_an_id(tmp_path: Path, bid_id: str):
    (row,) = bids_of(tmp_path, HEADER + f"{bid_id},2026-01-05,1334,a,Ohio,ios,,2.5\n")
    assert row["bid_id"] == bid_id


def test_a_column_that_is_there_twice_is_named(tmp_path: Path):
    header = HEADER.replace("npi", "BID_CPM")
    with pytest.raises(DataError, match="the column bid_cpm of BIDS is there twice; keep one"):
        bids_of(tmp_path, header + "b,2026-01-05,1334,a,Ohio,ios,1,2.5\n")


def test_a_parquet_column_of_ids_that_became_floats_is_named(events: Events, tmp_path: Path):
    floats = events.bids.set_column(0, "bid_id", pa.array([float(number) for number in range(600)]))
    pq.write_table(floats, tmp_path / "bids.parquet")
    with pytest.raises(DataError, match=r"BIDS\.bid_id is a column of floats, which lose the digits of an id"):
        read_events("bids", tmp_path / "bids.parquet")


def own_files(tmp_path: Path, bids: str) -> dict[str, Path]:
    texts = {
        "bids": bids,
        "views": "bid_id,view_ts,cost_cpm,revenue\nb1,2026-01-01,2,0\n",
        "clicks": "bid_id,click_ts,revenue\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return {name: tmp_path / f"{name}.csv" for name in texts}


@pytest.mark.parametrize("moment", ["9999-12-31", "2026-01-10 00:00:00", "4102444800"])
def test_a_row_of_a_time_that_is_still_to_come_is_set_aside_and_counted(tmp_path: Path, moment: str):
    log = read_own_log(own_files(tmp_path, GOOD + f"x,{moment},1334,a,Ohio,ios,,2.5\n"), now=NOW)
    assert log.end_day == date(2026, 1, 5) and log.tables["bids"].num_rows == 4
    (note,) = log.notes
    assert note == f"{tmp_path / 'bids.csv'}: 1 rows of BIDS in the future were set aside (bid_ts)"


def test_rows_before_there_was_such_a_log_and_negative_prices_are_counted(tmp_path: Path):
    bids = GOOD + "x,0,1334,a,Ohio,ios,,2.5\ny,2026-01-04,1334,a,Ohio,ios,,-1\n"
    log = read_own_log(own_files(tmp_path, bids), now=NOW)
    assert [note.partition(": ")[2] for note in log.notes] == [
        "1 rows of BIDS before 2000 were set aside (bid_ts)",
        "1 rows of BIDS have a negative bid_cpm",
    ]
    assert log.tables["bids"].num_rows == 5


def test_words_for_no_value_are_counted_by_column(tmp_path: Path):
    bids = GOOD + "x,2026-01-04,1334,NULL,nan,ios,None,2.5\ny,2026-01-04,1334,a,N/A,ios,,2.5\n"
    log = read_own_log(own_files(tmp_path, bids), now=NOW)
    assert [note.partition(", which")[0].partition(": ")[2] for note in log.notes] == [
        "1 rows of BIDS have a word such as NULL in internal_adspace_id",
        "2 rows of BIDS have a word such as NULL in geo_region_name",
        "1 rows of BIDS have a word such as NULL in npi",
    ]


def test_a_log_that_is_set_aside_whole_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no row of BIDS has a bid_ts between 2000 and now"):
        read_own_log(own_files(tmp_path, HEADER + "x,0,1334,a,Ohio,ios,,2.5\n"), now=NOW)


def test_a_log_of_which_one_table_cannot_be_loaded_leaves_all_three(connection: Any, events: Events, tmp_path: Path):
    marker = tmp_path / "marker"
    log = read_own_log(write(events, tmp_path, kind="parquet"), now=NOW)
    load_own_log(connection, log, marker=marker)
    marker.write_text("this log")
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE CLICKS")
    fewer = {**log.tables, "bids": log.tables["bids"].slice(0, 10)}
    with pytest.raises(ProgrammingError, match="CLICKS"):
        load_own_log(connection, replace(log, tables=fewer), marker=marker)
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT COUNT(*) FROM BIDS").fetchone()[0] == 600
    assert marker.read_text() == "this log"


@pytest.fixture
def connection(systems: LocalStack) -> Iterator[Any]:
    with connect_schema(systems, "own_log") as connection:
        create_tables(connection)
        yield connection


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_loading_replaces_the_log_and_says_what_it_holds(connection: Any, events: Events, tmp_path: Path, kind: str):
    files, marker = write(events, tmp_path, kind=kind), tmp_path / "marker"
    marker.write_text("the generated log")
    for _ in range(2):
        log = read_own_log(files, now=NOW)
        load_own_log(connection, log, marker=marker)
    assert all(log.tables[name].num_rows == getattr(events, name).num_rows for name in NAMES)
    assert (log.object_id, log.end_day) == (1334, date(2026, 1, 8))
    assert not marker.exists()
    with connection.cursor() as cursor:
        found = cursor.execute("SELECT COUNT(*), ROUND(SUM(bid_cpm), 4), MAX(npi) FROM BIDS").fetchone()
    bids = events.bids.to_pandas()
    assert found == (600, pytest.approx(bids["bid_cpm"].sum(), abs=1e-3), bids["npi"].max())


def test_bids_of_several_clients_are_refused_and_the_log_stays(connection: Any, events: Events, tmp_path: Path):
    load_own_log(connection, read_own_log(write(events, tmp_path, kind="parquet"), now=NOW), marker=tmp_path / "marker")
    other = pc.if_else(pc.equal(events.bids["os_code"], "ios"), 1335, 1334)
    mixed = events.bids.set_column(events.bids.schema.get_field_index("object_id"), "object_id", other)
    files = write(Events(mixed, events.views, events.clicks), tmp_path, kind="parquet")
    with pytest.raises(DataError, match=r"bids\.parquet: object_id holds \[1334, 1335\]; give the bids of exactly one"):
        read_own_log(files, now=NOW)
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT COUNT(DISTINCT object_id) FROM BIDS").fetchone()[0] == 1


def test_a_new_entity_is_added_once_and_another_client_under_its_code_is_refused(engine: Engine):
    for _ in range(2):
        ensure_entity(engine, "new_client", object_id=7)
    added = [d.entity for d in read_definitions(engine)[0] if d.entity.entity_code == "new_client"]
    assert [(entity.object_id, entity.s3_base_path) for entity in added] == [
        (7, "s3://tn-optimizer-data/optimizer/new_client/")
    ]
    check_entity(engine, "new_client", object_id=7)
    check_entity(engine, "unheard_of", object_id=9)
    with pytest.raises(ConfigError, match="entity 'new client' is not made of letters"):
        check_entity(engine, "new client", object_id=9)
    with pytest.raises(ConfigError, match="object_id 3000000000 of the bids is not between 0 and 2,147,483,647"):
        check_entity(engine, "unheard_of", object_id=3_000_000_000)
    with pytest.raises(ConfigError, match="entity new_client has object_id 7, the bids have 9; name another entity"):
        check_entity(engine, "new_client", object_id=9)
