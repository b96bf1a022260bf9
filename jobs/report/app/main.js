// The page: its head, its bars, and what happens when its address changes.

let store = null;
let wall = null;
let viewer = null;
let player = null;   // made when a film is opened
let live = null;
let shownWall = "";
let asking = 0;

/** The kind of results on the wall; where none is asked for, the first that there is. */
function shownKind() {
  if (Object.hasOwn(KINDS, state.kind)) return state.kind;
  const all = totals();
  return Object.keys(KINDS).find(kind => all[kind]) ?? "pictures";
}

function totals() {
  const all = { ...store.index.counts };
  for (let row = store.base; row < store.total; row += 1) all[store.kind(row)] += 1;
  return all;
}

function showTabs() {
  const all = totals();
  const kinds = Object.keys(KINDS).filter(kind => all[kind] || kind === shownKind());
  const tabs = kinds.map(kind => tab(kind, `${KINDS[kind]} ${counted.format(all[kind])}`, state.kind !== "live" && kind === shownKind()));
  if (store.index.live.length) tabs.push(tab("live", live?.going ? "Live \u25cf" : "Run", state.kind === "live"));
  byId("tabs").replaceChildren(...tabs);
}

const tab = (kind, text, here) => make("a", { href: linkTo({ kind, id: "", page: "1", reason: "" }), text, "data-kind": kind, "aria-current": here ? "page" : null });

function buildHead() {
  const field = (id, label, input) => make("label", { class: "field", for: id }, label, input);
  const typed = key => {
    const tell = event => go({ [key]: event.target.value, page: "1" }, true);
    // Whoever has left a field finds what was typed there, however soon something else is asked for.
    return { oninput: event => later(() => tell(event)), onchange: event => { clearTimeout(typing); tell(event); } };
  };
  const picked = key => event => go({ [key]: event.target.value, page: "1" });
  const search = make("input", { type: "search", id: "q", placeholder: "Find by name, picture or id", "aria-label": "Find", ...typed("q") });
  const sort = make("select", { id: "sort", onchange: picked("sort") });
  for (const [name, [label]] of Object.entries(SORTS)) {
    sort.append(make("option", { value: name, text: name === "name" ? "Name" : `${label}, least first` }));
    sort.append(make("option", { value: `-${name}`, text: name === "name" ? "Name, from the end" : `${label}, most first` }));
  }
  const group = make("select", { id: "group", onchange: picked("group") }, make("option", { value: "", text: "None" }), ...Object.entries(GROUPS).map(([value, text]) => make("option", { value, text })));
  const more = make("details", { id: "more" }, make("summary", { text: "Filter" }),
    make("div", { class: "panel" },
      field("style", "Style", make("input", { id: "style", list: "styles", ...typed("style") })), make("datalist", { id: "styles" }),
      field("content", "Content", make("input", { id: "content", list: "contents", ...typed("content") })), make("datalist", { id: "contents" }),
      field("from", "From", make("input", { type: "date", id: "from", onchange: picked("from") })),
      field("to", "To", make("input", { type: "date", id: "to", onchange: picked("to") })),
      make("div", { id: "knobs" }),
      button("Clear filters", () => go({ q: "", style: "", content: "", reason: "", from: "", to: "", knobs: {}, page: "1" }), { id: "clear-filters" })));
  more.addEventListener("toggle", () => { if (more.open) fillFilters(); });
  more.addEventListener("keydown", event => { if (event.key === "Escape") { more.open = false; more.querySelector("summary").focus(); } });
  const sheet = make("details", { id: "sheets" }, make("summary", { text: "Contact sheet" }),
    make("div", { class: "panel" },
      field("rows", "Down", make("select", { id: "rows", onchange: picked("rows") })),
      field("columns", "Across", make("select", { id: "columns", onchange: picked("columns") })),
      button("Back to the wall", () => go({ rows: "", columns: "" }))));
  sheet.addEventListener("toggle", () => { if (sheet.open) fillSheetAxes(); });
  const films = make("select", { id: "films", onchange: picked("films") }, make("option", { value: "", text: "As one" }), make("option", { value: "frames", text: "Frame by frame" }));
  const ofFilms = field("films", "Films", films);
  ofFilms.id = "of-films";
  byId("tools").append(search, field("sort", "Sort", sort), field("group", "Group", group), ofFilms, more, sheet);
  byId("bars").append(makeCompareBar(), makeChoice());
}

