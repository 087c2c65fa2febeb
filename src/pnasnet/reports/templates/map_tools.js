// The tools of map.html: colours, search, selection. map.js draws what `looks` says.

const byId = (id) => document.getElementById(id);
const [find, hits, colour, legend] = ["find", "hits", "colour", "legend"].map(byId);
const selection = new Uint8Array(count);
// Told apart by people who see red and green alike: Okabe and Ito (2008), then four of their mixtures.
const GROUPS = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#7a5195", "#8c564b", "#3f9e3f", "#d16ba5",
  "#8a8f98",
];
// From dark to light, evenly to the eye: nine colours of cividis (Nuñez et al., 2018).
const RAMP = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#fee838"];
const off = new Set(); // groups of the legend that are switched off
let found = null; // places of the matches; null without a search
let jumped = -1;

for (const [number, { name }] of data.colourings.entries()) colour.add(new Option(name, String(number)));
const SIMILARITY = "similarity";
const sketches = new Int8Array(bytes(data.sketches).buffer);
if (sketches.length) colour.add(new Option("similarity to the marked image", SIMILARITY));

function recolour() {
  legend.replaceChildren();
  off.clear();
  const chosen = data.colourings[Number(colour.value || NaN)];
  if (colour.value === SIMILARITY && current >= 0) {
    colourByNumber(similaritiesTo(current));
  } else if (!chosen) {
    [looks.colours, looks.groups] = [null, null];
    if (colour.value === SIMILARITY) addToLegend("Click an image.");
  } else if (chosen.groups.length) {
    [looks.colours, looks.groups] = [GROUPS.slice(0, chosen.groups.length), bytes(chosen.values)];
    chosen.groups.forEach(addGroup);
  } else {
    colourByNumber(new Float32Array(bytes(chosen.values).buffer));
  }
  if (looks.groups) order.sort((a, b) => looks.groups[a] - looks.groups[b]);
  dim();
}

// Returns about the cosine of each image's vector with that of one image.
function similaritiesTo(i) {
  const length = sketches.length / count;
  const own = sketches.subarray(i * length, (i + 1) * length);
  const similarities = new Float32Array(count);
  for (let j = 0; j < count; j++) {
    let sum = 0;
    for (let k = 0; k < length; k++) sum += own[k] * sketches[j * length + k];
    similarities[j] = Math.min(sum / (127 * 127), 1);
  }
  return similarities;
}

function addToLegend(...content) {
  const item = document.createElement("li");
  item.append(...content);
  legend.append(item);
}

function colourByNumber(numbers) {
  const known = numbers.filter(Number.isFinite).sort();
  const [least, most] = [known[0] ?? 0, known[known.length - 1] ?? 0];
  const step = (value) => Math.floor(((value - least) / (most - least || 1)) * (RAMP.length - 1e-6));
  looks.colours = [...RAMP, "#8a8f98"];
  looks.groups = Uint8Array.from(numbers, (value) => (Number.isFinite(value) ? step(value) : RAMP.length));
  const ramp = Object.assign(document.createElement("div"), { id: "ramp" });
  ramp.style.background = `linear-gradient(to right, ${RAMP})`;
  const ends = document.createElement("div");
  ends.textContent = `${Number(least.toPrecision(4))} to ${Number(most.toPrecision(4))}`;
  addToLegend(ramp, ends);
}

function addGroup(name, group) {
  const members = looks.groups.reduce((sum, value) => sum + (value === group), 0);
  const button = document.createElement("button");
  const dot = document.createElement("i");
  dot.style.background = GROUPS[group];
  button.type = "button";
  button.title = "Show or hide this group";
  button.setAttribute("aria-pressed", "true");
  button.append(dot, `${name} (${members.toLocaleString("en")})`);
  button.addEventListener("click", () => {
    if (!off.delete(group)) off.add(group);
    button.setAttribute("aria-pressed", String(!off.has(group)));
    dim();
  });
  addToLegend(button);
}

