"use strict";
// Draws the charts from the numbers in the page, sorts and filters. All text
// goes through textContent: names of files are not to be trusted.

const data = JSON.parse(document.getElementById("data").textContent);
const systems = data.systems;
const series = [...new Set(systems.map((s) => s.series))];
const shown = new Set(systems.keys());
const get = (id) => document.getElementById(id);
const WIDTH = 760, HEIGHT = 400;
const PLOT = { left: 62, right: 740, top: 16, bottom: 346 };
const GROUPS = 8;
const SHAPES = [
  "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0",
  "M-5.5,-5.5h11v11h-11z",
  "M0,-7.5l7.5,7.5l-7.5,7.5l-7.5,-7.5z",
  "M0,-7l7,12h-14z",
  "M0,7l7,-12h-14z",
];

function draw(parent, name, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes))
    node.setAttribute(key, value);
  node.textContent = text;
  return parent.appendChild(node);
}

function add(parent, name, properties = {}) {
  const node = Object.assign(document.createElement(name), properties);
  return parent.appendChild(node);
}

function option(select, value, text) {
  add(select, "option", { value, textContent: text });
}

function number(value, digits = 3) {
  if (value === null) return "–";
  const text = value.toPrecision(digits);
  return text.includes("e") ? String(Number(text)) : text;
}

// -- axes -------------------------------------------------------------------

function ticks(low, high) {
  const raw = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step / 1e6; k++)
    found.push(Number((k * step).toPrecision(12)));
  return found;
}

// With room at both ends; not below a floor.
function range(values, room, floor = -Infinity) {
  const low = Math.min(...values), high = Math.max(...values);
  const pad = room * (high - low || Math.abs(high) || 1);
  return [Math.max(floor, low - pad), high + pad];
}

// Axes, and where values are in them.
function axes(svg, [x0, x1], [y0, y1], xTitle, yTitle) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const { left, right, top, bottom } = PLOT;
  const x = (v) => left + ((v - x0) / (x1 - x0)) * (right - left);
  const y = (v) => bottom - ((v - y0) / (y1 - y0)) * (bottom - top);
  for (const v of ticks(y0, y1)) {
    draw(svg, "line", { class: "grid", x1: left, x2: right, y1: y(v), y2: y(v) });
    draw(svg, "text", { class: "soft", x: left - 8, y: y(v) + 4, "text-anchor": "end" }, v);
  }
  for (const v of ticks(x0, x1)) {
    draw(svg, "line", { class: "grid", x1: x(v), x2: x(v), y1: bottom, y2: bottom + 5 });
    draw(svg, "text", { class: "soft", x: x(v), y: bottom + 20, "text-anchor": "middle" }, v);
  }
  draw(svg, "text", { x: (left + right) / 2, y: HEIGHT - 10, "text-anchor": "middle" }, xTitle);
  draw(svg, "text", { x: 16, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 16 ${(top + bottom) / 2})` }, yTitle);
  return { x, y };
}

// -- the box with numbers ---------------------------------------------------

function explain(node, text, focusable = true) {
  const show = () => {
    const tip = get("tip"), at = node.getBoundingClientRect();
    tip.textContent = text;
    tip.hidden = false;
    const end = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${scrollX + Math.max(8, Math.min(at.right + 8, end))}px`;
    tip.style.top = `${scrollY + at.bottom + 8}px`;
  };
  const hide = () => { get("tip").hidden = true; };
  node.addEventListener("pointerenter", show);
  node.addEventListener("pointerleave", hide);
  if (!focusable) return;
  node.setAttribute("tabindex", "0");
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", text.replaceAll("\n", ", "));
  node.addEventListener("focus", show);
  node.addEventListener("blur", hide);
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") get("tip").hidden = true;
});

// -- quality against cost ---------------------------------------------------

function mark(parent, place) {
  return draw(parent, "path", { class: "mark", d: SHAPES[place % SHAPES.length] });
}

