// A film's line: where one is in it, how firmly each frame is held, what failed and what is missing.

class Timeline {
  /** @param {(at: number) => void} go called with the frame that somebody asks for */
  constructor(go) {
    this.frames = [];
    this.drawing = make("canvas", { "aria-hidden": "true" });
    this.range = make("input", { type: "range", min: 0, value: 0, id: "scrub", "aria-label": "Frame", oninput: () => go(Number(this.range.value)) });
    this.element = make("div", { class: "timeline" }, this.drawing, this.range);
    new ResizeObserver(() => this.draw()).observe(this.drawing);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(frames) {
    this.frames = frames;
    this.range.max = String(Math.max(0, frames.length - 1));
    this.draw();
  }

  at(place, text) {
    this.range.value = String(place);
    this.range.setAttribute("aria-valuetext", text);
  }

  /** Draw the line. Where several frames share a pixel, the one that is held least shows. */
  draw() {
    const { clientWidth, clientHeight } = this.drawing;
    if (!clientWidth || !this.frames.length) return;
    const wide = Math.round(clientWidth * devicePixelRatio);
    const tall = Math.round(clientHeight * devicePixelRatio);
    Object.assign(this.drawing, { width: wide, height: tall });
    const pen = this.drawing.getContext("2d");
    const colours = getComputedStyle(document.documentElement);
    const colour = name => colours.getPropertyValue(name).trim();
    const many = this.frames.length;
    const columns = Math.min(wide, many);
    for (let at = 0; at < columns; at += 1) {
      const part = this.frames.slice(Math.floor(at * many / columns), Math.max(Math.floor((at + 1) * many / columns), Math.floor(at * many / columns) + 1));
      const left = Math.round(at * wide / columns);
      const width = Math.max(1, Math.round((at + 1) * wide / columns) - left);
      const least = this.least(part);
      if (least === "failed" || least === "missing") {
        pen.fillStyle = colour(least === "failed" ? "--bad" : "--line");
        pen.fillRect(left, 0, width, tall);
      } else if (least === "new") {
        pen.fillStyle = colour("--dim");
        pen.fillRect(left, 0, Math.max(1, Math.min(width, 2 * devicePixelRatio)), tall);
      } else {
        const height = Math.max(devicePixelRatio, least * tall);
        pen.fillStyle = colour("--mark");
        pen.fillRect(left, tall - height, width > 3 * devicePixelRatio ? width - devicePixelRatio : width, height);
      }
    }
  }

  /** What to show of some frames: failed, missing, new (painted as a picture), or the least share that is held. */
  least(part) {
    let [share, fresh] = [1, false];
    for (const { row } of part) {
      if (row < 0) return "missing";
      if (store.is(row, FLAG.failed)) return "failed";
      const held = heldShare(store, row);
      if (held === null) fresh = true; else share = Math.min(share, held);
    }
    return fresh ? "new" : share;
  }
}
