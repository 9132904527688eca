// A click on a column's title sorts the table by it; the button turns light to dark; printing unfolds what is folded.
document.querySelectorAll("table").forEach((table) => {
  const rows = table.tBodies[0];
  table.querySelectorAll("th").forEach((title, column) => {
    title.tabIndex = 0;
    const sort = () => {
      const down = title.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
      title.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const absent = (row) => row.cells[column].textContent === "–";
      [...rows.rows]
        .sort((a, b) => absent(a) - absent(b) || (down ? -1 : 1) * value(a).localeCompare(value(b), undefined, { numeric: false })
          * (isNaN(value(a)) || isNaN(value(b)) ? 1 : 0) || (down ? -1 : 1) * (value(a) - value(b)))
        .forEach((row) => rows.append(row));
    };
    title.addEventListener("click", sort);
    title.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
