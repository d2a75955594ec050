// How do scopes and groups stand, one by one? Rows that open, the troubled ones first.
//
// At its bound: so many rows; the filter finds the others. Charts are drawn where somebody can see them.

import { Chart, chartTitle } from "./chart.js";
import { arrange, byId, element, say } from "./dom.js";
import { FINE, LIMITED, nameOf, sentence, STOPPED } from "./trouble.js";
import { count, rate, reason, several, short, span, total } from "./words.js";

const MOST = 200;

/** One of the two lists; `side` is outbound or inbound. */
export class Rows {
  #side;
  #rows = new Map();
  #sight = new IntersectionObserver((entries) => this.#moved(entries), { rootMargin: "200px" });

  constructor(side) {
    this.#side = side;
  }

  /** `found` are the troubles by key, `wanted(key, rank)` is the filter, `history` and `marks(scope)` are for the charts. */
  draw(status, { found, wanted, history, marks }) {
    const keys = Object.keys(status.scopes).filter((key) => key.startsWith(`${this.#side}:`));
    const rank = (key) => rankOf(status.scopes[key], found.get(key));
    const isUsed = (key) => Number(status.scopes[key].metrics.total_requests > 0);
    const fitting = keys.filter((key) => wanted(key, rank(key)));
    fitting.sort((one, other) => rank(other) - rank(one) || isUsed(other) - isUsed(one) || (one < other ? -1 : 1));
    const shown = fitting.slice(0, MOST);
    const quiet = this.#side === "inbound" ? shown.filter((key) => !found.has(key) && !hasTraffic(status.scopes[key])) : [];
    const busy = shown.filter((key) => !quiet.includes(key));
    arrange(byId(`${this.#side}-rows`), busy.map((key) => this.#row(key).root));
    if (this.#side === "inbound") this.#fold(quiet);
    for (const key of shown) this.#rows.get(key).draw({ scope: status.scopes[key], trouble: found.get(key), history, marks });
    for (const [key, row] of this.#rows) if (!row.root.isConnected) this.#drop(key, row);
    this.#count(keys.length, fitting.length);
  }

  /** Opens the row of a scope, if it is shown, and goes there. */
  reveal(key) {
    this.#rows.get(key)?.reveal();
  }

  /** Groups without traffic stand in a list of their own, which is closed. */
  #fold(quiet) {
    byId("inbound-quiet").hidden = quiet.length === 0;
    say(byId("inbound-quiet-number"), `${several(quiet.length, "group")} without traffic`);
    arrange(byId("inbound-quiet-rows"), quiet.map((key) => this.#row(key).root));
  }

  #count(all, fitting) {
    say(byId(`${this.#side}-number`), fitting === all ? count(all) : `${count(fitting)} of ${count(all)}`);
    const more = byId(`${this.#side}-more`);
    more.hidden = 0 < fitting && fitting <= MOST;
    say(more, fitting ? `and ${count(fitting - MOST)} more: the filter finds them` : all ? "None is like that." : "None yet.");
  }

  #row(key) {
    let row = this.#rows.get(key);
    if (!row) {
      row = this.#side === "outbound" ? new ScopeRow(key) : new GroupRow(key);
      this.#rows.set(key, row);
      this.#sight.observe(row.root);
    }
    return row;
  }

  #drop(key, row) {
    this.#sight.unobserve(row.root);
    this.#rows.delete(key);
  }

  #moved(entries) {
    for (const { target, isIntersecting } of entries) this.#rows.get(target.dataset.key)?.seen(isIntersecting);
  }
}

function hasTraffic({ metrics }) {
  return metrics.total_requests > 0 || total(metrics.denied) > 0;
}

/** What is paused with everything else stands behind what has troubles of its own, and before what is fine. */
function rankOf(scope, trouble) {
  return trouble ? trouble.rank + 1 : scope.denial?.reason === "degraded_mode_active" ? 1 : FINE;
}

/** What both kinds have: a summary with state, name, chart and figures, and details that are filled once it is open. */
class Row {
  #state = element("span", "state");
  #chart = new Chart();
  #hint = element("span", "hint");
  #note = element("p", "note");
  #large = new Chart({ axis: true });
  #facts = element("dl", "facts");
  #details = element("details");
  #isSeen = false;
  #latest = null;

  constructor(key) {
    this.key = key;
    this.cells = { pace: element("span", "cell pace"), left: element("span", "cell left"), refused: element("span", "cell refusals") };
    this.meter = element("span", "meter", element("span"));
    const { pace, left, refused } = this.cells;
    const name = element("span", "name", nameOf(key), this.#hint);
    this.#details.append(
      element("summary", "", this.#state, name, this.#chart.root, pace, left, refused, this.meter),
      element("div", "body", this.#note, this.#large.root, this.#facts),
    );
    this.#details.addEventListener("toggle", () => this.#drawDetails());
    this.root = element("li", "row", this.#details);
    this.root.dataset.key = key;
  }

  draw(latest) {
    this.#latest = latest;
    const { scope, trouble, history } = latest;
    const { word, tone } = this.state(scope, trouble);
    say(this.#state, word);
    say(this.#hint, this.hint(scope, trouble));
    this.root.dataset.tone = tone;
    const refused = total(history.recent(this.key));
    const waiting = scope.metrics.waiting;
    say(this.cells.refused, refused ? `${count(refused)} refused` : waiting ? `${count(waiting)} waiting` : "");
    this.figures(scope, history.rates(this.key));
    if (this.#isSeen) this.#drawChart(this.#chart);
    this.#drawDetails();
  }

  seen(isSeen) {
    this.#isSeen = isSeen;
    if (isSeen && this.#latest) this.#drawChart(this.#chart);
  }

  reveal() {
    this.#details.open = true;
    this.#details.firstElementChild.focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "center" });
  }

  fill(limit) {
    const share = limit ? limit.available / limit.capacity : 1;
    this.meter.firstElementChild.style.width = `${Math.round(100 * share)}%`;
    this.meter.toggleAttribute("data-low", share < 0.2);
  }

  #drawChart(chart) {
    const { scope, history, marks } = this.#latest;
    const title = chartTitle(nameOf(this.key), history.rates(this.key));
    chart.draw(history.points(this.key), { limit: this.limit(scope), title, marks: this.marks(marks) });
  }

  #drawDetails() {
    if (!this.#details.open || !this.#latest) return;
    const { scope, trouble } = this.#latest;
    this.#note.hidden = !trouble;
    say(this.#note, trouble ? sentence(trouble) : "");
    this.#drawChart(this.#large);
    const facts = this.facts(scope).flatMap(([term, text]) => [element("dt", "", term), element("dd", "", text)]);
    this.#facts.replaceChildren(...facts);
  }
}

class ScopeRow extends Row {
  state({ denial: refusal, circuit_breaker: breaker }, trouble) {
    if (refusal?.reason === "degraded_mode_active") return { word: "paused", tone: "bad" };
    if (breaker.state === "open") return { word: "breaker open", tone: refusal ? "bad" : "watch" };
    if (breaker.state === "half_open") return { word: "half-open", tone: refusal ? "bad" : "watch" };
    if (trouble?.rank >= STOPPED) return { word: "refuses", tone: "bad" };
    if (trouble?.rank === LIMITED) return { word: "at its limit", tone: "limited" };
    return { word: "ok", tone: trouble ? "watch" : "fine" };
  }

  marks(marks) {
    return marks(nameOf(this.key));
  }

  hint(scope, trouble) {
    return trouble?.until ?? "";
  }

  limit({ limits }) {
    return slowest(limits.filter(({ unit }) => unit === "requests"));
  }

  figures(scope, rates) {
    const limit = this.limit(scope);
    say(this.cells.pace, `${rates ? short(rates.granted) : "–"}${limit ? ` of ${rate(limit)}` : "/s"}`);
    const [scarcest] = [...scope.limits].sort((one, other) => one.available / one.capacity - other.available / other.capacity);
    say(this.cells.left, scarcest ? `${count(scarcest.available)} of ${count(scarcest.capacity)} left` : "no limit");
    this.fill(scarcest);
  }

  facts({ limits, metrics, circuit_breaker: breaker }) {
    return [
      ...limits.map((limit) => [limit.limit, left(limit)]),
      ["Circuit breaker", breakerWords(breaker, metrics)],
      ["Answers", answers(metrics)],
      ["Refused", byCount(metrics.denied, reason)],
      ["Line", `${count(metrics.waiting)} waiting, ${several(metrics.leased, "permit")} granted ahead`],
    ];
  }
}

class GroupRow extends Row {
  state({ dry_run: dry }, trouble) {
    if (trouble) return { word: "refuses", tone: "limited" };
    return dry ? { word: "dry run", tone: "watch" } : { word: "ok", tone: "fine" };
  }

  /** What happens to breakers, and degraded mode, concern outbound calls only. */
  marks() {
    return [];
  }

  hint({ most_denied: [loudest] }) {
    return loudest ? `loudest: ${loudest.client} (${count(loudest.denied)})` : "";
  }

  /** The ceiling of a group is far above what one client may do, and would flatten the chart. */
  limit() {
    return 0;
  }

  figures({ clients, totals }, rates) {
    say(this.cells.pace, `${rates ? short(rates.granted) : "–"}/s`);
    say(this.cells.left, several(clients, "client"));
    this.fill(totals[0]);
  }

  facts({ limits, totals, metrics, dry_run: dry, most_denied: loudest }) {
    return [
      ["Limit per client", limits.map(({ limit }) => limit).join(", ") || "none"],
      ...totals.map((limit) => [`Ceiling ${limit.limit}`, left(limit)]),
      ["Answers", answers(metrics)],
      ["Refused by limit per", byCount(metrics.denied_by, (word) => (word === "total" ? "group" : word))],
      ...(dry ? [["Dry run", `${count(metrics.unenforced)} went on although a limit refused them`]] : []),
      ...(!dry && metrics.unenforced
        ? [["Passed unlimited", `${count(metrics.unenforced)}, mostly while the governor did not answer in time`]]
        : []),
      ["Loudest lately", loudest.slice(0, 8).map(({ client, denied }) => `${client}  ${count(denied)}`).join("\n") || "nobody"],
    ];
  }
}

/** The smallest rate of these limits, or 0 if there is none. */
function slowest(limits) {
  const rates = limits.map(({ refill_rate: perSecond }) => perSecond).filter((perSecond) => perSecond > 0);
  return rates.length ? Math.min(...rates) : 0;
}

const left = ({ available, capacity }) => `${count(available)} of ${count(capacity)} left`;

function breakerWords(breaker, metrics) {
  const openings = `opened ${several(metrics.total_circuit_open, "time")}`;
  if (breaker.state === "open") {
    return breaker.probes_in > 0 ? `open, probes in ${span(breaker.probes_in)}; ${openings}` : `open, the next call is a probe; ${openings}`;
  }
  if (breaker.state === "half_open") {
    return `half-open, ${several(breaker.half_open_calls, "probe")} sent, ${count(breaker.success_count)} succeeded; ${openings}`;
  }
  return `closed, ${several(breaker.failure_count, "failure")} in a row; ${openings}`;
}

function answers(metrics) {
  const said = [
    ["2xx", metrics.total_2xx],
    ["4xx", metrics.total_4xx],
    ["of those 429", metrics.total_429],
    ["5xx", metrics.total_5xx],
    ["broke off", metrics.failures],
    ["retries", metrics.total_retries],
  ];
  return said.filter(([, number], index) => number || index === 0).map(([word, number]) => `${count(number)} ${word}`).join(", ");
}

function byCount(counts, words) {
  const said = Object.entries(counts).filter(([, number]) => number).sort(([, one], [, other]) => other - one);
  return said.map(([word, number]) => `${count(number)} ${words(word)}`).join(", ") || "none";
}
