// The lists of scopes and groups: rows that open, the worst first, scopes of one provider together.
//
// At its bound: so many rows; the filter finds the others. Charts are drawn only where they are visible.

import { nameOf, providerOf, rankOf } from "./conditions.js";
import { arrange, byId, element, say } from "./dom.js";
import { GroupRow, ScopeRow } from "./row.js";
import { count, several, total } from "./words.js";

const MAX_ROWS = 200;

/** One of the two lists; `side` is outbound or inbound. */
export class Rows {
  #side;
  #load;
  #actions;
  #rows = new Map();
  #heads = new Map();
  #sight = new IntersectionObserver((entries) => this.#moved(entries), { rootMargin: "200px" });

  /** `load(key)` fetches the history of a scope or group; `actions` draws the buttons of one. */
  constructor(side, load, actions) {
    this.#side = side;
    this.#load = load;
    this.#actions = actions;
  }

  /** `found` are conditions by key, `wanted(key, hasConditions)` is the filter; the rest is for the charts. */
  draw(status, { found, wanted, ...drawing }) {
    const keys = Object.keys(status.scopes).filter((key) => key.startsWith(`${this.#side}:`));
    const rank = (key) => rankOf(found.get(key)) || (status.labels[key] === "paused" ? 0.5 : 0);
    const isUsed = (key) => Number(hasTraffic(status.scopes[key]));
    const fitting = keys.filter((key) => wanted(key, rank(key) > 0));
    fitting.sort((one, other) => rank(other) - rank(one) || isUsed(other) - isUsed(one) || (one < other ? -1 : 1));
    const shown = fitting.slice(0, MAX_ROWS);
    const quiet = shown.filter((key) => !rank(key) && !isUsed(key));
    const busy = shown.filter((key) => rank(key) || isUsed(key));
    arrange(byId(`${this.#side}-rows`), this.#side === "outbound" ? this.#byProvider(busy) : busy.map((key) => this.#row(key).root));
    this.#fold(quiet);
    for (const key of shown) this.#rows.get(key).draw({ status, scope: status.scopes[key], conditions: found.get(key) ?? [], ...drawing });
    for (const [key, row] of this.#rows) if (!row.root.isConnected) this.#drop(key, row);
    byId(`${this.#side}-heads`).hidden = busy.length === 0;
    this.#count(keys.length, fitting.length);
  }

  /** Opens the row of a scope, if it is shown, and goes there. */
  reveal(key) {
    this.#rows.get(key)?.reveal();
  }

  /** The rows, with a head above those of each provider that has several. */
  #byProvider(keys) {
    const providers = Map.groupBy?.(keys, providerOf) ?? groupBy(keys, providerOf);
    return [...providers].flatMap(([provider, of]) => {
      const rows = of.map((key) => this.#row(key).root);
      rows.forEach((row) => row.classList.toggle("of-provider", of.length > 1));
      return of.length > 1 ? [this.#head(provider, of.length), ...rows] : rows;
    });
  }

  #head(provider, scopes) {
    if (!this.#heads.has(provider)) this.#heads.set(provider, element("li", "provider", element("b", "", provider), element("span")));
    const head = this.#heads.get(provider);
    say(head.lastElementChild, several(scopes, "scope"));
    return head;
  }

  /** Scopes and groups without traffic are in a list of their own, which is closed. */
  #fold(quiet) {
    byId(`${this.#side}-quiet`).hidden = quiet.length === 0;
    say(byId(`${this.#side}-quiet-number`), `${several(quiet.length, this.#side === "outbound" ? "scope" : "group")} without traffic`);
    arrange(byId(`${this.#side}-quiet-rows`), quiet.map((key) => this.#row(key).root));
  }

  #count(all, fitting) {
    say(byId(`${this.#side}-number`), fitting === all ? count(all) : `${count(fitting)} of ${count(all)}`);
    const more = byId(`${this.#side}-more`);
    more.hidden = 0 < fitting && fitting <= MAX_ROWS;
    say(more, fitting ? `and ${count(fitting - MAX_ROWS)} more: use the filter to find them` : all ? "No match." : "None yet. Each appears with its first call.");
  }

  #row(key) {
    let row = this.#rows.get(key);
    if (!row) {
      row = new (this.#side === "outbound" ? ScopeRow : GroupRow)(key, this.#load, this.#actions);
      this.#rows.set(key, row);
      this.#sight.observe(row.root);
    }
    return row;
  }

  #drop(key, row) {
    this.#sight.unobserve(row.root);
    this.#rows.delete(key);
    this.#heads.delete(nameOf(key));
  }

  #moved(entries) {
    for (const { target, isIntersecting } of entries) this.#rows.get(target.dataset.key)?.seen(isIntersecting);
  }
}

const hasTraffic = ({ metrics }) => metrics.total_requests > 0 || total(metrics.denied) > 0;

/** For browsers without `Map.groupBy`. */
function groupBy(keys, by) {
  const groups = new Map();
  for (const key of keys) groups.set(by(key), [...(groups.get(by(key)) ?? []), key]);
  return groups;
}
