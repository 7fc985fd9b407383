"""A team's own event files, as `optimizer demo --bids … --views … --clicks …` loads them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from servers.embedded import connect_schema, systems
from sqlalchemy import Engine

from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.tables import Events
from lab.market.world import World
from lab.stack import LocalStack
from lab.stack.catalogue import check_entity, ensure_entity
from lab.stack.event_log import create_tables, load_own_log, read_events, read_own_log
from optimizer.control_plane.entities import read_definitions
from optimizer.errors import ConfigError, DataError

__all__ = ["systems"]

NAMES = ("bids", "views", "clicks")
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
        log = read_own_log(files)
        load_own_log(connection, log, marker=marker)
    assert all(log.tables[name].num_rows == getattr(events, name).num_rows for name in NAMES)
    assert (log.object_id, log.end_day) == (1334, date(2026, 1, 8))
    assert not marker.exists()
    with connection.cursor() as cursor:
        found = cursor.execute("SELECT COUNT(*), ROUND(SUM(bid_cpm), 4), MAX(npi) FROM BIDS").fetchone()
    bids = events.bids.to_pandas()
    assert found == (600, pytest.approx(bids["bid_cpm"].sum(), abs=1e-3), bids["npi"].max())


def test_bids_of_several_clients_are_refused_and_the_log_stays(connection: Any, events: Events, tmp_path: Path):
    load_own_log(connection, read_own_log(write(events, tmp_path, kind="parquet")), marker=tmp_path / "marker")
    other = pc.if_else(pc.equal(events.bids["os_code"], "ios"), 1335, 1334)
    mixed = events.bids.set_column(events.bids.schema.get_field_index("object_id"), "object_id", other)
    files = write(Events(mixed, events.views, events.clicks), tmp_path, kind="parquet")
    with pytest.raises(DataError, match=r"bids\.parquet: object_id holds \[1334, 1335\]; give the bids of exactly one"):
        read_own_log(files)
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
    with pytest.raises(ConfigError, match="entity new_client has object_id 7, the bids have 9; name another entity"):
        check_entity(engine, "new_client", object_id=9)
