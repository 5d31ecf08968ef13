// The pictures, drawn by plotly from the data beside them, when they come into sight.
"use strict";

const PLOTLY = new URL("plotly.min.js", document.currentScript.src).href;
let loading = null;

// plotly reads a little HTML in texts, and %{...} in some: names have neither.
function plain(text) {
  const safe = String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return safe.replaceAll(">", "&gt;").replaceAll("%{", "%\u200b{").replace(/\s+/g, " ");
}

function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// Black and white lines take the theme's colour, so that they are seen on both.
function seen(hex) {
  return hex === "#000000" ? colour("text") : hex || colour("accent");
}

function title(text, standoff) {
  return { text, standoff, font: { size: 13, color: colour("quiet") } };
}

function layout(narrow, more) {
  const axis = {
    automargin: true,
    gridcolor: colour("line"),
    linecolor: colour("strong-line"),
    zeroline: false,
  };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("text") },
    margin: { l: 52, r: 8, t: 28, b: 52 },
    hoverlabel: { align: "left", bgcolor: colour("raised"), font: { color: colour("text") } },
    hovermode: "closest",
    legend: narrow
      ? { orientation: "h", y: -0.22, yanchor: "top", font: { size: 11 } }
      : { font: { size: 12 }, itemwidth: 30 },
    ...more,
    xaxis: { ...axis, ...more.xaxis, title: title(more.xaxis.title, 6) },
    yaxis: { ...axis, ...more.yaxis, title: title(more.yaxis.title, 8) },
  };
}

function hover(point) {
  const half = point.half === null ? "n too small" : `± ${point.half.toFixed(2)}`;
  return [
    `<b>${plain(point.family)}</b>${point.prior ? " †" : ""}`,
    ...(point.options ? plain(point.options).match(/.{1,60}(?:\s|$)|.{1,60}/g) : []),
    `on ${plain(point.images)}`,
    `${point.accuracy.toFixed(2)} % ${half}, n = ${plain(point.n)}`,
    `${point.bytes.toLocaleString("en")} B (${plain(point.size)})`,
    ...(point.rank ? [`rank ${plain(point.rank)}`] : []),
    ...(point.prior ? [`prior: ${plain(point.prior)}`] : []),
  ].join("<br>");
}

// What is written beside points: names on a frontier, † of a prior; nothing on what is there.
function written(points, steps) {
  const best = new Set(steps.flatMap(({ at }) => at.map(([, , line]) => line)));
  const wide = (key) => Math.max(...points.map(key)) - Math.min(...points.map(key)) || 1;
  const [x, y] = [(point) => Math.log(point.bytes), (point) => point.accuracy];
  const [across, up] = [0.1 * wide(x), 0.05 * wide(y)];
  const texts = new Map();
  for (const named of [true, false]) {
    for (const point of points) {
      const text = (named ? plain(point.family) : "") + (point.prior ? " †" : "");
      const near = (other) =>
        Math.abs(x(other) - x(point)) < across && Math.abs(y(other) - y(point)) < up;
      if (text && best.has(point.line) >= named && ![...texts.keys()].some(near)) {
        texts.set(point, text);
      }
    }
  }
  return texts;
}

// What stands in the legend for many points.
function sign(name, more) {
  return { x: [null], y: [null], mode: "markers", name, ...more, marker: { size: 10, ...more.marker } };
}

function frontier({ points, steps, full, label }, narrow, only) {
  const shown = points.filter((point) => !only || only.has(String(point.line)));
  const texts = written(shown, narrow ? [] : steps);
  const end = Math.max(...points.map((point) => point.bytes), ...full);
  const grey = colour("quiet");
  const shapes = new Map(points.map((point) => [point.images, point.shape]));
  const traces = steps.flatMap(({ images, at }, i) => {
    const line = { shape: "hv", color: grey, width: 1, dash: DASHES[i % DASHES.length] };
    const marker = { symbol: shapes.get(images), color: grey };
    const own = { legendgroup: `images ${images}`, line };
    const x = [...at.map(([bytes]) => bytes), end];
    const y = [...at.map(([, accuracy]) => accuracy), at.at(-1)[1]];
    return [
      sign(`${plain(images)} images`, { ...own, marker, mode: "lines+markers", legendrank: 2000 }),
      { ...own, x, y, mode: "lines", opacity: 0.7, hoverinfo: "skip", showlegend: false },
    ];
  });
  for (const family of [...new Set(shown.map((point) => point.family))].sort()) {
    const own = shown.filter((point) => point.family === family);
    const tint = seen(own[0].colour);
    const open = own.map((point) => point.shape.endsWith("-open"));
    const halves = own.map((point) => point.half ?? 0);
    const group = { legendgroup: `method ${family}` };
    traces.push(sign(plain(family), { ...group, marker: { color: tint } }), {
      ...group,
      x: own.map((point) => point.bytes),
      y: own.map((point) => point.accuracy),
      error_y: { type: "data", array: halves, color: tint, thickness: 1, width: 2 },
      mode: "markers+text",
      text: own.map((point) => texts.get(point) ?? ""),
      textposition: "top left",
      textfont: { size: 11, color: grey },
      marker: {
        color: tint,
        symbol: own.map((point) => point.shape),
        size: narrow ? 9 : 10,
        line: {
          width: open.map((hollow) => (hollow ? 2 : 0.8)),
          color: open.map((hollow) => (hollow ? tint : colour("page"))),
        },
      },
      hovertext: own.map(hover),
      hoverinfo: "text",
      customdata: own.map((point) => point.url),
      showlegend: false,
      cliponaxis: false,
    });
  }
  if (points.some((point) => point.shape.endsWith("-open"))) {
    const marker = { symbol: "circle-open", color: grey, line: { width: 2 } };
    traces.push(sign("random real images", { marker, legendrank: 2001 }));
  }
  const rule = { color: grey, width: 1.2, dash: "dot" };
  return {
    traces,
    layout: layout(narrow, {
      xaxis: {
        type: "log",
        title: label,
        tickformat: "~s",
        ticksuffix: "B",
        dtick: end > (narrow ? 8 : 50) * Math.min(...points.map((point) => point.bytes)) ? 1 : "D2",
      },
      yaxis: { title: "top-1 test accuracy, %" },
      shapes: full.map((x) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: rule })),
      annotations: full.map((x) => ({
        x: Math.log10(x),
        y: 1,
        yref: "paper",
        yanchor: "bottom",
        showarrow: false,
        text: "all soft labels",
        font: { size: 11, color: grey },
      })),
    }),
  };
}

