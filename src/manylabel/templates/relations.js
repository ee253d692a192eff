"use strict";
// The graph of relations, and the table of all pairs below it, in each section of the page.
document.querySelectorAll("section.relations").forEach(root => {
  const byId = id => document.getElementById(`${root.id}-${id}`);
  const data = JSON.parse(byId("data").textContent);
  const names = data.labels;
  const [OTHER, LABEL, ADDS, OUT, IN, SURE, LIFT, LOW, HIGH, BOTH, PHI, P, BEST, BOXES] = Array(14).keys();
  const svg = byId("graph"), about = byId("about"), what = byId("what"), count = byId("count");
  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, text = "", set = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(set)) made.setAttribute(name, value);
    return made;
  }

  function draw(tag, set) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(set)) made.setAttribute(name, value);
    return made;
  }

  const signed = (value, digits = 2) => value === null ? "–"
    : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
  const plain = (value, digits = 2) => value === null ? "–" : value.toFixed(digits);
  const small = value => value === null ? "–" : value < 0.001 ? "< 0.001" : value.toFixed(3);

  // Both kinds of edges: {from, to, value, row}; a pair of the data has one edge without a direction.
  const edges = {
    model: data.rows.filter(row => row[SURE] && row[ADDS] !== null)
      .map(row => ({from: row[OTHER], to: row[LABEL], value: row[ADDS], row})),
    data: data.rows.filter(row => row[OTHER] < row[LABEL] && row[P] !== null && row[P] < 0.05)
      .map(row => ({from: row[OTHER], to: row[LABEL], value: row[PHI], row})),
  };
  for (const kind of Object.values(edges)) kind.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));

  const sentence = ({from, to, value, row}) => what.value === "model"
    ? `${names[from]} → ${names[to]}: ${signed(value)} logits (put out ${signed(row[OUT])}, put in ` +
      `${signed(row[IN])})${row[BEST] ? `; best place: ${row[BEST]}` : ""}. Lift in the data ${plain(row[LIFT])}.`
    : `${names[from]} and ${names[to]}: lift ${plain(row[LIFT])} (${plain(row[LOW])} to ` +
      `${plain(row[HIGH])}), ${row[BOTH]} images with both, correlation ${signed(row[PHI])}.`;

  function tell(title, shown) {
    const list = make("ul");
    for (const edge of shown.slice(0, 12)) list.append(make("li", sentence(edge)));
    if (shown.length > 12) list.append(make("li", `and ${shown.length - 12} more`));
    about.replaceChildren(make("h3", title), shown.length ? list : make("p", "It has no arrow here."));
  }

  function overview(shown) {
    const rest = what.value === "model"
      ? `${edges.model.length} relations are significant. ` : `${edges.data.length} pairs are significant. `;
    about.replaceChildren(
      make("h3", what.value === "model" ? "What the model learned" : "What the data say"),
      make("p", `${rest}Point at a label or an arrow, or move to a label with the Tab key, for its numbers.`),
    );
    const list = about.appendChild(make("ul"));
    for (const edge of shown.slice(0, 5)) list.append(make("li", sentence(edge)));
  }

  function paint() {
    const all = edges[what.value];
    count.max = Math.max(1, Math.min(all.length, 150));
    const shown = all.slice(0, Number(count.value));
    byId("number").textContent = `${shown.length} of ${all.length}`;
    const used = new Set(shown.flatMap(({from, to}) => [from, to]));
    const order = data.around.filter(label => used.has(label));
    const [cx, cy, radius] = [380, 320, 235];
    const at = new Map(order.map((label, i) => {
      const angle = 2 * Math.PI * i / order.length - Math.PI / 2;
      return [label, {angle, x: cx + radius * Math.cos(angle), y: cy + radius * Math.sin(angle)}];
    }));
    const peak = Math.max(1e-9, ...shown.map(({value}) => Math.abs(value)));
    const parts = [];
    svg.replaceChildren();
    svg.classList.remove("some");
    svg.style.display = shown.length ? "" : "none";
    for (const edge of [...shown].reverse()) parts.push(arrow(edge, at, peak));
    const nodes = order.map(label => node(label, at.get(label), order.length));
    svg.append(...parts.flatMap(({items}) => items), ...nodes.map(({item}) => item));

    const light = (kept, title) => {
      svg.classList.add("some");
      const ends = new Set(kept.flatMap(({from, to}) => [from, to]));
      for (const {edge, items} of parts)
        for (const item of items) item.classList.toggle("on", kept.includes(edge));
      for (const {item, label} of nodes) item.classList.toggle("on", ends.has(label));
      tell(title, kept);
    };
    const dark = () => { svg.classList.remove("some"); overview(shown); };
    for (const {edge, items} of parts) {
      const touch = items.at(-1);
      const title = `${names[edge.from]} ${what.value === "model" ? "→" : "and"} ${names[edge.to]}`;
      touch.addEventListener("pointerenter", () => light([edge], title));
      touch.addEventListener("pointerleave", dark);
    }
    for (const {item, label} of nodes) {
      const own = () => light(shown.filter(({from, to}) => from === label || to === label), names[label]);
      item.addEventListener("pointerenter", own);
      item.addEventListener("pointerleave", dark);
      item.addEventListener("focus", own);
      item.addEventListener("blur", dark);
    }
    overview(shown);
  }

  // A curve that bends to the right of its direction, so that two opposite arrows lie apart.
  function arrow(edge, at, peak) {
    const a = at.get(edge.from), b = at.get(edge.to);
    const directed = what.value === "model";
    const [dx, dy] = [b.x - a.x, b.y - a.y], length = Math.hypot(dx, dy) || 1;
    const bend = directed ? 0.1 * length + 12 : 0;
    const mx = (a.x + b.x) / 2 * 0.82 + 380 * 0.18 - dy / length * bend;
    const my = (a.y + b.y) / 2 * 0.82 + 320 * 0.18 + dx / length * bend;
    const width = 1.2 + 6.8 * Math.abs(edge.value) / peak;
    const sign = edge.value > 0 ? "plus" : "minus";
    const [ux, uy] = [b.x - mx, b.y - my].map((value, _, all) => value / (Math.hypot(...all) || 1));
    const tip = 7 + 1.5 * width, gap = 11;
    const end = {x: b.x - ux * (gap + (directed ? tip : 0)), y: b.y - uy * (gap + (directed ? tip : 0))};
    const path = `M${a.x} ${a.y}Q${mx} ${my} ${end.x} ${end.y}`;
    const items = [draw("path", {d: path, class: `edge ${sign}`, "stroke-width": width})];
    if (directed) {
      const [px, py, half] = [-uy, ux, 3 + 0.8 * width];
      const [tx, ty] = [b.x - ux * gap, b.y - uy * gap];
      items.push(draw("path", {
        class: `tip ${sign}`,
        d: `M${tx} ${ty}L${end.x + px * half} ${end.y + py * half}L${end.x - px * half} ${end.y - py * half}Z`,
      }));
    }
    items.push(draw("path", {d: path, class: "touch"}));
    return {edge, items};
  }

  function node(label, {angle, x, y}, total) {
    const item = draw("g", {class: "node", tabindex: 0, role: "img", "aria-label": names[label]});
    const right = Math.cos(angle) >= -0.01;
    const turn = total > 40 ? `rotate(${angle * 180 / Math.PI + (right ? 0 : 180)} ${x} ${y})` : "";
    const flat = Math.abs(Math.cos(angle)) < 0.3 && !turn;
    const text = draw("text", {
      x: flat ? x : x + (right ? 14 : -14),
      y: flat ? y + (Math.sin(angle) < 0 ? -15 : 25) : y + 5,
      "text-anchor": flat ? "middle" : right ? "start" : "end",
      transform: turn,
    });
    const name = names[label];
    text.textContent = name.length > 22 ? `${name.slice(0, 21)}…` : name;
    item.append(draw("circle", {cx: x, cy: y, r: total > 40 ? 5 : 8}), text);
    item.append(draw("title", {}));
    item.lastChild.textContent = name;
    return {item, label};
  }

  // The table: rows are made a hundred at a time.
  const columns = [
    {title: "other label", value: row => names[row[OTHER]], word: true},
    {title: "label", value: row => names[row[LABEL]], word: true},
    {title: "adds", value: row => row[ADDS], text: value => signed(value), tone: true},
    {title: "put out", value: row => row[OUT], text: value => signed(value)},
    {title: "put in", value: row => row[IN], text: value => signed(value)},
    {title: "best place", value: row => row[BEST] || null, word: true},
    {title: "lift", value: row => row[LIFT], text: value => plain(value)},
    {title: "interval", value: row => row[LOW], text: (_, row) => row[LOW] === null ? "–" : `${plain(row[LOW])}–${plain(row[HIGH])}`},
    {title: "both", value: row => row[BOTH], text: value => String(value)},
    {title: "p (data)", value: row => row[P], text: value => small(value)},
    {title: "boxes", value: row => row[BOXES] || null, word: true},
  ];
  const table = byId("table"), body = table.tBodies[0], more = byId("more"), filter = byId("filter");
  const kept = [...data.rows];
  let drawn = 0;
  for (const column of columns) {
    const heading = make("th", "", {scope: "col", class: column.word ? "word" : ""});
    const button = heading.appendChild(make("button", column.title, {type: "button"}));
    button.addEventListener("click", () => sort(heading, column));
    table.tHead.rows[0].append(heading);
  }

  // The first press sorts words up and numbers down. Empty cells are last.
  function sort(heading, column) {
    const before = heading.getAttribute("aria-sort");
    const falling = before ? before === "ascending" : !column.word;
    kept.sort((one, two) => {
      const [a, b] = [column.value(one), column.value(two)];
      if (a === null || b === null) return (a === null) - (b === null);
      return (column.word ? a.localeCompare(b) : a - b) * (falling ? -1 : 1);
    });
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    restart();
  }

  function matching() {
    const wanted = filter.value.trim().toLowerCase();
    const has = label => names[label].toLowerCase().includes(wanted);
    return wanted ? kept.filter(row => has(row[OTHER]) || has(row[LABEL])) : kept;
  }

  function drawMore() {
    const rows = matching();
    for (const row of rows.slice(drawn, drawn + 100)) {
      const line = body.insertRow();
      if (!row[SURE]) line.className = "unsure";
      for (const column of columns) {
        const value = column.value(row);
        const text = column.text ? column.text(value, row) : value ?? "–";
        const tone = column.tone && row[SURE] ? (value > 0 ? "plus" : "minus") : "";
        line.append(make("td", text, {class: column.word ? "word" : tone}));
      }
    }
    drawn = Math.min(rows.length, drawn + 100);
    more.hidden = drawn >= rows.length;
    more.textContent = `Show more (${rows.length - drawn} left)`;
  }

  function restart() {
    body.replaceChildren();
    drawn = 0;
    drawMore();
  }

  more.addEventListener("click", drawMore);
  filter.addEventListener("input", restart);
  what.addEventListener("change", paint);
  count.addEventListener("input", paint);
  count.max = 150;
  count.value = 30;
  paint();
  restart();
});
