"use strict";
// Tables: a heading sorts by its column, numbers from the highest and words from A, then the other way round, then not
// at all. What has no value stays last, and rows stay in their group.
const NUMBER = /[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?/;
const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function keyOf(row, column, numeric) {
  const text = (row.cells[column].firstChild?.textContent ?? "").trim();  // what is beside it or beneath does not count
  if (text === "" || text === "-" || text === "nan") return null;
  if (!numeric) return text;
  const found = text.replace("\u2212", "-").match(NUMBER);
  return found ? Number(found[0].replaceAll(",", "")) : null;
}

// Buttons are made here: without this script nothing sorts, and two thousand of them are a hundred kilobytes.
for (const heading of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = heading.textContent.trim();
  heading.replaceChildren(button);
  heading.ariaSort = "none";
}

function sort(heading) {
  const table = heading.closest("table"), column = heading.cellIndex, numeric = heading.classList.contains("n");
  const orders = numeric ? ["none", "descending", "ascending"] : ["none", "ascending", "descending"];
  const order = orders[(orders.indexOf(heading.ariaSort) + 1) % 3], sign = order === "descending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.ariaSort = other === heading ? order : "none";
  for (const body of table.tBodies) {
    body.original ??= [...body.rows].filter((row) => row.cells[0].scope !== "rowgroup");
    const keyed = body.original.map((row) => [keyOf(row, column, numeric), row]);
    if (order !== "none") keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (numeric ? a - b : words.compare(a, b));
    });
    body.append(...keyed.map(([, row]) => row));
  }
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
