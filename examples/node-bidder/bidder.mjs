// A bidder's core in Node without dependencies: load an entity from its snapshot, price one request.
// It follows docs/bidder-format.md, section by section. Amounts are CPM in the account's currency.

import { createHash } from "node:crypto";

const FORMAT = 1;
const SLOTS = 10_000n;
const FILES = [
  ["memcache.csv", "segment_key", "bid"],
  ["domain_multipliers.csv", "domain", "multiplier"],
  ["npi_multipliers.csv", "npi", "multiplier"],
];

/**
 * Return the entity as its snapshot has it; `held`, if the snapshot is not newer.
 *
 * @param {string} uri the snapshot's address
 * @param {(uri: string) => Promise<Buffer>} readObject reads one object of the object store
 * @param {object | null} held what is served now
 * @throws if anything cannot be served: keep what is held, and try again later
 */
export async function loadEntity(uri, readObject, held = null) {
  const snapshot = JSON.parse(await readObject(uri));
  if (snapshot.format !== FORMAT) throw new Error(`${uri} has format ${snapshot.format}, not ${FORMAT}`);
  if (held !== null && snapshot.sequence <= held.sequence) return held;
  const live = snapshot.runs.filter((run) => run.traffic_pct > 0);
  live.sort((one, other) => (one.run_id < other.run_id ? -1 : 1));
  const total = live.reduce((sum, run) => sum + run.traffic_pct, 0);
  if (snapshot.is_active && total !== 100) throw new Error(`${uri}: the percents sum to ${total}, not to 100`);
  return {
    entityCode: snapshot.entity_code,
    sequence: snapshot.sequence,
    isActive: snapshot.is_active,
    domainMacro: snapshot.domain_macro,
    npiMacro: snapshot.npi_macro,
    runs: await Promise.all(live.map((run) => loadRun(run, snapshot.entity_code, readObject))),
  };
}

/**
 * Return the price of one request: the fields of the vectors' `price`.
 *
 * @param {object | undefined} entity what loadEntity returned, undefined where the entity is not served
 * @param {object} request macros by name; user_id, auction_id, domain, npi, floor_cpm, withholds_npi and
 *   is_first_price where it has them
 */
export function price(entity, request) {
  const floor = request.floor_cpm ?? null;
  if (!entity?.isActive) return priceOf(request.entity_code, "not_served", { floor_cpm: floor });

  const run = runOf(entity, request.user_id || request.auction_id || "");
  if (request.is_first_price && run.isSecondPrice)
    return priceOf(entity.entityCode, "auction_type", { run_id: run.runId, floor_cpm: floor });

  const key = segmentKey(run.macros, request.macros);
  const found = key === null ? undefined : run.bids.get(key);
  const base = found ?? run.fallbackBid;
  const byDomain = run.domains.get(request.domain || request.macros[entity.domainMacro]) ?? 1;
  const npi = request.withholds_npi ? null : request.npi || request.macros[entity.npiMacro];
  const byNpi = run.npis.get(npi) ?? 1;

  let reason = found !== undefined ? "segment" : key === null ? "no_macro" : "fallback";
  let bid = base * byDomain * byNpi;
  if (bid > run.maxBid) [bid, reason] = [run.maxBid, "cap"];
  if (bid <= 0) [bid, reason] = [null, "blocked"];
  else if (floor !== null && bid < floor) [bid, reason] = [null, "below_floor"];
  return priceOf(entity.entityCode, reason, {
    bid_cpm: bid,
    run_id: run.runId,
    segment_key: key,
    base_bid_cpm: base,
    domain_multiplier: byDomain,
    npi_multiplier: byNpi,
    floor_cpm: floor,
  });
}

/** Return the slot, 0 to 9999, of an id in the entity's traffic. */
export function slotOf(entityCode, id) {
  const digest = createHash("sha256").update(`${entityCode}|${id}`, "utf8").digest();
  return Number(digest.readBigUInt64BE(0) % SLOTS);
}

