// The page: redrawn with every status document.

import { Actions } from "./actions.js";
import { Band } from "./band.js";
import { byKey, nameOf } from "./conditions.js";
import { byId, say } from "./dom.js";
import { History } from "./history.js";
import { Overall } from "./overall.js";
import { Rows } from "./rows.js";
import { Stream } from "./stream.js";
import { Timeline } from "./timeline.js";
import { clock, span } from "./words.js";

const API = new URL("api/v1/traffic-control/", document.baseURI);
/** Milliseconds between two requests for the history while charts show an hour. */
const REFRESH = 60_000;

const history = new History();
const timeline = new Timeline();
const actions = new Actions(API);
const lists = { outbound: new Rows("outbound", load, actions), inbound: new Rows("inbound", load, actions) };
const band = new Band(reveal);
const overall = new Overall();

/** The latest document, and when it came; whether the page is connected: null until it has been. */
let latest = null, receivedAt = 0, live = null;
/** Seconds that charts show, and when the history was last asked for. */
let shown = 300, loadedAt = 0;

const stream = new Stream(new URL("events", API), {
  status(status) {
    if (history.add(status)) timeline.note("restarted");
    latest = status;
    receivedAt = performance.now();
    draw();
  },
  entry: (entry) => timeline.add(entry),
  missed: (events) => timeline.note("missed", events),
  connection(now) {
    if (now === live) return;
    if (live !== null && latest) timeline.note(now ? "found" : "lost");
    live = now;
    if (now) load();
    drawConnection();
    timeline.draw();
  },
});

function draw() {
  if (!latest || document.hidden) return;
  const found = byKey(latest.conditions);
  const marks = (scope) => timeline.marks(latest.global.now, scope);
  const drawing = { found, wanted, history, marks, shown };
  actions.offer(latest.actions);
  actions.draw(byId("band-actions"), "", byId("band-title"));
  band.draw(latest);
  overall.draw(latest, drawing);
  for (const list of Object.values(lists)) list.draw(latest, drawing);
  timeline.draw();
  drawConnection();
}

/** Fetches what the daemon remembers of the last hour, of everything and of one scope or group. */
async function load(key = "") {
  loadedAt = performance.now();
  const url = new URL("history", API);
  if (key) url.searchParams.set("scope", key);
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) return;
  const report = await answer.json();
  history.fill(report);
  timeline.fill(report.timeline);
  draw();
}

/** Screen readers hear changes of the state; the age of the figures changes every second and is only shown. */
function drawConnection() {
  document.body.dataset.state = live ? "live" : live === null ? "connecting" : "lost";
  if (live !== null) say(byId("connection"), live ? "Live" : latest ? "Disconnected, reconnecting …" : "No answer, trying again …");
  const age = (performance.now() - receivedAt) / 1_000;
  say(byId("connection-age"), live || !latest ? "" : `These figures are ${span(age)} old, from ${clock(latest.global.now)}.`);
}

function wanted(key, hasConditions) {
  const text = byId("filter-text").value.trim().toLowerCase();
  return nameOf(key).includes(text) && (hasConditions || !byId("filter-conditions").checked);
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
byId("spans").addEventListener("change", (event) => {
  shown = Number(event.target.value);
  load();
  draw();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input")) return;
  event.preventDefault();
  byId("filter-text").focus();
});
document.addEventListener("visibilitychange", draw);
setInterval(() => {
  stream.check();
  if (live && shown > 300 && performance.now() - loadedAt > REFRESH) load();
  if (!live) drawConnection();
}, 1_000);
stream.open();
