"use strict";

// Okabe and Ito, "Color universal design", 2008; no two lines differ by colour alone.
const COLOURS = {
  light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666"],
  dark: ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#BBBBBB"],
};
const DASHES = ["solid", "dash", "dot", "dashdot"];
const MARKERS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x"];
const LOG = { type: "log", dtick: "D2" };
const dark = matchMedia("(prefers-color-scheme: dark)");

function traces(figure) {
  const named = new Set();
  const colours = COLOURS[dark.matches ? "dark" : "light"];
  return figure.series.map((series) => {
    const first = !named.has(series.name);
    named.add(series.name);
    const every = Math.ceil(series.x.length / 12); // more markers would hide the dashes
    const sizes = series.x.map((_, i) => (i === series.switch ? 14 : i % every ? 0 : 6));
    const symbol = MARKERS[series.look % MARKERS.length];
    const look = colours[series.look % colours.length];
    return {
      type: "scatter",
      mode: "lines+markers",
      name: series.name,
      legendgroup: series.name,
      showlegend: first,
      x: series.x,
      y: series.y,
      line: { color: look, width: 1.75, dash: DASHES[series.dash % DASHES.length] },
      marker: {
        color: look,
        size: sizes,
        line: { width: 0 },
        symbol: series.x.map((_, i) => (i === series.switch ? "star" : symbol)),
        opacity: 1,
      },
      hovertemplate: `${series.detail}<br>%{x}: %{y}`,
    };
  });
}

function layout(figure) {
  const style = getComputedStyle(document.documentElement);
  const [text, line] = ["--text", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
  return {
    font: { color: text, family: "system-ui, sans-serif", size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: 8, t: 8, b: 40 },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    xaxis: { ...axis, title: { text: figure.x_title } },
    yaxis: { ...axis, title: { text: figure.y_title }, ...(figure.log_y ? LOG : {}) },
  };
}

function show() {
  for (const section of JSON.parse(document.getElementById("data").textContent)) {
    for (const figure of section.figures) {
      const options = { responsive: true, displayModeBar: false };
      Plotly.react(`${section.id}-${figure.id}`, traces(figure), layout(figure), options);
    }
  }
}

show();
dark.addEventListener("change", show);