/** Return a value as it is in a key: UTF-8, with %XX for every byte that is not safe. */
export function escapeValue(value) {
  if (!value) return "%EMPTY";
  let escaped = "";
  for (const byte of Buffer.from(value, "utf8")) {
    const character = String.fromCharCode(byte);
    escaped += /[A-Za-z0-9!#$&()*+\-./:;<=>?@[\]^_`{}~]/.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return escaped;
}

function runOf(entity, id) {
  let left = slotOf(entity.entityCode, id);
  for (const run of entity.runs) {
    left -= run.trafficPct * 100;
    if (left < 0) return run;
  }
  throw new Error("unreachable: the percents sum to 100");
}

function segmentKey(names, macros) {
  if (!names.every((name) => Object.hasOwn(macros, name))) return null;
  return names.map((name) => escapeValue(macros[name])).join("|");
}

function priceOf(entityCode, reason, parts) {
  return {
    entity_code: entityCode,
    reason,
    bid_cpm: null,
    run_id: null,
    segment_key: null,
    base_bid_cpm: null,
    domain_multiplier: null,
    npi_multiplier: null,
    floor_cpm: null,
    ...parts,
  };
}

async function loadRun(run, entityCode, readObject) {
  const content = await readObject(run.manifest_uri);
  if (sha256(content) !== run.manifest_sha256) throw new Error(`${run.manifest_uri} is not what the run wrote`);
  const manifest = JSON.parse(content);
  const rule = manifest.bidding;
  if (manifest.run_id !== run.run_id || manifest.entity_code !== entityCode)
    throw new Error(`${run.manifest_uri} is of run ${manifest.run_id}, not of ${run.run_id}`);
  if (rule.macro_combination !== run.macros.join("|"))
    throw new Error(`run ${run.run_id}: its key differs between snapshot and manifest`);
  if (!(rule.fallback_bid_cpm >= 0 && rule.fallback_bid_cpm <= rule.max_bid_cpm && rule.max_bid_cpm > 0))
    throw new Error(`run ${run.run_id}: its fallback bid or its cap cannot be bid`);

  const folder = run.manifest_uri.slice(0, run.manifest_uri.lastIndexOf("/") + 1);
  const [bids, domains, npis] = await Promise.all(
    FILES.map((file) => loadFile(folder, manifest, file, readObject)),
  );
  return {
    runId: run.run_id,
    trafficPct: run.traffic_pct,
    macros: run.macros,
    fallbackBid: rule.fallback_bid_cpm,
    maxBid: rule.max_bid_cpm,
    isSecondPrice: rule.auction_type === "second_price",
    bids,
    domains,
    npis,
  };
}

async function loadFile(folder, manifest, [name, keyColumn, valueColumn], readObject) {
  const listed = manifest.objects.find((object) => object.name === name);
  const where = `${name} of run ${manifest.run_id}`;
  if (listed === undefined) {
    if (name === "memcache.csv") throw new Error(`${where} is not in its manifest`);
    return new Map();
  }
  const content = await readObject(folder + name);
  if (content.length !== listed.byte_count || sha256(content) !== listed.sha256)
    throw new Error(`${where} is not what the run wrote`);
  const [header, ...rows] = parseCsv(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content));
  const [atKey, atValue] = [header.indexOf(keyColumn), header.indexOf(valueColumn)];
  const values = new Map(rows.map((row) => [row[atKey], amount(row[atValue], valueColumn, where)]));
  const isTwice = header.lastIndexOf(keyColumn) !== atKey || header.lastIndexOf(valueColumn) !== atValue;
  if (atKey < 0 || atValue < 0 || isTwice || values.size !== rows.length || rows.length !== listed.row_count)
    throw new Error(`${where} lacks a column or a row, or has a column or a key twice`);
  if (values.has("")) throw new Error(`${where} has an empty key`);
  return values;
}

function amount(text, column, where) {
  const value = /^\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
  // A bid of 0 says not to bid; a multiplier of 0 is an error.
  if (!(column === "bid" ? value >= 0 : value > 0) || value === Infinity)
    throw new Error(`${where}: a row has no ${column} that can be bid`);
  return value;
}

/** Return the rows of a CSV as RFC 4180 has it, with "\n" or "\r\n" after each row. */
function parseCsv(text) {
  const rows = [];
  let row = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  while (field.lastIndex < text.length) {
    const match = field.exec(text);
    if (match === null) throw new Error("not a CSV");
    row.push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    if (match[3] === ",") continue;
    rows.push(row);
    row = [];
  }
  return rows;
}

function sha256(content) {
  return createHash("sha256").update(content).digest("hex");
}
