"use strict";
// Corrects labels, and saves the photographs that were checked as a table.
const data = JSON.parse(document.getElementById("data").textContent);
const cards = [...document.querySelectorAll(".card")];
const positions = new Map(data.labels.map((label, position) => [label, position]));
const FORMULA = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;  // as text.for_spreadsheet
let unsaved = false;

const isChecked = card => card.classList.contains("checked");

function setChecked(card, checked) {
  card.classList.toggle("checked", checked);
  const button = card.querySelector(".right");
  button.setAttribute("aria-pressed", checked);
  button.textContent = checked ? "Checked" : "All right";
  unsaved = true;
  const count = cards.filter(isChecked).length;
  document.getElementById("count").textContent = count;
  document.getElementById("save").disabled = !count;
  document.getElementById("told").textContent = "";
}

function add(card, position) {
  let box = card.querySelector(`[data-label="${position}"]`);
  if (!box) {
    const line = document.createElement("label");
    line.className = "line added";
    line.innerHTML = '<input type="checkbox"><span class="label"></span><span class="bar"></span><span></span>';
    box = line.firstElementChild;
    box.dataset.label = position;
    line.querySelector(".label").textContent = data.labels[position];
    card.querySelector(".lines").append(line);
  }
  box.checked = true;
  setChecked(card, true);
}

function take(card, input, told) {
  const position = positions.get(input.value.trim());
  input.classList.toggle("unknown", told && position === undefined && input.value.trim() !== "");
  if (position === undefined) return;
  input.value = "";
  add(card, position);
}

for (const card of cards) {
  card.querySelector(".lines").addEventListener("change", () => setChecked(card, true));
  card.querySelector(".right").addEventListener("click", () => setChecked(card, !isChecked(card)));
  const input = card.querySelector(".add");
  input.addEventListener("change", () => take(card, input, true));
  input.addEventListener("keydown", event => { if (event.key === "Enter") take(card, input, true); });
  // A choice from the list counts at once. What is typed may go on: "cat" may become "cattle".
  input.addEventListener("input", event => {
    input.classList.remove("unknown");
    if (!event.inputType || event.inputType === "insertReplacementText") take(card, input, false);
  });
}

function cell(text) {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function table() {
  const rows = cards.filter(isChecked).map(card => {
    const chosen = [...card.querySelectorAll("[data-label]:checked")];
    const labels = chosen.map(box => data.labels[box.dataset.label]).join(data.mark);
    return [data.images[card.dataset.image], labels, data.source];
  });
  return [data.header, ...rows].map(row => row.map(cell).join(",") + "\n").join("");
}

const save = document.getElementById("save");
if (save) save.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], {type: "text/csv"}));
  link.download = "checked.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  unsaved = false;
  document.getElementById("told").textContent = ", saved";
});
addEventListener("beforeunload", event => { if (unsaved) event.preventDefault(); });
