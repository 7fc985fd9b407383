"""docs/bidder-format.md, the product and the bidder in Node say the same, and the vectors catch who does not."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from servers.node import EXAMPLE, check_vectors
from typer.testing import CliRunner

from optimizer.artifacts.serving_snapshot import FORMAT, ServingSnapshot, SnapshotRun
from optimizer.bidder.commands import app
from optimizer.core.serving.keys import segment_key
from optimizer.core.serving.traffic import SLOTS, TrafficSplit

PAGE = (Path(__file__).parents[2] / "docs/bidder-format.md").read_text(encoding="utf-8")
COUNT = 10_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the vectors that the command writes when nothing is said."""
    folder = tmp_path_factory.mktemp("vectors") / "new"
    done = CliRunner().invoke(app, ["vectors", str(folder)])
    assert (done.exit_code, f"{COUNT:,} vectors are in" in done.output) == (0, True)
    return folder


def read_vectors(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "vectors.jsonl").read_text().splitlines()]


def test_the_bidder_in_node_agrees_with_every_vector(folder: Path):
    done = check_vectors(folder)
    assert (done.returncode, done.stdout.strip()) == (0, f"{COUNT} of {COUNT} agree")


@pytest.mark.parametrize(
    ("right", "mistake"),
    [
        ("digest.readBigUInt64BE(0)", "digest.readBigUInt64LE(0)"),
        ("`${entityCode}|${id}`", "id"),
        ("request.user_id || request.auction_id", "request.auction_id || request.user_id"),
        ("live.sort(", "[].sort("),
        (".toUpperCase()", ""),
        ("[A-Za-z0-9!#", "[A-Za-z0-9'!#"),
        ("`{}~]/", "`{}]/"),
        ('"%EMPTY"', '""'),
        ('Buffer.from(value, "utf8")', 'Buffer.from(value.normalize(), "utf8")'),
        ('Buffer.from(value, "utf8")', 'Buffer.from(value.trim(), "utf8")'),
        ('Buffer.from(value, "utf8")', 'Buffer.from(value.toLowerCase(), "utf8")'),
        ("!names.every((name) => Object.hasOwn(macros, name))", "false"),
        ("found ?? run", "found || run"),
        ("request.domain || request", "request.domain ?? request"),
        ("request.domain || request.macros[entity.domainMacro]", "request.domain"),
        ("request.npi || request.macros[entity.npiMacro]", "request.npi"),
        ("request.withholds_npi ? null :", ""),
        ("request.is_first_price && run", "run"),
        ('=== "second_price"', '!== "first_price"'),
        ("base * byDomain * byNpi", "base * (byDomain * byNpi)"),
        ("base * byDomain * byNpi", "Math.round(base * byDomain * byNpi * 1e6) / 1e6"),
        ("bid < floor", "bid <= floor"),
        ("bid > run.maxBid", "false"),
        ("!entity?.isActive", "entity === undefined"),
        ("replaceAll('\"\"', '\"')", "replaceAll('\"\"', '')"),
    ],
)
def test_a_bidder_with_a_common_mistake_does_not_agree(folder: Path, tmp_path: Path, right: str, mistake: str):
    copied = shutil.copytree(EXAMPLE, tmp_path / "bidder")
    code = (EXAMPLE / "bidder.mjs").read_text(encoding="utf-8")
    assert right in code
    (copied / "bidder.mjs").write_text(code.replace(right, mistake), encoding="utf-8")
    done = check_vectors(folder, bidder=copied)
    assert done.returncode == 1 and f"{COUNT} of {COUNT}" not in done.stdout


