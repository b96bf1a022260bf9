"use strict";
const filter = document.getElementById("filter");
if (filter) filter.addEventListener("input", () => {
  const wanted = filter.value.toLowerCase();
  for (const card of document.querySelectorAll("article")) card.hidden = !card.dataset.name.includes(wanted);
});
const choice = document.getElementById("choice");
if (choice) {
  // What is chosen on one page is still chosen on the next.
  const place = "stylefarm " + document.body.dataset.output;
  let chosen = new Set();
  const load = () => { try { chosen = new Set(JSON.parse(localStorage.getItem(place)) || []); } catch { } };
  const keep = () => { try { localStorage.setItem(place, JSON.stringify([...chosen])); } catch { } };
  const show = () => {
    document.getElementById("count").textContent = chosen.size;
    choice.hidden = !chosen.size;
    for (const card of document.querySelectorAll("article")) {
      const on = chosen.has(card.dataset.id);
      card.classList.toggle("chosen", on);
      card.querySelector("input").checked = on;
    }
  };
  for (const card of document.querySelectorAll("article")) {
    card.querySelector("input").addEventListener("change", event => {
      load();
      if (event.target.checked) chosen.add(card.dataset.id); else chosen.delete(card.dataset.id);
      keep(); show();
    });
  }
  document.getElementById("clear").addEventListener("click", () => { chosen.clear(); keep(); show(); });
  document.getElementById("copy").addEventListener("click", async () => {
    const button = document.getElementById("copy");
    try { await navigator.clipboard.writeText([...chosen].join(",")); button.textContent = "Copied"; }
    catch { prompt("The ids:", [...chosen].join(",")); }
    setTimeout(() => { button.textContent = "Copy ids"; }, 1500);
  });
  document.getElementById("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([[...chosen].join("\n") + "\n"], { type: "text/plain" }));
    link.download = "selection.txt";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  window.addEventListener("storage", () => { load(); show(); });
  load(); show();
}
