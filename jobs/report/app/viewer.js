// One result, opened: its pictures, curves and recipe, at an address of its own.

const VIEWS = { side: "Side by side", slider: "Before and after", result: "Result", held: "Held" };
const COMPARE_VIEWS = { flicker: "Flicker", difference: "Difference", slider: "Slider", side: "Side by side" };

class Viewer {
  constructor() {
    this.stage = new Stage();
    this.name = make("h2", { id: "opened", tabindex: -1 });
    this.where = make("span", { class: "more" });
    this.views = make("div", { class: "views", role: "group", "aria-label": "View" });
    this.previous = button("\u2190", () => this.step(-1), { "aria-label": "Previous result", id: "previous" });
    this.next = button("\u2192", () => this.step(1), { "aria-label": "Next result", id: "next" });
    this.facts = make("div", { class: "facts", tabindex: 0, role: "region", "aria-label": "About this result" });
    this.dialog = make("dialog", { class: "viewer", "aria-labelledby": "opened" },
      make("div", { class: "top" }, this.previous, this.next, this.name, this.where, this.views,
        button("Close", () => this.leave(), { id: "close", "aria-keyshortcuts": "Escape" })),
      make("div", { class: "body" }, this.stage.element, this.facts));
    this.dialog.addEventListener("cancel", event => { event.preventDefault(); this.leave(); });
    this.dialog.addEventListener("keydown", event => this.onKey(event));
    document.body.append(this.dialog);
  }

  /** Say what went wrong, where it is seen. */
  fail(error) {
    this.name.textContent = "It cannot be shown";
    this.facts.replaceChildren(make("p", { class: "error", text: error.message }));
  }

  leave() { go({ id: "", view: "" }); }

  close() {
    if (!this.dialog.open) return;
    this.stage.show([], "side");
    this.dialog.close();
    const at = this.row === undefined ? -1 : wall.placeOf(this.row);
    if (at >= 0) wall.focus(at);
  }

  /** Open what the address asks for. */
  async open(ref) {
    const asked = ref + (ref === "compare" ? state.compare : "");
    if (!this.dialog.open) { this.dialog.showModal(); this.name.focus(); }
    if (this.asked !== asked) this.card = null;
    this.asked = asked;
    if (ref === "compare") { await this.openCompare(); return; }
    if (store.row(ref) < 0) {
      this.name.textContent = "Looking for it \u2026";
      await store.all();
    }
    if (this.asked !== asked) return;
    const row = store.row(ref);
    this.row = row;
    if (row < 0) {
      this.name.textContent = "There is no such result";
      this.where.textContent = ref;
      this.stage.show([], "side");
      this.facts.replaceChildren();
      return;
    }
    const { items, first, all } = this.beside(row);
    const place = items.indexOf(row);
    this.name.textContent = store.name(row);
    this.where.textContent = place < 0 ? "" : `${counted.format(first + place + 1)} of ${counted.format(all)}`;
    this.previous.hidden = this.next.hidden = false;
    this.previous.disabled = place <= 0;
    this.next.disabled = place < 0 || place + 1 >= items.length;
    document.title = `${store.name(row)} \u2013 ${store.index.job}`;
    if (this.card === null) {
      this.show(row, {});
      const card = store.is(row, FLAG.card) ? await loadData(store.of(row, "cards", "js"), "card").catch(() => null) : null;
      this.card = card && typeof card === "object" ? card : {};
      if (this.asked !== asked) return;
      for (const name of Object.keys(store.texts)) await store.needTexts(name).catch(() => {});
      if (this.asked !== asked) return;
      this.show(row, this.card);
      fillFacts(this.facts, row, this.card);
    } else {
      this.show(row, this.card);
    }
  }

