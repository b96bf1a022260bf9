// The wall: cards in lines, of which only those near the screen exist.

const PAGE = 10000;   // cards on one page: taller elements than browsers allow would begin at a few hundred thousand
const STACK = 6;      // pixels by which the frames behind the first of a film look out
const SPARE = 3;      // lines beyond the screen that exist

class Wall {
  constructor(place) {
    this.place = place;
    this.list = make("div", { class: "wall", role: "list" });
    place.append(this.list);
    this.shown = new Map();   // line -> element
    this.active = 0;          // the card that Tab reaches, by its place on the page
    this.lines = [];
    addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.fit()).observe(this.list);
    this.list.addEventListener("keydown", event => this.onKey(event));
    this.list.addEventListener("focusin", event => {
      const card = event.target.closest("article");
      if (card) this.setActive(Number(card.dataset.at));
    });
  }

  /** Show rows, from the page that is asked for. */
  show(store, found, page, label) {
    // What the keyboard is on stays what it is on, though the wall is drawn anew.
    const row = this.items?.[this.active];
    const held = this.list.contains(document.activeElement);
    this.store = store;
    this.found = found;
    this.page = Math.max(1, Math.min(page, Math.ceil(found.rows.length / PAGE) || 1));
    this.first = (this.page - 1) * PAGE;
    this.items = found.rows.subarray(this.first, this.first + PAGE);
    this.list.setAttribute("aria-label", label);
    this.active = Math.max(0, row === undefined ? 0 : this.placeOf(row));
    this.fit(true);
    if (held) this.card(this.active)?.querySelector("a.frame")?.focus({ preventScroll: true });
  }

  fit(anew = false) {
    if (!this.items) return;
    const width = this.list.clientWidth;
    const style = getComputedStyle(this.list);
    const wish = parseFloat(style.getPropertyValue("--wide")) || 240;
    const gap = parseFloat(style.getPropertyValue("--gap")) || 16;
    const columns = Math.max(1, Math.floor((width + gap) / (wish + gap)));
    if (!anew && columns === this.columns && width === this.width) return;
    Object.assign(this, { columns, width, gap, cardWidth: (width - gap * (columns - 1)) / columns });
    this.cardHeight = parseFloat(style.getPropertyValue("--tall")) || 300;
    this.layOut();
    for (const element of this.shown.values()) element.remove();
    this.shown.clear();
    this.draw();
  }

  /** Cut the page's cards into lines, and put a heading over each group. */
  layOut() {
    this.lines = [];
    let top = 0;
    const add = (from, to) => {
      for (let at = from; at < to; at += this.columns) {
        this.lines.push({ top, from: at, to: Math.min(at + this.columns, to) });
        top += this.cardHeight + this.gap;
      }
    };
    if (!this.found.groups) add(0, this.items.length);
    for (const group of this.found.groups ?? []) {
      const from = Math.max(0, group.first - this.first);
      const to = Math.min(this.items.length, group.first + group.count - this.first);
      if (from >= to) continue;
      this.lines.push({ top, group });
      top += 48;
      add(from, to);
    }
    this.list.style.height = `${Math.max(0, top - this.gap)}px`;
  }

  draw() {
    if (!this.lines.length || !this.place.isConnected) {
      for (const element of this.shown.values()) element.remove();
      this.shown.clear();
      return;
    }
    const above = -this.list.getBoundingClientRect().top;
    const far = (this.cardHeight + this.gap) * SPARE;
    const begin = this.lineAt(above - far);
    const end = this.lineAt(above + innerHeight + far);
    for (const [line, element] of this.shown) {
      if ((line < begin || line > end) && !element.contains(document.activeElement)) {
        element.remove();
        this.shown.delete(line);
      }
    }
    for (let line = begin; line <= end; line += 1) {
      if (this.shown.has(line)) continue;
      const element = this.drawLine(this.lines[line]);
      // In their order, which is that of Tab and of a screen reader.
      const next = [...this.shown.keys()].filter(other => other > line).sort((a, b) => a - b)[0];
      this.list.insertBefore(element, next === undefined ? null : this.shown.get(next));
      this.shown.set(line, element);
    }
  }

  lineAt(y) {
    let [low, high] = [0, this.lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lines[middle].top <= y) low = middle; else high = middle - 1;
    }
    return low;
  }

  drawLine(line) {
    const element = make("div", { class: line.group ? "heading" : "line", role: "presentation" });
    element.style.top = `${line.top}px`;
    if (line.group) {
      element.setAttribute("role", "listitem");
      element.append(make("h2", {}, make("span", { text: line.group.label, title: line.group.label })), make("span", { class: "more", text: counted.format(line.group.count) }));
      return element;
    }
    element.style.gridTemplateColumns = `repeat(${this.columns}, minmax(0, 1fr))`;
    for (let at = line.from; at < line.to; at += 1) element.append(this.drawCard(at));
    return element;
  }

  drawCard(at) {
    const row = this.items[at];
    const card = make("article", {
      role: "listitem", "data-at": at, "aria-setsize": this.found.rows.length, "aria-posinset": this.first + at + 1,
    });
    card.style.height = `${this.cardHeight}px`;
    const films = this.found.films;
    const fill = () => {
      if (films && this.store.film[row]) {
        fillFilmCard(card, this.store, row, at === this.active, films);
        card.style.height = `${this.cardHeight - STACK}px`;
      }
      else fillCard(card, this.store, row, at === this.active);
    };
    if (this.store.has(row)) {
      fill();
    } else {
      card.append(make("div", { class: "frame" }));
      this.store.need(row).then(() => {
        if (card.isConnected) { card.replaceChildren(); fill(); }
      }, error => {
        card.replaceChildren(make("p", { class: "error", text: error.message }));
        reloadData();   // perhaps the gallery was written anew since this page was opened
      });
    }
    return card;
  }

  setActive(at) {
    if (at === this.active) return;
    const set = (place, on) => {
      for (const part of this.card(place)?.querySelectorAll("a,button,input") ?? []) part.tabIndex = on ? 0 : -1;
    };
    set(this.active, false);
    this.active = at;
    set(at, true);
  }

  card(at) { return this.list.querySelector(`article[data-at="${at}"]`); }

  /** Bring a card to the screen, and the keyboard to it. */
  focus(at) {
    const line = this.lines.findIndex(other => !other.group && other.from <= at && at < other.to);
    if (line < 0) return;
    const top = this.lines[line].top + this.list.getBoundingClientRect().top + scrollY;
    const head = document.querySelector("header").offsetHeight + 8;
    if (top < scrollY + head) scrollTo(0, top - head);
    else if (top + this.cardHeight > scrollY + innerHeight - 60) scrollTo(0, top + this.cardHeight - innerHeight + 60);
    this.draw();
    this.setActive(at);
    this.card(at)?.querySelector("a.frame")?.focus({ preventScroll: true });
  }

  /** The place of a row, or of the film that it is a frame of, on this page; -1: it is not here. */
  placeOf(row) {
    const place = this.items ? this.items.indexOf(row) : -1;
    return place < 0 && this.folds(row) ? this.items.findIndex(other => this.store.film[other] === this.store.film[row]) : place;
  }

  /** Whether a row is shown as a part of its film. */
  folds(row) { return Boolean(this.items && this.found.films && this.store.film[row]); }

  onKey(event) {
    const card = event.target.closest("article");
    if (!card || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = Number(card.dataset.at);
    const screen = Math.max(1, Math.floor(innerHeight / (this.cardHeight + this.gap))) * this.columns;
    const to = {
      ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + this.columns, ArrowUp: at - this.columns,
      Home: 0, End: this.items.length - 1, PageDown: at + screen, PageUp: at - screen,
    }[event.key];
    const row = this.items[at];
    if (to !== undefined) {
      this.focus(Math.max(0, Math.min(this.items.length - 1, to)));
      event.preventDefault();
    } else if (event.key === "c" && this.store.picture(row) && !this.folds(row)) {
      toggleCompared(this.store.ref(row));
      event.preventDefault();
    } else if (event.key === "x" && this.store.is(row, FLAG.proof)) {
      card.querySelector("input[data-choose], input[data-film]")?.click();
      event.preventDefault();
    }
  }
}

