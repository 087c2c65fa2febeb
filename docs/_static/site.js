// What the theme leaves out for people with a keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  for (const block of document.querySelectorAll("pre, .table-wrapper")) block.tabIndex = 0; // so that arrows scroll it
  for (const head of document.querySelectorAll("th.head")) // the corner of a table with names on both sides
    if (!head.textContent.trim()) head.outerHTML = '<td class="head"></td>';
  for (const caption of document.querySelectorAll(".sidebar-tree .caption")) caption.setAttribute("aria-level", "2");
  for (const [name, label] of [["sidebar-drawer", "Pages"], ["toc-drawer", "On this page"]])
    document.querySelector(`.${name}`)?.setAttribute("aria-label", label);
});
