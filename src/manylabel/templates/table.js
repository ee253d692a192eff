"use strict";
// The table of labels: it can be sorted and filtered, and rows are drawn on demand.

const columns = [
  {title: "label", value: label => data.labels[label]},
  {title: "positives", value: label => data.positives[label], text: whole},
  ...models.map((model, i) => ({
    title: several ? `AP ${letters[i]}` : "AP", value: label => model.AP[label], text: percent,
  })),
  ...(several ? changes() : []),
  ...models.flatMap((_, i) => several
    ? [{title: `F1 ${letters[i]}`, value: label => ofLabel(i, label).F1, text: percent}]
    : [
      {title: "P", value: label => ofLabel(i, label).precision, text: percent},
      {title: "R", value: label => ofLabel(i, label).recall, text: percent},
      {title: "F1", value: label => ofLabel(i, label).F1, text: percent},
      {title: "threshold", value: label => ofLabel(i, label).threshold, text: threshold},
      {title: "ECE", value: label => models[i].ECE[label], text: percent},
      {title: "Brier", value: label => models[i].Brier[label], text: percent},
    ]),
];

function changes() {
  const change = label => {
    const [a, b] = models.map(model => model.AP[label]);
    return a === null || b === null ? null : b - a;
  };
  const interval = label => {
    const row = data.differences && data.differences[label];
    return row && row[1] !== null ? `${points(row[1])} to ${points(row[2])}` : "–";
  };
  const found = [{title: "change", value: change, text: points, coloured: true}];
  if (data.differences) found.push({title: "95 % of draws", value: change, label: interval});
  return found;
}

const BATCH = 100;
const table = byId("table"), body = table.tBodies[0], more = byId("more");
let order = data.labels.map((_, label) => label);
let drawn = 0;
let chosen = 0;

columns.forEach((column, i) => {
  const heading = make("th", "", {scope: "col"});
  const button = heading.appendChild(make("button", column.title, {type: "button"}));
  button.addEventListener("click", () => sort(heading, column, i > 0));
  table.tHead.rows[0].append(heading);
});

// The first press sorts names up and numbers down. Empty cells are last.
function sort(heading, column, numeric) {
  const before = heading.getAttribute("aria-sort");
  const falling = before ? before === "ascending" : numeric;
  const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b);
  const keyed = order.map(label => [column.value(label), label]);
  keyed.sort(([a, i], [b, j]) =>
    (a === null) - (b === null) || compare(a, b) * (falling ? -1 : 1) || i - j);
  order = keyed.map(([, label]) => label);
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
  redraw();
}

function matching() {
  const wanted = byId("filter").value.trim().toLowerCase();
  return wanted ? order.filter(label => data.labels[label].toLowerCase().includes(wanted)) : order;
}

function redraw() {
  body.replaceChildren();
  drawn = 0;
  drawMore();
}

// Rows are made a hundred at a time: ten thousand would take a browser seconds.
function drawMore() {
  const rows = matching();
  body.append(...rows.slice(drawn, drawn + BATCH).map(row));
  drawn = Math.min(rows.length, drawn + BATCH);
  const left = rows.length - drawn;
  more.hidden = left === 0;
  more.textContent = `Show ${Math.min(BATCH, left)} more of ${whole(left)}`;
  byId("status").textContent = `${whole(drawn)} of ${whole(rows.length)} labels shown`
    + (rows.length < data.labels.length ? ` (${whole(data.labels.length)} in all)` : "");
}

function row(label) {
  const line = make("tr", "", {"data-label": label});
  const name = make("th", "", {scope: "row"});
  const button = name.appendChild(make("button", data.labels[label], {type: "button", class: "pick"}));
  button.addEventListener("click", () => {
    choose(label);
    byId("detail").scrollIntoView({block: "nearest"});
  });
  line.append(name, ...columns.slice(1).map(() => make("td")));
  line.ariaCurrent = label === chosen ? "true" : null;
  return fill(line, label);
}

function fill(line, label) {
  columns.slice(1).forEach((column, i) => {
    const value = column.value(label), cell = line.cells[i + 1];
    cell.textContent = column.label ? column.label(label) : value === null ? "–" : column.text(value);
    if (column.coloured && Math.abs(value) >= 0.0005) cell.className = value > 0 ? "up" : "down";
  });
  return line;
}

const lineOf = label => body.querySelector(`tr[data-label="${label}"]`);
