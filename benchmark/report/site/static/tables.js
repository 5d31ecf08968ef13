// What tables can be taken away as: CSV, JSON, LaTeX, BibTeX; all rows that are seen, or chosen ones.
"use strict";

// A file from the page itself; nothing is asked of the network.
function download(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function csvText({ columns }, rows) {
  const cell = (value) => {
    const text = value === null ? "" : value === true ? "True" : value === false ? "False" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${[columns, ...rows].map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

function jsonText({ columns }, rows) {
  const named = rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));
  return `${JSON.stringify(named, null, 1)}\n`;
}

const TEX = { "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
const TEX_SIGNS = { "×": "$\\times$", "±": "$\\pm$", "−": "$-$", "–": "--", "†": "$\\dagger$", "…": "\\dots{}", "<": "$<$", ">": "$>$" };

function texCell(text) {
  const safe = text.trim().replace(/\s+/g, " ");
  return safe.replace(/[\\{}~^]/g, (c) => TEX[c]).replace(/[&%$#_]/g, (c) =>
    c === "$" ? "\\$" : `\\${c}`,
  ).replace(/[×±−–†…<>]/g, (c) => TEX_SIGNS[c]);
}

// The figures as they are shown, without columns that hold pictures or links only.
function latexText(table, rows) {
  const heads = [...table.tHead.rows[0].cells];
  const kept = heads.map((_, i) => i).filter((i) => !("plain" in heads[i].dataset));
  const line = (cells) => `${kept.map((i) => texCell(cells[i].innerText)).join(" & ")} \\\\`;
  const align = kept.map((i) => (heads[i].classList.contains("number") ? "r" : "l")).join("");
  const lines = rows.map((row) => line([...row.cells]));
  return [`\\begin{tabular}{${align}}`, "\\toprule", line(heads), "\\midrule", ...lines, "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

function bibtexText(citations, { columns }, rows) {
  const at = columns.indexOf("method");
  const families = new Set(rows.map((row) => String(row[at]).split(/[[ ]/)[0]));
  const entries = [...families].sort().map((family) => citations[family]).filter(Boolean);
  return [...new Set(entries)].join("\n");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea"); // where there is no clipboard to ask
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function chooser(table, names) {
  let made = false;
  return (on) => {
    table.classList.toggle("choosing", on);
    if (made) return;
    made = true;
    for (const row of table.tBodies[0].rows) {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.className = "choose";
      box.setAttribute("aria-label", `choose ${names.get(row)}`);
      row.cells[0].prepend(box);
    }
  };
}

function takeable(script) {
  const table = script.previousElementSibling?.querySelector("table");
  if (!table) return;
  const sheet = JSON.parse(script.textContent);
  const place = new Map([...table.tBodies[0].rows].map((row, i) => [row, i]));
  const names = new Map([...place.keys()].map((row) => [row, (row.querySelector("th") ?? row).innerText.trim()]));
  const picked = () => {
    const seen = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    const chosen = table.classList.contains("choosing") ? seen.filter((row) => row.querySelector(".choose").checked) : [];
    return chosen.length ? chosen : seen;
  };
  const raw = () => picked().map((row) => sheet.rows[place.get(row)]);
  const citations = JSON.parse(document.getElementById("citations")?.textContent ?? "{}");
  const bar = document.createElement("p");
  bar.className = "take";
  const said = document.createElement("output");
  const button = (words, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = words;
    made.addEventListener("click", act);
    bar.append(made);
    return made;
  };
  const { name } = script.dataset;
  button("CSV", () => download(`${name}.csv`, csvText(sheet, raw()), "text/csv"));
  button("JSON", () => download(`${name}.json`, jsonText(sheet, raw()), "application/json"));
  button("LaTeX", () => download(`${name}.tex`, latexText(table, picked()), "text/x-tex"));
  if (sheet.columns.includes("method") && Object.keys(citations).length) {
    button("BibTeX", () => download(`${name}.bib`, bibtexText(citations, sheet, raw()), "text/x-bibtex"));
  }
  button("copy as LaTeX", async () => {
    const rows = picked();
    const done = await copy(latexText(table, rows));
    said.textContent = done ? `${rows.length} rows copied` : "nothing could be copied";
  });
  const choosing = chooser(table, names);
  const toggle = button("choose rows", () => {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", on);
    choosing(on);
  });
  toggle.setAttribute("aria-pressed", "false");
  bar.append(said);
  script.after(bar);
}

document.querySelectorAll("script.sheet").forEach(takeable);
