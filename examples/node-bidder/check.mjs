// Compare this bidder with the vectors of `python -m optimizer.bidder vectors FOLDER`:
//   node check.mjs FOLDER
// It prints how many agree, and the first that do not; it ends with 1 if any does not.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

import { loadEntity, price } from "./bidder.mjs";

const SHOWN = 3;
const [folder] = process.argv.slice(2);
const readObject = (uri) => readFile(join(folder, "objects", uri.slice("s3://".length)));

const addresses = JSON.parse(await readFile(join(folder, "entities.json")));
const entities = new Map();
for (const [code, uri] of Object.entries(addresses)) entities.set(code, await loadEntity(uri, readObject));

const lines = (await readFile(join(folder, "vectors.jsonl"), "utf8")).trimEnd().split("\n");
const wrong = lines.filter((line) => {
  const vector = JSON.parse(line);
  return !isDeepStrictEqual(price(entities.get(vector.request.entity_code), vector.request), vector.price);
});
console.log(`${lines.length - wrong.length} of ${lines.length} agree`);
for (const line of wrong.slice(0, SHOWN)) {
  const vector = JSON.parse(line);
  console.log({ ...vector, found: price(entities.get(vector.request.entity_code), vector.request) });
}
process.exitCode = wrong.length > 0 ? 1 : 0;