function dim() {
  looks.faint = found || off.size ? new Uint8Array(count) : null;
  if (found) looks.faint.fill(1);
  for (const i of found ?? []) looks.faint[i] = 0;
  for (let i = 0; off.size && i < count; i++) if (off.has(looks.groups[i])) looks.faint[i] = 1;
  redraw();
}

function search() {
  const text = find.value.toLowerCase();
  found = text ? [...data.names.keys()].filter((i) => data.names[i].toLowerCase().includes(text)) : null;
  jumped = -1;
  hits.textContent = found ? `${found.length.toLocaleString("en")} found` : "";
  byId("next").disabled = byId("take").disabled = !found?.length;
  dim();
}

function jump() {
  if (!found?.length) return;
  jumped = (jumped + 1) % found.length;
  hits.textContent = `${(jumped + 1).toLocaleString("en")} of ${found.length.toLocaleString("en")}`;
  [view.x, view.y] = [points[2 * found[jumped]], points[2 * found[jumped] + 1]];
  choose(found[jumped]);
}

function lassoing(event) {
  return event.shiftKey || byId("lasso").getAttribute("aria-pressed") === "true";
}

function selectInside(corners) {
  const inside = (x, y) => {
    let odd = false;
    for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
      const [[ax, ay], [bx, by]] = [corners[i], corners[j]];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  };
  for (let i = 0; i < count; i++) if (!looks.faint?.[i] && inside(...place(i))) selection[i] = 1;
  selected();
}

// Moves the cross of the lasso, which takes the map along at its edges; without a lasso, moves the map.
function step(dx, dy, fine) {
  if (!looks.cross) return move(-60 * dx, -60 * dy);
  const pixels = fine ? 4 : 24;
  looks.cross = [looks.cross[0] + (dx * pixels) / view.scale, looks.cross[1] + (dy * pixels) / view.scale];
  const beyond = (at, size) => at - Math.min(Math.max(at, 0), size);
  const [x, y] = onScreen(looks.cross);
  move(-beyond(x, canvas.clientWidth), -beyond(y, canvas.clientHeight));
}

// Begins a box at the cross, or selects the images between its first corner and the cross.
function setCorner() {
  if (looks.corner) selectInside(box());
  looks.corner = looks.corner ? null : looks.cross;
  redraw();
}

// Returns the corners of the box that the keyboard draws, on the screen.
function box() {
  if (!looks.corner) return [];
  const [[left, top], [right, bottom]] = [onScreen(looks.corner), onScreen(looks.cross)];
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

function selected() {
  const number = selection.reduce((sum, value) => sum + value, 0);
  looks.marked = number ? selection : null;
  byId("selected").textContent = `${number.toLocaleString("en")} selected`;
  for (const id of ["copy", "save", "clear"]) byId(id).disabled = !number;
  redraw();
}

function clearSelection() {
  selection.fill(0);
  choose(-1);
  selected();
}

const list = () => data.names.filter((_, i) => selection[i]).join("\n") + "\n";

find.addEventListener("input", search);
find.addEventListener("keydown", (event) => event.key === "Enter" && jump());
colour.addEventListener("change", recolour);
byId("next").addEventListener("click", jump);
byId("clear").addEventListener("click", clearSelection);
byId("lasso").addEventListener("click", ({ currentTarget: button, detail: byPointer }) => {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  document.body.classList.toggle("lasso", on);
  looks.cross = on && !byPointer ? [view.x, view.y] : null;
  looks.corner = null;
  redraw();
});
byId("take").addEventListener("click", () => {
  for (const i of found) selection[i] = 1;
  selected();
});
byId("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(list());
    byId("selected").textContent = "copied";
  } catch {
    byId("selected").textContent = "not allowed here: save the list";
  }
});
byId("save").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([list()], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href: address, download: "paths.txt" }).click();
  URL.revokeObjectURL(address);
});
recolour();
