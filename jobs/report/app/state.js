// What is shown is in this page's address, so that a link shows the same, and Back goes back.

const UNSET = {
  kind: "", q: "", style: "", content: "", reason: "", from: "", to: "",
  sort: "name", group: "", page: "1", id: "", view: "", compare: "", rows: "", columns: "",
  films: "", frame: "",   // films: frames, to have them shown singly; frame: the number that a film is opened at
};

let state = { ...UNSET, knobs: {} };

function parseHash(hash) {
  const parsed = { ...UNSET, knobs: {} };
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (key.startsWith("knob.")) parsed.knobs[key.slice(5)] = value;
    else if (Object.hasOwn(UNSET, key)) parsed[key] = value;
  }
  // Links that somebody wrote by hand.
  if (!(parsed.sort.replace(/^-/, "") in SORTS)) parsed.sort = UNSET.sort;
  if (!(parsed.group in GROUPS)) parsed.group = UNSET.group;
  if (parsed.films !== "frames") parsed.films = UNSET.films;
  return parsed;
}

function toHash(wanted) {
  const parts = new URLSearchParams();
  for (const [key, unset] of Object.entries(UNSET)) if (wanted[key] !== unset && wanted[key]) parts.set(key, wanted[key]);
  for (const [knob, value] of Object.entries(wanted.knobs)) parts.set(`knob.${knob}`, value);
  return `#${parts}`;
}

/** The address of this page with something changed, for links. */
const linkTo = changes => toHash({ ...state, ...changes });

/**
 * Show something else.
 * @param {object} changes
 * @param {boolean} silently whether Back skips what was shown before: while somebody types or turns pages of pictures
 */
function go(changes, silently = false) {
  const hash = linkTo(changes);
  if (hash === (location.hash || "#")) return;
  if (silently) {
    history.replaceState(null, "", hash);
    showState();
  } else {
    location.hash = hash;   // hashchange shows it
  }
}

/** What concerns the wall alone: when none of these changes, the wall stays as it is. */
const WALL = ["kind", "q", "style", "content", "reason", "from", "to", "sort", "group", "page", "rows", "columns", "films"];

const wallOf = wanted => JSON.stringify([WALL.map(key => wanted[key]), wanted.knobs]);