function drawQuality() {
  const metric = get("metric").value, title = data.metrics[metric];
  const points = [...shown]
    .map((k) => systems[k])
    .filter((s) => s.mmacs !== null && (s.scores[metric]?.value ?? null) !== null);
  const input = data.input.scores[metric]?.value ?? null;
  const svg = get("quality-chart");
  if (!points.length) {
    axes(svg, [0, 1], [0, 1], "", "");
    draw(svg, "text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "No system to show.");
    return;
  }
  const heights = points.flatMap((s) => {
    const { value, low, high } = s.scores[metric];
    return [value, low ?? value, high ?? value];
  });
  if (input !== null) heights.push(input);
  const { x, y } = axes(
    svg,
    range(points.map((s) => s.mmacs), 0.12, 0),
    range(heights, 0.08),
    "cost as executed (M MAC per second of audio)",
    title,
  );
  if (input !== null) {
    draw(svg, "line", { class: "input", x1: PLOT.left, x2: PLOT.right, y1: y(input), y2: y(input) });
    draw(svg, "text", { class: "soft", x: PLOT.left + 8, y: y(input) - 6 }, data.input.name);
  }
  series.forEach((name, place) => {
    const own = points.filter((s) => s.series === name).sort((a, b) => a.mmacs - b.mmacs);
    if (!own.length) return;
    const group = draw(svg, "g", { class: `c${place % 7}` });
    const path = own.map((s) => `${x(s.mmacs)},${y(s.scores[metric].value)}`);
    draw(group, "polyline", { class: "join", points: path.join(" ") });
    for (const s of own) drawSystem(group, s, metric, place, x, y);
  });
  const taken = points.map((s) => {
    const at = x(s.mmacs), up = y(s.scores[metric].value);
    return { left: at - 7, right: at + 7, top: up - 7, bottom: up + 7 };
  });
  for (const s of points) label(svg, s.label, x(s.mmacs), y(s.scores[metric].value), taken);
}

// Beside a mark, where there is room; without any, the box tells its name.
function label(svg, name, at, up, taken) {
  const node = draw(svg, "text", {}, name);
  const { width, height } = node.getBBox();
  for (const [side, line] of [[1, 0], [1, 1], [-1, 0], [-1, 1], [1, 2], [-1, 2], [1, -1], [-1, -1]]) {
    const left = side > 0 ? at + 9 : at - 9 - width;
    const base = up - 8 + 26 * line - (line === 2 ? 10 : 0) + (line < 0 ? 10 : 0);
    const box = { left, right: left + width, top: base - height + 4, bottom: base + 4 };
    if (left < PLOT.left || box.right > PLOT.right + 15) continue;
    if (taken.some((o) => box.left < o.right && o.left < box.right && box.top < o.bottom && o.top < box.bottom)) continue;
    node.setAttribute("x", left);
    node.setAttribute("y", base);
    taken.push(box);
    return;
  }
  node.remove();
}

function drawSystem(parent, system, metric, place, x, y) {
  const { value, low, high, n_valid, n_total } = system.scores[metric];
  const group = draw(parent, "g");
  const at = x(system.mmacs);
  let interval = "";
  if (low !== null && high !== null) {
    const d = `M${at - 4},${y(high)}h8m-4,0V${y(low)}m-4,0h8`;
    draw(group, "path", { class: "bar", d });
    interval = ` [${number(low)}, ${number(high)}]`;
  }
  mark(group, place).setAttribute("transform", `translate(${at} ${y(value)})`);
  explain(group, [
    system.label,
    `${data.metrics[metric]} ${number(value)}${interval}, ${n_valid} of ${n_total} files`,
    `${number(system.mmacs, 4)} M MAC/s, activation ${number(system.activation)}`,
    system.rtf === null ? "" : `real-time factor ${number(system.rtf, 2)}`,
  ].filter(Boolean).join("\n"));
}

// -- what compute follows ---------------------------------------------------

// Few distinct values are a group each; many are cut into equal parts.
function groupsOf(pairs) {
  const values = [...new Set(pairs.map((p) => p.x))];
  if (values.length <= GROUPS)
    return values.sort((a, b) => a - b).map((v) => pairs.filter((p) => p.x === v));
  const sorted = [...pairs].sort((a, b) => a.x - b.x);
  const edge = (k) => Math.round((k * sorted.length) / GROUPS);
  return [...Array(GROUPS).keys()].map((k) => sorted.slice(edge(k), edge(k + 1)));
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

function drawUsage() {
  const system = systems[get("usage-system").value];
  const condition = get("condition").value, title = data.conditions[condition];
  const pairs = data.files.names
    .map((name, k) => ({ name, x: data.files[condition][k], use: system.use[k] }))
    .filter((p) => p.x !== null && p.use !== null);
  const svg = get("usage-chart");
  const { x, y } = axes(svg, range(pairs.map((p) => p.x), 0.06), [-0.03, 1.03], title, "activation");
  const few = new Set(pairs.map((p) => p.x)).size <= GROUPS;
  pairs.forEach((p, k) => {
    // Files of one value lie side by side, the same way every time.
    const aside = few ? 24 * (((k * 0.618) % 1) - 0.5) : 0;
    const dot = draw(svg, "circle", { class: "dot", cx: x(p.x) + aside, cy: y(p.use), r: 4 });
    explain(dot, `${p.name}\n${title} ${number(p.x)}, activation ${number(p.use)}`, false);
  });
  const groups = groupsOf(pairs).map((group) => ({
    x: mean(group.map((p) => p.x)), use: mean(group.map((p) => p.use)), count: group.length,
  }));
  const layer = draw(svg, "g", { class: "c1" });
  const path = groups.map((g) => `${x(g.x)},${y(g.use)}`).join(" ");
  draw(layer, "polyline", { class: "join", points: path });
  for (const g of groups) {
    const group = draw(layer, "g", { transform: `translate(${x(g.x)} ${y(g.use)})` });
    mark(group, 1);
    explain(group, `Mean of ${g.count} files\n${title} ${number(g.x)}, activation ${number(g.use)}`);
  }
  const rho = system.lines[system.label][`rho(${condition})`];
  get("rho").textContent =
    rho && rho !== "nan" ? `Spearman's correlation is ${rho} over ${pairs.length} files.` : "";
}

// -- sorting and filtering --------------------------------------------------

function sortBy(column, heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = get("table").tBodies[0];
  const key = (row) => {
    const text = row.cells[column].textContent, value = parseFloat(text);
    return column === 0 ? text : Number.isNaN(value) ? null : value;
  };
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = column === 0 ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
    return descending ? -order : order;
  });
  body.append(...rows.map(([, row]) => row));
}

