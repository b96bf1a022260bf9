// A film, played: its frames in order, what they were painted from, and how firmly they are held.

const PLAYER_VIEWS = { result: "Result", content: "Content", held: "Held" };
const SPEEDS = [1, 2, 6, 12, 24, 25, 30, 48, 60];   // frames per second
const AHEAD = { small: 48, full: 8 };   // frames that are loaded before they are shown
const KEPT = 3;                          // times as many stay
const SHARPEN_MS = 150;                  // a frame that is looked at so long is shown in full
const SPEED_PLACE = "stylefarm frames per second";

class Player {
  constructor() {
    this.frames = [];
    this.at = 0;
    this.playing = false;
    this.full = false;
    this.loop = true;
    this.pictures = new Map();   // address -> { image, ready, failed }; the least wanted first
    this.contents = new Map();   // row -> address of the content's copy, or a promise of it
    this.shown = [];             // when the last frames were shown, for the rate
    this.build();
  }

  build() {
    this.name = make("h2", { id: "played", tabindex: -1 });
    this.where = make("span", { class: "more" });
    this.views = make("div", { class: "views", role: "group", "aria-label": "What is played" });
    this.canvas = make("canvas");
    this.placard = make("p", { class: "placard", hidden: true });
    this.screen = make("div", { class: "screen", tabindex: 0, role: "img", onclick: () => this.play(!this.playing) }, this.canvas, this.placard);
    this.timeline = new Timeline(at => { this.play(false); this.show(at); });
    this.start = button("Play", () => this.play(!this.playing), { id: "play", "aria-keyshortcuts": "Space" });
    this.loops = button("Loop", () => { this.loop = !this.loop; this.loops.setAttribute("aria-pressed", String(this.loop)); }, { id: "loop", "aria-pressed": "true" });
    this.larger = button("Full size", () => this.enlarge(!this.full), { id: "full", "aria-pressed": "false", title: "Play the pictures themselves, not their thumbnails" });
    this.speed = make("select", { id: "speed", onchange: () => { this.since = performance.now(); keepSpeed(this.speed.value); } }, ...SPEEDS.map(speed => make("option", { value: speed, text: `${speed} frames/s` })));
    this.speed.value = knownSpeed();
    this.number = make("input", { type: "number", id: "frame", "aria-label": "Frame", onchange: () => this.seek(Number(this.number.value)) });
    this.rate = make("output", { class: "level", "aria-live": "off" });
    this.open_ = make("a", { class: "button", id: "open-frame", text: "Open this frame" });
    const tools = make("div", { class: "tools", role: "toolbar", "aria-label": "Player" },
      this.start, button("\u25c0", () => this.step(-1), { "aria-label": "Frame before", id: "back" }), button("\u25b6", () => this.step(1), { "aria-label": "Next frame", id: "forth" }),
      make("label", { class: "field", for: "frame" }, "Frame", this.number), make("label", { class: "field", for: "speed" }, "Speed", this.speed), this.loops, this.larger, this.open_, this.rate);
    // Who uses a mouse expects the space bar to play, not to press the last button again.
    tools.addEventListener("click", event => { if (event.detail && event.target.tagName === "BUTTON") this.screen.focus({ preventScroll: true }); });
    this.facts = make("div", { class: "facts", tabindex: 0, role: "region", "aria-label": "About this film" });
    this.dialog = make("dialog", { class: "viewer player", "aria-labelledby": "played" },
      make("div", { class: "top" }, this.name, this.where, this.views, button("Close", () => go({ id: "", view: "", frame: "" }), { id: "close-player", "aria-keyshortcuts": "Escape" })),
      make("div", { class: "body" }, make("div", { class: "stage" }, this.screen, this.timeline.element, tools), this.facts));
    this.dialog.addEventListener("cancel", event => { event.preventDefault(); go({ id: "", view: "", frame: "" }); });
    this.dialog.addEventListener("keydown", event => this.onKey(event));
    document.body.append(this.dialog);
  }

  /** Open what the address asks for. */
  async open(ref) {
    const same = this.dialog.open && this.asked === ref;
    if (!this.dialog.open) { this.dialog.showModal(); this.screen.focus(); }
    this.view = state.view in PLAYER_VIEWS ? state.view : "result";
    this.views.replaceChildren(...Object.entries(PLAYER_VIEWS).map(([name, text]) => viewButton(name, text, this.view)));
    if (same && this.store === store) { this.show(this.at); return; }
    if (!same) {
      this.frames = [];
      this.store = null;
      this.play(false);
      this.asked = ref;
      this.opening = true;
      this.say("Reading \u2026");
      this.name.textContent = this.where.textContent = "";
      this.facts.replaceChildren();
    }
    const read = store;
    await read.all();
    if (this.asked !== ref || read !== store) return;
    await this.refresh(true);
    if (this.asked !== ref || this.store !== store || !this.frames.length) return;
    if (this.opening) {
      this.opening = false;
      const asked = state.frame ? Number(state.frame) : null;
      this.at = Math.max(0, asked === null ? this.frames.findIndex(({ row }) => row >= 0) : this.placeOf(asked));
      if (!state.frame && !still.matches) this.play(true);   // a link to a frame shows that frame
    }
    this.show(this.at);   // where the data were read anew, somebody may have gone to another frame meanwhile
  }

  /** Whether rows are still those of the data; until they are read anew, nothing is drawn by them. */
  get reads() { return this.store === store; }

  /**
   * Read again which frames there are; also while a run goes on.
   * @param {boolean} anew after the data themselves were read, in which rows are other ones
   */
  async refresh(anew = false) {
    if (!this.dialog.open || (!anew && !this.reads)) return;
    const ref = this.asked;
    const read = store;
    const [film, proof] = filmOf(read, ref);
    const parts = film ? await filmNumbers(read, film, proof) : null;
    if (this.asked !== ref || read !== store) return;
    const number_ = this.frames[this.at]?.number;
    if (anew) this.contents = new Map();
    this.store = read;
    this.frames = film ? filmFrames(read, film, proof, parts) : [];
    const some = this.frames.find(({ row }) => row >= 0);
    if (!some) {
      this.play(false);
      this.name.textContent = "There is no such film";
      this.say("It has no frames here.");
      return;
    }
    if (number_ !== undefined) this.at = Math.max(0, this.placeOf(number_));
    this.name.textContent = filmName(store, some.row);
    document.title = `${this.name.textContent} \u2013 ${store.index.job}`;
    Object.assign(this.number, { min: this.frames[0].number, max: this.frames[this.frames.length - 1].number });
    this.timeline.show(this.frames);
    const videos = filmVideos(store, film, proof);
    this.offer(videos.map(rateOf).find(rate => rate > 0));
    fillFilmFacts(this.facts, this.frames, some.row, videos);
  }

  /** Play at a film's own speed, where it is known and nobody has chosen another. */
  offer(rate) {
    if (!rate) return;
    if (![...this.speed.options].some(option => Number(option.value) === rate)) this.speed.append(make("option", { value: rate, text: `${rate} frames/s` }));
    if (knownSpeed(null) === null) this.speed.value = String(rate);
  }

  close() {
    if (!this.dialog.open) return;
    this.play(false);
    const { row } = (this.reads && this.frames[this.at]) || {};
    this.asked = "";
    this.pictures.clear();
    this.contents.clear();
    this.dialog.close();
    const place = row === undefined ? -1 : wall.placeOf(row >= 0 ? row : this.frames.find(frame => frame.row >= 0)?.row);
    if (place >= 0 && !state.id) wall.focus(place);
  }

  /** The place of a frame, or of the one before where that number is none. */
  placeOf(number_) {
    let place = -1;
    for (const [at, frame] of this.frames.entries()) if (frame.number <= number_) place = at;
    return place;
  }

  seek(number_) {
    this.play(false);
    if (this.frames.length) this.show(Math.max(0, this.placeOf(number_)));
  }

