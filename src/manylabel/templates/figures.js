"use strict";
// Computes the numbers of the page and formats them. User texts are set by textContent only, so a
// label that looks like HTML stays text. table.js and detail.js use this file.

const data = JSON.parse(document.getElementById("data").textContent);
const models = data.models;
const several = models.length > 1;
const letters = ["A", "B"];
const byId = id => document.getElementById(id);

// ---- metrics, by the definitions of the profile `manylabel` ----

// The position of the threshold in the label's grid, for each model and label.
const places = models.map(model => model.curves.map(curve => curve[3]));

function ofLabel(model, label, place = places[model][label]) {
  const [thresholds, right, wrong] = models[model].curves[label];
  const positives = data.positives[label];
  const predicted = right[place] + wrong[place];
  const defined = positives > 0;
  const precision = defined ? (predicted ? right[place] / predicted : 0) : null;
  const recall = defined ? right[place] / positives : null;
  const F1 = defined ? harmonic(precision, recall) : null;
  return {
    threshold: thresholds[place], right: right[place], wrong: wrong[place], predicted,
    missed: positives - right[place], precision, recall, F1,
  };
}

function ofAll(model) {
  let right = 0, predicted = 0, positives = 0, precision = 0, recall = 0, counted = 0;
  data.labels.forEach((_, label) => {
    const found = ofLabel(model, label);
    right += found.right;
    predicted += found.predicted;
    positives += data.positives[label];
    if (found.recall === null) return;
    precision += found.precision;
    recall += found.recall;
    counted += 1;
  });
  const CP = counted ? precision / counted : null, CR = counted ? recall / counted : null;
  const OP = predicted ? right / predicted : 0, OR = positives ? right / positives : null;
  return {CP, CR, CF1: harmonic(CP, CR), OP, OR, OF1: harmonic(OP, OR)};
}

function harmonic(a, b) {
  if (a === null || b === null) return null;
  return a + b ? 2 * a * b / (a + b) : 0;
}

// ---- words ----

const percent = value => value === null ? "–" : (100 * value).toFixed(1);
const whole = value => value.toLocaleString("en");
const threshold = value => value.toPrecision(4).replace(/\.?0+$/, "") || "0";
function points(value) {
  if (value === null) return "–";
  const text = (100 * value).toFixed(1);
  return text.startsWith("-") ? "−" + text.slice(1) : "+" + text;
}

function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
