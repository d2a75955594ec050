// How has it gone in the last five minutes? Rates, and refusals, from one status document after the other.
//
// At its bounds: five minutes of figures, for at most so many scopes; the others are shown without a chart.

import { RECENT } from "./trouble.js";
import { total } from "./words.js";

/** Documents that are remembered: five minutes of them. */
export const MOST = 300;
/** Seconds that a chart shows. */
export const SHOWN = 300;
const MOST_SCOPES = 2_000;
/** Documents whose refusals are remembered. */
const MOST_REFUSALS = 32;
/** Between two documents that lie further apart, nobody knows what happened. */
const GAP = 5;
/** Seconds over which a rate is the mean. */
const MEAN = 5;
/** The key of all outbound scopes together. */
export const ALL = "";

export class History {
  #times = new Float64Array(MOST).fill(NaN);
  #next = 0;
  #series = new Map();
  #last = null;
  /** Refusals by scope and reason at the times of the latest documents, the oldest first. */
  #refusals = [];
  #startedAt = null;

  /** Takes note of a document. True if it comes from another life of the daemon than the one before. */
  add(status) {
    const { now, started_at: startedAt } = status.global;
    const restarted = this.#startedAt !== null && startedAt !== this.#startedAt;
    // Also where the clock was set back: nobody knows then how far the figures lie apart.
    if (restarted || now < this.#last?.now) this.#forget();
    this.#startedAt = startedAt;
    const elapsed = this.#last ? now - this.#last.now : NaN;
    if (elapsed === 0) return restarted;
    const counts = countsOf(status);
    const slot = this.#next;
    this.#times[slot] = now;
    this.#next = (slot + 1) % MOST;
    for (const [key, count] of counts) this.#note(key, slot, count, elapsed);
    for (const key of this.#series.keys()) if (!counts.has(key)) this.#series.delete(key);
    this.#last = { now, counts };
    this.#refusals.push({ now, refused: refusedOf(status) });
    while (now - this.#refusals[0].now > RECENT || this.#refusals.length > MOST_REFUSALS) this.#refusals.shift();
    return restarted;
  }

  /** How often a scope, or a group, has refused in the last ten seconds, by reason. */
  recent(key) {
    const before = this.#refusals.at(0)?.refused.get(key) ?? {};
    const after = this.#refusals.at(-1)?.refused.get(key) ?? {};
    const grown = Object.entries(after).map(([word, count]) => [word, count - (before[word] ?? 0)]);
    return Object.fromEntries(grown.filter(([, count]) => count > 0));
  }

  /** The latest rates of a scope, per second; null if they are not known. */
  rates(key) {
    const series = this.#series.get(key);
    return series ? mean(series, (this.#next + MOST - 1) % MOST) : null;
  }

  /** What a chart needs: `{age, granted, refused}` for each moment that is known, the oldest first; null where there is a gap. */
  points(key) {
    const series = this.#series.get(key);
    if (!series || !this.#last) return [];
    const points = [];
    let before = NaN;
    for (let index = 0; index < MOST; index++) {
      const slot = (this.#next + index) % MOST;
      const age = this.#last.now - this.#times[slot];
      const rates = age <= SHOWN && mean(series, slot);
      if (!rates) continue;
      if (before - age > GAP) points.push(null);
      points.push({ age, ...rates });
      before = age;
    }
    return points;
  }

  #note(key, slot, count, elapsed) {
    let series = this.#series.get(key);
    if (!series) {
      if (this.#series.size >= MOST_SCOPES) return;
      series = { granted: new Float32Array(MOST).fill(NaN), refused: new Float32Array(MOST).fill(NaN) };
      this.#series.set(key, series);
    }
    // A scope that is new has counted since it came to life, after the document before.
    const before = this.#last?.counts.get(key) ?? { granted: 0, refused: 0 };
    const known = elapsed <= GAP;
    series.granted[slot] = known ? Math.max(0, count.granted - before.granted) / elapsed : NaN;
    series.refused[slot] = known ? Math.max(0, count.refused - before.refused) / elapsed : NaN;
  }

  #forget() {
    this.#times.fill(NaN);
    this.#series.clear();
    this.#refusals = [];
    this.#last = null;
  }
}

/** The mean of a few seconds that end with this slot; null if that slot is not known. Before a gap nothing counts. */
function mean({ granted, refused }, last) {
  let slots = 0, sum = { granted: 0, refused: 0 };
  for (let slot = last; slots < MEAN && !Number.isNaN(granted[slot]); slot = (slot + MOST - 1) % MOST, slots++) {
    sum = { granted: sum.granted + granted[slot], refused: sum.refused + refused[slot] };
  }
  return slots ? { granted: sum.granted / slots, refused: sum.refused / slots } : null;
}

function countsOf({ scopes }) {
  const counts = new Map();
  const all = { granted: 0, refused: 0 };
  for (const [key, { metrics }] of Object.entries(scopes)) {
    const one = { granted: metrics.total_requests, refused: total(metrics.denied) };
    counts.set(key, one);
    if (!key.startsWith("outbound:")) continue;
    all.granted += one.granted;
    all.refused += one.refused;
  }
  return counts.set(ALL, all);
}

function refusedOf({ scopes }) {
  const refused = Object.entries(scopes).map(([key, scope]) => [key, scope.metrics.denied]);
  return new Map(refused.filter(([, reasons]) => Object.keys(reasons).length));
}