  step(by) {
    this.play(false);
    if (this.frames.length) this.show(Math.max(0, Math.min(this.frames.length - 1, this.at + by)));
  }

  enlarge(on) {
    this.full = on;
    this.larger.setAttribute("aria-pressed", String(on));
    this.show(this.at);
  }

  play(on) {
    if (on && !this.frames.length) return;
    const was = this.playing;
    this.playing = on;
    this.start.textContent = on ? "Pause" : "Play";
    if (on && !was) {
      clearTimeout(this.sharpening);
      if (!this.loop && this.at === this.frames.length - 1) this.show(0);
      this.since = performance.now();
      this.shown = [];
      requestAnimationFrame(now => this.tick(now));
    } else if (!on && was) {
      this.rate.textContent = "";
      this.show(this.at);
    }
  }

  tick(now) {
    if (!this.playing) return;
    requestAnimationFrame(later_ => this.tick(later_));
    if (!this.reads) return;
    const each = 1000 / Number(this.speed.value);
    if (now < this.since + each - 4) return;   // a screen shows a frame up to 4 ms early
    const next = this.at + 1 < this.frames.length ? this.at + 1 : this.loop ? 0 : -1;
    if (next < 0) { this.play(false); return; }
    this.preload(next);
    if (!this.isReady(next)) return;   // every frame is shown, if later
    this.since = Math.max(this.since + each, now - each);
    this.shown.push(now);
    while (this.shown.length > 1 && now - this.shown[0] > 1000) this.shown.shift();
    if (this.shown.length > 2 && now - this.shown[0] > 500) {
      const rate = (this.shown.length - 1) * 1000 / (now - this.shown[0]);
      this.rate.textContent = rate < 0.9 * Number(this.speed.value) ? `slower than asked: ${rate.toFixed(rate < 10 ? 1 : 0)} frames/s` : "";
    }
    this.show(next);
  }

  /** Show a frame; one that is not loaded yet as soon as it is. */
  show(at) {
    this.at = at;
    const frame = this.frames[at];
    if (!frame || !this.reads) return;
    const { number: number_, row } = frame;
    const share = row < 0 ? null : heldShare(store, row);
    const about = `frame ${number_}${share === null ? "" : `, held ${share.toFixed(2)}`}`;
    this.where.textContent = `${about}, ${counted.format(at + 1)} of ${counted.format(this.frames.length)}`;
    this.screen.setAttribute("aria-label", `${this.name.textContent}, ${about}, ${PLAYER_VIEWS[this.view]}`);
    this.timeline.at(at, about);
    if (document.activeElement !== this.number) this.number.value = String(number_);
    this.open_.toggleAttribute("hidden", row < 0);
    if (row >= 0) this.open_.setAttribute("href", linkTo({ id: store.ref(row), view: "", frame: "" }));
    clearTimeout(this.sharpening);
    if (!this.playing) {
      // So that a link, and Back, lead to this frame.
      state.frame = String(number_);
      history.replaceState(null, "", toHash(state));
      this.preload(at);
      this.sharpening = setTimeout(() => this.sharpen(at), SHARPEN_MS);
    }
    const source = this.source(frame, this.full);
    if (source instanceof Promise) { source.then(() => { if (this.at === at) this.show(at); }, () => {}); return; }
    if (source.text) this.say(source.text); else this.draw(source.src, at);
  }

  /** Show the picture itself of a frame at which somebody stopped. */
  sharpen(at) {
    if (this.playing || !this.reads || this.at !== at || this.full || this.view !== "result" || !this.dialog.open) return;
    const source = this.source(this.frames[at], true);
    if (source.src) this.draw(source.src, at);
  }

  draw(src, at) {
    const picture = this.load(src);
    const paint = () => {
      if (this.at !== at) return;
      if (picture.failed) { this.say(`The picture of frame ${this.frames[at].number} is not here.`); return; }
      this.placard.hidden = true;
      this.canvas.hidden = false;
      const { naturalWidth: width, naturalHeight: height } = picture.image;
      if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
      const pen = this.canvas.getContext("2d");
      pen.clearRect(0, 0, width, height);
      pen.drawImage(picture.image, 0, 0);
      this.dialog.dataset.drawn = `${this.frames[at].number} ${this.view}`;
    };
    if (picture.ready || picture.failed) paint(); else picture.loading.then(paint);
  }

