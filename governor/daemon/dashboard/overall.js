// All outbound calls together: figures, and a chart with the moments when something changed.

import { Chart, chartTitle } from "./chart.js";
import { byId, element, say } from "./dom.js";
import { ALL } from "./history.js";
import { clock, count, reason, several, span, total } from "./words.js";

const COUNTED = ["total_requests", "total_retries", "total_2xx", "total_4xx", "total_429", "total_5xx", "failures"];

export class Overall {
  #chart = new Chart({ axis: true });

  constructor() {
    byId("overall-chart").append(this.#chart.root);
  }

  draw({ about, global, scopes }, { history, marks, shown }) {
    const outbound = Object.keys(scopes).filter((key) => key.startsWith("outbound:")).map((key) => scopes[key]);
    drawTiles(byId("tiles"), tilesOf(global, outbound));
    const title = chartTitle("All outbound calls", history.rates(ALL), shown);
    this.#chart.draw(history.points(ALL, shown), { shown, limit: (global.requests_per_minute ?? 0) / 60, title, marks: marks() });
    say(byId("about"), aboutWords(about, global));
  }
}

function aboutWords({ version, pid, host, policy_file: file }, { started_at: startedAt, now }) {
  const up = startedAt === null ? "" : `up for ${span(now - startedAt)}`;
  return [`version ${version}`, `process ${pid} on ${host}`, file ?? "no policy file", up].filter(Boolean).join(" · ");
}

/** The content of each tile: a term, a figure, a remark, and how full something is: from 1 on it is too full. */
function tilesOf(global, outbound) {
  const sums = sumsOf(outbound);
  const [most] = Object.entries(sums.denied).sort(([, one], [, other]) => other - one);
  const open = outbound.filter(({ circuit_breaker: breaker }) => breaker.state === "open").length;
  const probing = outbound.filter(({ circuit_breaker: breaker }) => breaker.state === "half_open").length;
  const breakers = [open && `${count(open)} open`, probing && `${count(probing)} half-open`].filter(Boolean).join(", ");
  const cap = global.requests_per_minute;
  const degraded = global.degraded_mode_active
    ? [span(global.degraded_for), `until ${clock(global.degraded_until_ts)}`, 1]
    : ["off", `began ${several(global.degraded_spells, "time")}`, 0];
  return [
    ["Calls, last minute", count(global.requests_last_minute), ...(cap === null ? ["no cap", 0] : [`of ${count(cap)} allowed`, global.requests_last_minute / cap])],
    ["Degraded mode", ...degraded],
    ["Circuit breakers", breakers || "all closed", `of ${several(outbound.length, "scope")}`, open ? 1 : probing ? 0.8 : 0],
    ["Granted", count(sums.total_requests), `${several(sums.total_retries, "retry").replace("retrys", "retries")} among them`, 0],
    ["Waiting", count(sums.waiting), "calls in queues", 0],
    ["Denied", count(total(sums.denied)), most ? `most: ${reason(most[0])}` : "since the start", 0],
    ["2xx", count(sums.total_2xx), "answers", 0],
    ["4xx", count(sums.total_4xx), `${count(sums.total_429)} of them 429`, 0],
    ["5xx", count(sums.total_5xx), several(sums.failures, "connection error"), 0],
  ];
}

/** The counters of all outbound scopes. Those of `global` count inbound requests as well. */
function sumsOf(outbound) {
  const sums = { ...Object.fromEntries(COUNTED.map((name) => [name, 0])), waiting: 0, denied: {} };
  for (const { metrics, waiting } of outbound) {
    for (const name of COUNTED) sums[name] += metrics[name];
    sums.waiting += waiting;
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
