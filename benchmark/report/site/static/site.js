// Theme, sortable tables, what the address holds, and the filter of a comparison's page.
"use strict";

const root = document.documentElement;

function isDark() {
  const chosen = root.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function themeButton() {
  const button = document.getElementById("theme");
  const name = () => {
    button.textContent = isDark() ? "Light" : "Dark";
  };
  name();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("labelbench-theme", root.dataset.theme);
    } catch {
      // No storage here: the choice lasts as long as the page.
    }
    name();
  });
}

// What a cell is sorted by: a number where it is one, else text; empty cells come last.
function sortValue(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.trim();
  if (text === "") return null;
  const number = Number(text);
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function sortBy(table, column, ascending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [sortValue(row, column), row]);
  const sign = ascending ? 1 : -1;
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === typeof b) return sign * (a < b ? -1 : a > b ? 1 : 0);
    return sign * (typeof a === "number" ? -1 : 1);
  });
  body.append(...rows.map(([, row]) => row));
  for (const [i, head] of [...table.tHead.rows[0].cells].entries()) {
    if (i === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
}

function sortable(table) {
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    if ("plain" in head.dataset) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    // Figures begin with the largest, text with A.
    const ascendingFirst = !head.classList.contains("number") || column === 0;
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sortBy(table, column, now ? now !== "ascending" : ascendingFirst);
    });
  }
  table.tHead.querySelector("[data-sorted]")?.setAttribute("aria-sort", "ascending");
}

// Bytes of `10 kB`, `1.5MB` or `40x`, as the command line reads them; NaN of what it does not.
const UNITS = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 };

function budgetBytes(text, full) {
  const match = /^(\d{1,18}(?:\.\d{1,18})?) ?(x|[kKMG]i?B|B)?$/.exec(text.trim().replaceAll("_", ""));
  if (!match || !(Number(match[1]) > 0)) return NaN;
  if (match[2] === "x") return Math.floor(full / Number(match[1]));
  return Math.floor(Number(match[1]) * UNITS[(match[2] ?? "B").toUpperCase()]);
}

// The page's state in its address: `#?dataset=cifar10&bytes=4+kB`.
function stateOf(address) {
  return new URLSearchParams(address.startsWith("#?") ? address.slice(2) : "");
}

function keepState(values) {
  const state = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""));
  const hash = String(state) ? `#?${state}` : "";
  // A link into the page, such as to a row, stays until there is something to say.
  if (hash === location.hash || (!hash && !location.hash.startsWith("#?"))) return;
  history.replaceState(null, "", hash || location.href.split("#")[0]);
}

// A comparison's page: one filter for all its tables and its pictures.
function filterFits(dataset, { most, images, noPrior }) {
  return (
    (!images || dataset.images === images) &&
    (most === Infinity || dataset.bytes === undefined || (dataset.bytes !== "" && Number(dataset.bytes) <= most)) &&
    !(noPrior && dataset.prior)
  );
}

// The frontier of the points that are left: the best at no more bytes, as steps.
function redrawSteps(svg, shown) {
  for (const step of svg.querySelectorAll(".step")) {
    const points = [...svg.querySelectorAll(".point")]
      .filter((point) => point.dataset.images === step.dataset.images)
      .filter((point) => shown.has(point.dataset.line))
      .map((point) => [Number(point.dataset.x), Number(point.dataset.y)])
      .sort(([x, y], [u, v]) => x - u || y - v);
    const corners = [];
    for (const [x, y] of points) {
      const last = corners.at(-1);
      if (last && y >= last[1]) continue;
      if (last) corners.push([x, last[1]]);
      corners.push([x, y]);
    }
    if (corners.length) corners.push([Number(step.dataset.end), corners.at(-1)[1]]);
    step.setAttribute("d", corners.length ? `M${corners.map((c) => c.join(" ")).join("L")}` : "M0 0");
  }
}

function showLines(shown) {
  for (const svg of document.querySelectorAll(".chart svg")) {
    for (const mark of svg.querySelectorAll("[data-line]")) {
      mark.classList.toggle("off", !shown.has(mark.dataset.line));
    }
    redrawSteps(svg, shown);
  }
  for (const cell of document.querySelectorAll("[data-of]")) {
    cell.hidden = !shown.has(cell.dataset.of);
  }
}

function pageFilter(form) {
  const rows = [...document.querySelectorAll("tr[data-images]")];
  const main = rows.filter((row) => row.id);
  const fields = form.elements;
  const read = () => {
    const state = stateOf(location.hash);
    for (const name of ["text", "images", "budget"]) fields[name].value = state.get(name) ?? "";
    fields.prior.checked = state.get("prior") === "no";
  };
  const update = () => {
    const { text, images, budget, prior } = fields;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = budget.value.trim() ? budgetBytes(budget.value, Number(form.dataset.full)) : Infinity;
    budget.setAttribute("aria-invalid", Number.isNaN(asked));
    const wanted = { most: Number.isNaN(asked) ? Infinity : asked, images: images.value, noPrior: prior.checked };
    const shown = new Set();
    for (const row of main) {
      const said = `${row.textContent} ${row.querySelector(".method").title}`.toLowerCase();
      const fits = filterFits(row.dataset, wanted) && words.every((word) => said.includes(word));
      if (fits) shown.add(row.dataset.line);
    }
    for (const row of rows) {
      const { line } = row.dataset;
      row.hidden = line ? !shown.has(line) : !filterFits(row.dataset, wanted);
    }
    showLines(shown);
    const some = shown.size < main.length;
    form.querySelector("output").textContent = some ? `${shown.size} of ${main.length} rows` : "";
    const state = { text: text.value, images: images.value, budget: budget.value };
    keepState({ ...state, prior: prior.checked ? "no" : "" });
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", () => {
    if (!location.hash.startsWith("#?")) return;
    read();
    update();
  });
  read(); // a browser may keep what was typed before: the address counts
  update();
}

themeButton();
document.querySelectorAll("table.sortable").forEach(sortable);
const filter = document.getElementById("filter");
if (filter) pageFilter(filter);
