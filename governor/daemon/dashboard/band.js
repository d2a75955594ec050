// The band at the top: the conditions in words, the worst first.

import { denies, sentence } from "./conditions.js";
import { byId, element, say } from "./dom.js";
import { clock, count, span } from "./words.js";

/** So many conditions are named; the lists have all of them, first. */
const MAX_LINES = 6;

export class Band {
  #reveal;
  #announced = null;

  /** `reveal(key)` shows a scope or group in its list. */
  constructor(reveal) {
    this.#reveal = reveal;
  }

  draw({ headline, conditions, global: { now } }) {
    byId("band").dataset.severity = conditions[0]?.severity ?? "none";
    say(byId("band-title"), headline);
    document.title = conditions.some(denies) ? `${headline} · traffic-governor` : "traffic-governor";
    this.#drawLines(byId("band-lines"), conditions.slice(0, MAX_LINES), now);
    byId("band-more").hidden = conditions.length <= MAX_LINES;
    say(byId("band-more"), `and ${count(conditions.length - MAX_LINES)} more, first in the lists below`);
    this.#announce(headline, conditions.filter(denies));
  }

  /** Lines are kept and rewritten, so that the focus stays where it is. */
  #drawLines(list, named, now) {
    while (list.children.length > named.length) list.lastElementChild.remove();
    while (list.children.length < named.length) list.append(this.#line());
    named.forEach((condition, index) => {
      const line = list.children[index];
      const [link, summary, outlook, aside] = line.children;
      line.dataset.severity = condition.severity;
      say(link, condition.subject);
      link.dataset.key = condition.key;
      link.href = condition.key.startsWith("inbound:") ? "#inbound" : "#outbound";
      say(summary, ` ${condition.summary}${condition.outlook && ", "}`);
      say(outlook, condition.outlook);
      say(aside, details(condition, now));
    });
  }

  #line() {
    const link = element("a", "subject");
    link.addEventListener("click", (event) => {
      if (!link.dataset.key) return;
      event.preventDefault();
      this.#reveal(link.dataset.key);
    });
    return element("li", "", link, element("span"), element("strong"), element("span", "aside"));
  }

  /** Tells screen readers when other conditions hold now; not that a second has passed. */
  #announce(headline, denying) {
    const what = denying.map(({ key, summary }) => key + summary.replace(/[\d,]+/g, "")).join();
    if (what === this.#announced) return;
    this.#announced = what;
    say(byId("announcer"), [headline, ...denying.slice(0, 3).map(sentence)].join(". "));
  }
}

/** `since 03:12:07 (4 min 10 s) · until 03:17:07 · 12 denied in the last 10 s`. */
function details({ key, since, until, wait, recent }, now) {
  const begun = since === null || now - since < 2 ? "" : `since ${clock(since)} (${span(now - since)})`;
  const ends = until === null || wait < 2 ? "" : `until ${clock(until)}`;
  const denied = recent && key.startsWith("outbound:") ? `${count(recent)} denied in the last 10 s` : "";
  return [begun, ends, denied].filter(Boolean).join(" · ");
}
