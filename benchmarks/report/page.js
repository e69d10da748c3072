// A click on a column's head sorts by it, a second one the other way around.
function keyOf(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
}
function compare(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1; // what has no number comes last
}
for (const head of document.querySelectorAll("table.sortable th")) {
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0];
    const sign = head.dataset.sorted === "up" ? -1 : 1;
    const rows = [...body.rows].sort(
      (a, b) => sign * compare(keyOf(a, head.cellIndex), keyOf(b, head.cellIndex)));
    for (const other of head.parentElement.cells) delete other.dataset.sorted;
    head.dataset.sorted = sign > 0 ? "up" : "down";
    body.append(...rows);
  });
}
for (const input of document.querySelectorAll("input[type=search]")) {
  input.addEventListener("input", () => {
    const table = input.nextElementSibling.querySelector("table");
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.textContent.toLowerCase().includes(input.value.toLowerCase());
    }
  });
}
