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
  const names = refs.map(ref => { const row = store.row(ref); return row >= 0 ? labelOf(row) : ref; });
  bar.replaceChildren(
    make("strong", { text: names.join("  and  ") }),
    refs.length === 2 ? make("a", { class: "button", id: "open-compare", href: linkTo({ id: "compare", view: "flicker" }), text: "Compare these two" })
      : make("span", { class: "more", text: "choose another to compare it with" }),
    button("Clear", () => go({ compare: "" }, true)));
}

/** What tells a result from others of its name: that it is a proof, and what was swept. */
function labelOf(row) {
  const more = [store.is(row, FLAG.proof) ? "proof" : "", sweptText(store, row)].filter(Boolean).join(", ");
  return more ? `${store.name(row)} (${more})` : store.name(row);
}

/** The picture to look at closely: the finished one where browsers show it, else its thumbnail. */
function shownPicture(row) {
  const key = store.picture(row);
  return isShown(key) ? key : store.small(row);
}
