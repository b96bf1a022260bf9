// Proofs that are chosen: kept in this browser, saved as selection.txt for `stylefarm promote`.

let chosen = new Set();
const choicePlace = () => `stylefarm ${document.body.dataset.output}`;

function loadChoice() {
  // A page from a folder, or one in a private window, may have no memory; then the choice lasts as long as the page.
  try { chosen = new Set(JSON.parse(localStorage.getItem(choicePlace())) ?? []); } catch { /* as above */ }
}

function keepChoice() {
  try { localStorage.setItem(choicePlace(), JSON.stringify([...chosen])); } catch { /* as above */ }
}

function choose(id, on) {
  loadChoice();
  if (on) chosen.add(id); else chosen.delete(id);
  keepChoice();
  showChoice();
}

/** Choose all proofs of a film, or none. */
async function chooseFilm(film, on) {
  await store.all();
  loadChoice();
  for (const row of filmRows(store, film, true)) {
    if (!on) chosen.delete(store.id(row));
    else if (!store.is(row, FLAG.failed)) chosen.add(store.id(row));
  }
  keepChoice();
  showChoice();
}

/** Tick a film's box: all of its proofs are chosen, some, or none. */
function showFilmChoice(box) {
  const rows = chosen.size ? filmRows(store, Number(box.dataset.film), true).filter(row => !store.is(row, FLAG.failed)) : [];
  const many = rows.filter(row => chosen.has(store.id(row))).length;
  box.checked = many > 0 && many === rows.length;
  box.indeterminate = many > 0 && many < rows.length;
  box.closest("article").classList.toggle("chosen", many > 0);
}

function showChoice() {
  const bar = byId("choice");
  bar.hidden = !chosen.size;
  byId("chosen").textContent = counted.format(chosen.size);
  for (const box of document.querySelectorAll("input[data-choose]")) {
    box.checked = chosen.has(box.dataset.choose);
    box.closest("article")?.classList.toggle("chosen", box.checked);
  }
  for (const box of document.querySelectorAll("input[data-film]")) showFilmChoice(box);
}

function makeChoice() {
  const copy = button("Copy ids", () => copyText([...chosen].join(","), copy), { id: "copy" });
  return make("div", { id: "choice", class: "bar", hidden: true, role: "region", "aria-label": "Chosen proofs" },
    make("strong", {}, make("span", { id: "chosen", text: "0" }), " chosen"),
    button("Save selection.txt", () => saveText(`${[...chosen].join("\n")}\n`, "selection.txt"), { id: "save" }),
    copy,
    button("Clear", () => { chosen.clear(); keepChoice(); showChoice(); }, { id: "clear" }),
    make("code", { text: `stylefarm promote ${document.body.dataset.quoted} --select selection.txt` }));
}

addEventListener("storage", () => { loadChoice(); showChoice(); });
