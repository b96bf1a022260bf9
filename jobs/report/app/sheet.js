// Contact sheets: what was swept, as rows and columns.

const SHEET_MOST = 60;   // values on an axis

/** The axes that a sheet can have: content, style, and the knobs in which recipes differ. */
const sheetAxes = () => ["content", "style", ...sweptKnobs(store).keys()];

/** Put the found rows into a table of small pictures. */
function drawSheet(place, rows, axes) {
  const cells = new Map();
  const values = axes.map(() => new Set());
  const recipes = new Map();
  const valueOf = (row, axis) => {
    if (axis === "content" || axis === "style") return store.text(axis, row);
    const code = store.recipe[row];
    if (!recipes.has(code)) recipes.set(code, store.knobs(row));
    return knobText(recipes.get(code)[axis]);
  };
  for (const row of rows) {
    const at = axes.map(axis => (axis ? valueOf(row, axis) : ""));
    at.forEach((value, k) => values[k].add(value));
    if (values.some(set => set.size > SHEET_MOST)) {
      place.replaceChildren(make("p", { class: "note", text: `There are more than ${SHEET_MOST} values of ${axes[values.findIndex(set => set.size > SHEET_MOST)]}: filter for fewer.` }));
      return;
    }
    const key = at.join("\n");
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(row);
  }
  const [down, across] = values.map(set => [...set].sort(byValue));
  const label = (axis, value) => (axis === "content" || axis === "style" ? tail(value) : value);
  const head = make("tr", {}, make("td", { text: axes.filter(Boolean).join(" \\ ") }));
  for (const value of across) head.append(make("th", { scope: "col", title: value, text: label(axes[1], value) }));
  const body = make("tbody");
  for (const value of down) {
    const line = make("tr", {}, make("th", { scope: "row", title: value, text: label(axes[0], value) }));
    for (const other of across) {
      const found = cells.get(`${value}\n${other}`) ?? [];
      const cell = make("td");
      if (found.length) {
        const name = store.name(found[0]);
        cell.append(make("a", { href: linkTo({ id: store.ref(found[0]) }), "aria-label": `Open ${name}`, title: name }, sheetPicture(found[0])));
        if (found.length > 1) cell.append(make("span", { class: "more", text: `and ${counted.format(found.length - 1)} more` }));
        else if (!Number.isNaN(store.loss[found[0]])) cell.append(make("span", { class: "more", text: number(store.loss[found[0]]) }));
      }
      line.append(cell);
    }
    body.append(line);
  }
  place.replaceChildren(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Contact sheet" }, make("table", {}, make("thead", {}, head), body)));
}

function sheetPicture(row) {
  const picture = smallPicture(store, row);
  if (picture.tagName === "IMG") picture.loading = "lazy";
  return picture;
}