def test_every_outcome_and_every_kind_of_request_is_among_the_vectors(folder: Path):
    vectors = read_vectors(folder)
    reasons = Counter(vector["price"]["reason"] for vector in vectors)
    wanted = {"segment", "fallback", "no_macro", "cap", "blocked", "below_floor", "not_served", "auction_type"}
    assert set(reasons) == wanted and min(reasons.values()) > COUNT / 50
    requests = [vector["request"] for vector in vectors]
    assert any(
        request.get("floor_cpm") == vector["price"]["bid_cpm"]
        for request, vector in zip(requests, vectors, strict=True)
    )
    assert sum("user_id" not in request for request in requests) > COUNT / 20
    assert sum("domain" not in request for request in requests) > COUNT / 20
    assert any(len(value or "") > 250 for request in requests for value in request["macros"].values())


def test_the_made_up_splits_have_one_to_five_runs_and_some_have_runs_without_traffic(folder: Path):
    addresses = json.loads((folder / "entities.json").read_text())
    snapshots = [json.loads((folder / "objects" / uri.removeprefix("s3://")).read_text()) for uri in addresses.values()]
    percents = [[run["traffic_pct"] for run in snapshot["runs"]] for snapshot in snapshots]
    assert {len(shares) for shares in percents} == {0, 1, 2, 3, 4, 5}
    assert any(0 in shares for shares in percents)
    assert {snapshot["format"] for snapshot in snapshots} == {FORMAT}


def test_the_npis_of_the_vectors_are_valid_and_belong_to_nobody(folder: Path):
    npis = {vector["request"].get("npi") for vector in read_vectors(folder)} - {None, ""}
    assert npis and all(npi.startswith("9") and luhn_sum(f"80840{npi}") % 10 == 0 for npi in npis)


def luhn_sum(digits: str) -> int:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled)


def test_the_same_seed_writes_the_same_vectors_and_a_full_folder_is_left_alone(tmp_path: Path):
    contents = []
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        assert (
            CliRunner().invoke(app, ["vectors", str(tmp_path / name), "--count", "50", "--seed", seed]).exit_code == 0
        )
        contents.append((tmp_path / name / "vectors.jsonl").read_bytes())
    assert contents[0] == contents[1] != contents[2]
    again = CliRunner().invoke(app, ["vectors", str(tmp_path / "a")])
    assert again.exit_code == 1 and "is not empty; name a new folder" in again.output


def test_the_slots_on_the_page_are_those_of_the_split():
    rows = re.findall(
        r"^\| `([^`]+)` \| `([^`]+)` \| `([0-9a-f]{16})` \| (\d+) \| (first|second) \|$", PAGE, re.MULTILINE
    )
    assert len(rows) == 4
    for entity, identity, number, slot, place in rows:
        assert int(number, 16) % SLOTS == int(slot)
        hundred = TrafficSplit.create({f"{run:02}": 1 for run in range(100)}, entity_code=entity)
        assert hundred.run_of(identity) == f"{int(slot) // 100:02}"
        two = TrafficSplit.create({"first": 80, "second": 20}, entity_code=entity)
        assert two.run_of(identity) == place


def test_the_keys_on_the_page_are_those_of_the_product():
    section = PAGE.split("## Segment key")[1].split("## ")[0]
    rows = re.findall(r"^((?:null|\"[^\"]*\")(?:, \"[^\"]*\")*) {2,}(\S+)$", section, re.MULTILINE)
    assert len(rows) == 4
    for values, key in rows:
        assert segment_key(json.loads(f"[{values}]")) == key


def test_the_safe_characters_on_the_page_are_those_of_the_product():
    letters = [chr(code) for code in range(128) if segment_key([chr(code)]) == chr(code) and not chr(code).isalnum()]
    (count, listed) = re.findall(r"these (\d+): ``(.+)``$", PAGE, re.MULTILINE)[0]
    assert (sorted(listed.split()), int(count)) == (sorted(letters), len(letters))


def test_the_snapshot_on_the_page_has_the_fields_of_the_product():
    printed = json.loads(PAGE.split("## Snapshot")[1].split("```json")[1].split("```")[0])
    assert list(printed) == list(ServingSnapshot.model_fields)
    assert list(printed["runs"][0]) == list(SnapshotRun.model_fields)
    assert ServingSnapshot.model_validate(printed).model_dump(mode="json") == printed
