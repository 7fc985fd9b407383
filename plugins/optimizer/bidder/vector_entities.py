"""Made-up entities for test vectors: splits of one to five runs, keys and names as hostile as a log may bring them."""

import csv
import io
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from optimizer.artifacts.manifest import MANIFEST_NAME, Manifest
from optimizer.artifacts.serving_snapshot import ServingSnapshot, SnapshotRun, snapshot_uri, write_snapshot
from optimizer.artifacts.store import ObjectWriter, StoredObject, split_uri
from optimizer.control_plane.serving import DeployedRun, ServedEntity
from optimizer.core.records import run_files
from optimizer.core.serving.keys import segment_key

BUCKET_URI = "s3://vectors/"
MADE_AT = datetime(2026, 2, 3, 15, tzinfo=UTC)
DOMAIN_MACRO, NPI_MACRO = "[ADX_DOMAIN]", "[ADX_NPI]"
MACROS = {
    "internal_adspace_id": "[ADX_PLACEMENT_ID]",
    "geo_region_name": "[ADX_GEO_STATE]",
    "os_code": "[ADX_USER_OS]",
    "browser_code": "[ADX_USER_BROWSER]",
    "domain": DOMAIN_MACRO,
}
"""Features that keys are made of, with their macros."""

PLAIN = ("New York", "Ohio", "ios", "android", "chrome", "96807", "73985", "a.example", "com.example.game", "macos")
HOSTILE = (
    *("a|b", "|", "%EMPTY", "%", "100%", "%25", "%7C", "%zz", "a,b", 'say "hi"', "it's", "back\\slash", "~", "~tilde"),
    *("tab\there", "line\nend", "\r\n", "\x00", "\x7f", " ", " leading", "trailing ", "\u00a0", "+"),
    *("a&b=c;d", "a/b?c#d", "[ADX_GEO_STATE]", "<b>", "{}", "`", "^", "!$()*@:;"),
    *("0", "-1", "null", "None", "nan", "1e5", "A", "a", "ß", "ẞ"),
    *("München", "Mu\u0308nchen", "北京", "🐑🐑", "\u202eltr", "\ufeffbom", "\u2028", "\uffff", "\U0010ffff", "İi"),
    *("x" * 240, "x" * 400, "é" * 60, "long " * 200),
)
"""Values that break a key, a CSV file or a comparison that is not exact."""

SHARES = (
    *((100,), (80, 20), (34, 33, 33), (1, 49, 25, 25), (5, 20, 30, 44, 1)),
    *((99, 1), (50, 50, 0), (0, 100), (10, 0, 90, 0)),
)
"""Percents of the runs of an entity."""

NPIS = 40
BIDS_PER_RUN = 150


@dataclass(frozen=True, slots=True)
class MadeUpRun:
    """A run with its files' rows; `segments` has the values of each key."""

    run_id: str
    traffic_pct: int
    features: tuple[str, ...]
    segments: tuple[tuple[str | None, ...], ...]
    bids: Mapping[str, str]
    domain_multipliers: Mapping[str, str] | None
    npi_multipliers: Mapping[str, str] | None
    fallback_bid_cpm: float
    max_bid_cpm: float
    auction_type: str | None

    @property
    def macros(self) -> tuple[str, ...]:
        return tuple(MACROS[name] for name in self.features)


@dataclass(frozen=True, slots=True)
class MadeUpEntity:
    """An entity with its live runs; one that is not active has none."""

    entity_code: str
    is_active: bool
    domain_macro: str | None
    npi_macro: str | None
    runs: tuple[MadeUpRun, ...]

    @property
    def uri(self) -> str:
        return f"{BUCKET_URI}{self.entity_code}/"

    @property
    def snapshot_uri(self) -> str:
        return snapshot_uri(self.uri)


