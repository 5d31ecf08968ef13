// Theme, sortable tables, filters, and the choice by a byte budget.
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
    dispatchEvent(new Event("themed"));
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

// Bytes of `10 kB`, `1.5MB` or `40x`; Infinity of nothing, NaN of what cannot be read.
function budgetBytes(text, full) {
  if (text.trim() === "") return Infinity;
  const match = /^\s*(\d[\d,_]*(?:\.\d+)?)\s*(x|×|[kmg]?i?b?)\s*$/i.exec(text);
  if (!match) return NaN;
  const amount = Number(match[1].replace(/[,_]/g, ""));
  const unit = match[2].toLowerCase();
  if (unit === "x" || unit === "×") return full / amount;
  const power = { k: 1, m: 2, g: 3 }[unit[0]] ?? 0;
  return amount * (unit.includes("i") ? 1024 : 1000) ** power;
}

function validBudget(input) {
  const bad = Number.isNaN(budgetBytes(input.value, 1));
  input.setAttribute("aria-invalid", bad);
  return !bad;
}

function onInput(form, update) {
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update(); // a browser may keep what was typed before
}

// A comparison's page: one filter for all its tables and its picture.
function pageFilter(form) {
  const rows = [...document.querySelectorAll("tr[data-line]")];
  const all = rows.filter((row) => row.id).length;
  onInput(form, () => {
    const { text, images, budget, prior } = form.elements;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const most = validBudget(budget) ? budgetBytes(budget.value, form.dataset.full) : Infinity;
    const shown = new Set();
    for (const row of rows) {
      const { dataset } = row;
      const said = row.textContent.toLowerCase();
      const fits =
        (!images.value || dataset.images === images.value) &&
        (most === Infinity || (dataset.bytes !== "" && Number(dataset.bytes) <= most)) &&
        !(prior.checked && dataset.prior) &&
        (row.id === "" || words.every((word) => said.includes(word)));
      if (row.id && fits) shown.add(dataset.line);
      row.hidden = row.id ? !fits : !shown.has(dataset.line);
    }
    const some = shown.size < all;
    form.querySelector("output").textContent = some ? `${shown.size} of ${all} rows` : "";
    window.chosenLines = some ? shown : null; // for a picture that is not drawn yet
    dispatchEvent(new CustomEvent("filtered", { detail: window.chosenLines }));
  });
}

// The first page: which comparisons fit, and what is best in each at the byte budget.
function picker(form) {
  const candidates = JSON.parse(document.getElementById("candidates").textContent);
  const rows = [...document.querySelectorAll("#list tbody tr")];
  const title = document.querySelector("[data-best-title] button");
  onInput(form, () => {
    const { dataset, IPC, student, images, budget, prior, text } = form.elements;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const narrowed = validBudget(budget) && (budget.value.trim() || images.value || prior.checked);
    title.textContent = narrowed ? "highest mean that fits" : "highest mean";
    let count = 0;
    for (const row of rows) {
      const of = candidates[row.dataset.name];
      const best = of.find(
        (one) =>
          !(one.bytes > budgetBytes(budget.value, one.full)) &&
          (!images.value || one.source === images.value) &&
          !(prior.checked && one.prior),
      );
      const fits =
        best &&
        (!dataset.value || row.dataset.dataset === dataset.value) &&
        (!IPC.value || row.dataset.ipc === IPC.value) &&
        (!student.value || row.dataset.student === student.value) &&
        words.every((word) => row.textContent.toLowerCase().includes(word));
      row.hidden = !fits;
      if (!fits) continue;
      count += 1;
      showBest(row, best);
    }
    document.getElementById("none").hidden = count > 0;
  });
}

function showBest(row, best) {
  const link = document.createElement("a");
  const dot = document.createElement("span");
  dot.className = "dot";
  dot.style.background = best.colour;
  link.className = "method";
  link.href = `comparison/${row.dataset.name}.html#line-${best.line}`;
  link.append(dot, best.family);
  const options = document.createElement("small");
  options.className = "options";
  options.textContent = best.options;
  const images = document.createElement("small");
  images.className = "on";
  images.textContent = `on ${best.source}${best.prior ? ", with a prior †" : ""}`;
  row.querySelector(".best-method").replaceChildren(link, ...(best.options ? [options] : []), " ", images);
  const figures = { accuracy: [best.accuracy, best.mean], bytes: [best.size, best.bytes] };
  for (const [name, [text, value]] of Object.entries(figures)) {
    const cell = row.querySelector(`.best-${name}`);
    cell.textContent = text;
    cell.dataset.sort = value;
  }
}

themeButton();
document.querySelectorAll("table.sortable").forEach(sortable);
const filter = document.getElementById("filter");
if (filter) pageFilter(filter);
const choice = document.getElementById("picker");
if (choice) picker(choice);
