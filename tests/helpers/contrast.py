"""The contrast of every visible text of a page, computed from its colours: axe-core leaves some undetermined."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_MEASURE = """() => {
  const levels = (colour) => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, below) => [0, 1, 2]
    .map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(top[3] + below[3] * (1 - top[3]));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    const below = element ? background(element.parentElement) : [255, 255, 255, 1];
    return element ? over(levels(getComputedStyle(element).backgroundColor), below) : below;
  };
  const opacity = (element) =>
    element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1;
  const found = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const hidden = !element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) || !element.offsetWidth;
    if (!walker.currentNode.data.trim() || hidden || element.closest(":disabled")) continue;
    const style = getComputedStyle(element), behind = background(element);
    const [r, g, b, a] = levels(style.color);
    const [one, other] = [over([r, g, b, a * opacity(element)], behind), behind].map(luminance).sort((x, y) => y - x);
    const ratio = (one + 0.05) / (other + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    texts += 1;
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}: ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  return [texts, found];
}"""


def low_contrasts(page: "Page") -> tuple[int, list[str]]:
    """Return the number of texts, and those below WCAG's AA: 4.5, and 3 for large text. Drawings are left out."""
    texts, found = page.evaluate(_MEASURE)
    return texts, found
