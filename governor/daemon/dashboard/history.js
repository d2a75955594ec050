// Rates over time: the last five minutes from status documents, one a second, and before that what the daemon remembers.
//
// At its bounds: five minutes of documents, for so many scopes, and the series that the daemon was asked for.

import { total } from "./words.js";

/** Documents that are kept: five minutes of them. */
export const MAX_DOCUMENTS = 300;
const MAX_SCOPES = 2_000;
/** Seconds: between documents that lie further apart, nothing is known. */
const GAP = 5;
/** Seconds over which a rate is the mean. */
const MEAN = 5;
/** The key of all outbound scopes together. */
export const ALL = "";

export class History {
  #times = new Float64Array(MAX_DOCUMENTS).fill(NaN);
  #next = 0;
  #series = new Map();
  #last = null;
  #startedAt = null;
  /** What the daemon remembers, by key: `{at, granted, denied}`, the oldest first; unknown moments are left out. */
  #past = new Map();
  #interval = 10;

  /** Adds a document. True if the governor was restarted since the one before. */
  add(status) {
    const { now, started_at: startedAt } = status.global;
    const restarted = this.#startedAt !== null && startedAt !== this.#startedAt;
    // Also where the clock was set back: the distance between the documents is not known then.
    if (restarted || now < this.#last?.now) this.#forget();
    this.#startedAt = startedAt;
    const elapsed = this.#last ? now - this.#last.now : NaN;
    if (elapsed === 0) return restarted;
    const counts = countsOf(status);
    const slot = this.#next;
    this.#times[slot] = now;
    this.#next = (slot + 1) % MAX_DOCUMENTS;
    for (const [key, counted] of counts) this.#note(key, slot, counted, elapsed);
    for (const key of this.#series.keys()) if (!counts.has(key)) this.#series.delete(key);
    this.#last = { now, counts };
    return restarted;
  }

  /** Adds the report of the daemon about the last hour. */
  fill({ interval, times, series }) {
    this.#interval = interval;
    for (const [key, { granted, denied }] of Object.entries(series)) {
      const points = times.map((at, index) => ({ at, granted: granted[index], denied: denied[index] }));
      this.#past.set(key, points.filter((point) => point.granted !== null));
    }
  }

  /** The latest rates of a scope, per second; null if they are not known. */
  rates(key) {
    const series = this.#series.get(key);
    return series ? mean(series, (this.#next + MAX_DOCUMENTS - 1) % MAX_DOCUMENTS) : null;
  }

  /** The points of a chart of `shown` seconds: `{age, granted, denied}`, the oldest first; null marks a gap. */
  points(key, shown) {
    if (!this.#last) return [];
    const live = this.#live(key);
    const from = live.length ? live[0].age : 0;
    const past = (this.#past.get(key) ?? []).map(({ at, ...rates }) => ({ age: this.#last.now - at, ...rates }));
    const points = [];
    let before = NaN;
    for (const point of [...past.filter(({ age }) => age > from), ...live]) {
      if (point.age > shown) continue;
      if (before - point.age > Math.max(GAP, point.age > from ? 2.5 * this.#interval : 1.5 * this.#interval)) points.push(null);
      points.push(point);
      before = point.age;
    }
    return points;
  }

  #live(key) {
    const series = this.#series.get(key);
    if (!series) return [];
    const points = [];
    for (let index = 0; index < MAX_DOCUMENTS; index++) {
      const slot = (this.#next + index) % MAX_DOCUMENTS;
      const rates = Number.isNaN(this.#times[slot]) ? null : mean(series, slot);
      if (rates) points.push({ age: this.#last.now - this.#times[slot], ...rates });
    }
    return points;
  }

  #note(key, slot, counted, elapsed) {
    let series = this.#series.get(key);
    if (!series) {
      if (this.#series.size >= MAX_SCOPES) return;
      series = { granted: new Float32Array(MAX_DOCUMENTS).fill(NaN), denied: new Float32Array(MAX_DOCUMENTS).fill(NaN) };
      this.#series.set(key, series);
    }
    // A new scope has counted since its first call, after the document before.
    const before = this.#last?.counts.get(key) ?? { granted: 0, denied: 0 };
    const known = elapsed <= GAP;
    series.granted[slot] = known ? Math.max(0, counted.granted - before.granted) / elapsed : NaN;
    series.denied[slot] = known ? Math.max(0, counted.denied - before.denied) / elapsed : NaN;
  }

  #forget() {
    this.#times.fill(NaN);
    this.#series.clear();
    this.#past.clear();
    this.#last = null;
  }
}

/** The mean of a few seconds that end with this slot; null if the slot is not known. It does not reach across a gap. */
function mean({ granted, denied }, last) {
  let slots = 0, sum = { granted: 0, denied: 0 };
  for (let slot = last; slots < MEAN && !Number.isNaN(granted[slot]); slot = (slot + MAX_DOCUMENTS - 1) % MAX_DOCUMENTS, slots++) {
    sum = { granted: sum.granted + granted[slot], denied: sum.denied + denied[slot] };
  }
  return slots ? { granted: sum.granted / slots, denied: sum.denied / slots } : null;
}

function countsOf({ scopes }) {
  const counts = new Map();
  const all = { granted: 0, denied: 0 };
  for (const [key, { metrics }] of Object.entries(scopes)) {
    const one = { granted: metrics.total_requests, denied: total(metrics.denied) };
    counts.set(key, one);
    if (!key.startsWith("outbound:")) continue;
    all.granted += one.granted;
    all.denied += one.denied;
  }
  return counts.set(ALL, all);
}
