// Draws what the pages' JSON blocks hold, with uPlot. Arrow keys move along a chart; the values stand below it.
"use strict";

const HEIGHTS = { history: 280, overlay: 320, scatter: 180, agreement: 260, days: 220, hours: 220, curve: 280 };
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
const hour = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", hour: "numeric", hourCycle: "h23", minute: "2-digit", timeZone: "UTC" });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });

// A canvas needs the color itself, not the variable.
const probe = document.body.appendChild(document.createElement("i"));
probe.hidden = true;
function color(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

function say(value, unit = "") {
  if (value === null || value === undefined) return "–";
  return unit === "%" ? `${number.format(100 * value)} %` : number.format(value) + (unit && ` ${unit}`);
}
const TIMES = { days: day, hours: hour };
const sayX = (chart, value) => TIMES[chart.kind]?.format(1000 * value) ?? say(value, chart.xUnit);

// Of few points each is seen by itself.
const FEW = 20;

function lineOf(series, place, chart) {
  const { kind } = chart;
  const isFew = chart.x.length <= FEW;
  if (kind in TIMES || kind === "curve") {
    const own = color(`--${series.color || `s${place}`}`);
    if (series.edge) return { label: series.label, stroke: "transparent", width: 0, points: { show: false } };
    const points = { show: Boolean(series.dots), size: series.dots || 0, width: 0, fill: own };
    const dash = series.dash ? [6, 5] : undefined;
    return { label: series.label, stroke: own, width: series.line === false ? 0 : 2, dash, points, spanGaps: true };
  }
  const stroke = color(kind === "overlay" ? `--s${place}` : place === 0 ? "--dot" : "--accent");
  if (series.dots) {
    return { label: series.label, paths: () => null, points: { show: true, size: isFew ? 9 : 6, width: 0, fill: stroke }, stroke };
  }
  const points = { show: isFew, size: 5, width: 0, fill: stroke };
  return { label: series.label, stroke, width: 2, points, paths: uPlot.paths.stepped({ align: 1 }) };
}

// The line on which predicted and observed are the same.
function diagonal(plot) {
  const from = Math.max(plot.scales.x.min, plot.scales.y.min);
  const to = Math.min(plot.scales.x.max, plot.scales.y.max);
  if (!(from < to)) return;
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = color("--muted");
  ctx.setLineDash([6, 5]);
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  ctx.moveTo(plot.valToPos(from, "x", true), plot.valToPos(from, "y", true));
  ctx.lineTo(plot.valToPos(to, "x", true), plot.valToPos(to, "y", true));
  ctx.stroke();
  ctx.restore();
}

// Vertical lines with a label above, such as deployments.
function marks(plot, chart) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = color("--muted");
  ctx.lineWidth = devicePixelRatio;
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.setLineDash([3, 4]);
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  for (const [place, mark] of (chart.marks || []).entries()) {
    const x = Math.round(plot.valToPos(mark.x, "x", true));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    // Labels of neighbors stand on two lines.
    ctx.fillText(mark.text, x + 4, bbox.top + (10 + 13 * (place % 2)) * devicePixelRatio);
  }
  ctx.restore();
}

// Iterations are whole numbers; one alone stands in the middle.
const STEPS = [1, 2, 5, 10, 20, 50].concat([2, 3, 4, 5, 6, 7, 8].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power)));
const isStepped = (chart) => chart.kind === "history" || chart.kind === "overlay";
function lonely(chart) {
  const room = chart.kind in TIMES ? 86400 : isStepped(chart) ? 1 : Math.abs(chart.x[0]) * 0.1 || 1;
  return [chart.x[0] - room, chart.x[0] + room];
}

function padded(min, max) {
  const room = (max - min) * 0.06 || Math.abs(max) * 0.1 || 1;
  return [min - room, max + room];
}

function sentence(chart, index) {
  const x = chart.categories ? chart.categories[chart.x[index]] : sayX(chart, chart.x[index]);
  const note = chart.notes ? ` (${chart.notes[index]})` : "";
  return [`${chart.xLabel} ${x}`, ...chart.series.map((one) => `${one.label} ${say(one.values[index], chart.unit)}`)].join(", ") + note;
}

