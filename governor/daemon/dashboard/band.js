// What must somebody know who has just been woken? What is refused, why, and until when: in words, at the top.

import { byId, element, say } from "./dom.js";
import { FINE, headline, LIMITED, RECENT, sentence } from "./trouble.js";
import { clock, count } from "./words.js";

/** So many troubles are named; the lists have all of them, first. */
const MOST = 6;
const RANKS = ["fine", "watched", "limited", "stopped", "stopped"];

export class Band {
  #reveal;
  #announced = null;

  /** `reveal(key)` shows a scope or group in its list. */
  constructor(reveal) {
    this.#reveal = reveal;
  }

  /** `found` are the troubles, the worst first, as of `now`. */
  draw(found, now) {
    const worst = found[0]?.rank ?? FINE;
    const title = headline(found);
    byId("band").dataset.rank = RANKS[worst];
    say(byId("band-title"), title);
    document.title = worst >= LIMITED ? `${title} · traffic-governor` : "traffic-governor";
    this.#drawLines(byId("band-lines"), found.slice(0, MOST), now);
    byId("band-more").hidden = found.length <= MOST;
    say(byId("band-more"), `and ${count(found.length - MOST)} more, first in the lists below`);
    this.#announce(title, found.filter(({ rank }) => rank >= LIMITED));
  }

  /** Lines are kept and rewritten, so that the focus stays where it is. */
  #drawLines(list, named, now) {
    while (list.children.length > named.length) list.lastElementChild.remove();
    while (list.children.length < named.length) list.append(this.#line());
    named.forEach((trouble, index) => {
      const line = list.children[index];
      const [link, says, until, aside] = line.children;
      line.dataset.rank = RANKS[trouble.rank];
      say(link, trouble.subject);
      link.dataset.key = trouble.key;
      link.href = trouble.key.startsWith("inbound:") ? "#inbound" : "#outbound";
      say(says, ` ${trouble.says}${trouble.until && ", "}`);
      say(until, trouble.until);
      say(aside, details(trouble, now));
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

  /** Says to those who hear the page that something else is wrong now; not that a second has passed. */
  #announce(title, refusing) {
    const what = refusing.map(({ key, says }) => key + says.replace(/[\d,]+/g, "")).join();
    if (what === this.#announced) return;
    this.#announced = what;
    say(byId("announcer"), [title, ...refusing.slice(0, 3).map(sentence)].join(". "));
  }
}

function details({ key, wait, recent }, now) {
  const at = wait === null || wait < 2 ? "" : `at ${clock(now + wait)}`;
  const lately = recent && key.startsWith("outbound:") ? `${count(recent)} refused in the last ${RECENT} s` : "";
  return [at, lately].filter(Boolean).join(" · ");
}
