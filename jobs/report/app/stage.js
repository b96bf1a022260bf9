// Pictures to look at closely: beside each other, under a slider, flickering or as a difference; zoom and pan in step.

const MOST_ZOOM = 32;
const FLICKER_MS = 700;

class Stage {
  constructor() {
    this.factor = 1;          // times the size that fits
    this.at = { x: 0.5, y: 0.5 };   // what is in the middle, as a share of the picture
    this.split = 0.5;
    this.panes = make("div", { class: "panes" });
    this.range = make("input", { type: "range", min: 0, max: 1000, value: 500, class: "split", "aria-label": "Before and after", oninput: () => this.setSplit(this.range.value / 1000) });
    this.level = make("output", { class: "level", text: "" });
    this.flip = button("Switch", () => this.turn(), { id: "flip", "aria-label": "Show the other picture" });
    this.auto = button("Flicker", () => this.flicker(!this.timer), { id: "flicker", "aria-pressed": "false" });
    this.tools = make("div", { class: "tools", role: "toolbar", "aria-label": "Zoom" },
      button("\u2212", () => this.zoom(this.factor / 1.5), { "aria-label": "Zoom out", id: "zoom-out" }),
      button("Fit", () => this.reset(), { id: "fit" }),
      button("100%", () => this.natural(), { id: "natural" }),
      button("+", () => this.zoom(this.factor * 1.5), { "aria-label": "Zoom in", id: "zoom-in" }),
      this.level, this.flip, this.auto);
    this.element = make("div", { class: "stage" }, this.panes, this.tools);
    this.pointers = new Map();
    this.panes.addEventListener("wheel", event => this.onWheel(event), { passive: false });
    this.panes.addEventListener("pointerdown", event => this.onDown(event));
    this.panes.addEventListener("pointermove", event => this.onMove(event));
    for (const end of ["pointerup", "pointercancel"]) this.panes.addEventListener(end, event => { this.pointers.delete(event.pointerId); });
    this.panes.addEventListener("dblclick", event => { if (this.factor > 1.01) this.reset(); else this.natural(event); });
    new ResizeObserver(() => { this.arrange(); this.place(); }).observe(this.panes);
  }

  /**
   * @param {Array<{label: string, src: string, main: ?boolean, mask: ?boolean}>} pictures
   * @param {string} mode side, slider, single, flicker or difference; the last of two pictures lies on top
   */
  show(pictures, mode) {
    this.flicker(false);
    this.mode = mode;
    this.reset(false);
    this.panes.replaceChildren();
    this.panes.className = `panes ${mode}`;
    this.panes.style.gridTemplateColumns = "";
    this.images = [];
    const layered = ["slider", "flicker", "difference"].includes(mode);
    const pane = () => make("figure", { class: "pane" });
    let shared = layered ? pane() : null;
    if (shared) this.panes.append(shared);
    for (const [number_, picture] of pictures.entries()) {
      const holder = shared ?? pane();
      const image = make("img", { src: picture.src, alt: picture.label, draggable: "false", class: picture.mask ? "mask" : "", decoding: "async" });
      image.addEventListener("load", () => { this.arrange(); this.place(); });
      image.addEventListener("error", () => layer.replaceChildren(noPicture(`${picture.label} is not here`)));
      const layer = make("div", { class: "layer" }, image);
      holder.append(layer, make("figcaption", { class: layered && number_ ? "second" : "", text: picture.label }));
      if (!shared) this.panes.append(holder);
      this.images.push({ image, layer, holder, main: picture.main });
    }
    if (!pictures.length) this.say("There is no picture.");
    if (mode === "slider" && pictures.length === 2) {
      shared.append(make("div", { class: "handle" }), this.range);
      this.setSplit(this.split);
    }
    this.flip.hidden = this.auto.hidden = mode !== "flicker";
    if (mode === "flicker") {
      this.turn(1);
      if (!still.matches) this.flicker(true);
    }
    this.place();
  }

  say(text) {
    this.images = [];
    this.panes.replaceChildren(make("p", { class: "note", text }));
  }

  /** Put pictures that lie side by side into as many columns as show them largest. */
  arrange() {
    if (this.mode !== "side" || !this.images?.length) return;
    const { clientWidth: width, clientHeight: height } = this.panes;
    const shapes = this.images.map(({ image }) => (image.naturalWidth ? image.naturalWidth / image.naturalHeight : 1));
    const shown = columns => {
      const [wide, tall] = [width / columns, height / Math.ceil(shapes.length / columns)];
      return shapes.reduce((area, shape) => area + Math.min(wide, tall * shape) ** 2 / shape, 0);
    };
    let best = 1;
    for (let columns = 2; columns <= shapes.length; columns += 1) if (shown(columns) > shown(best) * 1.02) best = columns;
    this.panes.style.gridTemplateColumns = `repeat(${best}, minmax(0, 1fr))`;
    // The last, which is the result, has what is left of its row.
    const left = shapes.length % best;
    this.images[shapes.length - 1].holder.style.gridColumn = left ? `span ${best - left + 1}` : "";
  }

