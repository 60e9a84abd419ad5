(() => {
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const color = name =>
  getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const all = selector => [...document.querySelectorAll(selector)];
const hidden = new Set();
const lines = {
  wealth: { hoverformat: ",.2f", tickformat: "~g", minorloglabels: "complete", type: "log" },
  drawdown: { hoverformat: ".1f", ticksuffix: "%" },
  sharpe: { hoverformat: ".2f", zeroline: true },
  cost: { hoverformat: ".2f", ticksuffix: "%", rangemode: "tozero" },
};
const wealth = data.policies.flatMap(policy => policy.wealth).filter(value => value > 0);
const span = wealth.reduce((most, value) => Math.max(most, value), 0)
  / wealth.reduce((least, value) => Math.min(least, value), Infinity);
if (span > 4) lines.wealth.dtick = "D2"; // 1, 2, 5, 10
const plots = [...Object.keys(lines), "weights"].filter(id => document.getElementById(id));
const config = {
  displaylogo: false, responsive: true, displayModeBar: "hover", modeBarButtons: [["toImage"]],
};

function layout(id, axis) {
  const font = getComputedStyle(document.body).fontFamily;
  return {
    uirevision: id, hovermode: "x unified", dragmode: "zoom", showlegend: id === "weights",
    margin: { l: 52, r: 8, t: 10, b: 30 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: font, size: 12, color: color("quiet") },
    hoverlabel: { namelength: -1, bgcolor: color("card"), bordercolor: color("rule"),
      font: { family: font, size: 12, color: color("ink") } },
    legend: { traceorder: "reversed", font: { color: color("ink") }, tracegroupgap: 0 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("quiet"), activecolor: color("ink") },
    xaxis: { type: "date", automargin: true, gridcolor: color("grid"), linecolor: color("rule"),
      showline: true, dtick: data.dates.length < 8 ? 86400000 : undefined, // whole days, not hours
      spikecolor: color("quiet"), spikethickness: 1, spikedash: "dot",
      hoverformat: "%Y-%m-%d", range: [data.dates[0], data.dates[data.dates.length - 1]] },
    yaxis: { gridcolor: color("grid"), zeroline: false, zerolinecolor: color("quiet"),
      zerolinewidth: 1, automargin: true, ...axis },
  };
}

function drawLines(id) {
  const traces = data.policies.map((policy, at) => ({
    type: "scatter", mode: data.dates.length < 3 ? "lines+markers" : "lines",
    x: data.dates, y: policy[id], name: policy.label, visible: !hidden.has(at),
    line: { color: color("policy-" + policy.color), dash: policy.dash, width: 1.5 },
  }));
  return Plotly.react(id, traces, layout(id, lines[id]), config);
}

function drawWeights() {
  const policy = data.policies[Number(document.getElementById("policy").value)];
  if (!policy) return Promise.resolve();
  const area = (name, points, fill, edge) => ({
    type: "scatter", mode: "lines", stackgroup: "one", x: data.dates, name,
    y: points.map(point => point / 100), fillcolor: fill, line: { color: edge, width: 0.5 },
  });
  const last = data.assets.length - 1;
  const traces = policy.weights.map((points, at) => {
    const fill = color(data.shared && at === last ? "others" : "asset-" + at);
    return area(data.assets[at], points, fill, color("card"));
  });
  const cash = area("cash", policy.cash, color("cash"), color("card"));
  cash.fillpattern = { shape: "/", size: 6, solidity: 0.25, bgcolor: color("cash"),
    fgcolor: color("cash-line") };
  traces.push(cash);
  const axis = { range: [0, 100], ticksuffix: "%", hoverformat: ".1f" };
  return Plotly.react("weights", traces, layout("weights", axis), config);
}

const draw = id => (id === "weights" ? drawWeights() : drawLines(id));

function showPolicies() {
  all(".chip").forEach((chip, at) => chip.setAttribute("aria-pressed", String(!hidden.has(at))));
  const visible = data.policies.map((_, at) => !hidden.has(at));
  plots.filter(id => id in lines).forEach(id => Plotly.restyle(id, { visible }));
}

let following = false;
function follow(id, change) {
  const range = ["xaxis.range[0]", "xaxis.range[1]", "xaxis.range", "xaxis.autorange"]
    .filter(key => key in change).map(key => [key, change[key]]);
  if (following || !range.length) return;
  following = true;
  Promise.all(plots.filter(other => other !== id)
    .map(other => Plotly.relayout(other, Object.fromEntries(range))))
    .finally(() => { following = false; });
}

all(".chip").forEach((chip, at) => {
  chip.addEventListener("click", () => {
    if (!hidden.delete(at)) hidden.add(at);
    showPolicies();
  });
  chip.addEventListener("dblclick", () => {
    const alone = data.policies.every((_, other) => other === at || hidden.has(other));
    hidden.clear();
    if (!alone) data.policies.forEach((_, other) => { if (other !== at) hidden.add(other); });
    showPolicies();
  });
});
all("[data-scale]").forEach(button => button.addEventListener("click", () => {
  lines.wealth.type = button.dataset.scale;
  all("[data-scale]").forEach(other =>
    other.setAttribute("aria-pressed", String(other === button)));
  Plotly.relayout("wealth", { "yaxis.type": lines.wealth.type, "yaxis.autorange": true });
}));
document.getElementById("policy").addEventListener("change", drawWeights);

all("#figures thead button").forEach(button => button.addEventListener("click", () => {
  const heading = button.closest("th");
  const usual = button.dataset.better === "-1" ? "ascending" : "descending";
  const order = heading.getAttribute("aria-sort") !== usual ? usual
    : usual === "ascending" ? "descending" : "ascending";
  all("#figures th[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", order);
  const value = row => row.querySelectorAll("td")[Number(button.dataset.column)].dataset.value;
  const sign = order === "ascending" ? 1 : -1;
  const rows = all("#figures tbody tr").sort((a, b) => {
    const x = value(a), y = value(b);
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (Number(x) - Number(y));
  });
  document.querySelector("#figures tbody").append(...rows);
}));

plots.forEach(id => draw(id).then(() => {
  const plot = document.getElementById(id);
  if (plot.on) plot.on("plotly_relayout", change => follow(id, change));
}));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach(draw));
})();
