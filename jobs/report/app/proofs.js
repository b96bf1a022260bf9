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

function showChoice() {
  const bar = byId("choice");
  bar.hidden = !chosen.size;
  byId("chosen").textContent = counted.format(chosen.size);
  for (const box of document.querySelectorAll("input[data-choose]")) {
    box.checked = chosen.has(box.dataset.choose);
    box.closest("article")?.classList.toggle("chosen", box.checked);
  }
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
