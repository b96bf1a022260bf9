// From what is asked for to rows in an order: filter, sort, group.

const SORTS = {
  name: ["Name", null], loss: ["Loss", "loss"], finished: ["Time finished", "finished"],
  steps: ["Steps", "steps"], seconds: ["Render time", "seconds"],
};
const GROUPS = { style: "Style", content: "Content" };

/** Whether finding these needs all data, not just what is on the screen. */
const asksAll = wanted => Boolean(
  wanted.q || wanted.style || wanted.content || wanted.reason || wanted.from || wanted.to
  || Object.keys(wanted.knobs).length || wanted.sort !== "name" || wanted.group || wanted.rows || wanted.columns,
);

/** What an error has in common with others like it: without names, paths and numbers. */
const reasonOf = error => error
  .replace(/(["'\u201c`]).*?["'\u201d`]/g, "\u2026")
  .replace(/\S*[/\\]\S*/g, "\u2026")
  .replace(/[^\s:]+\.(png|jpe?g|webp|tiff?|avif|jxl|heic|exr|gif|bmp)\b/gi, "\u2026")
  .replace(/\d[\d.,]*/g, "N");

/**
 * Find rows.
 * @returns {Promise<{rows: Uint32Array, groups: ?Array<{label: string, code: number, first: number, count: number}>, all: number, films: ?Uint32Array}>}
 * all: how many there are, before the frames of films were folded into one row each; films: how many of each film
 */
async function findRows(store, wanted, kind) {
  const slices = new Slices();
  let order = byName(store, kind);
  let known = order.length;
  const falling = wanted.sort.startsWith("-");
  const by = wanted.sort.replace(/^-/, "");
  const keep = await wantedRows(store, wanted, slices);
  const sort = SORTS[by]?.[1];
  if (sort) {
    const [all, valued] = store.order(sort);
    await slices.pause();
    order = all;
    known = valued;
  }
  const rows = new Uint32Array(order.length);
  let found = 0;
  const take = at => {
    const row = order[at];
    if ((!sort || store.kind(row) === kind) && (keep === null || keep[row])) rows[found++] = row;
  };
  if (falling) for (let at = known - 1; at >= 0; at -= 1) take(at);
  else for (let at = 0; at < known; at += 1) take(at);
  for (let at = known; at < order.length; at += 1) take(at);   // without a value: last, either way
  await slices.pause();
  let sorted = rows.slice(0, found);
  let films = null;
  if (foldsFilms(store, wanted, kind)) ({ rows: sorted, found: films } = folded(store, sorted));
  const shown = wanted.group ? await grouped(store, sorted, wanted.group, slices) : { rows: sorted, groups: null };
  return { ...shown, all: found, films };
}

/** Whether the frames of a film are shown as one. What failed is shown frame by frame, and contact sheets are of pictures. */
const foldsFilms = (store, wanted, kind) => Boolean(store.films.length && !hasFailed(kind) && !wanted.films && !wanted.rows && !wanted.columns);

/** The first row of a kind in the data files. */
function firstOf(store, kind) {
  const kinds = Object.keys(KINDS);
  return kinds.slice(0, kinds.indexOf(kind)).reduce((sum, other) => sum + store.index.counts[other], 0);
}

/** The rows of a kind by name. Data files have them in this order; what was rendered since is sorted in. */
function byName(store, kind) {
  const { counts } = store.index;
  const first = firstOf(store, kind);
  const added = [];
  for (let row = store.base; row < store.total; row += 1) if (store.kind(row) === kind) added.push(row);
  const rows = new Uint32Array(counts[kind] + added.length);
  if (!added.length || !store.complete) {
    for (let at = 0; at < counts[kind]; at += 1) rows[at] = first + at;
    rows.set(added, counts[kind]);
    return rows;
  }
  added.sort((a, b) => (store.name(a) < store.name(b) ? -1 : 1));
  let from = 0;
  let at = 0;
  for (const row of added) {
    // By halves, because names are texts that are made when they are asked for.
    let [low, high] = [from, counts[kind]];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (store.name(first + middle) < store.name(row)) low = middle + 1; else high = middle;
    }
    while (from < low) rows[at++] = first + from++;
    rows[at++] = row;
  }
  while (from < counts[kind]) rows[at++] = first + from++;
  return rows;
}

/** Which rows are asked for, a byte each; null: all. */
async function wantedRows(store, wanted, slices) {
  let keep = null;
  const and = set => {
    if (keep === null) keep = set;
    else for (let row = 0; row < keep.length; row += 1) keep[row] &= set[row];
  };
  for (const word of wanted.q.toLowerCase().split(/\s+/).filter(Boolean)) {
    const set = new Uint8Array(store.total);
    await store.names.search(word, set, slices);
    for (const name of ["content", "style"]) await byText(store, name, text => text.includes(word), set, slices);
    if (/^(proof-)?[0-9a-f]{16}$/.test(word)) for (const proof of [false, true]) {
      const row = store.find(word.replace("proof-", ""), proof);
      if (row >= 0) set[row] = 1;
    }
    and(set);
    await slices.pause();
  }
  for (const name of ["style", "content"]) {
    const text = wanted[name].toLowerCase();
    if (text) and(await byText(store, name, other => other.includes(text), null, slices));
  }
  if (wanted.reason) and(await byText(store, "error", error => reasonOf(error).toLowerCase() === wanted.reason.toLowerCase(), null, slices));
  for (const [knob, value] of Object.entries(wanted.knobs)) {
    and(await byText(store, "recipe", text => knobText(readKnobs(text)[knob]) === value, null, slices, false));
  }
  const [after, before] = [dayStart(wanted.from), dayStart(wanted.to, 1)];
  if (after !== null || before !== null) {
    const set = new Uint8Array(store.total);
    for (let row = 0; row < store.total; row += 1) {
      const at = store.finished[row];
      set[row] = (after === null || at >= after) && (before === null || at < before) ? 1 : 0;
    }
    and(set);
  }
  return keep;
}

/** Rows whose text of a column passes: each text is looked at once, however many rows have it. */
async function byText(store, name, passes, set, slices, lower = true) {
  const texts = store.texts[name];
  const codes = new Uint8Array(texts.after + texts.added.length);
  let any = false;
  for (let code = 0; code < codes.length; code += 1) {
    const text = texts.get(code);
    if (passes(lower ? text.toLowerCase() : text)) { codes[code] = 1; any = true; }
    if ((code & 1023) === 1023) await slices.pause();
  }
  const into = set ?? new Uint8Array(store.total);
  const column_ = store[name];
  if (any) for (let row = 0; row < store.total; row += 1) into[row] |= codes[column_[row]];
  return into;
}

function readKnobs(text) {
  try { return JSON.parse(text || "{}"); } catch { return {}; }
}

const knobText = value => (typeof value === "string" ? value : JSON.stringify(value ?? null));

/** Midnight of a day, in this reader's time zone, as seconds; null for no day. */
function dayStart(day, later = 0) {
  const parts = /^(\d{4})-(\d\d)-(\d\d)$/.exec(day);
  if (!parts) return null;
  return new Date(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]) + later).getTime() / 1000;
}

