// A chart of rates over time, beside their limit. It moves on with every status document.

import { drawn, element, say } from "./dom.js";
import { rate, short } from "./words.js";

const WIDTH = 600, HEIGHT = 100;
/** A limit so many times above the traffic is named but not drawn: it would flatten the chart. */
const REACH = 2;

/** The spans that charts can show, in seconds, with the labels below the axis. */
export const SPANS = {
  300: ["5 min ago", "4", "3", "2", "1", "now"],
  3600: ["60 min ago", "50", "40", "30", "20", "10", "now"],
};

/** Granted calls as an area, denied calls on top of it, the limit as a dashed line. The scale follows the traffic. */
export class Chart {
  #granted = drawn("path", { class: "granted" });
  #line = drawn("path", { class: "granted-line" });
  #denied = drawn("path", { class: "denied" });
  #limit = drawn("line", { class: "limit", x1: 0, x2: WIDTH, visibility: "hidden" });
  #under = drawn("g");
  #over = drawn("g");
  #picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #top = element("span", "scale top");
  #limitLabel = element("span", "scale limit-label");
  #times = element("div", "times");
  #axis;
  #shown = 0;

  /** With `axis`, a large chart with scales; else a small one. */
  constructor({ axis = false } = {}) {
    this.#axis = axis;
    this.#picture.append(this.#under, this.#granted, this.#denied, this.#line, this.#limit, this.#over);
    this.root = element("div", axis ? "chart large" : "chart small", this.#picture);
    if (axis) {
      this.#times.setAttribute("aria-hidden", "true");
      this.root.append(this.#top, this.#limitLabel, this.#times);
    }
  }

  /**
   * `points` come from the history and cover `shown` seconds; `limit` is in calls per second, or 0 if there is none; `marks` are
   * moments with a `kind` and an `age`, and spans with an `until` (an age too).
   */
  draw(points, { shown, limit = 0, title, marks = [] }) {
    const peak = points.reduce((most, point) => (point ? Math.max(most, point.granted + point.denied) : most), 0);
    const near = limit > 0 && limit <= REACH * peak;
    const top = 1.15 * Math.max(peak, near ? limit : 0) || 1;
    const x = (age) => (WIDTH * (1 - age / shown)).toFixed(1);
    const y = (value) => (HEIGHT * (1 - value / top)).toFixed(1);
    const runs = unbroken(points);
    const granted = (point) => point.granted, both = (point) => point.granted + point.denied;
    this.#granted.setAttribute("d", runs.map((run) => area(run, x, y, () => 0, granted)).join(""));
    this.#line.setAttribute("d", runs.map((run) => edge(run, x, y, granted)).join(""));
    const denying = runs.filter((run) => run.some((point) => point.denied > 0));
    this.#denied.setAttribute("d", denying.map((run) => area(run, x, y, granted, both)).join(""));
    this.#limit.setAttribute("y1", y(limit));
    this.#limit.setAttribute("y2", y(limit));
    this.#limit.setAttribute("visibility", near ? "visible" : "hidden");
    const visible = marks.filter(({ age, until }) => (until ?? age) <= shown);
    this.#under.replaceChildren(...visible.filter(({ until }) => until !== undefined).map((mark) => shade(mark, x)));
    this.#over.replaceChildren(...visible.filter(({ until }) => until === undefined).map((mark) => stroke(mark, x)));
    this.#picture.setAttribute("aria-label", title);
    if (this.#axis) this.#drawAxis(top, limit, near, shown);
  }

  #drawAxis(top, limit, near, shown) {
    say(this.#top, rate(top));
    say(this.#limitLabel, limit ? (near ? `limit ${rate(limit)}` : `limit ${rate(limit)}, above this scale`) : "");
    this.#limitLabel.classList.toggle("above", !near);
    this.#limitLabel.style.top = near ? `calc((100% - 18px) * ${(1 - limit / top).toFixed(3)})` : "";
    // Near the top the two labels would overlap.
    this.#top.hidden = near && limit > 0.7 * top;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#times.replaceChildren(...SPANS[shown].map((text) => element("span", "", text)));
  }
}

/** The content of a chart for screen readers. `now` are the latest rates, or null. */
export function chartTitle(name, now, shown) {
  const rates = now ? `${short(now.granted)} granted and ${short(now.denied)} denied per second now` : "no figures yet";
  return `${name}, last ${shown === 300 ? "five minutes" : "hour"}: ${rates}`;
}

function unbroken(points) {
  const runs = [[]];
  for (const point of points) {
    if (point) runs.at(-1).push(point);
    else runs.push([]);
  }
  return runs.filter((run) => run.length > 1);
}

const edge = (run, x, y, value) => `M${run.map((point) => `${x(point.age)} ${y(value(point))}`).join("L")}`;

function area(run, x, y, low, high) {
  const back = run.map((point) => `${x(point.age)} ${y(low(point))}`).reverse();
  return `${edge(run, x, y, high)}L${back.join("L")}Z`;
}

function shade({ kind, age, until }, x) {
  const from = Math.max(0, x(age));
  return drawn("rect", { class: `mark ${kind}`, x: from, y: 0, width: Math.max(1, x(Math.max(0, until)) - from), height: HEIGHT });
}

const stroke = ({ kind, age }, x) => drawn("line", { class: `mark ${kind}`, x1: x(age), x2: x(age), y1: 0, y2: HEIGHT });