/** Fill a card: the picture, its name, what it took, and what can be done with it. */
function fillCard(card, store, row, reachable) {
  const name = store.name(row);
  const ref = store.ref(row);
  const tab = reachable ? 0 : -1;
  card.dataset.ref = ref;
  card.append(make("a", { class: "frame", href: linkTo({ id: ref }), tabindex: tab, "aria-label": `Open ${name}` }, smallPicture(store, row)));
  const about = make("div", { class: "about" });
  if (store.is(row, FLAG.proof) && !store.is(row, FLAG.failed)) {
    const box = make("input", { type: "checkbox", tabindex: tab, "data-choose": store.id(row), onchange: event => choose(store.id(row), event.target.checked) });
    box.checked = chosen.has(store.id(row));
    card.classList.toggle("chosen", box.checked);
    about.append(make("label", {}, box, make("span", { class: "name", text: name, title: name })));
  } else {
    about.append(make("div", { class: "name", text: name, title: name }));
  }
  if (store.is(row, FLAG.failed)) {
    const error = store.text("error", row) || "no reason recorded";
    about.append(make("div", { class: "error", text: error, title: error }));
    if (!store.loading.get("error-0") && store.index.texts.error.total) {
      store.needTexts("error").then(() => {
        const late = store.text("error", row);
        Object.assign(about.querySelector(".error"), { textContent: late, title: late });
      }, () => {});
    }
    if (store.is(row, FLAG.kept)) about.append(make("div", { class: "more", text: "shown is its last good picture" }));
  } else {
    const size = store.width[row] ? `${store.width[row]} x ${store.height[row]}, ` : "";
    about.append(make("div", { class: "more", text: `${size}${count(store.steps[row], "step")}, ${duration(store.seconds[row])}` }));
    const loss = store.loss[row];
    const line = make("div", { class: "more", text: Number.isNaN(loss) ? "" : `loss ${number(loss)}` });
    const swept = sweptText(store, row);
    if (swept) about.append(make("div", { class: "more", text: swept, title: swept }));
    if (store.is(row, FLAG.promoted)) line.append(make("a", { class: "badge", tabindex: tab, href: linkTo({ kind: "", id: store.id(row) }), text: "rendered at full size" }));
    about.append(line);
  }
  if (store.picture(row)) about.append(compareButton(ref, name, tab));
  card.append(about);
}

function smallPicture(store, row) {
  const small = address(store.small(row));
  if (small) {
    // Where a thumbnail is lost the picture itself will do.
    const instead = isShown(store.picture(row)) ? address(store.picture(row)) : null;
    return make("img", { src: small, alt: "", decoding: "async", draggable: "false", onerror: event => {
      if (instead && event.target.getAttribute("src") !== instead) event.target.src = instead;
      else event.target.replaceWith(noPicture("the picture is not here"));
    } });
  }
  const key = store.picture(row);
  return noPicture(key ? `${key.split(".").pop().toUpperCase()}, which browsers do not show` : "no picture");
}

/** What tells a result of a sweep from its neighbours, once recipes are read. */
function sweptText(store, row) {
  if (!store.swept?.length) return "";
  const knobs = store.knobs(row);
  return store.swept.map(knob => `${knob} ${knobText(knobs[knob])}`).join(", ");
}

const noPicture = text => make("span", { class: "none", text });

function compareButton(ref, name, tab) {
  const on = compared().includes(ref);
  return button(on ? "Comparing" : "Compare", () => toggleCompared(ref), { class: "quiet compare", "data-compare": ref, tabindex: tab, "aria-pressed": String(on), "aria-label": `Compare ${name}` });
}
