// One row: a summary with state, name, chart and figures, and details that are filled once it is open.

import { Chart, chartTitle } from "./chart.js";
import { nameOf, sentence } from "./conditions.js";
import { element, say } from "./dom.js";
import { clock, count, rate, reason, several, short, span, total } from "./words.js";

/** The colour of a row by the severity of its worst condition. */
const TONES = { info: "watch", warning: "limited", error: "bad", critical: "bad" };

class Row {
  #state = element("span", "state");
  #chart = new Chart();
  #hint = element("span", "hint");
  #notes = element("ul", "notes");
  #large = new Chart({ axis: true });
  #facts = element("dl", "facts");
  #actions = element("p", "actions");
  #drawActions;
  #details = element("details");
  #isSeen = false;
  #latest = null;

  constructor(key, load, actions) {
    this.key = key;
    this.#drawActions = () => actions.draw(this.#actions, key, this.#details.firstElementChild);
    this.cells = { pace: element("span", "cell pace"), left: element("span", "cell left"), denied: element("span", "cell denials") };
    this.meter = element("span", "meter", element("span"));
    const { pace, left, denied } = this.cells;
    const name = element("span", "name", ...breakable(nameOf(key)), this.#hint);
    this.#details.append(
      element("summary", "", this.#state, name, this.#chart.root, pace, left, denied, this.meter),
      element("div", "body", this.#notes, this.#actions, this.#large.root, this.#facts),
    );
    this.#details.addEventListener("toggle", () => {
      if (this.#details.open) load(key);
      this.#drawDetails();
    });
    this.root = element("li", "row", this.#details);
    this.root.dataset.key = key;
  }

  draw(latest) {
    this.#latest = latest;
    const { status, scope, conditions, history } = latest;
    const label = status.labels[this.key];
    say(this.#state, label);
    say(this.#hint, this.hint(scope, conditions[0]));
    this.root.dataset.tone = label === "paused" ? "bad" : TONES[conditions[0]?.severity] ?? (label === "ok" ? "fine" : "watch");
    const denied = status.recent_denials[this.key];
    say(this.cells.denied, denied ? `${count(denied)} denied` : scope.waiting ? `${count(scope.waiting)} waiting` : "");
    this.figures(scope, history.rates(this.key));
    if (this.#isSeen) this.#drawChart(this.#chart, 300);
    this.#drawDetails();
  }

  seen(isSeen) {
    this.#isSeen = isSeen;
    if (isSeen && this.#latest) this.#drawChart(this.#chart, 300);
  }

  reveal() {
    this.#details.open = true;
    this.#details.firstElementChild.focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "center" });
  }

  fill(limit) {
    const share = limit ? limit.available_tokens / limit.capacity : 1;
    this.meter.firstElementChild.style.width = `${Math.round(100 * share)}%`;
    this.meter.toggleAttribute("data-low", share < 0.2);
  }

  #drawChart(chart, shown) {
    const { scope, history, marks } = this.#latest;
    const title = chartTitle(nameOf(this.key), history.rates(this.key), shown);
    chart.draw(history.points(this.key, shown), { shown, limit: this.limit(scope), title, marks: this.marks(marks) });
  }

  #drawDetails() {
    if (!this.#details.open || !this.#latest) return;
    const { scope, conditions, shown } = this.#latest;
    this.#notes.replaceChildren(...conditions.map((condition) => element("li", "", sentence(condition))));
    this.#drawActions();
    this.#drawChart(this.#large, shown);
    const facts = this.facts(scope).flatMap(([term, text]) => [element("dt", "", term), element("dd", "", text)]);
    this.#facts.replaceChildren(...facts);
  }
}

export class ScopeRow extends Row {
  marks(marks) {
    return marks(nameOf(this.key));
  }

  hint({ last_failure: failure, circuit_breaker: breaker }, condition) {
    if (condition?.outlook) return condition.outlook;
    return breaker.failure_count && failure ? `last failure: ${failureWords(failure)}` : "";
  }

  limit({ limits }) {
    return slowest(limits.filter(({ unit }) => unit === "requests"));
  }

  figures(scope, rates) {
    const limit = this.limit(scope);
    say(this.cells.pace, `${rates ? short(rates.granted) : "–"}${limit ? ` of ${rate(limit)}` : "/s"}`);
    const scarcest = scope.rate_limit;
    say(this.cells.left, scarcest ? `${count(scarcest.available_tokens)} of ${count(scarcest.capacity)} left` : "no limit");
    this.fill(scarcest);
  }

  facts({ limits, metrics, circuit_breaker: breaker, last_failure: failure, waiting, leased }) {
    return [
      ...limits.map((limit) => [limit.limit, left(limit)]),
      ["Circuit breaker", breakerWords(breaker, metrics)],
      ...(failure ? [["Last failure", `${failureWords(failure)} at ${clock(failure.at)}`]] : []),
      ["Answers", answers(metrics)],
      ["Denied", byCount(metrics.denied, reason)],
      ["Queue", `${several(waiting, "call")} waiting, ${several(leased, "permit")} granted ahead`],
    ];
  }
}

export class GroupRow extends Row {
  /** Circuit breakers and degraded mode concern outbound calls only. */
  marks() {
    return [];
  }

  hint({ most_denied: [most] }) {
    return most ? `most denied: ${most.client} (${count(most.denied)})` : "";
  }

  /** The limit of a group is far above that of one client, and would flatten the chart. */
  limit() {
    return 0;
  }

  figures({ clients, totals }, rates) {
    say(this.cells.pace, `${rates ? short(rates.granted) : "–"}/s`);
    say(this.cells.left, several(clients, "client"));
    this.fill(totals[0]);
  }

  facts({ limits, totals, metrics, denied_by: deniedBy, unenforced, dry_run: dry, most_denied: most }) {
    return [
      ["Limit per client", limits.map(({ limit }) => limit).join(", ") || "none"],
      ...totals.map((limit) => [`Limit of the group: ${limit.limit}`, left(limit)]),
      ["Answers", answers(metrics)],
      ["Denied by limit per", byCount(deniedBy, (word) => (word === "total" ? "group" : word))],
      ...(dry ? [["Dry run", `${several(unenforced, "request")} above a limit admitted`]] : []),
      ...(!dry && unenforced ? [["Admitted unchecked", `${several(unenforced, "request")}: the governor did not answer in time`]] : []),
      ["Most denied clients", most.slice(0, 8).map(({ client, denied }) => `${client}  ${count(denied)}`).join("\n") || "none"],
    ];
  }
}

/** A name that breaks before its method where it is too long for a line. */
const breakable = (name) => name.split(/(?=:)/).flatMap((part) => [document.createElement("wbr"), part]);

/** The smallest rate of these limits, or 0 if there is none. */
function slowest(limits) {
  const rates = limits.map(({ refill_rate: perSecond }) => perSecond).filter((perSecond) => perSecond > 0);
  return rates.length ? Math.min(...rates) : 0;
}

const left = ({ available_tokens: available, capacity }) => `${count(available)} of ${count(capacity)} left`;

const failureWords = ({ status, error }) => error ?? (status ? `HTTP ${status}` : "unknown");

function breakerWords(breaker, metrics) {
  const openings = `opened ${several(metrics.total_circuit_open, "time")}`;
  if (breaker.state === "open") {
    return breaker.probes_in > 0 ? `open, probes in ${span(breaker.probes_in)}; ${openings}` : `open, the next call is a probe; ${openings}`;
  }
  if (breaker.state === "half_open") {
    return `half-open, ${several(breaker.half_open_calls, "probe")} sent, ${count(breaker.success_count)} succeeded; ${openings}`;
  }
  const ramp = breaker.ramp_up === null ? "" : `ramping up, ${several(breaker.ramp_up, "call")} at a time; `;
  return `closed, ${ramp}${several(breaker.failure_count, "failure")} in a row; ${openings}`;
}

function answers(metrics) {
  const said = [
    [metrics.total_2xx, "2xx"],
    [metrics.total_4xx, "4xx"],
    [metrics.total_429, "of those 429"],
    [metrics.total_5xx, "5xx"],
  ].map(([number, word]) => number && `${count(number)} ${word}`);
  const more = [
    metrics.failures && several(metrics.failures, "connection error"),
    metrics.total_retries && `${count(metrics.total_retries)} of all calls were retries`,
  ];
  return [...said, ...more].filter(Boolean).join(", ") || "none yet";
}

function byCount(counts, words) {
  const said = Object.entries(counts).filter(([, number]) => number).sort(([, one], [, other]) => other - one);
  return said.map(([word, number]) => `${count(number)} ${words(word)}`).join(", ") || "none";
}