let typing = null;
function later(act) { clearTimeout(typing); typing = setTimeout(act, 120); }

async function fillFilters() {
  await store.all();
  for (const name of ["style", "content"]) {
    const texts = store.texts[name];
    const most = Math.min(500, texts.after + texts.added.length);
    const list = byId(`${name}s`);
    if (list.childElementCount !== most) list.replaceChildren(...Array.from({ length: most }, (_, code) => make("option", { value: texts.get(code) })));
  }
  const swept = sweptKnobs(store);
  byId("knobs").replaceChildren(...[...swept].map(([knob, values]) => {
    const select = make("select", { id: `knob-${knob}`, onchange: event => {
      const knobs = { ...state.knobs };
      if (event.target.value) knobs[knob] = event.target.value; else delete knobs[knob];
      go({ knobs, page: "1" });
    } }, make("option", { value: "", text: "any" }), ...values.slice(0, 200).map(value => make("option", { value, text: value })));
    select.value = state.knobs[knob] ?? "";
    return make("label", { class: "field", for: `knob-${knob}` }, knob, select);
  }));
}

async function fillSheetAxes() {
  await store.all();
  const axes = sheetAxes();
  for (const id of ["rows", "columns"]) {
    const select = byId(id);
    select.replaceChildren(make("option", { value: "", text: "nothing" }), ...axes.map(axis => make("option", { value: axis, text: axis })));
    select.value = state[id];
  }
}

/** Find what is asked for and put it on the wall. */
async function showWall(anew = false) {
  const wanted = wallOf(state);
  if (wanted === shownWall && !anew) return;
  shownWall = wanted;
  asking += 1;
  const mine = asking;
  const kind = shownKind();
  await store.needFilms().catch(() => {});   // without it, frames are shown singly
  byId("of-films").hidden = !store.films.length;
  if (mine !== asking) return;
  const note = byId("note");
  const asks = asksAll(state);
  if (asks && !store.complete) {
    note.hidden = false;
    note.textContent = "Reading \u2026";
    await store.all(share => { if (mine === asking) note.textContent = `Reading \u2026 ${Math.round(share * 100)}%`; });
  }
  if (hasFailed(kind)) await store.needTexts("error").catch(() => {});
  const found = await findRows(store, state, kind);
  if (mine !== asking) return;
  const sheet = state.rows || state.columns;
  wall.list.hidden = Boolean(sheet);
  byId("sheet").hidden = !sheet;
  const pages = Math.ceil(found.rows.length / PAGE);
  const all = totals()[kind];
  note.hidden = found.all > 0 && found.all === all;
  note.textContent = found.all === all && !all ? (live?.going ? "Nothing is rendered yet." : "Nothing has been rendered yet.")
    : found.all ? `${counted.format(found.all)} of ${counted.format(all)}` : "Nothing matches.";
  announce(note.hidden ? "" : note.textContent);
  if (!anew && !isOpen() && scrollY > wall.place.offsetTop) scrollTo(0, 0);
  wall.show(store, found, Number(state.page) || 1, KINDS[kind]);
  if (sheet) drawSheet(byId("sheet"), found.rows, [state.rows, state.columns]);
  showPages(sheet ? 0 : pages);
  showReasons(kind);
  if (anew) await player?.refresh();
  Object.assign(document.documentElement.dataset, { shown: String(asking), shownFor: location.hash });
}

function showPages(pages) {
  for (const place of document.querySelectorAll(".pages")) {
    place.hidden = pages < 2;
    if (pages < 2) { place.replaceChildren(); continue; }
    const here = wall.page;
    const near = new Set([1, pages, here - 1, here, here + 1].filter(page => page >= 1 && page <= pages));
    place.replaceChildren(...[...near].sort((a, b) => a - b).map(page => make("a", {
      href: linkTo({ page: String(page), id: "" }), text: `${counted.format((page - 1) * PAGE + 1)}\u2013${counted.format(Math.min(page * PAGE, wall.found.rows.length))}`, "aria-current": page === here ? "page" : null,
    })));
  }
}

