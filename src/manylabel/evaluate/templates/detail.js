"use strict";
// The chosen label: sliders, figures and charts; and what starts the page.

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

const charts = {};

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(title) {
  return {
    type: "linear", min: 0, max: 1,
    title: {display: true, text: title, color: style("--soft")},
    grid: {color: style("--rule")},
    ticks: {color: style("--soft"), stepSize: 0.2},
  };
}

// A chart of points; the ones before it on that canvas is replaced.
function draw(id, x, y, datasets, words) {
  charts[id]?.destroy();
  byId(id).setAttribute("aria-label", words);
  charts[id] = new Chart(byId(id), {
    type: "scatter",
    data: {datasets},
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, clip: false,
      layout: {padding: {top: 8, right: 8}},
      scales: {x: axis(x), y: axis(y)},
      plugins: {
        legend: {
          display: several,
          labels: {
            color: style("--ink"), boxWidth: 12, boxHeight: 2, filter: item => item.text !== "",
          },
        },
        tooltip: {callbacks: {label: item => item.raw.words}, filter: item => item.raw.words},
      },
    },
  });
}

const colours = () => [style("--series-a"), style("--series-b")];

function lineOfPoints(model, points, extra) {
  return {
    label: several ? letters[model] : "scores", data: points, showLine: true,
    borderColor: colours()[model], backgroundColor: colours()[model], borderWidth: 2, ...extra,
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
  const lines = models.map((_, model) =>
    lineOfPoints(model, curvePoints(model, chosen), {pointRadius: 0, pointHitRadius: 6}));
  const marks = models.map((_, model) => ({
    label: "", data: [], pointRadius: 7, pointHoverRadius: 7, borderWidth: 2,
    borderColor: style("--card"), backgroundColor: colours()[model],
  }));
  const words = models.map((model, i) =>
    `${several ? letters[i] + ": " : ""}average precision ${percent(model.AP[chosen])} percent`);
  draw("curve", "recall", "precision", [...marks, ...lines],
    `Precision over recall of ${name}; ${words.join("; ")}.`);
  if (models[0].bins) {
    drawBins("bins", model => models[model].bins[chosen], `Reliability of ${name}`);
  }
}

// The mark of each model's threshold on its curve.
function moveMarks() {
  models.forEach((_, model) => {
    const found = ofLabel(model, chosen);
    const there = found.recall !== null && found.predicted > 0;
    charts.curve.data.datasets[model].data = there
      ? [{x: found.recall, y: found.precision, words: `threshold ${threshold(found.threshold)}`}]
      : [];
  });
  charts.curve.update("none");
}

function drawBins(id, binsOf, title) {
  const diagonal = {
    label: "", data: [{x: 0, y: 0}, {x: 1, y: 1}], showLine: true, pointRadius: 0,
    borderColor: style("--soft"), borderDash: [4, 4], borderWidth: 1,
  };
  const lines = models.map((_, model) => {
    const bins = binsOf(model);
    const most = Math.max(1, ...bins.map(bin => bin[2]));
    const points = bins.map(([x, y, count]) => ({
      x, y, words: `score ${x.toFixed(3)}: present ${percent(y)} % of ${whole(count)}`,
    }));
    // The area of a point grows with what it is of.
    return lineOfPoints(model, points, {
      borderWidth: 1.5, pointRadius: bins.map(bin => 2.5 + 5 * Math.sqrt(bin[2] / most)),
    });
  });
  const words = models.map((_, model) => binsOf(model)
    .map(([x, y]) => `${x.toFixed(2)} ${percent(y)}%`).join(", "));
  draw(id, "mean score", "share present", [...lines, diagonal],
    `${title}: mean score and share present, ${words.join("; ")}.`);
}

function drawAll() {
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
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