  show(row, card) {
    const folder = store.folder(row);
    const copy = key => (key ? address(folder + key) : null);
    const parts = [];
    if (copy(card.content_copy)) parts.push({ label: "Content", src: copy(card.content_copy), role: "content" });
    for (const style of card.styles ?? []) {
      const share = shareText(style, card.styles);
      if (copy(style.copy)) parts.push({ label: `Style${share}: ${tail(style.uri)}`, src: copy(style.copy) });
      if (copy(style.mask_copy)) parts.push({ label: `Mask: ${tail(style.mask)}`, src: copy(style.mask_copy), mask: true });
    }
    if (copy(card.init_copy)) parts.push({ label: "First picture", src: copy(card.init_copy) });
    const shown = address(shownPicture(row));
    const label = store.is(row, FLAG.failed) ? "Last good picture" : !isShown(store.picture(row)) ? "Result (its thumbnail)" : "Result";
    const result = shown && { label, src: shown, main: true };
    const before = parts.find(part => part.role === "content");
    const held = heldPicture(store, row);
    const views = Object.entries(VIEWS).filter(([view]) => (view === "held" ? held : view !== "slider" || (before && result)));
    let view = state.view || "side";
    if (!views.some(([name]) => name === view)) view = "side";
    this.views.replaceChildren(...views.map(([name, text]) => viewButton(name, text, view)));
    if (view === "slider") this.stage.show([before, result], "slider");
    else if (view === "held") this.stage.show([{ label: `Held ${heldShare(store, row).toFixed(2)}: bright is kept, dark is painted anew`, src: address(held) }], "single");
    else if (view === "result") this.stage.show(result ? [result] : [], "single");
    else if (!parts.length && !result) this.stage.say(store.picture(row) ? `a ${store.picture(row).split(".").pop().toUpperCase()}, which browsers do not show` : "There is no picture.");
    else this.stage.show([...parts, ...(result ? [result] : [])], "side");
  }

  async openCompare() {
    const refs = compared();
    if (refs.some(ref => store.row(ref) < 0)) await store.all();
    const rows = refs.map(ref => store.row(ref)).filter(row => row >= 0);
    this.row = rows[0];
    this.previous.hidden = this.next.hidden = true;
    this.name.textContent = rows.length === 2 ? "Two results" : "Choose two results to compare";
    this.where.textContent = rows.map(labelOf).join("  and  ");
    document.title = `Compare \u2013 ${store.index.job}`;
    const view = state.view in COMPARE_VIEWS ? state.view : "flicker";
    this.views.replaceChildren(...Object.entries(COMPARE_VIEWS).map(([name, text]) => viewButton(name, text, view)));
    for (const name of Object.keys(store.texts)) await store.needTexts(name).catch(() => {});
    if (rows.length === 2) {
      const pictures = rows.map(row => ({ label: labelOf(row), src: address(shownPicture(row)) })).filter(picture => picture.src);
      this.stage.show(pictures, pictures.length === 2 ? view : "side");
      await fillDifferences(this.facts, rows);
    } else {
      this.stage.show([], "side");
      this.facts.replaceChildren();
    }
  }

  /** Among which results one is: those on the wall or, where its film is folded, the frames of that. */
  beside(row) {
    if (!wall.items) return { items: [], first: 0, all: 0 };   // a link was opened, and the wall is not there yet
    if (!wall.folds(row)) return { items: wall.items, first: wall.first, all: wall.found.rows.length };
    const frames = filmFrames(store, store.film[row], store.is(row, FLAG.proof), null).map(frame => frame.row).filter(other => other >= 0);
    return { items: frames, first: 0, all: frames.length };
  }

  step(by) {
    const { items } = this.beside(this.row);
    const place = items.indexOf(this.row);
    const row = place < 0 ? undefined : items[place + by];
    if (row === undefined) return;
    store.need(row).then(() => go({ id: store.ref(row) }, true), () => {});
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (!typing && this.stage.key(event)) { event.preventDefault(); return; }
    if (typing || event.shiftKey || state.id === "compare") return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      this.step(event.key === "ArrowLeft" ? -1 : 1);
      event.preventDefault();
    }
  }
}

/** How much of a blend a style's picture is: shares are relative to those with the same mask. */
function shareText(style, styles) {
  const beside = styles.filter(other => (other.mask ?? null) === (style.mask ?? null));
  if (beside.length < 2) return "";
  return ` ${Math.round(100 * style.share / beside.reduce((sum, other) => sum + other.share, 0))}%`;
}

const viewButton = (name, text, now) => button(text, () => go({ view: name }, true), { "aria-pressed": String(name === now), "data-view": name });
