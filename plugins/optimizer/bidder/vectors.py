"""Test vectors for bidders in other languages: objects as runs leave them, requests, and the prices that are right.

The prices come from the code that serves: its loader reads the written files, its `price` prices the written requests.
docs/bidder-format.md describes the folder.
"""

import json
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from optimizer.bidder.generation import Generation
from optimizer.bidder.loading import build_generation, build_run, read_files, read_run_manifest
from optimizer.bidder.macro_requests import PriceBody
from optimizer.bidder.pricing import Price, price
from optimizer.bidder.reasons import Reason
from optimizer.bidder.tables import InProcessTable
from optimizer.bidder.vector_entities import (
    DOMAIN_MACRO,
    HOSTILE,
    MACROS,
    MADE_AT,
    NPI_MACRO,
    NPIS,
    PLAIN,
    FolderStore,
    MadeUpEntity,
    MadeUpRun,
    made_up_npi,
    make_entities,
    publish_entity,
    random_text,
)
from optimizer.control_plane.serving import ServedEntity, with_traffic
from optimizer.errors import ConfigError

OBJECTS, ENTITIES, VECTORS = "objects", "entities.json", "vectors.jsonl"
"""In the folder: objects by bucket and key, the address of each entity's snapshot, and one vector a line."""


def write_vectors(folder: Path, *, count: int, seed: int) -> None:
    """Write that many vectors, always the same for a seed, and the objects that they need.

    Raises:
        ConfigError: the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)  # noqa: S311 - no secret
    store = FolderStore(folder / OBJECTS)
    made = make_entities(chance)
    served = [publish_entity(entity, store) for entity in made]
    addresses = {entity.entity_code: entity.snapshot_uri for entity in made}
    (folder / ENTITIES).write_text(json.dumps(addresses, indent=2))
    generations = {entity.entity_code: _load(entity, store) for entity in served if entity.runs}
    with (folder / VECTORS).open("w", encoding="ascii") as file:
        for number in range(count):
            vector = _make_vector(made[number % len(made)], generations, chance)
            file.write(json.dumps(vector) + "\n")


def _load(entity: ServedEntity, store: FolderStore) -> Generation:
    runs = []
    for run in with_traffic(entity):
        manifest = read_run_manifest(run, entity_code=entity.entity_code, store=store)
        files = read_files(run, manifest, store=store)
        runs.append(build_run(run, files, bids=InProcessTable(files.bids)))
    return build_generation(entity, runs, now=MADE_AT)


def _make_vector(
    entity: MadeUpEntity, generations: Mapping[str, Generation], chance: random.Random
) -> dict[str, dict[str, Any]]:
    code = entity.entity_code if chance.random() > 0.005 else "client-unknown"
    body = PriceBody(entity_code=code, **_make_request(entity, chance))
    generation = generations.get(code)
    if generation is None:
        return _vector(body, Price(code, Reason.NOT_SERVED, floor_cpm=body.floor_cpm))
    floor_cpm = _make_floor(price(body.request(), generation=generation), chance)
    priced = price(replace(body.request(), floor_cpm=floor_cpm), generation=generation)
    return _vector(body.model_copy(update={"floor_cpm": floor_cpm}), priced)


def _vector(body: PriceBody, priced: Price) -> dict[str, dict[str, Any]]:
    # An absent field is left out, as a request does: null and absent are the same.
    return {"request": body.model_dump(exclude_defaults=True), "price": priced._asdict()}


def _make_request(entity: MadeUpEntity, chance: random.Random) -> dict[str, Any]:
    run = chance.choice(entity.runs) if entity.runs else None
    user_id = chance.choice((_make_id(chance), _make_id(chance), _make_id(chance), "", None))
    return {
        "macros": _make_macros(run, chance),
        "user_id": user_id,
        "auction_id": _make_id(chance) if not user_id or chance.random() < 0.5 else chance.choice(("", None)),
        "domain": chance.choice((*PLAIN, *HOSTILE, *[""] * 10, *[None] * 40)),
        "npi": chance.choice((made_up_npi(chance.randrange(NPIS + 10)), "", None)),
        "withholds_npi": chance.random() < 0.1,
        "is_first_price": chance.random() < 0.2,
    }


def _make_macros(run: MadeUpRun | None, chance: random.Random) -> dict[str, str | None]:
    """The values of one of the run's segments; often with one that is changed, empty or not named."""
    macros: dict[str, str | None] = {macro: _make_text(chance) for macro in MACROS.values()}
    macros[NPI_MACRO] = chance.choice((made_up_npi(chance.randrange(NPIS)), _make_text(chance)))
    if run is not None:
        macros |= dict(zip(run.macros, chance.choice(run.segments), strict=True))
    changed = chance.choice(tuple(macros))
    kind = chance.random()
    if kind < 0.15:
        macros[changed] = _make_text(chance)
    elif kind < 0.25:
        macros[changed] = chance.choice(("", None))
    elif kind < 0.35:
        del macros[changed]
    if chance.random() < 0.3:
        macros.pop(DOMAIN_MACRO, None)
    return macros


def _make_text(chance: random.Random) -> str | None:
    return chance.choice((chance.choice(PLAIN), chance.choice(HOSTILE), random_text(chance), "", None))


def _make_id(chance: random.Random) -> str:
    number = f"{chance.getrandbits(128):032x}"
    return chance.choice((number, number, number, random_text(chance), chance.choice(HOSTILE)))


def _make_floor(priced: Price, chance: random.Random) -> float | None:
    """None mostly; else around the bid: it exactly, the next number above it, or anything."""
    bid_cpm = priced.bid_cpm or 1.0
    exact = (bid_cpm, math.nextafter(bid_cpm, math.inf), math.nextafter(bid_cpm, 0.0))
    return chance.choice((None, None, None, None, 0.0, *exact, round(chance.uniform(0, 20), 2)))
