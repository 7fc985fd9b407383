"""Deployed runs and their files, every size and checksum verified, become a generation."""

import csv
import io
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from optimizer.artifacts.manifest import Manifest, check_manifest, read_manifest, read_verified
from optimizer.artifacts.store import ObjectReader
from optimizer.bidder.generation import Generation, ServedRun
from optimizer.bidder.tables import BidTable
from optimizer.control_plane.serving import DeployedRun, ServedEntity, with_traffic
from optimizer.core.records import run_files
from optimizer.core.serving.keys import SEPARATOR
from optimizer.core.serving.traffic import TrafficSplit
from optimizer.errors import ArtifactError

log = logging.getLogger(__name__)

DOMAIN_FEATURE, NPI_FEATURE = "domain", "npi"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a run published for the bidder; `bids_sha256` names the content of memcache.csv."""

    manifest: Manifest
    bids_sha256: str
    bids: Mapping[str, float]
    domain_multipliers: Mapping[str, float]
    npi_multipliers: Mapping[str, float] = field(repr=False)


def read_run_manifest(run: DeployedRun, *, entity_code: str, store: ObjectReader) -> Manifest:
    """Return the run's manifest, which fits what the control plane says of it.

    Raises:
        ArtifactError: it is missing, changed or of another run, or its key is not the one of the tables.
        UnavailableError: the object store is silent.
    """
    manifest = read_manifest(store, run.s3_output_path or "", checksum=run.manifest_sha256)
    _check_manifest(manifest, run=run, entity_code=entity_code)
    if run.manifest_sha256 is None:
        log.warning(
            "the manifest of run %s is not checked: opt_runs.manifest_sha256 is NULL, as for runs of earlier releases",
            run.run_id,
        )
    return manifest


def fingerprint(entity: ServedEntity) -> str:
    """Return what distinguishes two generations: runs, percents, addresses and macros. A run's files never change."""
    return blake2b(entity.model_dump_json().encode(), digest_size=8).hexdigest()


def read_files(run: DeployedRun, manifest: Manifest, *, store: ObjectReader) -> RunFiles:
    """Return the run's bids and multipliers; without a file of multipliers all are 1.

    Raises:
        ArtifactError: an object is missing or changed, or holds what cannot be bid.
        UnavailableError: the object store is silent.
    """
    listed = {item.name: item for item in manifest.objects}

    def read(name: str, *, key: str, value: str, least: float) -> dict[str, float]:
        content = read_verified(store, output_uri=run.s3_output_path or "", manifest=manifest, name=name)
        where = f"{name} of run {run.run_id}"
        rows = _read_column(content, key=key, value=value, least=least, where=where)
        if listed[name].row_count not in (None, len(rows)):
            raise ArtifactError(f"{where} has {len(rows)} rows instead of {listed[name].row_count}; run it again")
        return rows

    smallest = math.ulp(0.0)
    bids = read(run_files.MEMCACHE_CSV, key="segment_key", value="bid", least=0.0)
    _check_keys(bids, parts=len(run.key_parts), where=f"{run_files.MEMCACHE_CSV} of run {run.run_id}")
    return RunFiles(
        manifest,
        listed[run_files.MEMCACHE_CSV].sha256,
        bids,
        *(
            read(name, key=key, value="multiplier", least=smallest) if name in listed else {}
            for name, key in ((run_files.DOMAINS_CSV, "domain"), (run_files.NPIS_CSV, "npi"))
        ),
    )


def build_run(run: DeployedRun, files: RunFiles, *, bids: BidTable) -> ServedRun:
    """Return the run as it is served from `bids`."""
    rule = files.manifest.bidding
    return ServedRun(
        run_id=run.run_id,
        macros=tuple(part.macro_template for part in run.key_parts),
        bids=bids,
        domain_multipliers=files.domain_multipliers,
        npi_multipliers=files.npi_multipliers,
        fallback_bid_cpm=rule.fallback_bid_cpm,
        max_bid_cpm=rule.max_bid_cpm,
        is_second_price=rule.auction_type == "second_price",
        is_manifest_checked=run.manifest_sha256 is not None,
    )


def build_generation(entity: ServedEntity, runs: Iterable[ServedRun], *, now: datetime) -> Generation:
    """Return the entity's generation of these runs."""
    percents = {run.run_id: run.traffic_pct for run in with_traffic(entity)}
    return Generation(
        entity_code=entity.entity_code,
        fingerprint=fingerprint(entity),
        percents=percents,
        split=TrafficSplit.create(percents, entity_code=entity.entity_code),
        runs={run.run_id: run for run in runs},
        domain_macro=entity.macros.get(DOMAIN_FEATURE),
        npi_macro=entity.macros.get(NPI_FEATURE),
        loaded_at=now,
    )


def _check_manifest(manifest: Manifest, *, run: DeployedRun, entity_code: str) -> None:
    key = {part.feature_name: part.macro_template for part in run.key_parts}
    check_manifest(manifest, run_id=run.run_id, entity_code=entity_code, key=key, output_uri=run.s3_output_path or "")
    rule = manifest.bidding
    if not (0 <= rule.fallback_bid_cpm <= rule.max_bid_cpm < math.inf and rule.max_bid_cpm > 0):
        raise ArtifactError(
            f"run {run.run_id}: fallback_bid_cpm={rule.fallback_bid_cpm} or max_bid_cpm={rule.max_bid_cpm} cannot be "
            "bid; a fallback is between 0 and a cap above 0: correct the config and run the entity again"
        )


def _read_column(content: bytes, *, key: str, value: str, least: float, where: str) -> dict[str, float]:
    """The value of each key. Messages name rows, never keys: a key may be an NPI."""
    try:
        header, *rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
        at_key, at_value = header.index(key), header.index(value)
    except (UnicodeDecodeError, csv.Error, ValueError):
        raise ArtifactError(f"{where} is not a CSV in UTF-8 with the columns {key} and {value}; run it again") from None
    if header.count(key) + header.count(value) != 2:
        raise ArtifactError(f"{where} has the column {key} or {value} twice; run the entity again")
    column: dict[str, float] = {}
    for number, row in enumerate(rows, start=1):
        amount = _parse(row[at_value]) if len(row) == len(header) else math.nan
        if not least <= amount < math.inf:
            raise ArtifactError(f"{where}: row {number} has no {value} that can be bid; run the entity again")
        column[row[at_key]] = amount
    if "" in column:
        raise ArtifactError(f"{where} has a row without {key}; run the entity again")
    if len(column) != len(rows):
        raise ArtifactError(f"{where} has {len(rows) - len(column)} keys twice; run the entity again")
    return column


def _check_keys(keys: Iterable[str], *, parts: int, where: str) -> None:
    """Pass where every key is one that requests can make: that many parts, and nothing that memcached refuses."""
    strange = sum(key.count(SEPARATOR) != parts - 1 or not (key.isascii() and key.isprintable()) or " " in key
                  for key in keys)  # fmt: skip
    if strange:
        raise ArtifactError(f"{where} has {strange} keys that no request of {parts} macros makes; run the entity again")


def _parse(text: str) -> float:
    if "_" in text or not text.isascii():  # Python reads 1_0 as ten; no other language does
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan
