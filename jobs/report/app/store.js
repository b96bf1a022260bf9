// All results of an output, as columns of numbers and pages of text: a million of them take about 100 bytes each.

const FLAG = { failed: 1, proof: 2, thumbnail: 4, card: 8, kept: 16, promoted: 32 };
const KINDS = { pictures: "Pictures", proofs: "Proofs", failed: "Failed", "failed-proofs": "Failed proofs" };   // in the order of the rows

/** Whether results of a kind have failed. */
const hasFailed = kind => kind.startsWith("failed");

/** Column by column, the kind of array; in data files each is base64. */
const COLUMNS = {
  high: Uint32Array, low: Uint32Array,   // the halves of the id
  loss: Float32Array, seconds: Float32Array,
  steps: Uint32Array, finished: Uint32Array,
  content: Uint32Array, style: Uint32Array, recipe: Uint32Array, error: Uint32Array,   // numbers of texts
  width: Uint32Array, height: Uint32Array,
  attempts: Uint8Array, ending: Uint8Array, flags: Uint8Array,
  film: Uint32Array, frame: Uint32Array, held: Uint8Array,   // of frames; the film has a file of its own
};

/** Texts by number, in pages of `size` lines that are loaded as they are needed; later ones are added singly. */
class Texts {
  constructor(size, pages) {
    this.size = size;
    this.pages = new Array(pages).fill(null);
    this.added = [];
  }

  /** How many texts the pages hold is known from their number only roughly; what is added follows `after`. */
  after = 0;

  put(page, joined) {
    const starts = [0];
    for (let at = joined.indexOf("\n"); at >= 0; at = joined.indexOf("\n", at + 1)) starts.push(at + 1);
    starts.push(joined.length + 1);
    const lower = joined.toLowerCase();
    // A few letters change their length with their case; then places differ, and lines are searched one by one.
    const same = lower.length === joined.length;
    this.pages[page] = { joined, lower: !same ? null : lower === joined ? joined : lower, starts: Uint32Array.from(starts) };
  }

  get(at) {
    if (at >= this.after) return this.added[at - this.after] ?? "";
    const page = this.pages[Math.floor(at / this.size)];
    if (!page) return "";
    const line = at % this.size;
    return page.joined.slice(page.starts[line], page.starts[line + 1] - 1);
  }

  /** Set found[k] for each text that contains a word. */
  async search(word, found, slices) {
    for (const [number, page] of this.pages.entries()) {
      if (!page) continue;
      const first = number * this.size;
      if (page.lower === null) {
        for (let line = 0; line + 1 < page.starts.length; line += 1) {
          if (this.get(first + line).toLowerCase().includes(word)) found[first + line] = 1;
        }
      } else {
        let line = 0;
        for (let at = page.lower.indexOf(word); at >= 0; at = page.lower.indexOf(word, page.starts[line])) {
          line = lineAt(page.starts, at, line);
          found[first + line] = 1;
          line += 1;
          if (line + 1 >= page.starts.length) break;
        }
      }
      await slices.pause();
    }
    for (const [k, text] of this.added.entries()) if (text.toLowerCase().includes(word)) found[this.after + k] = 1;
  }
}

/** The line that a place is in, from line `low` on. */
function lineAt(starts, place, low) {
  // Hits are mostly near: look a little ahead before halving what is left.
  for (let near = low; near < low + 4; near += 1) if (place < starts[near + 1]) return near;
  let high = starts.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= place) low = middle; else high = middle - 1;
  }
  return low;
}

class Store {
  constructor(index) {
    this.index = index;
    this.base = index.rows;
    this.total = index.rows;
    this.chunks = Math.ceil(index.rows / index.chunk);
    this.names = new Texts(index.chunk, this.chunks);
    this.names.after = index.rows;
    this.texts = {};
    for (const [name, { total, page }] of Object.entries(index.texts)) {
      this.texts[name] = new Texts(page, Math.ceil(total / page));
      this.texts[name].after = total;
    }
    this.late = new Map();  // rows that were added, by their names in addresses
    this.odd = new Map();   // keys that do not follow from name and id
    this.loading = new Map();
    this.videos = [];  // of films: first_task, proof, key, rate, codec, frames
    this.atFullSize = {};   // of films of proofs: how many frames are there in full, and in which film
    this.films = [];   // film and style and recipe, each as one text; rows have their numbers, from 1
    this.reserve(index.rows);
    this.orders = new Map();
  }

  reserve(rows) {
    if (this.capacity >= rows && this.capacity) return;
    this.capacity = Math.max(rows, Math.ceil((this.capacity ?? 0) * 1.5), 64);
    for (const [name, Kind] of Object.entries(COLUMNS)) {
      const grown = new Kind(this.capacity);
      if (this[name]) grown.set(this[name]);
      this[name] = grown;
    }
  }