  setSplit(share) {
    this.split = share;
    this.range.value = String(Math.round(share * 1000));
    this.range.setAttribute("aria-valuetext", `${Math.round(share * 100)}% before`);
    if (this.mode !== "slider" || this.images.length < 2) return;
    // What came before lies on top, up to the handle.
    this.images[0].layer.style.clipPath = `inset(0 ${(1 - share) * 100}% 0 0)`;
    const handle = this.panes.querySelector(".handle");
    if (handle) handle.style.left = `${share * 100}%`;
  }

  turn(to = 1 - (this.front ?? 0)) {
    this.front = to;
    for (const [number_, { layer, holder }] of this.images.entries()) {
      layer.style.visibility = number_ === to ? "visible" : "hidden";
      holder.querySelectorAll("figcaption")[number_].style.visibility = number_ === to ? "visible" : "hidden";
    }
  }

  flicker(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => this.turn(), FLICKER_MS) : null;
    this.auto.setAttribute("aria-pressed", String(Boolean(on)));
  }

  get main() { return this.images?.find(({ main }) => main) ?? this.images?.[this.images.length - 1]; }

  fitOf({ image, holder }) {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    if (!width || !holder.clientWidth) return null;
    const scale = Math.min(holder.clientWidth / width, holder.clientHeight / height);
    return { width: width * scale, height: height * scale, scale };
  }

  place() {
    for (const each of this.images ?? []) {
      const fit = this.fitOf(each);
      if (!fit) continue;
      const [width, height] = [fit.width * this.factor, fit.height * this.factor];
      const { style } = each.image;
      style.width = `${width}px`;
      style.height = `${height}px`;
      style.left = `${each.holder.clientWidth / 2 - width * this.at.x}px`;
      style.top = `${each.holder.clientHeight / 2 - height * this.at.y}px`;
      style.imageRendering = fit.scale * this.factor * devicePixelRatio >= 4 ? "pixelated" : "auto";
    }
    const fit = this.main && this.fitOf(this.main);
    this.level.textContent = fit ? `${Math.round(fit.scale * this.factor * devicePixelRatio * 100)}%` : "";
  }

  reset(draw = true) {
    this.factor = 1;
    this.at = { x: 0.5, y: 0.5 };
    if (draw) this.place();
  }

  /** One pixel of the picture is one of the screen. */
  natural(event = null) {
    this.zoom(this.naturalFactor, event);
  }

  get naturalFactor() {
    const fit = this.main && this.fitOf(this.main);
    return fit ? 1 / (fit.scale * devicePixelRatio) : 1;
  }

  zoom(factor, event = null) {
    const least = this.naturalFactor < 1 ? this.naturalFactor : 1;   // a picture smaller than the screen fits at over 100%
    const next = Math.max(least, Math.min(MOST_ZOOM, factor));
    const pane = event?.target.closest?.(".pane");
    const each = pane ? this.images.find(({ holder }) => holder === pane) : this.main;
    const fit = each && this.fitOf(each);
    if (fit && event && pane) {
      // What is under the pointer stays there.
      const box = pane.getBoundingClientRect();
      const dx = event.clientX - box.left - box.width / 2;
      const dy = event.clientY - box.top - box.height / 2;
      this.at.x += dx / (fit.width * this.factor) - dx / (fit.width * next);
      this.at.y += dy / (fit.height * this.factor) - dy / (fit.height * next);
    }
    this.factor = next;
    this.bound();
    this.place();
  }

  pan(dx, dy) {
    const fit = this.main && this.fitOf(this.main);
    if (!fit) return;
    this.at.x -= dx / (fit.width * this.factor);
    this.at.y -= dy / (fit.height * this.factor);
    this.bound();
    this.place();
  }

  bound() {
    if (this.factor <= 1) this.at = { x: 0.5, y: 0.5 };
    this.at.x = Math.max(0, Math.min(1, this.at.x));
    this.at.y = Math.max(0, Math.min(1, this.at.y));
  }

  onWheel(event) {
    event.preventDefault();
    this.zoom(this.factor * Math.exp(-event.deltaY / 400), event);
  }

  onDown(event) {
    if (event.target === this.range || event.button > 0) return;
    this.panes.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, pane: event.target.closest(".pane") });
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY, pane: before.pane };
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = point => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      this.zoom(this.factor * apart(now) / apart(before), { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2, target: before.pane ?? this.panes });
    } else if (this.factor > 1) {
      this.pan(now.x - before.x, now.y - before.y);
    } else if (this.mode === "slider" && before.pane) {
      const box = before.pane.getBoundingClientRect();
      this.setSplit(Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)));
    }
    this.pointers.set(event.pointerId, now);
  }

  /** Take a key; return whether it was one of the stage's. */
  key(event) {
    const step = 60;
    const act = {
      "+": () => this.zoom(this.factor * 1.5), "=": () => this.zoom(this.factor * 1.5), "-": () => this.zoom(this.factor / 1.5),
      0: () => this.reset(), 1: () => this.natural(),
    }[event.key] ?? (event.shiftKey && {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0), ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
    }[event.key]) ?? (this.mode === "flicker" && event.key === " " && event.target.tagName !== "BUTTON" ? () => { this.flicker(false); this.turn(); } : null);
    if (!act) return false;
    act();
    return true;
  }
}
