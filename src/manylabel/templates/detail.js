"use strict";
// Shows the chosen label with sliders, numbers and charts, and starts the page.

const sliders = models.map((_, model) => {
  const line = byId("sliders").appendChild(make("label", "", {class: "slider"}));
  const name = make("span", several ? `Threshold ${letters[model]}` : "Threshold", {
    class: "ab"[model],
  });
  const input = make("input", "", {type: "range", min: 0, step: 1});
  const output = make("span", "", {class: "value"});
  line.append(name, input, output);
  input.addEventListener("input", () => {
    places[model][chosen] = Number(input.value);
    update();
  });
  return {input, output};
});

const LABEL_FIGURES = ["P %", "R %", "F1 %", "right", "wrong", "missed"];
const ALL_FIGURES = ["CP", "CR", "CF1", "OP", "OR", "OF1"];
const labelCells = numbers(byId("of-label"), LABEL_FIGURES);
const allCells = numbers(byId("of-all"), ALL_FIGURES);

function numbers(into, names) {
  into.tHead.rows[0].append(make("td"), ...names.map(name => make("th", name, {scope: "col"})));
  return models.map((_, model) => {
    const line = into.tBodies[0].insertRow();
    line.append(make("th", several ? letters[model] : "", {scope: "row", class: "ab"[model]}));
    return names.map(() => line.appendChild(make("td")));
  });
}

function choose(label) {
  lineOf(chosen)?.removeAttribute("aria-current");
  chosen = label;
  lineOf(label)?.setAttribute("aria-current", "true");
  byId("name").textContent = data.labels[label];
  sliders.forEach(({input}, model) => {
    input.max = models[model].curves[label][0].length - 1;
  });
  drawLabel();
  update();
}

function update() {
  sliders.forEach(({input, output}, model) => {
    const found = ofLabel(model, chosen);
    input.value = places[model][chosen];
    output.textContent = threshold(found.threshold);
    input.setAttribute("aria-valuetext", threshold(found.threshold));
    const {precision, recall, F1, right, wrong, missed} = found;
    const texts = [...[precision, recall, F1].map(percent), ...[right, wrong, missed].map(whole)];
    labelCells[model].forEach((cell, i) => { cell.textContent = texts[i]; });
    const all = ofAll(model);
    allCells[model].forEach((cell, i) => { cell.textContent = percent(all[ALL_FIGURES[i]]); });
  });
  const line = lineOf(chosen);
  if (line) fill(line, chosen);
  moveMarks();
}

// ---- charts ----

// Plotly is compressed in the page and loads a moment later. Until then no chart is drawn.
async function unpacked(element) {
  const packed = Uint8Array.from(atob(element.textContent), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(title) {
  return {
    title: {text: title, standoff: 8}, range: [-0.02, 1.03], dtick: 0.2, fixedrange: true,
    gridcolor: style("--rule"), zeroline: false,
  };
}

// Draws a chart of traces and replaces the previous one.
function draw(id, x, y, traces, words) {
  byId(id).setAttribute("aria-label", words);
  if (!window.Plotly) return;
  const layout = {
    autosize: true, margin: {l: 52, r: 10, t: several ? 30 : 10, b: 44},
    font: {family: getComputedStyle(document.body).fontFamily, color: style("--soft"), size: 12},
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    xaxis: axis(x), yaxis: axis(y), hovermode: "closest", showlegend: several,
    legend: {
      orientation: "h", x: 0.5, xanchor: "center", y: 1.02, yanchor: "bottom",
      font: {color: style("--ink")}, itemclick: false, itemdoubleclick: false,
    },
  };
  Plotly.react(byId(id), traces, layout, {displayModeBar: false, responsive: true});
}

const colours = () => [style("--series-a"), style("--series-b")];

function lineOfPoints(model, points, extra) {
  return {...traceOf(points), name: several ? letters[model] : "scores", mode: "lines", ...extra};
}

function traceOf(points) {
  return {
    x: points.map(point => point.x), y: points.map(point => point.y),
    text: points.map(point => point.words), hovertemplate: "%{text}<extra></extra>",
  };
}

function curvePoints(model, label) {
  const [thresholds] = models[model].curves[label];
  return thresholds
    .map((value, place) => ({value, ...ofLabel(model, label, place)}))
    .filter(found => found.predicted && found.recall !== null)
    .map(found => ({
      x: found.recall, y: found.precision,
      words: `at ${threshold(found.value)}: P ${percent(found.precision)}, R ${percent(found.recall)}`,
    }));
}

function drawLabel() {
  const name = data.labels[chosen];
  const lines = models.map((_, model) => lineOfPoints(model, curvePoints(model, chosen), {
    line: {color: colours()[model], width: 2},
  }));
  const marks = models.map((_, model) => ({
    ...traceOf(markOf(model)), mode: "markers", showlegend: false, cliponaxis: false,
    marker: {size: 14, color: colours()[model], line: {color: style("--card"), width: 2}},
  }));
  const words = models.map((model, i) =>
    `${several ? letters[i] + ": " : ""}average precision ${percent(model.AP[chosen])} percent`);
  draw("curve", "recall", "precision", [...lines, ...marks],
    `Precision over recall of ${name}; ${words.join("; ")}.`);
  if (models[0].bins) {
    drawBins("bins", model => models[model].bins[chosen], `Reliability of ${name}`);
  }
}

// The mark of a model's threshold on its curve.
function markOf(model) {
  const {recall, precision, predicted, threshold: value} = ofLabel(model, chosen);
  const words = `threshold ${threshold(value)}`;
  return recall !== null && predicted ? [{x: recall, y: precision, words}] : [];
}

function moveMarks() {
  if (!window.Plotly) return;
  const marks = models.map((_, model) => traceOf(markOf(model)));
  const moved = {};
  for (const key of ["x", "y", "text"]) moved[key] = marks.map(mark => mark[key]);
  Plotly.restyle("curve", moved, models.map((_, model) => models.length + model));
}

function drawBins(id, binsOf, title) {
  const diagonal = {
    x: [0, 1], y: [0, 1], mode: "lines", showlegend: false, hoverinfo: "skip",
    line: {color: style("--soft"), dash: "dash", width: 1},
  };
  const lines = models.map((_, model) => {
    const bins = binsOf(model);
    const most = Math.max(1, ...bins.map(bin => bin[2]));
    const points = bins.map(([x, y, count]) => ({
      x, y, words: `score ${x.toFixed(3)}: present ${percent(y)} % of ${whole(count)}`,
    }));
    // The area of a point grows with the number of pairs in its bin.
    return lineOfPoints(model, points, {
      mode: "lines+markers", cliponaxis: false, line: {color: colours()[model], width: 1.5},
      marker: {color: colours()[model], size: bins.map(bin => 5 + 10 * Math.sqrt(bin[2] / most))},
    });
  });
  const words = models.map((_, model) => binsOf(model)
    .map(([x, y]) => `${x.toFixed(2)} ${percent(y)}%`).join(", "));
  draw(id, "mean score", "share present", [...lines, diagonal],
    `${title}: mean score and share present, ${words.join("; ")}.`);
}

function drawAll() {
  drawBins("pooled", model => models[model].pooled, "Reliability of all labels");
  choose(chosen);
}

byId("filter").addEventListener("input", redraw);
more.addEventListener("click", drawMore);
byId("reset").addEventListener("click", () => {
  models.forEach((model, i) => { places[i] = model.curves.map(curve => curve[3]); });
  redraw();
  update();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
redraw();
drawAll();
unpacked(byId("plotly")).then(code => {
  document.head.append(make("script", code));
  drawAll();
});
