// A record's page, from the file of its comparison's records.
"use strict";

// As `clean` in benchmark/report/site/text.py: nothing is hidden, nothing turns round.
const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/g;
const LONGEST = 2000; // characters of a fact

function words(value) {
  if (value === null) return "none";
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(6)));
  if (Array.isArray(value)) return value.slice(0, 40).map(words).join(", ") + (value.length > 40 ? ", …" : "");
  const text = String(value).replace(UNSEEN, "\ufffd");
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

function part(name, more, ...children) {
  const made = Object.assign(document.createElement(name), more);
  made.append(...children);
  return made;
}

function* flat(values, prefix) {
  for (const [name, value] of Object.entries(values)) {
    const nested = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length;
    if (nested) yield* flat(value, `${prefix}${words(name)}.`);
    else yield [`${prefix}${words(name)}`, words(value)];
  }
}

function facts(name, values) {
  const rows = [...flat(values, "")].map(([fact, value]) =>
    part("tr", {}, part("th", { scope: "row" }, fact), part("td", {}, value)),
  );
  const body = rows.length
    ? part("div", { className: "scroll", tabIndex: 0 }, part("table", { className: "facts" }, part("tbody", {}, ...rows)))
    : part("p", { className: "quiet" }, "None.");
  if (rows.length) {
    body.setAttribute("role", "group");
    body.setAttribute("aria-label", `Table of ${name.toLowerCase()}`);
  }
  return part("section", {}, part("h3", {}, name), body);
}

