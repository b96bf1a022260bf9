// Loss curves by term and layer, on a log scale, with the sizes marked. uPlot draws them.

const TERMS = { total: "Total", content: "Content", style: "Style", tv: "Total variation" };
const INKS = ["#e8710a", "#1a73e8", "#188038", "#a142f4", "#c5221f", "#12858d", "#b06000", "#6c6f73", "#d01884", "#5f6b00"];

/**
 * Draw the loss log of a card.
 * @param {HTMLElement} place
 * @param {{columns: string[], rows: number[][]}} card
 */
async function drawCurves(place, card) {
  place.replaceChildren();
  const { columns, rows } = card;
  if (!rows?.length) {
    place.append(make("p", { class: "more", text: "There is no loss log." }));
    return;
  }
  await loadScript("gallery/uplot.js");
  const at = name => columns.indexOf(name);
  const names = columns.filter(name => !["scale", "step", "seconds"].includes(name) && rows.some(row => row[at(name)] > 0));
  const data = [rows.map(row => row[at("step")]), ...names.map(name => rows.map(row => (row[at(name)] > 0 ? row[at(name)] : null)))];
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--text").trim();
  const line = getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
  let read = rows.length - 1;
  const values = make("dl", { class: "values", "aria-live": "off" });
  const sizes = rows.map(row => row[at("scale")]);
  const plot = new uPlot({
    width: Math.max(200, place.clientWidth), height: 240,
    legend: { show: false }, cursor: { drag: { x: true, y: false }, points: { size: 7 } },
    scales: { x: { time: false }, y: { distr: 3 } },
    axes: [
      { stroke: ink, grid: { stroke: line, width: 0.5 }, ticks: { stroke: line, width: 0.5 } },
      { stroke: ink, size: 62, grid: { stroke: line, width: 0.5 }, ticks: { stroke: line, width: 0.5 }, values: (_, ticks) => ticks.map(tick => (tick === null ? "" : shortPower(tick))) },
    ],
    series: [{}, ...names.map((name, k) => ({
      label: name, stroke: INKS[k % INKS.length], width: name === "total" ? 2 : 1.25, show: name in TERMS,
      dash: name.startsWith("style_") ? [4, 3] : undefined, points: { show: rows.length < 3 },
    }))],
    hooks: {
      draw: [self => markSizes(self, data[0], sizes, ink)],
      setCursor: [self => showValues(self.cursor.idx)],
    },
  }, data, place);
  const canvas = place.querySelector(".u-over");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Losses over ${count(rows[rows.length - 1][at("step")], "step")}, on a log scale. Left and right read values.`);
  canvas.addEventListener("keydown", event => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -rows.length, End: rows.length }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    // Counted here, since the last step at one size and the first at the next have one place on the axis.
    const next = Math.max(0, Math.min(rows.length - 1, read + move));
    plot.setCursor({ left: plot.valToPos(data[0][next], "x"), top: 20 });
    showValues(next);
    announce(names.filter(name => name in TERMS).reduce((text, name) => `${text}, ${TERMS[name]} ${rows[next][at(name)]}`, `Step ${data[0][next]}`));
  });
  const boxes = names.map((name, k) => {
    const box = make("input", { type: "checkbox", onchange: event => plot.setSeries(k + 1, { show: event.target.checked }) });
    box.checked = name in TERMS;
    const sign = make("span", { class: "ink" });
    sign.style.background = INKS[k % INKS.length];
    return make("label", {}, box, sign, TERMS[name] ?? name.replace("style_", ""), make("b", { "data-value": name }));
  });

  function showValues(idx) {
    read = idx ?? rows.length - 1;
    const row = rows[read];
    values.replaceChildren(...["step", "scale", "seconds"].map(name => make("div", {}, make("dt", { text: { step: "Step", scale: "Size", seconds: "After" }[name] }), make("dd", { "data-value": name, text: row[at(name)] === null ? "" : name === "scale" ? `${row[at(name)]} px` : name === "seconds" ? `${row[at(name)]} s` : String(row[at(name)]) }))));
    for (const name of names) {
      const place_ = legend.querySelector(`[data-value="${CSS.escape(name)}"]`);
      if (place_) place_.textContent = String(row[at(name)] ?? "");
    }
  }

  const legend = make("div", { class: "legend", role: "group", "aria-label": "Losses that are drawn, with their values" }, ...boxes);
  place.append(values, legend);
  showValues(null);
  new ResizeObserver(() => { if (place.isConnected && place.clientWidth) plot.setSize({ width: place.clientWidth, height: 240 }); }).observe(place);
}

function shortPower(value) {
  const power = Math.log10(value);
  return Math.abs(power - Math.round(power)) < 1e-6 ? (power >= -3 && power <= 4 ? String(Number(value.toPrecision(1))) : `1e${Math.round(power)}`) : "";
}

/** A line where the painter went on to another size, with that size. */
function markSizes(plot, steps, sizes, ink) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = ink;
  ctx.strokeStyle = ink;
  ctx.globalAlpha = 0.75;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  let right = -Infinity;
  for (const [k, size] of sizes.entries()) {
    if (k && size === sizes[k - 1]) continue;
    const x = Math.round(plot.valToPos(steps[k], "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    if (k) { ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke(); }
    const label = `${size} px`;
    if (x > right) { ctx.fillText(label, x + 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio); right = x + ctx.measureText(label).width + 12 * devicePixelRatio; }
  }
  ctx.restore();
}
