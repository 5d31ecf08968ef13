// Which method at my bytes: looks up the answers that were worked out where the site was made.
"use strict";

const VERDICTS = ["worse", "not told apart", "too few repeats", "better"];
const FIELDS = ["dataset", "ipc", "student", "recipe", "images"];
const MOST_NAMED = 3; // methods of a line, before the others are counted
const [METHOD, NAME, MEAN, HALF, N, ASKED, BYTES, PRIOR, LINE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const data = window.labelbenchAnswers;

// What one comparison answers for one image source; see `Answer` in benchmark/report/advise.py.
function answerOf(place, budget, without) {
  const { steps, ruled, unmeasured } = without ? place.without : place.with;
  let step = steps[0];
  for (const one of steps) if (one[0] <= budget) step = one;
  const [, best, more, rivals, tooLarge, smallest] = step;
  const told = place.told[best]?.[1] ?? {};
  const against = (row) => {
    const [verdict, difference, half] = told[row] ?? [2, null, null];
    return { row: place.rows[row], verdict: VERDICTS[verdict], difference, half };
  };
  return {
    place,
    budget,
    best: place.rows[best] ?? null,
    repeats: place.told[best]?.[0] ?? "",
    sure: best >= 0 && place.rows[best][N] >= data.least,
    rivals: rivals.map(against),
    more: more >= 0 ? against(more) : null,
    tooLarge: tooLarge.map((row) => place.rows[row]),
    smallest: place.rows[smallest] ?? null,
    ruled,
    unmeasured,
  };
}

// Those of `advise`, in its order: what fits first, then what has repeats enough, then what was held
// against others, then the best.
function answersTo(question) {
  const places = data.places.filter((place) =>
    FIELDS.every((field) => !question[field] || String(place[field]) === question[field]),
  );
  const answers = places.map((place) =>
    answerOf(place, budgetBytes(question.bytes, place.full), question.prior === "no"),
  );
  const tested = ({ rivals }) => rivals.some(({ verdict }) => verdict !== "too few repeats");
  const order = (answer) => {
    const { best, sure, place } = answer;
    return [best === null, !sure, !tested(answer), best ? -best[MEAN] : 0, place.title];
  };
  const compared = (a, b) => {
    const [one, two] = [order(a), order(b)];
    for (let i = 0; i < one.length; i += 1) if (one[i] !== two[i]) return one[i] < two[i] ? -1 : 1;
    return 0;
  };
  return answers.sort(compared);
}

function element(name, more = {}, ...children) {
  const { dataset, ...rest } = more;
  const made = Object.assign(document.createElement(name), rest);
  Object.assign(made.dataset, dataset ?? {});
  made.append(...children);
  return made;
}

const percent = (row) =>
  `${(100 * row[MEAN]).toFixed(2)}${row[HALF] === null ? "" : ` ± ${(100 * row[HALF]).toFixed(2)}`} %`;
const comma = (count) => `${count.toLocaleString("en")} B`;

// A row's name, which leads to it; the whole label is its tooltip and description.
function named(place, row) {
  const href = `comparison/${place.page}.html#line-${row[LINE]}`;
  const mark = row[PRIOR].length ? " †" : "";
  return element("a", { href, className: "method", title: row[METHOD], dataset: { method: row[METHOD] } }, row[NAME] + mark);
}

function listed(place, rows, about) {
  const parts = rows.slice(0, MOST_NAMED).flatMap((each, i) => [i ? "; " : "", named(place, each), about(each)]);
  const rest = rows.length - MOST_NAMED;
  return rest > 0 ? [...parts, `; and ${rest} more`] : parts;
}

function gap({ difference, half }) {
  if (difference === null) return "no shared repeat";
  const points = `${difference < 0 ? "−" : "+"}${Math.abs(100 * difference).toFixed(2)}`;
  return `${points}${half === null ? "" : ` ± ${(100 * half).toFixed(2)}`} points`;
}

function detailLines(answer) {
  const { place, rivals, more, tooLarge, ruled, unmeasured } = answer;
  const lines = [];
  for (const [verdict, words] of [
    ["better", "Shown to be better, with fewer repeats"],
    ["not told apart", "Not told apart from it"],
    ["too few repeats", "Too few repeats to tell"],
    ["worse", "Shown to be worse"],
  ]) {
    const those = rivals.filter((rival) => rival.verdict === verdict);
    const gapOf = new Map(those.map((rival) => [rival.row, rival]));
    const about = (row) => ` (${gap(gapOf.get(row))}, ${comma(row[BYTES])})`;
    if (those.length) lines.push([words, verdict, listed(place, those.map(({ row }) => row), about)]);
  }
  if (more) {
    const words = more.verdict === "better" ? "More bytes: better" : "More bytes: maybe better";
    lines.push([words, "more", listed(place, [more.row], (row) => ` (${gap(more)}, ${comma(row[BYTES])})`)]);
  }
  if (tooLarge.length) lines.push(["Measured at more bytes only", "large", listed(place, tooLarge, (row) => ` (${comma(row[BYTES])})`)]);
  if (ruled.length) lines.push(["Ruled out, needs a prior", "ruled", [ruled.join(", ")]]);
  if (unmeasured.length) {
    const said = unmeasured.map((name) => (data.needs[name] ? `${name} (needs ${name}.${data.needs[name]})` : name));
    lines.push(["Never measured here", "unmeasured", [said.join(", ")]]);
  }
  return lines;
}

function where({ place }) {
  const real = place.real ? " (real ones)" : "";
  return `${place.student}, recipe ${place.recipe}, teacher ${place.teacher}, ${place.images} images${real}, ${place.world}`;
}

// The first answer in full.
function card(answer, fitting) {
  const { place, best, repeats } = answer;
  const made = element("section", { className: "card" });
  made.setAttribute("aria-label", "The answer");
  const figures = element("p", { className: "take-this" }, named(place, best), ` ${percent(best)}`);
  const prior = best[PRIOR].length ? `, and the prior ${best[PRIOR].join(", ")}` : "";
  const few = best[N] < best[ASKED] ? `/${best[ASKED]}` : "";
  figures.append(element("small", {}, `${comma(best[BYTES])}${prior}; n = ${best[N]}${few}. ${repeats}`));
  const list = element("dl", { className: "told" });
  for (const [words, kind, parts] of detailLines(answer)) {
    list.append(element("div", { dataset: { kind } }, element("dt", {}, words), element("dd", {}, ...parts)));
  }
  const link = element("a", { href: `comparison/${place.page}.html` }, "this comparison");
  const at = `${place.dataset}, IPC ${place.ipc}, ${where(answer)}: `;
  if (fitting.length > 1) {
    const all = tally(fitting).filter(({ first, tied }) => first || tied);
    const lines = all.slice(0, MOST_NAMED).map(tallied).join("; ");
    const words = `In all ${fitting.length} answers that fit`;
    list.prepend(element("div", { dataset: { kind: "all" } }, element("dt", {}, words), element("dd", {}, `${lines}.`)));
  }
  made.append(figures, element("p", { className: "where" }, at, link), list);
  return made;
}

function others(answers) {
  const table = element("table", { className: "answers" });
  const head = element("tr");
  for (const words of ["take", "accuracy %", "bytes", "not told apart", "where"]) {
    head.append(element("th", { scope: "col", className: words === "take" || words === "where" ? "" : "number" }, words));
  }
  table.append(element("thead", {}, head));
  const body = element("tbody");
  for (const answer of answers) {
    const { place, best, rivals, sure } = answer;
    const alike = rivals.filter(({ verdict }) => verdict === "not told apart").length;
    const link = element("a", { href: `comparison/${place.page}.html` }, `IPC ${place.ipc}`);
    const cells = best
      ? [named(place, best), percent(best).replace(" %", ""), comma(best[BYTES]), sure ? String(alike) : "few repeats"]
      : [answer.smallest ? "nothing fits" : "all need a prior", "", answer.smallest ? `from ${comma(answer.smallest[BYTES])}` : "", ""];
    const [first, ...rest] = cells;
    const row = element("tr", { dataset: { title: place.title, images: place.images } });
    row.append(element("th", { scope: "row" }, first), ...rest.map((text) => element("td", { className: "number" }, text)));
    row.append(element("td", { className: "where" }, link, `, ${where(answer)}`));
    body.append(row);
  }
  table.append(body);
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", "Table of the other answers");
  return [element("h2", {}, `The other ${answers.length} answers`), element("p", { className: "note" }, "Each comparison and image source answers for itself; none speaks for another."), scroll];
}

function nothing(answers) {
  const smallest = answers.filter((answer) => answer.smallest).sort((a, b) => a.smallest[BYTES] - b.smallest[BYTES]);
  if (!smallest.length) return ["All that was measured needs a prior."];
  const [{ place, smallest: row }] = smallest;
  return ["The smallest that was measured: ", named(place, row), `, ${comma(row[BYTES])}, ${where({ place })}.`];
}

const family = (row) => row[METHOD].split(/[[ ]/)[0];

// Of each method, in how many answers it fits, is the one to take, and cannot be told apart from it.
function tally(fitting) {
  const counts = new Map();
  for (const { best, rivals } of fitting) {
    const tied = rivals.filter(({ verdict }) => verdict === "not told apart").map(({ row }) => family(row));
    for (const name of new Set([best, ...rivals.map(({ row }) => row)].map(family))) {
      const count = counts.get(name) ?? { name: data.titles[name], fits: 0, first: 0, tied: 0 };
      count.fits += 1;
      if (name === family(best)) count.first += 1;
      else if (tied.includes(name)) count.tied += 1;
      counts.set(name, count);
    }
  }
  return [...counts.values()].sort((a, b) => b.first - a.first || b.tied - a.tied || a.fits - b.fits);
}

function tallied({ name, fits, first, tied }) {
  return `${name} first in ${first}${tied ? `, tied in ${tied}` : ""}, of ${fits}`;
}

function doubt({ rivals, sure }) {
  if (!rivals.length) return "nothing else was measured there within the bytes";
  if (!sure) return "too few repeats to be sure";
  const of = (wanted) => rivals.filter(({ verdict }) => verdict === wanted).length;
  const said = [
    [of("worse"), "shown to be worse"],
    [of("not told apart"), "not told apart from it"],
    [of("too few repeats"), "with too few repeats to tell"],
  ];
  return said.filter(([count]) => count).map(([count, words]) => `${count} ${words}`).join(", ");
}

// One sentence, which assistive software reads out.
function summary(question, answers) {
  const fitting = answers.filter(({ best }) => best);
  if (!answers.length) return "Nothing was measured of that.";
  if (!fitting.length) return `Nothing that was measured fits in ${question.bytes.trim()}.`;
  const [{ best, place }] = fitting;
  const take = `Take ${best[NAME]}: ${percent(best)} on ${place.images} images; ${doubt(fitting[0])}.`;
  if (fitting.length === 1) return take;
  const { first } = tally(fitting).find(({ name }) => name === data.titles[family(best)]);
  return `${take} First in ${first} of ${fitting.length} answers.`;
}

function fill(select, values, any) {
  select.replaceChildren(...(any ? [new Option("any", "")] : []), ...values.map((value) => new Option(value, value)));
}

function ask(form) {
  const fields = form.elements;
  const values = (field) => [...new Set(data.places.map((place) => place[field]))].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)).map(String);
  for (const field of FIELDS) fill(fields[field], values(field), field !== "dataset");
  const counts = new Map();
  for (const { dataset, rows } of data.places) counts.set(dataset, (counts.get(dataset) ?? 0) + rows.length);
  const usual = [...counts].sort((a, b) => b[1] - a[1])[0][0];
  const read = () => {
    const state = stateOf(location.hash);
    for (const field of FIELDS) fields[field].value = state.get(field) ?? (field === "dataset" ? usual : "");
    fields.bytes.value = state.get("bytes") ?? "40x";
    fields.prior.checked = state.get("prior") !== "no";
    if (["student", "recipe", "images"].some((field) => state.get(field))) form.querySelector("details").open = true;
  };
  const update = () => {
    const question = Object.fromEntries(FIELDS.map((field) => [field, fields[field].value]));
    question.bytes = fields.bytes.value;
    question.prior = fields.prior.checked ? "" : "no";
    const invalid = Number.isNaN(budgetBytes(question.bytes, 1));
    fields.bytes.setAttribute("aria-invalid", invalid);
    if (!invalid) keepState(question);
    const answers = invalid ? [] : answersTo(question);
    window.labelbenchAnswered = answers; // for those who ask from the console
    const fitting = answers.filter(({ best }) => best);
    document.getElementById("said").textContent = invalid
      ? "How many bytes? 4096, 4 kB, 2 KiB, or 40x of all soft labels."
      : summary(question, answers);
    const place = document.getElementById("answer");
    if (!fitting.length) place.replaceChildren(...(answers.length ? [element("p", {}, ...nothing(answers))] : []));
    else place.replaceChildren(card(fitting[0], fitting), ...(answers.length > 1 ? others(answers.slice(1)) : []));
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", () => {
    if (!location.hash.startsWith("#?")) return;
    read();
    update();
  });
  read();
  update();
}

const question = document.getElementById("ask");
if (question && data.places.length) ask(question);
