// A click on a column's title sorts the table by it; the button turns light to dark; printing unfolds what is folded.
for (const table of document.querySelectorAll("table")) {
  const titles = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  titles.forEach((title, column) => {
    const keyOf = (row) => {
      const cell = row.cells[column];
      return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
    };
    const compare = (a, b) =>
      typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    const sort = () => {
      const way = title.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      titles.forEach((each) => each.removeAttribute("aria-sort"));
      title.setAttribute("aria-sort", way);
      const absent = (row) => keyOf(row) === "–"; // stays last either way
      const rows = [...body.rows].sort(
        (a, b) => absent(a) - absent(b) || (way === "ascending" ? 1 : -1) * compare(keyOf(a), keyOf(b)),
      );
      body.append(...rows);
    };
    title.tabIndex = 0;
    title.addEventListener("click", sort);
    title.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
}
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const wanted = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = wanted === "dark" ? "light" : "dark";
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
