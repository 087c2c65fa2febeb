// Counts and lists the images of the groups that are not marked to be kept.

const items = [...document.querySelectorAll(".group li")];
const amount = (bytes) => (bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`);
const images = (count) => `${count.toLocaleString("en")} image${count === 1 ? "" : "s"}`;
const pathsOf = (list) => list.map((item) => item.dataset.path).filter(Boolean);

// Names with characters that a list of lines cannot hold have no data-path: they are counted.
function unlisted(list) {
  const count = list.length - pathsOf(list).length;
  return count ? `; ${images(count)} with unprintable names left out` : "";
}

const going = () => items.filter((item) => !item.querySelector("input").checked);

function count() {
  const list = going();
  const emptied = document.querySelectorAll(".group:not(:has(input:checked))").length;
  const bytes = list.reduce((sum, item) => sum + Number(item.dataset.bytes), 0);
  document.getElementById("going").textContent =
    `${images(list.length)} could go${bytes ? `, ${amount(bytes)}` : ""}` +
    (emptied ? `; nothing would be kept of ${emptied.toLocaleString("en")} group${emptied === 1 ? "" : "s"}` : "");
  for (const id of ["save", "copy"]) document.getElementById(id).disabled = !list.length;
}

if (items.length) {
  for (const item of items) item.addEventListener("change", count);
  document.getElementById("save").addEventListener("click", () => {
    const list = going();
    save(pathsOf(list), "could-go.txt");
    tell(`Saved could-go.txt${unlisted(list)}`);
  });
  document.getElementById("copy").addEventListener("click", () => {
    const list = going();
    copy(pathsOf(list).map((path) => `${path}\n`).join(""), `Copied ${images(pathsOf(list).length)}${unlisted(list)}`);
  });
  count();
}

for (const button of document.querySelectorAll("button.save")) {
  button.addEventListener("click", () => {
    const list = [...button.closest("section").querySelectorAll("li")];
    save(pathsOf(list), button.dataset.name);
    tell(`Saved ${button.dataset.name}${unlisted(list)}`);
  });
}
