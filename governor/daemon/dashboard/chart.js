// How has a rate moved beside its limit? A chart that moves on with every status document.

import { drawn, element, say } from "./dom.js";
import { SHOWN } from "./history.js";
import { rate, short } from "./words.js";

const WIDTH = 600, HEIGHT = 100;

/** Granted calls as an area, refused ones on top of it, the limit as a dashed line. */
export class Chart {
  #granted = drawn("path", { class: "granted" });
  #line = drawn("path", { class: "granted-line" });
  #refused = drawn("path", { class: "refused" });
  #limit = drawn("line", { class: "limit", x1: 0, x2: WIDTH });
  #under = drawn("g");
  #over = drawn("g");
  #picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #top = element("span", "scale top");
  #limitLabel = element("span", "scale limit-label");
  #axis;

  /** With `axis`, a large chart that names its scales; else a small one. */
  constructor({ axis = false } = {}) {
    this.#axis = axis;
    this.#picture.append(this.#under, this.#granted, this.#refused, this.#line, this.#limit, this.#over);
    this.root = element("div", axis ? "chart large" : "chart small", this.#picture);
    if (axis) {
      const times = element("div", "times", ...["5 min ago", "4", "3", "2", "1", "now"].map((text) => element("span", "", text)));
      times.setAttribute("aria-hidden", "true");
      this.root.append(this.#top, this.#limitLabel, times);
    }
  }

  /**
   * `points` come from the history; `limit` is in calls per second, or 0 if there is none; `marks` are moments with a `kind`
   * and an `age`, and spans with an `until` (an age too).
   */
  draw(points, { limit = 0, title, marks = [] }) {
    const peak = points.reduce((most, point) => (point ? Math.max(most, point.granted + point.refused) : most), 0);
    const top = 1.15 * Math.max(peak, limit) || 1;
    const y = (value) => (HEIGHT * (1 - value / top)).toFixed(1);
    const runs = unbroken(points);
    this.#granted.setAttribute("d", runs.map((run) => area(run, y, () => 0, (point) => point.granted)).join(""));
    this.#line.setAttribute("d", runs.map((run) => edge(run, y, (point) => point.granted)).join(""));
    this.#refused.setAttribute("d", runs.map(refusedAreas(y)).join(""));
    this.#limit.setAttribute("y1", y(limit));
    this.#limit.setAttribute("y2", y(limit));
    this.#limit.setAttribute("visibility", limit ? "visible" : "hidden");
    this.#under.replaceChildren(...marks.filter(({ until }) => until !== undefined).map(shade));
    this.#over.replaceChildren(...marks.filter(({ until }) => until === undefined).map(stroke));
    this.#picture.setAttribute("aria-label", title);
    if (this.#axis) {
      say(this.#top, rate(top));
      say(this.#limitLabel, limit ? `limit ${rate(limit)}` : "");
      this.#limitLabel.style.top = `calc((100% - 18px) * ${(1 - limit / top).toFixed(3)})`;
      // At the top the two would stand in each other's way.
      this.#top.hidden = limit > 0.7 * top;
    }
  }
}

/** What a chart shows, for those who do not see it. `now` are the latest rates, or null. */
export function chartTitle(name, now) {
  const rates = now ? `${short(now.granted)} granted and ${short(now.refused)} refused per second now` : "nothing known yet";
  return `${name}, last five minutes: ${rates}`;
}

const x = (age) => (WIDTH * (1 - age / SHOWN)).toFixed(1);

function unbroken(points) {
  const runs = [[]];
  for (const point of points) {
    if (point) runs.at(-1).push(point);
    else runs.push([]);
  }
  return runs.filter((run) => run.length > 1);
}

const edge = (run, y, value) => `M${run.map((point) => `${x(point.age)} ${y(value(point))}`).join("L")}`;

function area(run, y, low, high) {
  const back = run.map((point) => `${x(point.age)} ${y(low(point))}`).reverse();
  return `${edge(run, y, high)}L${back.join("L")}Z`;
}

const refusedAreas = (y) => (run) =>
  run.some((point) => point.refused > 0) ? area(run, y, (point) => point.granted, (point) => point.granted + point.refused) : "";

const shade = ({ kind, age, until }) => {
  const from = Math.max(0, x(age));
  return drawn("rect", { class: `mark ${kind}`, x: from, y: 0, width: Math.max(1, x(Math.max(0, until)) - from), height: HEIGHT });
};

const stroke = ({ kind, age }) => drawn("line", { class: `mark ${kind}`, x1: x(age), x2: x(age), y1: 0, y2: HEIGHT });
