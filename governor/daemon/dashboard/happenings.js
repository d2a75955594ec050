// What has happened since the page was opened? Told in words, the latest first, and as marks on the chart of everything.
//
// At its bounds: so many entries of each kind. Refusals alike that follow each other closely are one entry. The daemon tells a
// sample of them only, so they are not counted here: the lists do that.

import { byId, element } from "./dom.js";
import { SHOWN } from "./history.js";
import { EVERYWHERE } from "./trouble.js";
import { clock, reason, several, span } from "./words.js";

const MOST = 60;
/** Seconds: refusals alike that come within them are one entry. */
const TOGETHER = 30;

const TOLD = {
  breaker_changed: ({ scope, after, probes_in: wait }) => ({
    kind: after === "closed" ? "good" : after === "open" ? "bad" : "watch",
    subject: scope,
    says: `circuit breaker ${after.replace("_", "-")}${after === "open" ? `, probes in ${span(wait)}` : ""}`,
  }),
  degraded_entered: ({ cooldown, cause, providers }) => {
    const why = cause === "cap" ? "too many requests over the cap" : "failures in a row";
    const of = providers.length ? ` of ${providers.join(", ")}` : "";
    return { kind: "bad", subject: "Degraded mode", says: `for ${span(cooldown)}: outbound traffic is paused after ${why}${of}` };
  },
  degraded_left: () => ({ kind: "good", subject: "Degraded mode", says: "is over: outbound traffic goes on" }),
  call_denied: ({ scope, reason: word }) => {
    // What holds for all scopes is told once, and not scope by scope.
    const subject = EVERYWHERE.has(word) ? "Outbound traffic" : scope;
    return { kind: "refused", subject, says: `refused: ${reason(word)}`, alike: `${subject} ${word}` };
  },
  client_denied: ({ group, limit, dry_run: dry }) => ({
    kind: dry ? "quiet" : "refused",
    subject: group,
    says: `${dry ? "would have turned" : "turned"} callers away: ${limit === "total" ? "ceiling of the group" : `limit per ${limit}`}`,
    alike: `${group} ${limit} ${dry}`,
  }),
  missed: ({ events }) => ({ kind: "quiet", subject: "This page", says: `missed ${several(events, "event")}: too many at once` }),
  restarted: () => ({ kind: "watch", subject: "The governor", says: "was started anew: counters begin at 0" }),
  lost: () => ({ kind: "watch", subject: "This page", says: "lost its connection" }),
  found: () => ({ kind: "good", subject: "This page", says: "is connected again" }),
};

export class Happenings {
  /** The latest first. Those that are told one by one, and those that are counted together. */
  #single = [];
  #counted = [];
  #changed = false;

  /** Takes note of an event; `at` is in seconds since 1970. */
  add(name, data, at) {
    const told = TOLD[name](data);
    const entry = { ...told, name, at, until: at, data };
    const before = told.alike && this.#counted.find(({ alike, until }) => alike === told.alike && at - until < TOGETHER);
    if (before) before.until = at;
    else {
      const list = told.alike ? this.#counted : this.#single;
      list.unshift(entry);
      list.length = Math.min(list.length, MOST);
    }
    this.#changed = true;
  }

  /** Brings the list on the page up to date. */
  draw() {
    if (!this.#changed) return;
    this.#changed = false;
    const entries = [...this.#single, ...this.#counted].sort((one, other) => other.at - one.at);
    byId("events-empty").hidden = entries.length > 0;
    byId("events").replaceChildren(...entries.map(line));
  }

  /** Breaker changes as moments, degraded mode as spans, by their age at `now`; with `scope`, its breaker only. */
  marks(now, scope = null) {
    const marks = [];
    let over = 0;
    for (const { name, at, data } of this.#single) {
      const age = now - at;
      if (age > SHOWN + (data.cooldown ?? 0)) continue;
      if (name === "degraded_left") over = age;
      if (name === "degraded_entered") {
        marks.push({ kind: "paused", age, until: Math.max(over, age - data.cooldown) });
        over = age;
      }
      if (name === "breaker_changed" && (scope ?? data.scope) === data.scope) marks.push({ kind: data.after, age });
    }
    return marks;
  }
}

function line({ kind, at, until, subject, says }) {
  const time = element("time", "", clock(at));
  time.dateTime = new Date(at * 1_000).toISOString();
  const text = element("span", "told", element("b", "", subject), ` ${says}`);
  if (until - at >= 2) text.append(element("span", "lasted", `, for ${span(until - at)}`));
  return element("li", kind, time, text);
}