function filter() {
  for (const row of document.querySelectorAll("tr[data-system]"))
    row.hidden = !shown.has(Number(row.dataset.system));
  drawQuality();
}

function listSystems() {
  systems.forEach((system, k) => {
    const label = add(get("systems"), "label");
    const box = add(label, "input", { type: "checkbox", checked: true });
    const place = series.indexOf(system.series);
    const sign = draw(label, "svg", { viewBox: "-9 -9 18 18", class: `c${place % 7}`, "aria-hidden": "true" });
    mark(sign, place);
    label.append(system.label);
    box.addEventListener("change", () => {
      box.checked ? shown.add(k) : shown.delete(k);
      filter();
    });
  });
}

function start() {
  listSystems();
  for (const [key, title] of Object.entries(data.metrics)) option(get("metric"), key, title);
  get("metric").addEventListener("change", drawQuality);
  drawQuality();
  [...get("table").tHead.rows[0].cells].forEach((heading, column) => {
    heading.firstChild.addEventListener("click", () => sortBy(column, heading));
  });
  systems.forEach((system, k) => {
    const use = new Set(system.use.filter((v) => v !== null));
    if (use.size > 1) option(get("usage-system"), k, system.label);
  });
  for (const [key, title] of Object.entries(data.conditions)) option(get("condition"), key, title);
  if (get("usage-system").length && get("condition").length) {
    for (const id of ["usage-system", "condition"]) get(id).addEventListener("change", drawUsage);
    drawUsage();
  } else get("usage-section").hidden = true;
}

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

get("theme").setAttribute("aria-pressed", dark());
get("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  get("theme").setAttribute("aria-pressed", dark());
});

for (const clip of document.querySelectorAll(".clip")) {
  for (const track of clip.querySelectorAll("audio")) {
    track.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) {
        if (other === track || other.paused) continue;
        if (clip.contains(other)) track.currentTime = other.currentTime;
        other.pause();
      }
    });
  }
}

start();
