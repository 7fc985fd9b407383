// Finds segments by the words of their feature values, and shows how each bid came about. Reads #segment-data only.

const data = JSON.parse(document.getElementById("segment-data").textContent);
const MOST_RESULTS = 20;
const NO_BID = "no bid";

const box = document.getElementById("segment-words");
const summary = document.getElementById("segment-status");
const results = document.getElementById("segment-results");
const detail = document.getElementById("segment-detail");
const features = document.getElementById("segment-features");

const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const haystacks = data.features.map(({parts, values}) => parts.map((part, at) => plain(`${values[at] ?? ""} ${part}`)));

/** A number of a segment: a column is a list, or one value that all segments share. */
const at = (column, segment) => (Array.isArray(column) ? column[segment] : column);
const shown = (value, write) => (value === null ? "–" : write(value));
const money = (value) => value.toLocaleString("en-US", {minimumFractionDigits: 2, maximumFractionDigits: 2}).replace("-", "−");
const percent = (value) => `${(100 * value).toFixed(1)} %`.replace("-", "−");
const volume = (value) => value.toLocaleString("en-US", {maximumFractionDigits: value >= 10 ? 0 : 1});
const bid = (value) => (value ? money(value) : NO_BID);

const keyOf = (segment) => data.features.map(({parts, codes}) => parts[codes[segment]]).join("|");

function reasonOf(segment) {
  const {patterns, codes, numbers} = data.reason;
  const found = numbers[segment].split(" ");
  return patterns[codes[segment]].map((part, place) => part + (place < found.length ? found[place] : "")).join("");
}

/** The segments of which each word is in some feature value, those with most requests first. */
function find(words) {
  const hits = words.map((word) => haystacks.map((texts) => texts.map((text) => text.includes(word))));
  const found = [];
  for (let segment = 0; segment < data.segments; segment += 1) {
    if (hits.every((word) => word.some((has, feature) => has[data.features[feature].codes[segment]]))) {
      found.push(segment);
    }
  }
  return found;
}

function put(parent, tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  parent.append(element);
  return element;
}

function describe(words, found) {
  const most = found.length > MOST_RESULTS;
  if (!words.length) return most ? `The ${MOST_RESULTS} segments with most requests.` : "All segments.";
  if (!found.length) return "No segment of this report has all of these words.";
  const number = `${found.length.toLocaleString("en-US")} segment${found.length === 1 ? "" : "s"}`;
  return most ? `${number}; the ${MOST_RESULTS} with most requests are listed.` : `${number}.`;
}

function search() {
  const words = plain(box.value).split(/\s+/).filter(Boolean);
  const found = find(words);
  summary.textContent = describe(words, found);
  results.replaceChildren();
  detail.hidden = true;
  const buttons = found.slice(0, MOST_RESULTS).map((segment) => {
    const button = put(put(results, "li", ""), "button", "");
    button.type = "button";
    put(button, "code", keyOf(segment));
    const requests = volume(at(data.columns.requests, segment));
    const served = bid(at(data.columns.suggested_bid_cpm, segment));
    put(button, "span", `${requests} request${requests === "1" ? "" : "s"} a day, ${served === NO_BID ? "" : "bid "}${served}`);
    button.addEventListener("click", () => show(segment, button));
    return button;
  });
  if (buttons.length) show(found[0], buttons[0]);
}

function show(segment, button) {
  for (const other of results.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
  const value = (name, write) => shown(at(data.columns[name], segment), write);
  const texts = {
    key: keyOf(segment),
    reason: reasonOf(segment),
    requests: value("requests", volume),
    observed_win_rate: value("observed_win_rate", percent),
    expected_win_rate: value("expected_win_rate", percent),
    expected_margin: value("expected_margin", percent),
    live_bid_cpm: shown(at(data.live_bid_cpm, segment), bid),
    wanted_bid_cpm: value("wanted_bid_cpm", money),
    planned_bid_cpm: value("planned_bid_cpm", money),
    suggested_bid_cpm: bid(at(data.columns.suggested_bid_cpm, segment)),
  };
  for (const [name, text] of Object.entries(texts)) detail.querySelector(`[data-value="${name}"]`).textContent = text;
  for (const [name, {low, high}] of Object.entries(data.limits)) {
    detail.querySelector(`[data-low="${name}"]`).textContent = shown(at(low, segment), money);
    detail.querySelector(`[data-high="${name}"]`).textContent = shown(at(high, segment), money);
  }
  features.replaceChildren();
  for (const {name, values, codes} of data.features) {
    const item = put(features, "span", `${name} `);
    put(item, "bdi", values[codes[segment]] ?? "(empty)");
  }
  detail.hidden = false;
}

box.addEventListener("input", search);
search();
