// What does somebody on call see? The page, drawn anew with every status document.

import { Band } from "./band.js";
import { byId, say } from "./dom.js";
import { Happenings } from "./happenings.js";
import { History } from "./history.js";
import { Overall } from "./overall.js";
import { Rows } from "./rows.js";
import { Stream } from "./stream.js";
import { FINE, nameOf, troubles } from "./trouble.js";
import { clock, span } from "./words.js";

const history = new History();
const happenings = new Happenings();
const lists = { outbound: new Rows("outbound"), inbound: new Rows("inbound") };
const band = new Band(reveal);
const overall = new Overall();

/** The latest document, and when it came; whether more will come: null as long as none has. */
let latest = null, receivedAt = 0, live = null;

const stream = new Stream(new URL("api/v1/traffic-control/events", document.baseURI), {
  snapshot(status) {
    if (history.add(status)) happenings.add("restarted", {}, status.global.now);
    latest = status;
    receivedAt = performance.now();
    draw();
  },
  event(name, data) {
    happenings.add(name, data, data.at ?? Date.now() / 1_000);
  },
  connection(now) {
    if (now === live) return;
    if (live !== null && latest) happenings.add(now ? "found" : "lost", {}, Date.now() / 1_000);
    live = now;
    drawConnection();
    happenings.draw();
  },
});

function draw() {
  if (!latest || document.hidden) return;
  const found = troubles(latest, (key) => history.recent(key));
  const marks = (scope) => happenings.marks(latest.global.now, scope);
  const drawing = { found: new Map(found.map((trouble) => [trouble.key, trouble])), wanted, history, marks };
  band.draw(found, latest.global.now);
  overall.draw(latest, drawing);
  for (const list of Object.values(lists)) list.draw(latest, drawing);
  happenings.draw();
  drawConnection();
}

/** The state is announced when it changes; the age of the figures changes every second, and is there to be read. */
function drawConnection() {
  document.body.dataset.state = live ? "live" : live === null ? "connecting" : "lost";
  if (live !== null) say(byId("connection"), live ? "Live" : latest ? "Disconnected, reconnecting …" : "No answer, trying again …");
  const age = (performance.now() - receivedAt) / 1_000;
  say(byId("connection-age"), live || !latest ? "" : `Figures are ${span(age)} old, from ${clock(latest.global.now)}.`);
}

function wanted(key, rank) {
  const text = byId("filter-text").value.trim().toLowerCase();
  return nameOf(key).includes(text) && (rank > FINE || !byId("filter-troubled").checked);
}

function reveal(key) {
  showAll();
  lists[key.slice(0, key.indexOf(":"))].reveal(key);
}

function showAll() {
  byId("filter").reset();
  draw();
}

byId("filter").addEventListener("input", draw);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("filter-text").addEventListener("keydown", (event) => event.key === "Escape" && showAll());
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input")) return;
  event.preventDefault();
  byId("filter-text").focus();
});
document.addEventListener("visibilitychange", draw);
setInterval(() => {
  stream.check();
  if (!live) drawConnection();
}, 1_000);
stream.open();
