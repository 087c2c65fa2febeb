"use strict";
const find = (id) => document.getElementById(id);
const state = find("state");
let asked = 0;

function show(id, rows) {
  const body = find(id).querySelector("tbody");
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((text, i) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (i) cell.className = "number";
      row.append(cell);
    });
    return row;
  }));
  find(id).hidden = !rows.length;
}

async function post(path, file) {
  const headers = find("key") ? { Authorization: `Bearer ${find("key").value}` } : {};
  const answer = await fetch(path, { method: "POST", body: file, headers });
  const content = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (answer.status === 401) throw new Error("The API key is missing or wrong: enter it above.");
  if (!answer.ok) throw new Error(content.error);
  return content.images[0];
}

async function preview(file) {
  const reader = new FileReader();
  reader.onload = () => { find("preview").src = reader.result; find("preview").hidden = false; };
  reader.readAsDataURL(file);
}

async function ask(file) {
  const turn = ++asked;
  const { classifies, similar } = find("model").selectedOptions[0].dataset;
  const model = encodeURIComponent(find("model").value);
  show("classes", []);
  show("similar", []);
  preview(file);
  state.textContent = "…";
  try {
    const [named, near] = await Promise.all([
      classifies === "true" ? post(`classify?model=${model}`, file) : { classes: [] },
      similar === "true" ? post(`similar?model=${model}`, file) : { similar: [] },
    ]);
    if (turn !== asked) return;
    show("classes", named.classes.map(({ name, probability }) => [name, `${(100 * probability).toFixed(1)} %`]));
    show("similar", near.similar.map(({ path, similarity }) => [path, similarity.toFixed(4)]));
    state.textContent = classifies === "true" || similar === "true" ? "" : "This model has no classes.";
  } catch (error) {
    if (turn === asked) state.textContent = error.message;
  }
}

find("file").addEventListener("change", () => find("file").files[0] && ask(find("file").files[0]));
find("key")?.addEventListener("change", () => find("file").files[0] && ask(find("file").files[0]));
find("model").addEventListener("change", () => find("file").files[0] && ask(find("file").files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  find("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) ask(event.dataTransfer.files[0]);
  });
}
