// A click on an image makes it the query among the images of the page; the address keeps it, so "back" works.

const neighbours = JSON.parse(document.getElementById("data").textContent); // of each image: [place, 10,000 x similarity]
const asked = document.getElementById("asked");
const answers = document.getElementById("answers");
const figures = new Map(); // the first figure of each image
for (const figure of answers.querySelectorAll("figure[data-place]")) {
  if (!figures.has(figure.dataset.place)) figures.set(figure.dataset.place, figure);
}

const parts = (place) => {
  const figure = figures.get(String(place)).cloneNode(true);
  const image = figure.querySelector("img, .lost");
  image.loading = "eager";
  const kept = [...figure.querySelector("figcaption").children].filter((each) => each.matches(".file, .copy, .size"));
  return [image, kept];
};

function made(tag, ...children) {
  const element = document.createElement(tag);
  element.append(...children);
  return element;
}

function card([place, similarity]) {
  const [image, kept] = parts(place);
  const button = made("button", image);
  Object.assign(button, { type: "button", className: "ask", title: "Make this image the query" });
  const line = made("span", "similarity ", made("b", (similarity / 10000).toFixed(4)));
  const figure = made("figure", button, made("figcaption", line, ...kept));
  figure.dataset.place = place;
  return made("li", figure);
}

function show() {
  const place = /^#image-(\d+)$/.exec(location.hash)?.[1];
  const known = place !== undefined && figures.has(place);
  asked.hidden = !known;
  answers.hidden = known;
  if (!known) return;
  const [image, kept] = parts(place);
  const number = neighbours[place].length;
  asked.querySelector("h2").textContent = image.alt || kept.find((each) => each.matches(".file")).textContent;
  asked.querySelector("h2 + p").textContent = `The ${number} most similar images of this page, not of all features.`;
  asked.querySelector(".query").replaceChildren(image, made("figcaption", made("b", "Query"), ...kept));
  asked.querySelector("ol").replaceChildren(...neighbours[place].map(card));
  scrollTo(0, asked.offsetTop);
  document.getElementById("back").focus({ preventScroll: true });
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button.ask");
  if (button) location.hash = `image-${button.closest("figure").dataset.place}`;
});
document.getElementById("back").addEventListener("click", () => (location.hash = ""));
addEventListener("hashchange", show);
show();
