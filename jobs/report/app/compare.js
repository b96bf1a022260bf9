// Two results side by side in time or in brightness: flicker, or the difference.

const compared = () => state.compare.split(",").filter(Boolean);

function toggleCompared(ref) {
  const now = compared();
  const next = now.includes(ref) ? now.filter(other => other !== ref) : [...now, ref].slice(-2);
  go({ compare: next.join(",") }, true);
  announce(next.length === 2 ? "Two are chosen: Compare opens them." : next.includes(ref) ? "One is chosen to compare." : "Taken back.");
}

function makeCompareBar() {
  return make("div", { id: "comparing", class: "bar", hidden: true, role: "region", "aria-label": "Compare" });
}

function showCompareBar() {
  const bar = byId("comparing");
  const refs = compared();
  bar.hidden = !refs.length;
  for (const sign of document.querySelectorAll("[data-compare]")) {
    const on = refs.includes(sign.dataset.compare);
    sign.setAttribute("aria-pressed", String(on));
    sign.textContent = on ? "Comparing" : "Compare";
  }
  const names = refs.map(ref => { const row = store.row(ref); return row >= 0 ? store.name(row) : ref; });
  bar.replaceChildren(
    make("strong", { text: names.join("  and  ") }),
    refs.length === 2 ? make("a", { class: "button", id: "open-compare", href: linkTo({ id: "compare", view: "flicker" }), text: "Compare these two" })
      : make("span", { class: "more", text: "choose another to compare it with" }),
    button("Clear", () => go({ compare: "" }, true)));
}

/** The compare view, as the stage of the viewer: both pictures over each other, in step. */
function compareStage(stage, rows) {
  const keys = rows.map(row => address(shownPicture(row)));
  const [first, second] = keys;
  const missing = keys.some(key => key === null);
  if (missing) { stage.show([], "side"); return; }
  stage.show([
    { label: store.name(rows[0]), src: first },
    { label: store.name(rows[1]), src: second },
  ], state.view);
}

/** The picture to look at closely: the finished one where browsers show it, else its thumbnail. */
function shownPicture(row) {
  const key = store.picture(row);
  return key && !UNSHOWN.test(key) ? key : store.small(row);
}
