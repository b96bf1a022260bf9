// What is known of a result: how it came about, its recipe, its losses, and how to render it again.

function fillFacts(place, row, card) {
  const failed = store.is(row, FLAG.failed);
  const seconds = card.seconds ?? {};
  const key = store.picture(row);
  const folder = store.folder(row);
  place.replaceChildren();
  if (failed) {
    place.append(make("p", { class: "error", text: store.text("error", row) || "no reason recorded" }));
    if (store.is(row, FLAG.kept)) place.append(make("p", { class: "more", text: "Shown is its last good picture." }));
  }
  if (store.is(row, FLAG.card) && !card.columns) place.append(make("p", { class: "error", text: `Its card, ${store.of(row, "cards", "js")}, is missing or damaged, so curves and inputs are not shown.` }));
  const sources = [["Content", card.content ?? store.text("content", row)]];
  if (card.styles) for (const style of card.styles) {
    sources.push([`Style${shareText(style, card.styles)}`, style.uri]);
    if (style.mask) sources.push(["Its mask", style.mask]);
  } else {
    sources.push(["Style", store.text("style", row)]);
  }
  if (card.init) sources.push(["First picture", card.init]);
  place.append(section("Pictures", table(sources)));
  if (card.columns) {
    const curves = make("div", { class: "curves" });
    place.append(section("Loss", curves));
    drawCurves(curves, card).catch(error => curves.replaceChildren(make("p", { class: "error", text: error.message })));
  }
  if (store.film[row]) {
    const share = heldShare(store, row);
    place.append(section("Film", table([["Frame", String(store.frame[row])], ["Held", share === null ? "by no other: it is painted anew" : `${share.toFixed(2)} (1: all of it is kept)`]]),
      make("p", {}, make("a", { id: "play-film", href: linkTo({ id: filmRef(store, row), view: "", frame: String(store.frame[row]) }), text: "Play the film" }))));
  }
  const recipe = card.recipe ?? store.knobs(row);
  if (Object.keys(recipe).length) place.append(section("Recipe", recipeTable(recipe)));
  const facts = [
    ["Size", store.width[row] ? `${store.width[row]} x ${store.height[row]} px` : ""],
    ["Steps", failed ? "" : counted.format(store.steps[row])],
    ["Final loss", number(store.loss[row])],
    ["Seed", card.recipe?.seed ?? store.knobs(row).seed],
    ["Attempts", store.attempts[row] || ""],
    ["Fetched in", duration(seconds.fetch)], ["Waited", duration(seconds.wait)],
    ["Rendered in", duration(seconds.render ?? (failed ? NaN : store.seconds[row]))], ["Stored in", duration(seconds.store)],
    ["Device", card.device], ["Machine", card.node], ["Worker", card.worker], ["Precision", card.precision],
    ["Memory saved by", (card.concessions ?? []).join("; ")],
    ["Finished", moment(store.finished[row])],
    ["File", card.output && key ? `${key.split(".").pop().toUpperCase()}, ${bytes(card.output.size)}` : ""],
    ["Id", store.id(row)],
  ];
  place.append(section("About", table(facts)));
  if (store.is(row, FLAG.promoted)) place.append(make("p", {}, make("a", { href: linkTo({ kind: "", id: store.id(row) }), text: "Rendered at full size" })));
  // Browsers download nothing from a folder, but follow the link: then beside the gallery, not in its place.
  const files = [];
  const beside = { target: "_blank", rel: "noopener" };
  if (address(key)) files.push(make("a", { ...beside, href: address(key), download: embedded.has(key) ? key.split("/").pop().replace(/\.\w+$/, ".webp") : key.split("/").pop(), text: failed ? "Last good picture" : "Picture" }));
  if (!failed && !embedded.size) files.push(make("a", { ...beside, href: address(store.of(row, "losses", "csv")), text: "Losses (CSV)" }));
  if (!embedded.size) files.push(make("a", { ...beside, href: address(store.of(row, "tasks", "json")), text: "Record (JSON)" }));
  if (files.length) place.append(section("Download", make("p", { class: "links" }, ...files)));
  if (card.styles && card.recipe) place.append(section("Render again with \u2026", againForm(row, card, recipe)));
}

const section = (title, ...children) => make("section", {}, make("h3", { text: title }), ...children);

function table(facts) {
  const list = make("dl", { class: "table" });
  for (const [name, value] of facts) {
    if (value === "" || value === null || value === undefined) continue;
    list.append(make("dt", { text: name }), make("dd", { text: String(value) }));
  }
  return list;
}

/** What a recipe has otherwise than its preset, by knob. */
function differences(recipe) {
  const preset = store.index.presets[recipe.preset] ?? {};
  return Object.entries(recipe).filter(([knob, value]) => knob !== "preset" && JSON.stringify(value) !== JSON.stringify(preset[knob]));
}