  /** Load the chunk that has a row. */
  need(row) {
    if (row >= this.base) return Promise.resolve();
    const chunk = Math.floor(row / this.index.chunk);
    return this.once(`rows-${chunk}`, async () => {
      const rows = await loadData(`${this.index.folder}rows-${chunk}.js`, "rows");
      const first = chunk * this.index.chunk;
      for (const [name, Kind] of Object.entries(COLUMNS)) if (rows[name]) this[name].set(column(rows[name], Kind), first);
      this.names.put(chunk, rows.names);
      for (const [line, key] of Object.entries(rows.odd)) this.odd.set(first + Number(line), key);
    });
  }

  has(row) { return row >= this.base || this.loading.get(`rows-${Math.floor(row / this.index.chunk)}`) === true; }

  /** Load which film each row is a frame of, before anything else: the wall shows a film once. */
  needFilms() {
    if (!this.index.films) return Promise.resolve();
    return this.once("films", async () => {
      const films = await loadData(`${this.index.folder}films.js`, "films");
      const late = this.films;   // a run may have said something before
      this.films = [...films.films, ...late.filter(name => !films.films.includes(name))];
      for (let row = this.base; row < this.total; row += 1) {
        if (this.film[row]) this.film[row] = this.films.indexOf(late[this.film[row] - 1]) + 1;
      }
      this.film.set(column(films.rows, { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[films.bytes]));
      this.videos = films.videos;
      this.atFullSize = films.at_full_size;
      this.counts = null;
    });
  }

  /** How many pictures, proofs and failures of both each film has, by its number. */
  filmCounts() {
    const known = this.counts;
    if (known && known.total === this.total && known.changes === this.changes && known.complete === this.complete) return known;
    const { total, changes, complete } = this;
    const [pictures, proofs, failed, failedProofs] = [0, 1, 2, 3].map(() => new Uint32Array(this.films.length + 1));
    const { chunk, counts } = this.index;
    let there = true;
    for (let row = 0; row < total; row += 1) {
      if (row % chunk === 0 || row === this.base) there = this.has(row);
      const film = this.film[row];
      if (!film) continue;
      if (!there) {   // what is not loaded yet is known by its place
        if (row < counts.pictures) pictures[film] += 1;
        else if (row < counts.pictures + counts.proofs) proofs[film] += 1;
      } else if (this.is(row, FLAG.failed)) (this.is(row, FLAG.proof) ? failedProofs : failed)[film] += 1;
      else (this.is(row, FLAG.proof) ? proofs : pictures)[film] += 1;
    }
    this.counts = { total, changes, complete, pictures, proofs, failed, failedProofs };
    return this.counts;
  }

  /** Load all texts of a column: content, style, recipe, error. */
  async needTexts(name) {
    const texts = this.texts[name];
    for (let page = 0; page < texts.pages.length; page += 1) {
      await this.once(`${name}-${page}`, async () => {
        texts.put(page, (await loadData(`${this.index.folder}${name}-${page}.js`, "texts")).lines);
      });
    }
  }

  once(name, load) {
    const known = this.loading.get(name);
    if (known === true) return Promise.resolve();
    if (known) return known;
    const loading = load().then(
      () => { this.loading.set(name, true); },
      error => { this.loading.delete(name); throw error; },
    );
    this.loading.set(name, loading);
    return loading;
  }

  /** Load everything; what finds, sorts and groups needs it. */
  async all(progress = () => {}) {
    if (this.complete) return;
    await this.needFilms().catch(() => {});
    const slices = new Slices();
    for (const name of Object.keys(this.texts)) await this.needTexts(name);
    for (let chunk = 0; chunk < this.chunks; chunk += 1) {
      // One is read ahead while the one before is unpacked.
      if (chunk + 1 < this.chunks) this.need((chunk + 1) * this.index.chunk).catch(() => {});
      await this.need(chunk * this.index.chunk);
      progress((chunk + 1) / this.chunks);
      await slices.pause();
    }
    this.complete = true;
    document.documentElement.dataset.complete = "1";
    // So many that they fit on a card; who sweeps more has contact sheets.
    this.swept = [...sweptKnobs(this).keys()].slice(0, 3);
  }

  /** Add a result that was rendered since the data was written. */
  add(fresh) {
    const ref = (fresh.proof ? "proof-" : "") + fresh.id;
    // What ended before the data was written may be in it.
    const known = this.late.get(ref) ?? (fresh.finished < this.index.made + 5 ? this.find(fresh.id, Boolean(fresh.proof)) : -1);
    const row = known >= 0 ? known : this.total;
    if (known < 0) { this.total += 1; this.reserve(this.total); this.names.added.push(fresh.name); }
    this.high[row] = parseInt(fresh.id.slice(0, 8), 16);
    this.low[row] = parseInt(fresh.id.slice(8), 16);
    for (const name of ["seconds", "steps", "finished", "width", "height", "attempts"]) this[name][row] = fresh[name] ?? 0;
    this.loss[row] = fresh.loss ?? NaN;
    for (const name of ["content", "style", "error"]) this[name][row] = this.number(name, fresh[name] ?? "");
    this.recipe[row] = this.number("recipe", JSON.stringify(fresh.recipe ?? {}));
    const failed = fresh.status === "failed";
    const key = failed ? fresh.kept : fresh.key;
    this.flags[row] = (failed && FLAG.failed) | (fresh.proof && FLAG.proof) | (fresh.thumb && FLAG.thumbnail)
      | (fresh.thumb && !failed && FLAG.card) | (failed && key && FLAG.kept);
    this.film[row] = fresh.film ? this.films.indexOf(fresh.film) + 1 || this.films.push(fresh.film) : 0;
    this.frame[row] = fresh.frame ?? 0;
    this.held[row] = typeof fresh.held === "number" ? 1 + Math.round(254 * fresh.held) : 0;
    this.changes = (this.changes ?? 0) + 1;
    this.odd.set(row, key ?? "");
    this.late.set(ref, row);
    this.orders.clear();
    return row;
  }

  number(name, text) {
    const texts = this.texts[name];
    const found = texts.added.indexOf(text);
    return texts.after + (found >= 0 ? found : texts.added.push(text) - 1);
  }

  id(row) { return this.high[row].toString(16).padStart(8, "0") + this.low[row].toString(16).padStart(8, "0"); }

  name(row) { return this.names.get(row); }

  is(row, flag) { return (this.flags[row] & flag) !== 0; }

  kind(row) {
    const proof = this.is(row, FLAG.proof);
    if (this.is(row, FLAG.failed)) return proof ? "failed-proofs" : "failed";
    return proof ? "proofs" : "pictures";
  }

  folder(row) { return this.is(row, FLAG.proof) ? "proofs/" : ""; }

  /** The key of the picture, or of a failed render's last good one; null: there is none. */
  picture(row) {
    const odd = this.odd.get(row);
    if (odd !== undefined) return odd ? this.folder(row) + odd : null;
    if (this.is(row, FLAG.failed) && !this.is(row, FLAG.kept)) return null;
    const folder = this.is(row, FLAG.failed) ? "kept" : "images";
    return `${this.folder(row)}${folder}/${this.name(row)}-${this.id(row)}.${this.index.endings[this.ending[row]]}`;
  }

  /** The key of what the wall shows: the thumbnail or, where there is none, a picture that browsers show. */
  small(row) {
    if (this.is(row, FLAG.thumbnail)) return this.of(row, "thumbs", "webp");
    const key = this.picture(row);
    return isShown(key) ? key : null;
  }

  of(row, folder, ending) {
    const id = this.id(row);
    return `${this.folder(row)}${folder}/${id.slice(0, 2)}/${id}.${ending}`;
  }

  text(name, row) { return this.texts[name].get(this[name][row]); }

  knobs(row) { return readKnobs(this.text("recipe", row)); }

  /** How a result is called in this page's address. */
  ref(row) { return (this.is(row, FLAG.proof) ? "proof-" : "") + this.id(row); }

  /** The row that an address means, among what is loaded; -1: none. */
  row(ref) {
    const proof = ref.startsWith("proof-");
    return this.find(proof ? ref.slice(6) : ref, proof);
  }

  find(id, proof) {
    if (!/^[0-9a-f]{16}$/.test(id)) return -1;
    const high = parseInt(id.slice(0, 8), 16);
    const low = parseInt(id.slice(8), 16);
    for (let row = this.total - 1; row >= 0; row -= 1) {
      if (this.low[row] === low && this.high[row] === high && this.is(row, FLAG.proof) === proof && this.has(row)) return row;
    }
    return -1;
  }

  /** All rows in the order of a column, rising; rows without a value last. Returns [order, rows with a value]. */
  order(name) {
    if (!this.orders.has(name)) this.orders.set(name, sortedBy(this[name], this.total));
    return this.orders.get(name);
  }
}

/** Whether browsers show the picture under a key: in a gallery that is one file each is a WebP. */
const isShown = key => Boolean(key) && (embedded.has(key) || !/\.(tiff?|jxl)$/i.test(key));

/** Sort rows by a column of numbers, by their bits, 11 at a time: a million take about 50 ms. */
function sortedBy(values, total) {
  const keys = new Uint32Array(total);
  let known = total;
  if (values instanceof Float32Array) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, total);
    for (let row = 0; row < total; row += 1) {
      const value = values[row];
      if (value !== value) { keys[row] = 0xffffffff; known -= 1; }   // NaN, behind all others
      else keys[row] = bits[row] & 0x80000000 ? ~bits[row] : bits[row] | 0x80000000;
    }
  } else {
    keys.set(values.subarray(0, total));
  }
  let from = new Uint32Array(total);
  for (let row = 0; row < total; row += 1) from[row] = row;
  let to = new Uint32Array(total);
  for (let shift = 0; shift < 32; shift += 11) {
    const places = new Uint32Array(2049);
    for (let at = 0; at < total; at += 1) places[((keys[at] >>> shift) & 2047) + 1] += 1;
    for (let digit = 0; digit < 2048; digit += 1) places[digit + 1] += places[digit];
    for (let at = 0; at < total; at += 1) {
      const row = from[at];
      const digit = (keys[row] >>> shift) & 2047;
      to[places[digit]] = row;
      places[digit] += 1;
    }
    [from, to] = [to, from];
  }
  return [from, known];
}
