// What every other part uses: elements, texts, numbers, and files that bring data.

/**
 * Make an element. Whatever is shown is set as text, never as markup: names and errors are strangers' words.
 * `on...` keys are listeners, `class` and `text` what they say, everything else an attribute.
 */
function make(tag, about = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") element.className = value;
    else if (key === "text") element.textContent = value;
    else if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button; `label` is read aloud where the text is only a sign. */
function button(text, onclick, about = {}) {
  return make("button", { type: "button", text, onclick, ...about });
}

const byId = id => document.getElementById(id);

/** The address of an object of the output, relative to this page; null for a key that leads elsewhere. */
function address(key) {
  if (!key) return null;
  const held = embedded.get(key);
  if (held) return held;
  const parts = key.split("/");
  if (parts.some(part => part === "" || part === "." || part === "..")) return null;
  return parts.map(encodeURIComponent).join("/");
}

/** Pictures and data that this very file holds, by key: only in a gallery that was written as one file. */
const embedded = new Map(Object.entries(window.stylefarmFiles ?? {}));

const counted = new Intl.NumberFormat("en");
const count = (number, word) => `${counted.format(number)} ${word}${number === 1 ? "" : "s"}`;

/** Four significant digits, as in a log: 1234, 12.34, 1.234e-5. */
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return counted.format(value);
  return size >= 1e-3 && size < 1e6 ? String(Number(value.toPrecision(4))) : value.toExponential(3);
}

function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds < 60) return `${number(Number(seconds.toPrecision(3)))} s`;
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = part => String(part).padStart(2, "0");
  return parts[0] ? `${parts[0]}:${two(parts[1])}:${two(parts[2])} h` : `${parts[1]}:${two(parts[2])} min`;
}

function bytes(size) {
  if (!size) return "";
  const power = Math.min(3, Math.floor(Math.log(size) / Math.log(1024)));
  return `${Number((size / 1024 ** power).toPrecision(3))} ${["B", "KiB", "MiB", "GiB"][power]}`;
}

/** A moment in this reader's own time zone: 2026-11-28 03:12. */
function moment(seconds) {
  if (!seconds) return "";
  const date = new Date(seconds * 1000 - new Date(seconds * 1000).getTimezoneOffset() * 60000);
  return date.toISOString().slice(0, 16).replace("T", " ");
}

/** The last part of an address, for labels: paintings/wave.jpg is wave.jpg. */
const tail = text => text.split(" + ").map(part => part.replace(/[/\\]+$/, "").split(/[/\\]/).pop()).join(" + ");

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Let the page answer. `Slices` calls this in long work. */
const breathe = () => new Promise(resolve => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => { channel.port1.close(); resolve(); };
  channel.port2.postMessage(null);
});

/** Keeps long work in slices of a few milliseconds, so that scrolling never waits. */
class Slices {
  #since = performance.now();

  async pause() {
    if (performance.now() - this.#since < 12) return;
    await breathe();
    this.#since = performance.now();
  }
}

const inbox = {};
const bring = name => value => { inbox[name] = value; };

// Data files are scripts that call these: a page that was opened from a folder may load scripts, and nothing else.
window.stylefarm = Object.freeze({
  index: bring("index"),
  rows: bring("rows"),
  texts: bring("texts"),
  card: bring("card"),
  fresh: bring("fresh"),
  live: bring("live"),
  film: bring("film"),
  films: bring("films"),
});

/**
 * Load a data file.
 * @param {string} key its key in the output
 * @param {string} name what it brings: index, rows, texts, card, fresh, live, film, films
 * @param {string} stamp differs where the file may have changed since it was read last
 */
function loadData(key, name, stamp = "") {
  const place = address(key);
  if (place !== null && /^https?:$/.test(location.protocol) && !embedded.has(key)) return fetchData(key, place, name, stamp);
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    if (place === null) { reject(new Error(`there is no ${key}`)); return; }
    script.src = place + (stamp && !place.startsWith("data:") ? `?${encodeURIComponent(stamp)}` : "");
    script.onload = () => {
      // The load event follows the script's run at once, so what is in the box is this file's.
      const brought = inbox[name];
      inbox[name] = undefined;
      script.remove();
      if (brought === undefined) reject(new Error(`${key} is damaged`)); else resolve(brought);
    };
    script.onerror = () => { script.remove(); reject(new Error(`${key} cannot be read`)); };
    document.head.append(script);
  });
}

/** The same where a server gives the files: a browser keeps the text of every script that it has run. */
async function fetchData(key, place, name, stamp) {
  const answer = await fetch(place + (stamp ? `?${encodeURIComponent(stamp)}` : ""));
  if (!answer.ok) throw new Error(`${key} cannot be read`);
  const text = await answer.text();
  const [begin, end] = [`stylefarm.${name}(`, ");\n"];
  if (!text.startsWith(begin) || !text.endsWith(end)) throw new Error(`${key} is damaged`);
  return JSON.parse(text.slice(begin.length, -end.length));
}

const scripts = new Map();

/** Load a script of the gallery's own, once. */
function loadScript(key) {
  if (!scripts.has(key)) {
    scripts.set(key, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address(key);
      script.onload = () => resolve();
      script.onerror = () => { scripts.delete(key); reject(new Error(`${key} cannot be read`)); };
      document.head.append(script);
    }));
  }
  return scripts.get(key);
}

/** A column of numbers from base64 of their little-endian bytes. */
function column(text, Kind) {
  const raw = atob(text);
  const into = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at += 1) into[at] = raw.charCodeAt(at);
  return new Kind(into.buffer);
}

/** Put text on the clipboard; where the browser does not let us, show it to be copied by hand. */
async function copyText(text, sign) {
  const before = sign.textContent;
  try {
    await navigator.clipboard.writeText(text);
    sign.textContent = "Copied";
    setTimeout(() => { sign.textContent = before; }, 1500);
  } catch {
    prompt("Copy this:", text);
  }
}

function saveText(text, name) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Tell a screen reader what has changed. */
function announce(text) { byId("said").textContent = text; }