function curves(lines, narrow) {
  const used = {};
  const traces = lines.map((line) => {
    const before = (used[line.colour] = (used[line.colour] ?? -1) + 1);
    return {
      x: line.epochs,
      y: line.loss,
      mode: "lines",
      line: { color: seen(line.colour), width: 1.4, dash: DASHES[before % DASHES.length] },
      name: plain(line.name) + (line.images ? `, ${plain(line.images)}` : ""),
      visible: line.seen ? true : "legendonly",
      hoverinfo: "x+y+name",
      hoverlabel: { namelength: -1 },
    };
  });
  const values = lines.flatMap((line) => line.loss).filter((value) => value !== null);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), 0);
  return {
    traces,
    layout: layout(narrow, {
      showlegend: lines.length > 1,
      xaxis: { title: "epoch" },
      yaxis: {
        title: "training loss",
        type: low > 0 ? "log" : "linear",
        tickformat: "~g",
        ...(low > 0 ? { dtick: high > 100 * low ? 1 : "D2" } : {}),
      },
    }),
  };
}

// A bar a method and student, its parts one after another, and a stroke where the whole step ends.
function speed({ rows, parts }, narrow) {
  const places = rows.map((_, place) => place);
  const names = rows.map((row) => `${plain(row.method)}, ${plain(row.student)}`);
  const ms = (value) => `${value.toLocaleString("en", { maximumSignificantDigits: 3 })} ms`;
  const bar = { type: "bar", orientation: "h", y: places };
  const traces = parts.map((part) => ({
    ...bar,
    x: part.ms,
    name: plain(part.name),
    marker: { color: part.colour, line: { color: colour("page"), width: 0.5 } },
    hovertext: rows.map((_, i) => `<b>${names[i]}</b><br>${plain(part.name)}: ${ms(part.ms[i])}`),
    hoverinfo: "text",
  }));
  const stroke = { symbol: "line-ns", size: 16, line: { width: 2, color: colour("text") } };
  traces.push({
    x: rows.map((row) => row.step),
    y: places,
    mode: "markers",
    name: "whole step",
    marker: stroke,
    hovertext: rows.map((row, i) => `<b>${names[i]}</b><br>whole step: ${ms(row.step)}`),
    hoverinfo: "text",
  });
  const shown = names.map((name) => (narrow && name.length > 24 ? `${name.slice(0, 23)}…` : name));
  return {
    traces,
    height: `${9 + 1.8 * rows.length}rem`,
    layout: layout(narrow, {
      barmode: "stack",
      bargap: 0.35,
      legend: { orientation: "h", y: 1, yanchor: "bottom", traceorder: "normal", font: { size: 12 } },
      xaxis: { title: "milliseconds a step", rangemode: "tozero" },
      yaxis: { title: "", tickvals: places, ticktext: shown, autorange: "reversed" },
    }),
  };
}

const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const KINDS = { frontier, curves, speed };

function draw(figure) {
  const plot = figure.querySelector(".plot");
  const values = JSON.parse(figure.querySelector("script").textContent);
  const make = KINDS[figure.dataset.chart];
  let only = window.chosenLines ?? null;
  const show = () => {
    const made = make(values, figure.clientWidth < 640, only);
    if (made.height) plot.style.height = made.height;
    return Plotly.react(plot, made.traces, made.layout, {
      responsive: true,
      displaylogo: false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    });
  };
  show();
  plot.on("plotly_click", ({ points }) => {
    const url = points[0].customdata;
    if (url) location.href = url;
  });
  addEventListener("themed", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  if (figure.dataset.chart === "frontier") {
    addEventListener("filtered", (event) => {
      only = event.detail;
      show();
    });
  }
}

// plotly is some megabytes: asked for once, and only where a picture is to be seen.
function loaded() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = PLOTLY;
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
    document.head.append(script);
  });
  return loading;
}

const sight = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      sight.unobserve(target);
      loaded().then(() => draw(target));
    }
  },
  { rootMargin: "200px" },
);
document.querySelectorAll("[data-chart]").forEach((figure) => sight.observe(figure));
