"use strict";
// The leaderboard: headings sort, words filter, names mark. The events "marked" and "shown" of the
// document notify the plots of the marked and the visible trials.
(() => {
  document.documentElement.classList.add("scripted");
  const table = document.getElementById("board");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const marked = new Set();
  const number = (row) => Number(row.dataset.row);
  const notify = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));

  const valueOf = (row, column, numeric) => {
    const cell = row.cells[column];
    if (!numeric) return cell.textContent.trim();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const missing = (value) => Number.isNaN(value) || value === "-";
  const sort = (head) => {
    const numeric = head.classList.contains("number");
    const down = head.ariaSort === "ascending" || (head.ariaSort === "none" && numeric);
    const order = head.ariaSort === "descending" ? "ascending" : down ? "descending" : "ascending";
    for (const other of head.parentNode.cells) other.ariaSort = "none";
    head.ariaSort = order;
    const sign = order === "ascending" ? 1 : -1;
    const column = head.cellIndex;
    const keyed = rows.map((row) => [valueOf(row, column, numeric), row]);
    keyed.sort(([a, rowA], [b, rowB]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b) || number(rowA) - number(rowB);
      const difference = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
      return sign * difference || number(rowA) - number(rowB);
    });
    body.append(...keyed.map(([, row]) => row));
  };
  for (const head of table.tHead.rows[0].cells) {
    head.firstElementChild.addEventListener("click", () => sort(head));
  }

  const words = document.getElementById("filter");
  const status = document.getElementById("status");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const statusColumn = [...table.tHead.rows[0].cells].findIndex(
    (head) => head.textContent.trim() === "status",
  );
  const filter = () => {
    const queries = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = [];
    for (const row of rows) {
      const fits =
        queries.every((word) => texts.get(row).includes(word)) &&
        (!status.value || row.cells[statusColumn].textContent === status.value);
      row.hidden = !fits;
      if (fits) shown.push(number(row));
    }
    document.getElementById("shown").textContent = `${shown.length} of ${rows.length} trials`;
    notify("shown", shown);
  };
  words.addEventListener("input", filter);
  status.addEventListener("change", filter);
  words.form.addEventListener("submit", (event) => event.preventDefault());

  const unmark = document.getElementById("unmark");
  const mark = (numbers) => {
    marked.clear();
    numbers.forEach((row) => marked.add(row));
    for (const row of rows) {
      const on = marked.has(number(row));
      row.classList.toggle("marked", on);
      row.cells[0].firstElementChild.ariaPressed = String(on);
    }
    unmark.disabled = !marked.size;
  };
  for (const row of rows) {
    row.cells[0].firstElementChild.addEventListener("click", () => {
      const numbers = new Set(marked);
      if (!numbers.delete(number(row))) numbers.add(number(row));
      mark([...numbers]);
      notify("marked", [...numbers]);
    });
  }
  unmark.addEventListener("click", () => {
    mark([]);
    notify("marked", []);
    words.focus();
  });
  document.addEventListener("picked", (event) => mark(event.detail));
})();