function recipeTable(recipe) {
  const differ = differences(recipe);
  const names = new Set(differ.map(([knob]) => knob));
  const rest = Object.entries(recipe).filter(([knob]) => !names.has(knob) && knob !== "preset");
  return make("div", {},
    table([["preset", recipe.preset], ...differ.map(([knob, value]) => [knob, knobText(value)])]),
    make("details", {}, make("summary", { text: differ.length ? `${count(rest.length, "knob")} as in the preset` : "All as in the preset" }),
      table(rest.map(([knob, value]) => [knob, knobText(value)]))));
}

const AGAIN = ["size", "steps", "content_weight", "style_weight", "tv_weight", "seed"];

/** Fields for the knobs that people turn, and the lines that a job file needs for it. */
function againForm(row, card, recipe) {
  if (new Set(card.styles.map(style => style.uri)).size < card.styles.length) {
    return make("p", { class: "more", text: "This blend has one picture twice, which the lines of a job file cannot say." });
  }
  const lines = make("textarea", { readonly: true, rows: 9, spellcheck: "false", "aria-label": "Lines for the job file", id: "again" });
  const fields = new Map();
  const own = new Map(differences(recipe));
  const write = () => {
    const knobs = new Map(own);
    for (const [knob, field] of fields) {
      if (field.value.trim() && field.value.trim() !== knobText(recipe[knob])) knobs.set(knob, asKnob(field.value.trim()));
    }
    const { styles } = card;
    const plain = styles.length === 1 && !styles[0].mask;
    const text = ["pairs:", `  - content: ${yaml(card.content ?? store.text("content", row))}`];
    if (plain) text.push(`    style: ${yaml(styles[0].uri)}`);
    else {
      text.push("    style:", "      blend:");
      for (const style of styles) {
        const share = Number(style.share.toPrecision(6));
        text.push(`        ${yaml(style.uri)}: ${style.mask ? `{share: ${share}, mask: ${yaml(style.mask)}}` : share}`);
      }
    }
    if (card.init) text.push(`    init: ${yaml(card.init)}`);
    if (recipe.preset !== "studio") knobs.set("preset", recipe.preset);
    if (knobs.size) text.push("    recipe:", ...[...knobs].map(([knob, value]) => `      ${knob}: ${yaml(value)}`));
    lines.value = `${text.join("\n")}\n`;
  };
  const inputs = AGAIN.filter(knob => knob in recipe).map(knob => {
    const field = make("input", { type: "text", value: knobText(recipe[knob]), oninput: write, "data-knob": knob, spellcheck: "false" });
    fields.set(knob, field);
    return make("label", {}, knob, field);
  });
  write();
  const copy = button("Copy lines", () => copyText(lines.value, copy));
  return make("div", { class: "again" }, make("div", { class: "knobs" }, ...inputs), lines, copy);
}

function asKnob(text) {
  try { return JSON.parse(text); } catch { return text; }
}

/** A value in YAML's flow style, of which JSON is a part; plain where that is certainly the same. */
function yaml(value) {
  if (typeof value === "string" && /^[A-Za-z_./][\w./-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n|~)$/i.test(value)) return value;
  return JSON.stringify(value);
}

/** What two results have otherwise than each other. */
async function fillDifferences(place, rows) {
  const cards = await Promise.all(rows.map(row => (store.is(row, FLAG.card) ? loadData(store.of(row, "cards", "js"), "card").catch(() => null) : null)));
  const both = rows.map((row, k) => {
    const knobs = store.knobs(row);
    return new Map(Object.entries({
      ...(cards[k]?.styles ? {
        "blend and masks": cards[k].styles.map(style => `${tail(style.uri)} ${style.share}${style.mask ? ` in ${tail(style.mask)}` : ""}`).join(", "),
        "first picture": cards[k].init ?? "",
      } : {}),
      content: store.text("content", row), style: store.text("style", row),
      "final loss": number(store.loss[row]), steps: String(store.steps[row]), "render time": duration(store.seconds[row]),
      size: store.width[row] ? `${store.width[row]} x ${store.height[row]}` : "",
      ...Object.fromEntries(Object.entries(knobs).map(([knob, value]) => [`recipe.${knob}`, knobText(value)])),
    }));
  });
  const names = [...new Set([...both[0].keys(), ...both[1].keys()])].filter(name => both[0].get(name) !== both[1].get(name));
  const body = make("tbody");
  for (const name of names) body.append(make("tr", {}, make("th", { scope: "row", text: name }), ...both.map(facts => make("td", { text: facts.get(name) ?? "" }))));
  place.replaceChildren(section("What differs", names.length
    ? make("table", {}, make("thead", {}, make("tr", {}, make("td"), make("th", { scope: "col", text: "First" }), make("th", { scope: "col", text: "Second" }))), body)
    : make("p", { class: "more", text: "Nothing that is recorded." })));
}