function options(chart, width, readout, idle) {
  const axis = { stroke: color("--muted"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  const grid = { stroke: color("--rule"), width: 1 };
  const sameRange = (plot, min, max) => {
    const values = [...chart.x, ...chart.series[0].values];
    return padded(Math.min(...values), Math.max(...values));
  };
  const ranges = chart.kind === "agreement" ? { x: sameRange, y: sameRange } : {};
  return {
    width,
    height: HEIGHTS[chart.kind],
    padding: [10, 14, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 9 }, y: false },
    scales: {
      x: { time: false, range: ranges.x || ((plot, min, max) => (chart.x.length === 1 ? lonely(chart) : padded(min, max))) },
      y: { range: ranges.y || ((plot, min, max) => (min === null ? [0, 1] : padded(min, max))) },
    },
    axes: [
      {
        ...axis,
        ...(chart.kind !== "scatter" && { label: chart.xLabel, labelSize: 20, labelFont: axis.font }),
        size: 30,
        grid: { show: false },
        ...(chart.categories && {
          splits: () => chart.categories.map((_, place) => place),
          values: (plot, places) => places.map((place) => chart.categories[place] ?? ""),
        }),
        ...(!chart.categories && { values: (plot, values) => values.map((value) => sayX(chart, value)) }),
        ...(isStepped(chart) && { incrs: STEPS }),
        ...(chart.x.length === 1 && !chart.categories && { splits: () => chart.x }),
        ...(chart.kind === "days" && { incrs: [1, 2, 7, 14, 28, 91].map((days) => days * 86400) }),
        ...(chart.kind === "hours" && { incrs: [1, 2, 3, 6, 12, 24, 48, 168].map((hours) => hours * 3600), space: 110 }),
      },
      { ...axis, grid, size: 62, values: (plot, values) => values.map((value) => say(value, chart.unit)) },
    ],
    bands: (chart.bands || []).map((series) => ({ series, fill: color("--shade") })),
    series: [{ label: chart.xLabel }, ...chart.series.map((one, place) => lineOf(one, place, chart))],
    hooks: {
      draw: chart.kind === "agreement" ? [diagonal] : [(plot) => marks(plot, chart)],
      setCursor: [
        (plot) => {
          const index = plot.cursor.idx;
          readout.textContent = index === null || index === undefined ? idle : sentence(chart, index);
        },
      ],
    },
  };
}

// The place that a key leads to, or undefined.
function led(key, place, last) {
  const next = { ArrowRight: place + 1, ArrowLeft: place < 0 ? last : place - 1, Home: 0, End: last }[key];
  return next === undefined ? undefined : Math.min(Math.max(next, 0), last);
}

function show(figure) {
  const chart = JSON.parse(figure.querySelector("script").textContent);
  const box = figure.querySelector(".plot");
  const readout = figure.querySelector(".readout");
  const idle = readout.textContent;
  const data = [chart.x, ...chart.series.map((one) => one.values)];
  let plot = null;
  let place = -1;
  const draw = () => {
    plot?.destroy();
    plot = new uPlot(options(chart, box.clientWidth, readout, idle), data, box);
  };
  const fit = () => plot.width !== box.clientWidth && plot.setSize({ width: box.clientWidth, height: plot.height });
  draw();
  document.addEventListener("themechange", draw);
  new ResizeObserver(fit).observe(box);
  box.addEventListener("keydown", (event) => {
    const next = led(event.key, place, chart.x.length - 1);
    if (next === undefined) return;
    event.preventDefault();
    place = next;
    const y = chart.series.map((one) => one.values[place]).find((value) => value !== null) ?? plot.scales.y.min;
    plot.setCursor({ left: plot.valToPos(chart.x[place], "x"), top: plot.valToPos(y, "y") }, false);
    readout.textContent = sentence(chart, place);
  });
}

document.querySelectorAll("[data-chart]").forEach(show);
// A part of the page that was replaced brings new charts.
document.addEventListener("htmx:afterSwap", (event) => event.target.querySelectorAll("[data-chart]").forEach(show));
