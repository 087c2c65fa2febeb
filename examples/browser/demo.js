// Classifies photos with model.onnx, whose input is decoded pixels: it resizes and scales them itself.
import * as ort from "./ort.wasm.bundle.min.mjs";

const TOP = 5;
const LARGEST = 64e6; // pixels; more do not fit a canvas of every browser

ort.env.wasm.numThreads = 1; // more need response headers (COOP, COEP) that static hosting seldom sends
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };

const input = document.querySelector("#file");
const drop = document.querySelector("#drop");
const photo = document.querySelector("#photo");
const status = document.querySelector("#status");
const table = document.querySelector("#classes");

/** Decode a file to RGB as the preset `hub+exif` does: turned upright, without its colour profile. */
async function decode(file) {
  const bitmap = await createImageBitmap(file, {
    imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
  });
  const { width, height } = bitmap;
  if (width * height > LARGEST) throw new RangeError(`${width}x${height} pixels are too many: use a smaller photo`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return new ort.Tensor("uint8", rgb, [1, height, width, 3]);
}

function row(name, probability) {
  const element = document.createElement("tr");
  const header = document.createElement("th");
  const cell = document.createElement("td");
  const data = document.createElement("data");
  const meter = document.createElement("meter");
  header.scope = "row";
  header.textContent = name;
  data.value = String(probability);
  data.textContent = `${(100 * probability).toFixed(1)} %`;
  meter.value = probability;
  cell.append(data, " ", meter);
  element.append(header, cell);
  return element;
}

function show(file) {
  URL.revokeObjectURL(photo.src);
  photo.src = URL.createObjectURL(file);
  photo.alt = file.name;
  photo.hidden = false;
}

async function classify(session, labels, file) {
  table.hidden = true;
  status.textContent = `Classifying ${file.name} …`;
  let images;
  try {
    images = await decode(file);
  } catch (error) {
    const reason = error instanceof RangeError ? error.message : "this browser cannot decode it as an image";
    status.textContent = `${file.name}: ${reason}.`;
    photo.hidden = true;
    return;
  }
  show(file);
  const start = performance.now();
  const outputs = await session.run({ images });
  const milliseconds = performance.now() - start;
  const probabilities = outputs.Predictions.data;
  const best = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, TOP);
  table.tBodies[0].replaceChildren(...best.map((index) => row(labels[index], probabilities[index])));
  table.hidden = false;
  const [, height, width] = images.dims;
  status.textContent = `${file.name}, ${width}x${height} pixels: classified in ${milliseconds.toFixed(0)} ms.`;
}

async function main() {
  const fetched = await fetch("labels.json");
  if (!fetched.ok) throw new Error(`labels.json: HTTP status ${fetched.status}`);
  const labels = await fetched.json();
  const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  // One photo at a time: a session runs one call at once.
  let last = Promise.resolve();
  const accept = (file) => {
    if (!file) return;
    last = last.then(() => classify(session, labels, file)).catch(report);
  };
  input.addEventListener("change", () => {
    accept(input.files[0]);
    input.value = ""; // the same photo may be chosen again
  });
  drop.addEventListener("drop", (event) => accept(event.dataTransfer.files[0]));
  input.disabled = false;
  status.textContent = "Ready.";
}

function report(error) {
  status.textContent = `Failed: ${error.message}`;
}

for (const kind of ["dragover", "drop", "dragleave"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault(); // a browser would leave this page to open the photo
    drop.classList.toggle("over", kind === "dragover");
  });
}
main().catch(report);