  say(text) {
    this.canvas.hidden = true;
    this.placard.hidden = false;
    this.placard.textContent = text;
    this.dialog.dataset.drawn = "";
  }

  /** The picture of a frame in the present view, as { src } or { text }, or a promise of it. */
  source({ number: number_, row }, full) {
    if (row < 0) return { text: `Frame ${number_} is missing.` };
    if (store.is(row, FLAG.failed) && this.view !== "content") return { text: `Frame ${number_} has failed: ${store.text("error", row) || "no reason recorded"}` };
    if (this.view === "content") {
      if (!this.contents.has(row)) {
        const folder = store.folder(row);
        const finding = store.is(row, FLAG.card) ? loadData(store.of(row, "cards", "js"), "card").then(card => card?.content_copy, () => null) : Promise.resolve(null);
        const contents = this.contents;   // those of these rows
        contents.set(row, finding.then(key => { contents.set(row, { src: key ? address(folder + key) : null }); }));
      }
      const known = this.contents.get(row);
      return known instanceof Promise || known.src ? known : { text: `What frame ${number_} was painted from is not here.` };
    }
    if (this.view === "held") {
      const key = heldPicture(store, row);
      if (key) return { src: address(key) };
      return { text: heldShare(store, row) === null ? `Frame ${number_} holds to no other: it is painted anew.` : `How firmly frame ${number_} is held is known as a number only.` };
    }
    const src = address(full ? shownPicture(row) : store.small(row));
    return src ? { src } : { text: `Frame ${number_} is there, but browsers do not show it.` };
  }

  isReady(at) {
    const source = this.source(this.frames[at], this.full);
    if (source instanceof Promise) return false;
    if (!source.src) return true;
    const picture = this.load(source.src);
    return picture.ready || picture.failed;
  }

  /** Load what comes next, and drop what was shown long ago. */
  preload(at) {
    const most = Math.min(this.full ? AHEAD.full : AHEAD.small, this.frames.length);
    for (let k = 0; k < most; k += 1) {
      const source = this.source(this.frames[(at + k) % this.frames.length], this.full);
      if (source.src) this.load(source.src);
    }
    for (const src of this.pictures.keys()) {
      if (this.pictures.size <= KEPT * most) break;
      this.pictures.delete(src);
    }
  }

  load(src) {
    let picture = this.pictures.get(src);
    if (picture) {
      this.pictures.delete(src);
      this.pictures.set(src, picture);
      return picture;
    }
    const image = new Image();
    picture = { image, ready: false, failed: false };
    image.src = src;
    picture.loading = image.decode().then(() => { picture.ready = true; }, () => { picture.failed = true; });
    this.pictures.set(src, picture);
    return picture;
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { tagName, type } = event.target;
    if (tagName === "SELECT" || (tagName === "INPUT" && type !== "range")) return;
    const presses = ["BUTTON", "A"].includes(tagName);
    const act = {
      " ": presses ? null : () => this.play(!this.playing),
      ArrowLeft: () => this.step(event.shiftKey ? -10 : -1), ArrowRight: () => this.step(event.shiftKey ? 10 : 1),
      Home: () => this.step(-this.frames.length), End: () => this.step(this.frames.length),
      l: () => this.loops.click(),
      1: () => go({ view: "" }, true), 2: () => go({ view: "content" }, true), 3: () => go({ view: "held" }, true),
    }[event.key];
    if (!act) return;
    act();
    event.preventDefault();
  }
}

const RUNS_SHOWN = 30;

const REASONS_SHOWN = 3;

