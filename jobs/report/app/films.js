// Films: which frames belong together, and what a film is called. The wall shows each as one card.

/** The numbers of frames that an output says a film has, by the key of the file that says so. */
const filmsKnown = new Map();

/**
 * Fold the frames of each film into the first of them.
 * @returns {{rows: Uint32Array, found: Uint32Array}} found: how many frames of each film there were, by its number
 */
function folded(store, rows) {
  const found = new Uint32Array(store.films.length + 1);
  const kept = new Uint32Array(rows.length);
  let many = 0;
  for (let at = 0; at < rows.length; at += 1) {
    const film = store.film[rows[at]];
    if (film) found[film] += 1;
    if (!film || found[film] === 1) kept[many++] = rows[at];
  }
  return { rows: kept.slice(0, many), found };
}

/** A frame's name without its number: a--wave.1012 is a--wave. */
function filmName(store, row) {
  const name = store.name(row);
  const number = new RegExp(`(^|\\D)0*${store.frame[row]}(\\D*)$`);
  return name.replace(number, (all, before, after) => (/[._ -]/.test(before) ? "" : before) + after) || name;
}

/** How a film is called in this page's address, by one of its frames. */
const filmRef = (store, row) => `${store.is(row, FLAG.proof) ? "proof-" : ""}film-${store.films[store.film[row] - 1]}`;

const isFilmRef = ref => /^(proof-)?film-/.test(ref);

/** The film that an address means, as [its number, whether of proofs]; its number is 0 where there is none. */
function filmOf(store, ref) {
  const proof = ref.startsWith("proof-");
  return [store.films.indexOf(ref.replace(/^(proof-)?film-/, "")) + 1, proof];
}

/** All rows of a film that are loaded, failed ones among them. */
function filmRows(store, film, proof) {
  const rows = [];
  let there = true;
  for (let row = 0; row < store.total; row += 1) {
    if (row % store.index.chunk === 0 || row === store.base) there = store.has(row);
    if (there && store.film[row] === film && store.is(row, FLAG.proof) === proof) rows.push(row);
  }
  return rows;
}

/** Which frames a film has, as [first, last, step] of parts; null where the output does not say. */
function filmNumbers(store, film, proof) {
  const key = `${proof ? "proofs/" : ""}films/${store.films[film - 1].split("-")[0]}/frames.js`;
  if (!filmsKnown.has(key)) filmsKnown.set(key, loadData(key, "film").then(about => about.numbers, () => null));
  return filmsKnown.get(key);
}

const partSize = ([first, last, step]) => Math.floor((last - first) / step) + 1;

/**
 * A film's frames in order, with those that are missing.
 * @param {?Array} parts what filmNumbers gives
 * @returns {Array<{number: number, row: number}>} row -1: there is none
 */
function filmFrames(store, film, proof, parts) {
  const newest = new Map();
  for (const row of filmRows(store, film, proof)) {
    const other = newest.get(store.frame[row]);
    // A frame may be there twice: its film was cut otherwise once.
    if (other === undefined || store.finished[row] >= store.finished[other]) newest.set(store.frame[row], row);
  }
  const numbers = [...newest.keys()].sort((a, b) => a - b);
  let known = parts ?? [];
  if (!parts && numbers.length > 1) {
    let step = Infinity;
    for (let at = 1; at < numbers.length; at += 1) step = Math.min(step, numbers[at] - numbers[at - 1]);
    known = [[numbers[0], numbers[numbers.length - 1], step]];
  }
  const all = new Set(numbers);
  if (known.reduce((sum, part) => sum + partSize(part), 0) <= MOST_FRAMES) {
    for (const [first, last, step] of known) for (let number_ = first; number_ <= last; number_ += step) all.add(number_);
  }
  return [...all].sort((a, b) => a - b).map(number_ => ({ number: number_, row: newest.get(number_) ?? -1 }));
}

/** The videos that were made of a film. */
const filmVideos = (store, film, proof) => store.videos.filter(video => {
  const row = video.proof === proof ? store.find(video.first_task, proof) : -1;
  return row >= 0 && store.film[row] === film;
});