class FolderStore:
    """Objects as files: folder/bucket/key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put_bytes(self, uri: str, content: bytes) -> StoredObject:
        """Write the object."""
        bucket, key = split_uri(uri)
        path = self._folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return StoredObject(bucket, key, len(content), sha256(content).hexdigest())

    def get_bytes(self, uri: str) -> bytes:
        """Return the object."""
        bucket, key = split_uri(uri)
        return (self._folder / bucket / key).read_bytes()


def make_entities(chance: random.Random) -> list[MadeUpEntity]:
    """Return the entities: one a split of SHARES, twice, and one that is not active."""
    made = [_make_entity(number, shares, chance) for number, shares in enumerate(SHARES * 2)]
    return [*made, MadeUpEntity("client-inactive", False, DOMAIN_MACRO, NPI_MACRO, ())]


def publish_entity(entity: MadeUpEntity, store: ObjectWriter) -> ServedEntity:
    """Write the files of the entity's runs and then its snapshot; return what the control plane would have of it."""
    runs = [_publish_run(run, entity, store) for run in entity.runs]
    snapshot = ServingSnapshot(
        sequence=1,
        entity_code=entity.entity_code,
        written_at=MADE_AT,
        is_active=entity.is_active,
        domain_macro=entity.domain_macro,
        npi_macro=entity.npi_macro,
        runs=tuple(reversed(runs)),  # a reader that does not sort them is found out
    )
    write_snapshot(store, entity.snapshot_uri, snapshot)
    checksums = {run.run_id: run.manifest_sha256 for run in runs}
    macros = {"domain": entity.domain_macro, "npi": entity.npi_macro}
    return ServedEntity(
        entity_code=entity.entity_code,
        runs=tuple(_deployed(run, uri=entity.uri, manifest_sha256=checksums[run.run_id]) for run in entity.runs),
        macros={name: macro for name, macro in macros.items() if macro is not None},
    )


def random_text(chance: random.Random) -> str:
    """Return a short text of any characters but surrogates and line ends."""
    ranges = ((0x20, 0x7E), (0xA0, 0x2FF), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF))
    return "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(chance.randint(1, 12)))


def made_up_npi(number: int) -> str:
    """Return ten digits with a right check digit that belong to nobody: real NPIs begin with 1 or 2."""
    digits = f"9{number:08}"
    # The check digit is Luhn's, over the digits with 80840 before them.
    total = sum(
        sum(divmod(2 * int(digit), 10)) if place % 2 == 0 else int(digit)
        for place, digit in enumerate(reversed(f"80840{digits}"))
    )
    return f"{digits}{-total % 10}"


def _make_entity(number: int, shares: Sequence[int], chance: random.Random) -> MadeUpEntity:
    runs = [_make_run(f"202602{day:02}_15000{number % 10}", share, chance) for day, share in enumerate(shares, start=1)]
    return MadeUpEntity(
        entity_code=f"client-{number:02}",
        is_active=True,
        domain_macro=chance.choice((DOMAIN_MACRO, DOMAIN_MACRO, None)),
        npi_macro=chance.choice((NPI_MACRO, None)),
        runs=tuple(runs),
    )


def _make_run(run_id: str, traffic_pct: int, chance: random.Random) -> MadeUpRun:
    features = tuple(chance.sample(tuple(MACROS), chance.randint(1, len(MACROS))))
    segments = tuple({tuple(_make_value(chance) for _ in features): None for _ in range(BIDS_PER_RUN)})
    names = [name for name in (*PLAIN, *HOSTILE, *(random_text(chance) for _ in range(20))) if "\r" not in name]
    cap = chance.choice((2.5, 30.0, 60.0, 100 / 3))
    return MadeUpRun(
        run_id=run_id,
        traffic_pct=traffic_pct,
        features=features,
        segments=segments,
        bids={segment_key(values): _make_amount(chance, most=40, zero=0.1) for values in segments},
        domain_multipliers=chance.choice((None, *([{name: _make_amount(chance, most=3) for name in names}] * 3))),
        npi_multipliers=chance.choice(
            (None, *([{made_up_npi(number): _make_amount(chance, most=3) for number in range(NPIS)}] * 3))
        ),
        fallback_bid_cpm=chance.choice((0.0, cap / 7, cap)),
        max_bid_cpm=cap,
        auction_type=chance.choice((None, "first_price", "second_price")),
    )