const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// Training loss over epochs, on a log scale where it can be.
function curve(loss) {
  const known = loss.map((value, i) => [i + 1, value]).filter(([, value]) => Number.isFinite(value));
  if (known.length < 2) return part("p", { className: "quiet" }, `Training loss: ${known.map(([, v]) => words(v)).join("") || "none"}.`);
  const losses = known.map(([, value]) => value);
  const [low, high] = [losses.reduce((a, b) => Math.min(a, b)), losses.reduce((a, b) => Math.max(a, b))];
  const scaled = low > 0 ? Math.log : (value) => value;
  const y = (value) => 20 + 200 * (scaled(high) === scaled(low) ? 0.5 : (scaled(high) - scaled(value)) / (scaled(high) - scaled(low)));
  const x = (epoch) => 46 + (300 * (epoch - 1)) / Math.max(1, loss.length - 1);
  const svg = drawn("svg", { viewBox: "-14 0 374 252", role: "img", "aria-label": "Training loss over epochs", class: "single" });
  const axes = drawn("g", { class: "axes" });
  for (const value of new Set([low, high])) {
    axes.append(drawn("path", { d: `M46 ${y(value)}L346 ${y(value)}` }), drawn("text", { x: 42, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(3)));
  }
  axes.append(drawn("text", { x: -12, y: 11 }, "training loss"), drawn("text", { x: 346, y: 250, "text-anchor": "end" }, "epoch"));
  for (const epoch of new Set([1, loss.length])) axes.append(drawn("text", { x: x(epoch), y: 236, "text-anchor": "middle" }, String(epoch)));
  const line = drawn("g", { class: "curve" });
  line.append(drawn("path", { d: `M${known.map(([epoch, value]) => `${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}` }));
  svg.append(axes, line);
  return part("figure", { className: "chart" }, svg, part("figcaption", {}, "Mean of each epoch."));
}

function timings(throughput) {
  const named = ["bare_step", "step", "targets", "floor"].filter((name) => `seconds_${name}` in throughput);
  const head = part("tr", {}, part("th", { scope: "col" }, "milliseconds"));
  throughput.seconds_step.forEach((_, i) => head.append(part("th", { scope: "col", className: "number" }, String(i + 1))));
  const rows = named.map((name) =>
    part("tr", {}, part("th", { scope: "row" }, name.replace("_", " ")), ...throughput[`seconds_${name}`].map((s) => part("td", { className: "number" }, (1000 * s).toPrecision(4)))),
  );
  const scroll = part("div", { className: "scroll", tabIndex: 0 }, part("table", {}, part("thead", {}, head), part("tbody", {}, ...rows)));
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", "Table of timings");
  return scroll;
}

function figures(record) {
  const { result, storage, prior } = record;
  const list = part("dl", { className: "figures" });
  for (const [name, value] of [
    ["accuracy", `${(100 * result.accuracy).toFixed(2)} %`],
    ["bytes shipped", words(storage.total)],
    ["all soft labels over that", `${Number((storage.soft / storage.total).toPrecision(3))}×`],
    ["prior", words(prior)],
    ["fit", `${result.seconds_fit.toFixed(1)} s`],
    ["training", `${result.seconds_train.toFixed(1)} s`],
  ]) {
    list.append(part("div", {}, part("dt", {}, name), part("dd", {}, value)));
  }
  return list;
}

function commitOf(record, base) {
  const said = words(record.environment.commit ?? "unknown").slice(0, 64);
  const plain = said.replace(/-dirty$/, "");
  const code = part("code", {}, said);
  return base && /^[0-9a-f]{7,64}$/.test(plain) ? part("a", { href: base + plain }, code) : code;
}

function show(place, entry) {
  const { record } = entry;
  const { cell } = record;
  const name = words(entry.title).slice(0, 120);
  document.title = `${name} · labelbench`;
  const about = ` on ${words(cell.images).slice(0, 120)}, IPC ${cell.ipc}, seed ${cell.seed}`;
  const button = part("button", { type: "button" }, "the whole record as JSON");
  button.addEventListener("click", () => download(`${entry.name}.json`, `${JSON.stringify(record)}\n`, "application/json"));
  const row = entry.line ? `#line-${entry.line}` : "";
  const notes = part("ul", { className: "plain note" }, ...entry.notes.map((note) => part("li", {}, words(note))));
  const command = part("pre", { tabIndex: 0 }, part("code", {}, words(entry.command)));
  place.replaceChildren(
    part("h1", {}, name, part("span", { className: "quiet" }, about)),
    part("p", { className: "options" }, words(cell.method)),
    part("p", {}, "In ", part("a", { href: `comparison/${entry.board}.html${row}` }, words(entry.setting)), ", measured at commit ", commitOf(record, place.dataset.commit), "."),
    ...(entry.line ? [] : [part("p", { className: "warning" }, "This record does not count: another one of the same repeat, measured by another version, stands for it.")]),
    ...(record.on_protocol ? [] : [part("p", { className: "warning" }, "Off protocol: the recipe was changed.")]),
    figures(record),
    part("h2", { id: "again" }, "Measure it again"),
    command,
    notes,
    part("p", { className: "take" }, button, part("small", {}, ` ${words(record.key).slice(0, 64)}`)),
    part("h2", { id: "curve" }, "Training loss"),
    curve(record.result.train_loss),
    part("h2", { id: "throughput" }, "Throughput"),
    part("p", {}, `Batch ${record.throughput.batch}; every repeat.`),
    timings(record.throughput),
    part("h2", {}, "All of it"),
    part("div", { className: "columns" }, ...["cell", "options", "storage", "recipe", "inputs", "world", "environment"].map((key) => facts(key[0].toUpperCase() + key.slice(1), record[key] ?? {})), facts("Fit", record.result.fit ?? {})),
  );
}

function open() {
  const place = document.getElementById("record");
  const state = stateOf(location.hash);
  const [of, wanted] = [state.get("of") ?? "", state.get("record") ?? ""];
  const boards = JSON.parse(document.getElementById("boards").textContent);
  const missing = () => {
    const note = part("p", { role: "status" }, "There is no such record here. The table of records on each comparison's page leads to all of them.");
    place.replaceChildren(part("h1", {}, "A record"), note);
  };
  if (!boards.includes(of)) {
    missing();
    return;
  }
  const script = document.createElement("script");
  script.src = `records/${of}.js`;
  script.addEventListener("load", () => {
    const entry = window.labelbenchRecords.find(({ name }) => name === wanted);
    if (entry) show(place, entry);
    else missing();
  });
  script.addEventListener("error", missing);
  document.head.append(script);
}

addEventListener("hashchange", open);
open();