/** Frames per second, from 24000/1001 or 25. */
function rateOf(video) {
  const [many, seconds] = String(video.rate).split("/").map(Number);
  return Math.round(1000 * many / (seconds || 1)) / 1000;
}

const MOST_FRAMES = 1_000_000;

/** How firmly a frame is held, 0 to 1; null: unknown, or it holds to no other. */
const heldShare = (store, row) => (store.held[row] ? (store.held[row] - 1) / 254 : null);

/** The key of how firmly each pixel of a frame is held; null: there is none. */
const heldPicture = (store, row) => (store.held[row] && store.is(row, FLAG.thumbnail) ? store.of(row, "thumbs", "webp").replace(/\.webp$/, "-held.webp") : null);

/** Numbers as people write them: 1001-1020, 1024. */
function numberRuns(frames, all) {
  const runs = [];
  const places = new Map(all.map(({ number: number_ }, at) => [number_, at]));
  for (const { number: number_ } of frames) {
    const run = runs[runs.length - 1];
    if (run && places.get(number_) === places.get(run[1]) + 1) run[1] = number_; else runs.push([number_, number_]);
  }
  return runs;
}

/** The link from a film of proofs to that of its pictures, with how many there are; null: none is rendered. */
function fullSizeLink(store, film, proofs, tab) {
  const [many, larger] = store.atFullSize[store.films[film - 1]] ?? [0, 0];
  if (!many) return null;
  const text = many < proofs ? `${counted.format(many)} of ${counted.format(proofs)} at full size` : "rendered at full size";
  return make("a", { class: "badge", tabindex: tab, href: linkTo({ kind: "", id: `film-${store.films[larger - 1]}`, frame: "" }), text });
}

/** Fill a film's card: one of its frames, how many there are, and what can be done with it. */
function fillFilmCard(card, store, row, reachable, found) {
  const film = store.film[row];
  const proof = store.is(row, FLAG.proof);
  const tab = reachable ? 0 : -1;
  const name = filmName(store, row);
  const all = store.filmCounts()[proof ? "proofs" : "pictures"][film];
  const part = found[film] < all;
  const ref = filmRef(store, row);
  card.classList.add("film");
  card.dataset.ref = ref;
  const frame = make("a", { class: "frame", href: linkTo({ id: ref, frame: part ? String(store.frame[row]) : "" }), tabindex: tab, "aria-label": `Play ${name}` }, smallPicture(store, row), make("span", { class: "sign", "aria-hidden": "true", text: "\u25b6" }));
  const about = make("div", { class: "about" });
  if (proof) {
    const box = make("input", { type: "checkbox", tabindex: tab, "data-film": film, onchange: event => chooseFilm(film, event.target.checked) });
    about.append(make("label", {}, box, make("span", { class: "name", text: name, title: name })));
  } else {
    about.append(make("div", { class: "name", text: name, title: name }));
  }
  const many = make("div", { class: "more", text: count(all, "frame") });
  about.append(many);
  filmNumbers(store, film, proof).then(parts => {
    const wanted = parts?.reduce((sum, one) => sum + partSize(one), 0) ?? 0;
    if (wanted > all) many.textContent = `${counted.format(all)} of ${count(wanted, "frame")}`;
  });
  if (part) about.append(make("div", { class: "more", text: `${counted.format(found[film])} found` }));
  const larger = proof ? fullSizeLink(store, film, all, tab) : null;
  if (larger) about.append(make("div", { class: "more" }, larger));
  const failed = store.filmCounts()[proof ? "failedProofs" : "failed"][film];
  if (failed) about.append(make("div", { class: "error", text: `${counted.format(failed)} failed` }));
  const swept = sweptText(store, row);
  if (swept) about.append(make("div", { class: "more", text: swept, title: swept }));
  card.append(frame, about);
  if (proof) showFilmChoice(card.querySelector("input[data-film]"));
}
