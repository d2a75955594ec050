// How does everything that goes out stand together? Figures, and a chart with the moments when something changed.

import { Chart, chartTitle } from "./chart.js";
import { byId, element, say } from "./dom.js";
import { ALL } from "./history.js";
import { clock, count, reason, several, span, total } from "./words.js";

const COUNTED = ["total_requests", "total_retries", "total_2xx", "total_4xx", "total_429", "total_5xx", "failures", "waiting"];

export class Overall {
  #chart = new Chart({ axis: true });

  constructor() {
    byId("overall-chart").append(this.#chart.root);
  }

  draw({ global, scopes }, { history, marks }) {
    const outbound = Object.entries(scopes).filter(([key]) => key.startsWith("outbound:")).map(([, scope]) => scope);
    drawTiles(byId("tiles"), tilesOf(global, outbound));
    const title = chartTitle("All outbound calls", history.rates(ALL));
    this.#chart.draw(history.points(ALL), { limit: (global.requests_per_minute ?? 0) / 60, title, marks: marks() });
    say(byId("about"), global.started_at === null ? "" : `up for ${span(global.now - global.started_at)}`);
  }
}

/** What stands in each tile: a term, a figure, what belongs to it, and how full something is: 1 stands for all too full. */
function tilesOf(global, outbound) {
  const sums = sumsOf(outbound);
  const [most] = Object.entries(sums.denied).sort(([, one], [, other]) => other - one);
  const breakers = outbound.filter(({ circuit_breaker: breaker }) => breaker.state !== "closed").length;
  const cap = global.requests_per_minute;
  const degraded = global.degraded_mode_active
    ? [span(global.degraded_for), `until ${clock(global.degraded_until_ts)}`, 1]
    : ["off", `${several(global.degraded_spells, "time")} so far`, 0];
  return [
    ["In the last minute", count(global.requests_last_minute), ...(cap === null ? ["no cap", 0] : [`of ${count(cap)} allowed`, global.requests_last_minute / cap])],
    ["Degraded mode", ...degraded],
    ["Circuit breakers", breakers ? `${count(breakers)} not closed` : "all closed", `of ${several(outbound.length, "scope")}`, breakers],
    ["Granted", count(sums.total_requests), `${count(sums.total_retries)} of them retries`, 0],
    ["Waiting", count(sums.waiting), "in line for a permit", 0],
    ["Refused", count(total(sums.denied)), most ? `most: ${reason(most[0])}` : "since the start", 0],
    ["2xx", count(sums.total_2xx), "answered", 0],
    ["4xx", count(sums.total_4xx), `${count(sums.total_429)} of them 429`, 0],
    ["5xx", count(sums.total_5xx), `${count(sums.failures)} broke off`, 0],
  ];
}

/** The counters of all outbound scopes. Those of `global` have what comes in as well. */
function sumsOf(outbound) {
  const sums = { ...Object.fromEntries(COUNTED.map((name) => [name, 0])), denied: {} };
  for (const { metrics } of outbound) {
    for (const name of COUNTED) sums[name] += metrics[name];
    for (const [word, number] of Object.entries(metrics.denied)) sums.denied[word] = (sums.denied[word] ?? 0) + number;
  }
  return sums;
}

function drawTiles(list, tiles) {
  while (list.children.length < tiles.length) list.append(element("div", "tile", element("dt"), element("dd"), element("dd", "aside")));
  tiles.forEach(([term, figure, aside, share], index) => {
    const tile = list.children[index];
    [term, figure, aside].forEach((text, part) => say(tile.children[part], text));
    tile.dataset.full = share >= 1 ? "yes" : share >= 0.8 ? "nearly" : "no";
  });
}