def _make_value(chance: random.Random) -> str | None:
    kind = chance.random()
    if kind < 0.6:
        return chance.choice(PLAIN)
    return None if kind < 0.7 else chance.choice(HOSTILE) if kind < 0.9 else random_text(chance)


def _make_amount(chance: random.Random, *, most: float, zero: float = 0.0) -> str:
    """An amount as the optimizer writes it: up to ten digits, rarely so small that it has an exponent."""
    if chance.random() < zero:
        return "0"
    if chance.random() < 0.02:
        return chance.choice(("1e-05", "1e-300", f"{most}"))
    return f"{round(chance.uniform(0.01, most), chance.choice((0, 2, 4, 9))) or 1.0:.10g}"


def _publish_run(run: MadeUpRun, entity: MadeUpEntity, store: ObjectWriter) -> SnapshotRun:
    output_uri, evidence = _output_uri(run, entity.uri), ("bids", "views", "clicks")
    tables: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
        run_files.MEMCACHE_CSV: (("segment_key", "bid"), run.bids)
    }
    for name, key, rows in (
        (run_files.DOMAINS_CSV, "domain", run.domain_multipliers),
        (run_files.NPIS_CSV, "npi", run.npi_multipliers),
    ):
        tables |= {} if rows is None else {name: ((key, "multiplier", *evidence), rows)}
    objects = []
    for name, (columns, rows) in tables.items():
        content = _csv(columns, rows.items())
        store.put_bytes(output_uri + name, content)
        objects.append(_listed(name, content, rows=len(rows)))
    content = Manifest.model_validate(_manifest(run, entity, objects)).model_dump_json(indent=2).encode()
    store.put_bytes(output_uri + MANIFEST_NAME, content)
    return SnapshotRun(
        run_id=run.run_id,
        traffic_pct=run.traffic_pct,
        manifest_uri=output_uri + MANIFEST_NAME,
        manifest_sha256=sha256(content).hexdigest(),
        macros=run.macros,
    )


def _manifest(run: MadeUpRun, entity: MadeUpEntity, objects: list[dict[str, Any]]) -> dict[str, Any]:
    bidding = {
        "features": run.features,
        "macro_combination": "|".join(run.macros),
        "macro_format": "adx",
        "fallback_bid_cpm": run.fallback_bid_cpm,
        "max_bid_cpm": run.max_bid_cpm,
        "auction_type": run.auction_type,
    }
    named = {"run_id": run.run_id, "run_code": run.run_id, "entity_code": entity.entity_code, "created_at": MADE_AT}
    return {**named, "bidding": bidding, "objects": objects}


def _listed(name: str, content: bytes, *, rows: int) -> dict[str, Any]:
    sizes = {"byte_count": len(content), "sha256": sha256(content).hexdigest(), "row_count": rows}
    return {"name": name, "output_type": name.removesuffix(".csv"), **sizes}


def _csv(columns: Sequence[str], rows: Iterable[tuple[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([key, amount, *range(7, 7 + len(columns) - 2)] for key, amount in rows)
    return text.getvalue().encode()


def _deployed(run: MadeUpRun, *, uri: str, manifest_sha256: str) -> DeployedRun:
    parts = [
        {"feature_name": name, "feature_order": order, "macro_template": MACROS[name]}
        for order, name in enumerate(run.features, start=1)
    ]
    deployed = {"run_id": run.run_id, "traffic_pct": run.traffic_pct, "key_parts": parts}
    state = {"status": "completed", "validation_status": "passed", "manifest_sha256": manifest_sha256}
    return DeployedRun.model_validate({**deployed, **state, "s3_output_path": _output_uri(run, uri)})


def _output_uri(run: MadeUpRun, uri: str) -> str:
    return f"{uri}runs/{run.run_id}/"
