// The timeline: events of the last hour and more, the latest first, and their marks on charts. The texts come from the daemon.
//
// At its bound: so many entries. Entries of one group that follow each other closely are one. The daemon passes a sample of denials
// only, so the timeline does not count them: the lists do.

import { byId, element } from "./dom.js";
import { clock, several, span } from "./words.js";

const MAX_ENTRIES = 300;
/** Seconds: entries of one group within them are one. */
const TOGETHER = 30;

/** Events of this page. */
const OWN = {
  missed: (events) => ["quiet", "This page", `missed ${several(events, "event")}: too many at once`],
  restarted: () => ["watch", "The governor", "was restarted: counters start at 0"],
  lost: () => ["watch", "This page", "lost its connection"],
  found: () => ["good", "This page", "is connected again"],
};

export class Timeline {
  /** The latest first. */
  #entries = [];
  #changed = false;

  /** Adds an entry of the daemon. */
  add(entry) {
    const before = entry.group && this.#entries.find((other) => other.group === entry.group && entry.at - other.until < TOGETHER);
    if (before) before.until = Math.max(before.until, entry.at);
    else {
      const at = this.#entries.findIndex((other) => other.at <= entry.at);
      this.#entries.splice(at < 0 ? this.#entries.length : at, 0, { ...entry, until: entry.at });
      this.#entries.length = Math.min(this.#entries.length, MAX_ENTRIES);
    }
    this.#changed = true;
  }

  /** Adds an event of this page, now. */
  note(name, ...about) {
    const [tone, subject, text] = OWN[name](...about);
    this.add({ at: Date.now() / 1_000, event: name, tone, subject, text, group: "", scope: "", mark: "", lasts: 0 });
  }

  /** Adds what the daemon remembers from before the page was opened; entries that are known already are left out. */
  fill(entries) {
    for (const entry of entries) {
      if (!this.#entries.some((other) => other.at === entry.at && other.text === entry.text)) this.add(entry);
    }
  }

  /** Brings the list on the page up to date. */
  draw() {
    if (!this.#changed) return;
    this.#changed = false;
    byId("events-empty").hidden = this.#entries.length > 0;
    byId("events").replaceChildren(...this.#entries.map(line));
  }

  /** Breaker changes as moments, degraded mode as spans, by their age at `now`; with `scope`, those of that scope only. */
  marks(now, scope = null) {
    const marks = [];
    let over = 0;
    for (const { at, mark, scope: of, lasts } of this.#entries) {
      const age = now - at;
      if (mark === "resumed") over = age;
      else if (mark === "paused") {
        marks.push({ kind: "paused", age, until: Math.max(over, age - lasts, 0) });
        over = age;
      } else if (mark && (scope === null || scope === of)) marks.push({ kind: mark, age });
    }
    return marks;
  }
}

function line({ tone, at, until, subject, text }) {
  const time = element("time", "", when(at));
  time.dateTime = new Date(at * 1_000).toISOString();
  const told = element("span", "told", element("b", "", subject), ` ${text}`);
  if (until - at >= 2) told.append(element("span", "lasted", `, for ${span(until - at)}`));
  return element("li", tone, time, told);
}

/** The time of day, after the date if that is another one. */
function when(at) {
  const date = new Date(at * 1_000);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(at) : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${clock(at)}`;
}
