"use strict";
// Tables: a heading sorts by its column, then the other way round, then not at all. What has no value stays last.
const NUMBER = /[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?/;
const ORDERS = { none: "ascending", ascending: "descending", descending: "none" };
const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function keyOf(row, column, numeric) {
  const text = row.cells[column].textContent.split(" (paper ")[0].trim();
  if (text === "" || text === "-" || text === "nan") return null;
  if (!numeric) return text;
  const found = text.replace("\u2212", "-").match(NUMBER);
  return found ? Number(found[0].replaceAll(",", "")) : null;
}

function sort(heading) {
  const table = heading.closest("table"), body = table.tBodies[0];
  const order = ORDERS[heading.ariaSort], column = heading.cellIndex, numeric = heading.classList.contains("n");
  for (const other of table.tHead.rows[0].cells) other.ariaSort = other === heading ? order : "none";
  body.original ??= [...body.rows];
  const sign = order === "descending" ? -1 : 1;
  const keyed = body.original.map((row) => [keyOf(row, column, numeric), row]);
  if (order !== "none") keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (numeric ? a - b : words.compare(a, b));
  });
  body.append(...keyed.map(([, row]) => row));
}

// Figures: one opens in a dialog that scrolls both ways.
const dialog = document.querySelector("dialog"), pan = dialog.querySelector(".pan");

function enlarge(button) {
  const image = button.firstElementChild.cloneNode();
  pan.replaceChildren(image);
  dialog.showModal();
  pan.scrollTo(0, 0);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button"), link = event.target.closest("nav a");
  if (button?.closest("thead")) sort(button.closest("th"));
  else if (button?.classList.contains("enlarge")) enlarge(button);
  else if (event.target === dialog) dialog.close();
  else if (link && matchMedia("(max-width: 64rem)").matches) link.closest("details").open = false;
});
dialog.addEventListener("close", () => pan.replaceChildren());