/** Why tasks failed, with how many failed so. */
function showReasons(kind) {
  const place = byId("reasons");
  place.hidden = !hasFailed(kind);
  if (place.hidden) return;
  const counts = new Map();
  const codes = store.error;
  const add = row => { if (store.has(row) && store.kind(row) === kind) counts.set(codes[row], (counts.get(codes[row]) ?? 0) + 1); };
  for (let row = firstOf(store, kind); row < store.total; row += 1) add(row);
  const reasons = new Map();
  for (const [code, many] of counts) {
    const reason = reasonOf(store.texts.error.get(code) || "no reason recorded");
    reasons.set(reason, (reasons.get(reason) ?? 0) + many);
  }
  const sorted = [...reasons].sort(([, a], [, b]) => b - a);
  place.replaceChildren(make("h2", { text: "Why" }), make("ul", {}, ...sorted.slice(0, 30).map(([reason, many]) => {
    const here = state.reason.toLowerCase() === reason.toLowerCase();
    return make("li", {}, make("a", { href: linkTo({ reason: here ? "" : reason, page: "1" }), "aria-current": here ? "true" : null, text: reason }), ` ${counted.format(many)}`);
  }), sorted.length > 30 ? make("li", { text: `and ${counted.format(sorted.length - 30)} other reasons` }) : null));
}

function showFields() {
  for (const key of ["q", "style", "content", "from", "to", "sort", "group", "rows", "columns", "films"]) {
    const field = byId(key);
    if (field && document.activeElement !== field) field.value = state[key];
  }
  for (const select of byId("knobs").querySelectorAll("select")) select.value = state.knobs[select.id.slice(5)] ?? "";
  const on = ["style", "content", "from", "to", "reason"].filter(key => state[key]).length + Object.keys(state.knobs).length;
  byId("more").querySelector("summary").textContent = on ? `Filter (${on})` : "Filter";
}

function showState() {
  state = parseHash(location.hash);
  const onLive = state.kind === "live";
  document.body.classList.toggle("on-live", onLive);
  byId("live").hidden = !onLive;
  byId("gallery").hidden = onLive;
  byId("tools").hidden = onLive;
  showFields();
  showTabs();
  showCompareBar();
  live.showLine();
  document.title = store.index.job;
  if (onLive) live.draw(); else showWall().catch(showError);
  const plays = isFilmRef(state.id);
  if (!plays) player?.close();
  if (state.id && !plays) viewer.open(state.id).catch(showError); else viewer.close();
  if (plays) (player ??= new Player()).open(state.id).catch(showError);
}

/** Whether something covers the wall. */
const isOpen = () => viewer.dialog.open || Boolean(player?.dialog.open);

function showError(error) {
  showNote(error);
  if (viewer?.dialog.open) viewer.fail(error);
  if (store) reloadData(true);   // perhaps they were written anew since this page was opened
}

function showNote(error) {
  const note = byId("note");
  note.hidden = false;
  note.textContent = `${error.message}. stylefarm report writes the gallery anew.`;
}

/** Read the data anew, if they were written anew. */
async function reloadData(quietly = false) {
  try {
    const index = await loadData("gallery/data/index.js", "index", String(Date.now()));
    live?.follow(index.live);
    if (index.made === store?.index.made) return;
    store = new Store(index);
    filmsKnown.clear();
    for (const run of live.runs) run.read.clear();
    shownWall = "";
    viewer.card = null;
    showState();
  } catch (error) { if (!quietly) showNote(error); }
}

async function begin() {
  try {
    store = new Store(await loadData("gallery/data/index.js", "index", String(Date.now())));
  } catch (error) {
    showError(error);
    return;
  }
  buildHead();
  loadChoice();
  wall = new Wall(byId("wall"));
  viewer = new Viewer();
  live = new Live(byId("live"));
  if (store.index.rows) store.need(0).catch(() => {});
  addEventListener("hashchange", showState);
  addEventListener("keydown", event => {
    if (event.key !== "/" || isOpen() || state.kind === "live" || event.ctrlKey || event.metaKey || event.altKey
      || ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
    event.preventDefault();
    byId("q").focus();
  });
  showState();
  showChoice();
  live.start();
  const idle = window.requestIdleCallback ?? (act => setTimeout(act, 300));
  const readAll = () => idle(() => { store.all().then(() => { if (store.changed || store.swept.length) showWall(true); }).catch(() => {}); });
  // What finds and sorts is read while nobody waits for it. Very much of it, from afar, only when somebody is about to ask.
  if (store.index.rows <= READ_AHEAD || isNear()) readAll();
  else for (const hint of ["focusin", "pointerenter"]) byId("tools").addEventListener(hint, readAll, { once: true });
}

const READ_AHEAD = 200000;   // results, of 100 bytes each

const isNear = () => location.protocol === "file:" || ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

begin();
