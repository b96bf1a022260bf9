// A run as it goes: read politely, and only while somebody looks.

const POLL_MS = 5000;
const REST_MS = 60000;

/** What a run says of itself, in one of the two outputs. */
class Run {
  constructor(folder) {
    this.folder = folder;
    this.board = null;
    this.read = new Map();   // fresh file -> "sealed", or how many of its rows are known
  }

  async poll() {
    const board = await this.fetch();
    const ended = this.board && this.board.state !== "ended" && board.state === "ended";
    if (this.board && this.board.run !== board.run) this.read.clear();
    this.board = board;
    return ended;
  }

  async fetch() {
    if (location.protocol === "file:") return loadData(`${this.folder}gallery/live.js`, "live", String(Date.now()));
    const answer = await fetch(`${this.folder}live.json`, { cache: "no-cache" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }

  /** A run that says nothing for a minute and a half was killed. */
  get going() {
    return Boolean(this.board) && this.board.state !== "ended" && Date.now() / 1000 - this.board.updated < 90;
  }

  /** Take in the results that the gallery's data does not have yet; return how many. */
  async takeFresh() {
    let added = 0;
    for (const key of this.board.fresh ?? []) {
      if (this.read.get(key) === "sealed") continue;
      const fresh = await loadData(this.folder + key, "fresh", String(Date.now())).catch(() => null);
      if (!fresh) continue;
      for (const row of fresh.rows.slice(this.read.get(key) ?? 0)) {
        store.add(row);
        added += 1;
      }
      this.read.set(key, fresh.sealed ? "sealed" : fresh.rows.length);
    }
    return added;
  }
}

class Live {
  constructor(place) {
    this.place = place;
    this.timer = null;
    this.runs = [];
    this.indexRead = Date.now();
    this.follow(store.index.live);
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.timer);
      if (document.hidden) return;
      reloadData(true);   // whoever comes back in the morning sees the morning's
      this.poll();
    });
  }

  start() { this.poll(); }

  /** Follow the runs of these folders, besides those that are followed already. */
  follow(folders) {
    for (const folder of folders) if (!this.runs.some(run => run.folder === folder)) this.runs.push(new Run(folder));
  }

  async poll() {
    clearTimeout(this.timer);
    if (Date.now() - this.indexRead > REST_MS) {
      this.indexRead = Date.now();
      await reloadData(true);   // perhaps proofs are rendered now, which nobody had asked for when this page was opened
    }
    let added = 0;
    let ended = false;
    for (const run of this.runs) {
      try {
        ended = await run.poll() || ended;
        added += await run.takeFresh();
      } catch {
        // A run of long ago, a server that is down: it is asked again, less often.
      }
    }
    if (added) { store.changed = true; await showWall(true); }
    showTabs();
    this.showLine();
    if (state.kind === "live") this.draw();
    if (ended) setTimeout(reloadData, 4000);   // the gallery is written when a run has ended
    if (this.runs.length && !document.hidden) this.timer = setTimeout(() => this.poll(), this.going ? POLL_MS : REST_MS);
  }

  get going() { return this.runs.some(run => run.going); }

  /** The run to show: the one that goes on, or the last. */
  get shown() {
    const known = this.runs.filter(run => run.board);
    return known.find(run => run.folder === this.chosen) ?? known.find(run => run.going) ?? known.sort((a, b) => b.board.updated - a.board.updated)[0];
  }

  showLine() {
    const sign = byId("live-line");
    sign.hidden = !this.going || state.kind === "live";
    if (sign.hidden) return;
    const { board } = this.shown;
    sign.textContent = [board.state, `${counted.format(board.done)} done`, board.eta && board.state === "running" ? `${duration(board.eta)} to go` : ""].filter(Boolean).join(", ");
  }

  draw() {
    const run = this.shown;
    const board = run?.board;
    this.folder = run?.folder ?? "";
    if (!board) {
      this.place.replaceChildren(make("p", { class: "note", text: "No run has said anything here." }));
      return;
    }
    if (!this.parts) this.build();
    const { parts } = this;
    const known = this.runs.filter(other => other.board);
    parts.which.hidden = known.length < 2;
    parts.which.replaceChildren(...known.map(other => button(`${other.folder ? "Proofs" : "Pictures"}: ${other.going ? other.board.state : "ended"}`, () => { this.chosen = other.folder; this.draw(); }, { "aria-pressed": String(other === run) })));
    const all = board.tasks ?? (board.done + board.failed + (board.left ?? 0));
    parts.state.textContent = board.state === "ended" ? `ended: ${board.reason ?? ""}` : run.going ? board.state : "silent: it may have been killed";
    parts.bar.max = all || 1;
    parts.bar.value = board.done + board.failed;
    parts.bar.setAttribute("aria-label", `${board.done} of ${all} done`);
    const facts = [
      ["Done", counted.format(board.done)], ["Failed", counted.format(board.failed)],
      ["Left", board.left === null ? "" : counted.format(board.left)],
      ["To go", board.state === "running" ? duration(board.eta) : ""], ["Speed", board.steps_per_second ? `${number(board.steps_per_second)} steps/s` : ""],
      ["Workers", board.state === "ended" ? "" : counted.format(board.workers) + (board.pending ? ` (+${board.pending} coming)` : "")],
      ["Busy", board.busy === null || board.busy === undefined ? "" : `${Math.round(board.busy * 100)}%`],
      ["GPU hours", board.gpu_hours ? number(board.gpu_hours) : ""], ["Waits for", board.waits],
      ["Began", moment(board.started)], ["As of", moment(board.updated)],
    ];
    parts.facts.replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: value }))));
    this.drawPainting(board);
    this.drawFloor(board);
    this.drawNewest(board);
  }

  build() {
    const parts = {
      which: make("div", { class: "views", role: "group", "aria-label": "Run" }), state: make("h2", { id: "run-state", tabindex: -1 }), bar: make("progress", { "aria-label": "Done" }), facts: make("dl", { class: "tiles" }),
      floor: make("tbody"), newest: make("div", { class: "strip" }), painting: make("div", { class: "strip" }),
    };
    this.parts = parts;
    parts.floorTable = make("table", { class: "floor" }, make("thead", {}, make("tr", {}, ...["Worker", "Machine", "Device", "Busy", "Paints", "Step", "Steps/s", "Loss"].map(text => make("th", { scope: "col", text })))), parts.floor);
    parts.paintingPart = section("Being painted", parts.painting);
    parts.newestPart = section("Newest", parts.newest);
    parts.floorPart = section("Floor", make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Workers" }, parts.floorTable));
    this.place.replaceChildren(make("section", {}, parts.which, parts.state, parts.bar, parts.facts), parts.paintingPart, parts.newestPart, parts.floorPart);
  }

  drawPainting(board) {
    const tasks = (board.fleet ?? []).flatMap(worker => worker.tasks)
      .filter(task => task.preview && address(this.preview(task))).slice(0, 24);
    this.parts.paintingPart.hidden = !tasks.length;
    const known = new Map([...this.parts.painting.children].map(child => [child.dataset.id, child]));
    this.parts.painting.replaceChildren(...tasks.map(task => {
      const figure = known.get(task.id) ?? make("figure", { "data-id": task.id }, make("img", { alt: "", onerror: event => { event.target.hidden = true; } }), make("figcaption"));
      const image = figure.querySelector("img");
      const source = `${address(this.preview(task))}?${task.step}`;
      if (image.getAttribute("src") !== source) {
        image.hidden = false;
        image.src = source;
      }
      figure.querySelector("figcaption").textContent = `${task.name}, step ${counted.format(task.step)} of ${counted.format(task.steps)}`;
      return figure;
    }));
  }

  preview(task) { return `${this.folder}previews/${task.id}.webp`; }

  drawFloor(board) {
    const fleet = board.fleet ?? [];
    this.parts.floorPart.hidden = !fleet.length;
    this.parts.floor.replaceChildren(...fleet.map(worker => {
      const tasks = worker.tasks ?? [];
      const sum = tasks.reduce((total, task) => total + (task.per_second ?? 0), 0);
      return make("tr", {},
        make("th", { scope: "row", text: worker.worker }), make("td", { text: worker.node }), make("td", { text: worker.device }),
        make("td", {}, worker.busy === null ? "" : make("meter", { min: 0, max: 1, value: worker.busy, "aria-label": `Busy ${Math.round(worker.busy * 100)}%` }), worker.busy === null ? "" : ` ${Math.round(worker.busy * 100)}%`),
        make("td", { text: tasks.map(task => task.name).join(", ") || "waits" }),
        make("td", { text: tasks.map(task => `${counted.format(task.step)} of ${counted.format(task.steps)}, ${task.scale} px`).join("; ") }),
        make("td", { text: sum ? number(sum) : "" }),
        make("td", { text: tasks.map(task => number(task.total)).filter(Boolean).join("; ") }));
    }));
  }

  drawNewest(board) {
    const newest = board.newest ?? [];
    this.parts.newestPart.hidden = !newest.length;
    const known = new Map([...this.parts.newest.children].map(child => [child.dataset.id, child]));
    this.parts.newest.replaceChildren(...newest.map(task => known.get(task.id) ?? this.newestFigure(task)));
  }

  newestFigure(task) {
    const key = task.thumb ? `thumbs/${task.id.slice(0, 2)}/${task.id}.webp` : isShown(task.key) ? task.key : null;
    const thumb = key && this.folder + key;
    const ref = (this.folder ? "proof-" : "") + task.id;
    const picture = address(thumb) ? make("img", { alt: "", src: address(thumb) }) : noPicture(task.status === "failed" ? "failed" : "no picture");
    return make("figure", { "data-id": task.id }, make("a", { href: linkTo({ kind: "", id: ref }), "aria-label": `Open ${task.name}` }, picture),
      make("figcaption", { text: task.name }), task.error ? make("div", { class: "error", text: task.error }) : make("div", { class: "more", text: `${count(task.steps ?? 0, "step")}, ${duration(task.seconds)}` }));
  }
}
