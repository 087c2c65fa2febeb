"use strict";
// Lists of paths, copied or saved: what several pages of images share.

const told = document.getElementById("told");
let last = 0;

function tell(text) {
  told.textContent = text;
  clearTimeout(last);
  last = setTimeout(() => (told.textContent = ""), 6000);
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    tell(done);
  } catch {
    tell("The browser does not allow copying here.");
  }
}

function save(paths, name) {
  const address = URL.createObjectURL(new Blob([paths.map((path) => `${path}\n`).join("")], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button.copy");
  if (button) copy(button.dataset.path, `Copied ${button.dataset.path}`);
});