async function grouped(store, rows, name, slices) {
  const texts = store.texts[name];
  const codes = store[name];
  const sizes = new Uint32Array(texts.after + texts.added.length);
  for (let at = 0; at < rows.length; at += 1) sizes[codes[rows[at]]] += 1;
  const groups = [];
  for (let code = 0; code < sizes.length; code += 1) {
    if (sizes[code]) groups.push({ label: texts.get(code) || "(unknown)", code, first: 0, count: sizes[code] });
  }
  groups.sort((a, b) => (a.label < b.label ? -1 : a.label > b.label ? 1 : 0));
  await slices.pause();
  const places = new Uint32Array(sizes.length);
  let first = 0;
  for (const group of groups) {
    group.first = first;
    places[group.code] = first;
    first += group.count;
  }
  const sorted = new Uint32Array(rows.length);
  for (let at = 0; at < rows.length; at += 1) sorted[places[codes[rows[at]]]++] = rows[at];
  return { rows: sorted, groups };
}

/**
 * The knobs in which recipes of one preset differ, with their values; presets themselves, where there are several. What
 * comes with a preset is not what somebody swept.
 */
function sweptKnobs(store) {
  const texts = store.texts.recipe;
  const presets = new Map();
  for (let code = 0; code < texts.after + texts.added.length; code += 1) {
    const recipe = readKnobs(texts.get(code));
    const preset = knobText(recipe.preset);
    if (!presets.has(preset)) presets.set(preset, []);
    presets.get(preset).push(recipe);
  }
  const swept = new Set(presets.size > 1 ? ["preset"] : []);
  for (const recipes of presets.values()) {
    const [first] = recipes;
    for (const recipe of recipes) {
      for (const knob of Object.keys({ ...first, ...recipe })) if (knobText(recipe[knob]) !== knobText(first[knob])) swept.add(knob);
    }
  }
  const values = knob => [...new Set([...presets.values()].flat().filter(recipe => Object.hasOwn(recipe, knob)).map(recipe => knobText(recipe[knob])))].sort(byValue);
  return new Map([...swept].sort().map(knob => [knob, values(knob)]));
}

const byValue = (a, b) => (Number(a) - Number(b)) || (a < b ? -1 : a > b ? 1 : 0);
