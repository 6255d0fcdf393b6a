"use strict";
// Makes every heading of a sortable table a button, and leaves out of the tab order what does not scroll. The page is whole
// without it.
const said = document.getElementById("sorted");
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const given = Array.from(body.rows);
  const headings = Array.from(table.tHead.rows[0].cells);
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.dataset.name = button.textContent; // in print, where Chromium does not repeat a button on the next page
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const was = heading.getAttribute("aria-sort");
      const number = given.some((row) => row.cells[column].dataset.v);
      const steps = number ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
      const now = steps[(steps.indexOf(was) + 1) % 3];
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", now);
      table.classList.toggle("sorted", now !== "none");
      body.append(...(now === "none" ? given : ordered(given, column, number, now === "ascending" ? 1 : -1)));
      const how = now === "none" ? "in its first order" : `sorted by ${button.textContent.trim()}, ${now}`;
      said.textContent = `Table ${how}`;
    });
  });
}
const frames = document.querySelectorAll(".scroll");
const measure = (frame) => {
  frame.tabIndex = frame.scrollWidth > frame.clientWidth ? 0 : -1;
};
const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => measure(target)));
for (const frame of frames) resized.observe(frame);
// What is off the screen has no size before it is seen (content-visibility), and the Tab key may come there first.
(window.requestIdleCallback ?? setTimeout)(() => frames.forEach(measure));
function ordered(rows, column, number, way) {
  const key = (row) => {
    const cell = row.cells[column];
    return number ? parseFloat(cell.dataset.v) : cell.textContent.trim();
  };
  const words = new Intl.Collator("en", { numeric: true });
  return rows
    .map((row) => [key(row), row])
    .sort(([a], [b]) => {
      if (!number) return way * words.compare(a, b);
      // What has no number comes last, whichever way.
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return way * (a - b);
    })
    .map(([, row]) => row);
}