/** Why frames have failed, each reason with the first of its frames; those that failed by themselves come first. */
function failureTexts(failed) {
  const reasons = new Map();
  for (const { row, number: number_ } of failed) {
    const text = store.text("error", row) || "no reason recorded";
    if (!reasons.has(text)) reasons.set(text, number_);
  }
  const follows = ([text]) => /which this frame holds to/.test(text);
  const sorted = [...reasons].sort((a, b) => follows(a) - follows(b));
  return sorted.slice(0, REASONS_SHOWN).map(([text, number_]) => `${number_}: ${text}`);
}

/** What is known of a film: how many of its frames are there, which are not, and how firmly they are held. */
function fillFilmFacts(place, frames, some, videos) {
  const there = frames.filter(({ row }) => row >= 0 && !store.is(row, FLAG.failed));
  const failed = frames.filter(({ row }) => row >= 0 && store.is(row, FLAG.failed));
  const missing = frames.filter(({ row }) => row < 0);
  const shares = there.map(frame => [heldShare(store, frame.row), frame.number]).filter(([share]) => share !== null);
  const least = shares.reduce((low, one) => (one[0] < low[0] ? one : low), [2, 0]);
  const first = frames[0].number;
  const last = frames[frames.length - 1].number;
  place.replaceChildren(section("Film", table([
    ["Frames", there.length === frames.length ? counted.format(frames.length) : `${counted.format(there.length)} of ${counted.format(frames.length)}`],
    ["Numbers", `${first}\u2013${last}`],
    ["Size", store.width[there[0]?.row ?? some] ? `${store.width[there[0].row]} x ${store.height[there[0].row]} px` : ""],
    ["Style", store.text("style", some)],
    ["Held", shares.length ? `${(shares.reduce((sum, [share]) => sum + share, 0) / shares.length).toFixed(2)} on average` : ""],
    ["Rendered in", duration(there.reduce((sum, { row }) => sum + store.seconds[row], 0))],
  ])));
  if (shares.length) {
    place.append(make("p", { class: "more" }, "Least held: ", frameLink(least[1]), ` (${least[0].toFixed(2)}). The line under the picture is high where a frame is held firmly to its neighbours, and low where much was painted anew; a thin grey mark is a frame that holds to none.`));
  }
  const links = videos.filter(video => address(video.key)).map(video => make("a", { href: address(video.key), target: "_blank", rel: "noopener", text: `${video.key.split(".").pop().toUpperCase()}, ${video.codec}, ${count(video.frames, "frame")}, ${rateOf(video)} a second` }));
  if (links.length && !embedded.size) place.append(section("Video", make("p", { class: "links" }, ...links)));
  for (const [title, some_, reasons] of [["Failed", failed, true], ["Missing", missing, false]]) {
    if (!some_.length) continue;
    const runs = numberRuns(some_, frames);
    const part = section(`${title}: ${counted.format(some_.length)}`, make("p", { class: "links" }, ...runs.slice(0, RUNS_SHOWN).map(([from, to]) => frameLink(from, from === to ? `${from}` : `${from}\u2013${to}`)),
      runs.length > RUNS_SHOWN ? make("span", { class: "more", text: `and ${counted.format(runs.length - RUNS_SHOWN)} more` }) : null));
    if (reasons) part.append(...failureTexts(some_).map(text => make("p", { class: "error", text })));
    place.append(part);
  }
  place.append(make("p", {}, button("See its frames singly", () => go({ id: "", view: "", frame: "", films: "frames", q: filmName(store, some), page: "1" }), { id: "singly" })));
}

const frameLink = (number_, text = String(number_)) => button(text, () => player.seek(number_), { class: "quiet", "aria-label": `Go to frame ${number_}` });

function knownSpeed(otherwise = "24") {
  // As with choices, a page may have no memory.
  try { return SPEEDS.includes(Number(localStorage.getItem(SPEED_PLACE))) ? localStorage.getItem(SPEED_PLACE) : otherwise; } catch { return otherwise; }
}

function keepSpeed(speed) {
  try { localStorage.setItem(SPEED_PLACE, speed); } catch { /* as above */ }
}
