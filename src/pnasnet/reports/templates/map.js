"use strict";
// Draws the map of map.html: dots, and over them as many thumbnails as fit without overlap.

const data = JSON.parse(document.getElementById("data").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const points = new Float32Array(bytes(data.points).buffer);
const neighbours = new Int32Array(bytes(data.neighbours).buffer);
const count = data.names.length;
const canvas = document.getElementById("map");
const shown = document.getElementById("shown");
const context = canvas.getContext("2d");
const images = new Map();
const [SMALLEST, LARGEST] = [48, 96]; // sides of thumbnails on the screen, in CSS pixels
let side = LARGEST; // smaller with more points on the screen
const view = { x: 0.5, y: 0.5, scale: 1 }; // centre in map units, and CSS pixels per unit
const looks = { colours: null, groups: null, faint: null, marked: null, outline: null, cross: null, corner: null };
// colours: CSS colours of the groups; groups: the group of each point; faint: points drawn faintly;
// marked: points drawn with a frame; outline: corners [x, y] of a selection that is being drawn; cross: the cursor of the
// keyboard, and corner: where it began a box, both [x, y] in map units. null: none.
let order = Uint32Array.from({ length: count }, (_, i) => i); // group by group: changing colours costs more than a dot
let current = -1; // the point that was clicked
let drawn = []; // thumbnails on the screen: [place, x, y]
let waiting = false;

function fit() {
  let [right, bottom] = [0, 0];
  for (let i = 0; i < count; i++) {
    right = Math.max(right, points[2 * i]);
    bottom = Math.max(bottom, points[2 * i + 1]);
  }
  const room = LARGEST;
  view.x = right / 2;
  view.y = bottom / 2;
  view.scale = Math.min(
    (canvas.clientWidth - room) / Math.max(right, 1e-6),
    (canvas.clientHeight - room) / Math.max(bottom, 1e-6),
    1e5,
  );
  redraw();
}

const place = (i) => onScreen([points[2 * i], points[2 * i + 1]]);

function onScreen([x, y]) {
  return [
    (x - view.x) * view.scale + canvas.clientWidth / 2,
    (y - view.y) * view.scale + canvas.clientHeight / 2,
  ];
}

function redraw() {
  if (!waiting) {
    waiting = true;
    requestAnimationFrame(draw);
  }
}

function draw() {
  waiting = false;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  context.scale(ratio, ratio);
  const [visible, withThumbnails] = drawDots(width, height);
  side = Math.min(Math.max(Math.sqrt((width * height) / (4 * visible + 1)), SMALLEST), LARGEST);
  drawThumbnails(withThumbnails.sort(([a], [b]) => a - b)); // not group by group, as dots are: all groups are seen
  drawMarks();
  document.body.dataset.drawn = String(drawn.length);
}

// Draws the dots; returns how many are on the screen, and those that have thumbnails: [place, x, y].
function drawDots(width, height) {
  const withThumbnails = [];
  let visible = 0;
  const shades = looks.colours ?? [style("--one")];
  const [left, top] = [width / 2 - view.x * view.scale, height / 2 - view.y * view.scale];
  for (const faint of looks.faint ? [1, 0] : [0]) {
    context.globalAlpha = faint ? 0.1 : 0.7;
    let last = -1;
    for (const i of order) {
      const [x, y] = [points[2 * i] * view.scale + left, points[2 * i + 1] * view.scale + top];
      if (x < -LARGEST || y < -LARGEST || x > width + LARGEST || y > height + LARGEST) continue;
      if (looks.faint && looks.faint[i] !== faint) continue;
      const group = looks.groups ? looks.groups[i] : 0;
      if (group !== last) context.fillStyle = shades[(last = group)];
      context.fillRect(x - 1.5, y - 1.5, 3, 3);
      visible++;
      if (!faint && images.get(i)?.naturalWidth) withThumbnails.push([i, x, y]);
    }
  }
  context.globalAlpha = 1;
  return [visible, withThumbnails];
}

function drawMarks() {
  context.lineWidth = 2;
  context.strokeStyle = style("--two");
  const thumbnails = new Set(drawn.map(([i]) => i));
  const near = new Set(current < 0 ? [] : [current, ...neighboursOf(current)]);
  const marked = looks.marked ? order.filter((i) => looks.marked[i] || near.has(i)) : near;
  for (const i of marked) {
    const size = thumbnails.has(i) ? side - 2 : near.has(i) ? 10 : 5;
    const [x, y] = place(i);
    context.strokeRect(x - size / 2, y - size / 2, size, size);
  }
  if (looks.cross) drawCross(...onScreen(looks.cross));
  const outline = looks.outline ?? box();
  context.setLineDash([4, 3]);
  context.beginPath();
  for (const [x, y] of outline) context.lineTo(x, y);
  context.closePath();
  context.stroke();
}

// Draws the cross of the keyboard, with a rim to be seen on thumbnails.
function drawCross(x, y) {
  context.beginPath();
  for (const [dx, dy] of [[14, 0], [0, 14]]) {
    context.moveTo(x - dx, y - dy);
    context.lineTo(x + dx, y + dy);
  }
  for (const [width, colour] of [[6, "--paper"], [2, "--two"]]) {
    [context.lineWidth, context.strokeStyle] = [width, style(colour)];
    context.stroke();
  }
}

function neighboursOf(i) {
  const width = count ? neighbours.length / count : 0;
  return neighbours.subarray(i * width, (i + 1) * width);
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

function drawThumbnails(candidates) {
  const taken = new Map(); // cells as large as a thumbnail, with the one in each
  drawn = [];
  for (const candidate of candidates) {
    const [i, x, y] = candidate;
    const [column, row] = [Math.floor(x / side), Math.floor(y / side)];
    if (isCovered(taken, column, row, x, y)) continue;
    taken.set(`${column},${row}`, candidate);
    const image = images.get(i);
    const factor = (side - 4) / Math.max(image.naturalWidth, image.naturalHeight);
    const [w, h] = [image.naturalWidth * factor, image.naturalHeight * factor];
    if (looks.colours) {
      context.fillStyle = looks.colours[looks.groups[i]];
      context.fillRect(x - w / 2 - 2, y - h / 2 - 2, w + 4, h + 4);
    }
    context.drawImage(image, x - w / 2, y - h / 2, w, h);
    drawn.push(candidate);
  }
}

function isCovered(taken, column, row, x, y) {
  for (let c = column - 1; c <= column + 1; c++) {
    for (let r = row - 1; r <= row + 1; r++) {
      const other = taken.get(`${c},${r}`);
      if (other && Math.abs(other[1] - x) < side && Math.abs(other[2] - y) < side) return true;
    }
  }
  return false;
}

function pointAt(x, y) {
  for (const [i, left, top] of drawn) {
    if (Math.abs(left - x) < side / 2 && Math.abs(top - y) < side / 2) return i;
  }
  let [best, nearest] = [-1, 144];
  for (let i = 0; i < count; i++) {
    const [left, top] = place(i);
    const distance = (left - x) ** 2 + (top - y) ** 2;
    if (distance < nearest) [best, nearest] = [i, distance];
  }
  return best;
}

function show(i) {
  shown.hidden = i < 0;
  if (i < 0) return;
  const image = shown.querySelector("img");
  image.hidden = !data.images[i];
  if (data.images[i]) image.src = data.images[i];
  shown.querySelector("figcaption").textContent = data.names[i];
}

// Marks an image and its neighbours; -1 for none.
function choose(i) {
  current = i;
  show(i);
  if (colour.value === SIMILARITY) recolour();
  redraw();
}

function zoom(factor, x, y) {
  const [dx, dy] = [x - canvas.clientWidth / 2, y - canvas.clientHeight / 2];
  const scale = Math.min(Math.max(view.scale * factor, 10), 1e7);
  view.x += dx / view.scale - dx / scale;
  view.y += dy / view.scale - dy / scale;
  view.scale = scale;
  redraw();
}

function move(dx, dy) {
  view.x -= dx / view.scale;
  view.y -= dy / view.scale;
  redraw();
}

const pointers = new Map();

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  if (lassoing(event)) looks.outline = [[event.offsetX, event.offsetY]];
});

canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  const now = [event.offsetX, event.offsetY];
  if (!before) {
    show(pointAt(...now));
    return;
  }
  if (pointers.size === 2) {
    looks.outline = null;
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const spread = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
    zoom(spread(now) / spread(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else if (looks.outline) {
    looks.outline.push(now);
    redraw();
  } else {
    move(now[0] - before[0], now[1] - before[1]);
  }
  pointers.set(event.pointerId, now);
});

for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    if (looks.outline) selectInside(looks.outline);
    looks.outline = null;
    redraw();
  });
}

canvas.addEventListener("click", (event) => {
  if (!lassoing(event)) choose(pointAt(event.offsetX, event.offsetY));
});

canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  },
  { passive: false },
);

canvas.addEventListener("keydown", (event) => {
  const middle = [canvas.clientWidth / 2, canvas.clientHeight / 2];
  const actions = {
    "+": () => zoom(1.3, ...middle),
    "-": () => zoom(1 / 1.3, ...middle),
    0: fit,
    ArrowLeft: () => step(-1, 0, event.shiftKey),
    ArrowRight: () => step(1, 0, event.shiftKey),
    ArrowUp: () => step(0, -1, event.shiftKey),
    ArrowDown: () => step(0, 1, event.shiftKey),
    l: () => document.getElementById("lasso").click(),
    Enter: setCorner,
    " ": () => looks.cross && choose(pointAt(...onScreen(looks.cross))),
    Escape: () => (looks.corner ? (looks.corner = null) || redraw() : clearSelection()),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
});

for (const [i, address] of Object.entries(data.images)) {
  const image = new Image();
  image.onload = redraw;
  image.src = address;
  images.set(Number(i), image);
}

window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
fit();
