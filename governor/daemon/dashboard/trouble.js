// What is refused now, why, and until when? In the words of the terminal: governor/daemon/trouble.py says the same.

import { count, reason, several, span, total } from "./words.js";

/** How bad: everything stands still, a scope does, a limit is met, something is worth a look, all is well. */
export const EVERYTHING = 4, STOPPED = 3, LIMITED = 2, WATCHED = 1, FINE = 0;

/** Refusals count as recent for so many seconds. */
export const RECENT = 10;

/** Percent of the global cap above which its use is worth a look. */
const HIGH = 80;
const CAP = "The global request cap";

/** Reasons that hold for all scopes alike. */
export const EVERYWHERE = new Set(["degraded_mode_active", "global_request_cap_exceeded"]);
const LIMITS = new Set(["rate_limit_exceeded", "concurrency_exceeded"]);
/** Why a breaker refuses that counts calls, and until when, by its state. */
const COUNTING = {
  half_open: ["circuit breaker half-open, all probes out", "next probe when one of them ends"],
  closed: ["circuit breaker closed again, calls ramp up", "next permit when one of them is answered"],
};
const AFTER = { circuit_breaker_open: "probes", rate_limit_exceeded: "next permit" };

/**
 * The troubles in a status document, the worst first: `{key, rank, subject, says, until, wait, recent}`.
 *
 * `recent(key)` tells how often a scope has refused in the last ten seconds, by reason. `wait` is the span in seconds after
 * which `until` is over, or null.
 */
export function troubles(status, recent) {
  const found = [...everything(status)];
  for (const [key, scope] of Object.entries(status.scopes)) {
    const trouble = key.startsWith("inbound:") ? group(key, scope, recent(key)) : outbound(key, scope, recent(key));
    if (trouble) found.push(trouble);
  }
  return found.sort((one, other) => other.rank - one.rank || other.recent - one.recent || (one.key < other.key ? -1 : 1));
}

/** The headline over them. */
export function headline(found) {
  if (found.some((trouble) => trouble.rank === EVERYTHING)) return "Outbound traffic is paused";
  const scopes = found.filter((trouble) => trouble.rank >= LIMITED && trouble.key.startsWith("outbound:")).length;
  const groups = found.filter((trouble) => trouble.rank >= LIMITED && trouble.key.startsWith("inbound:")).length;
  const said = [
    scopes && `${several(scopes, "scope")} ${scopes === 1 ? "refuses" : "refuse"}`,
    groups && `${several(groups, "group")} ${groups === 1 ? "turns" : "turn"} callers away`,
  ].filter(Boolean);
  return said.join(", ") || (found.length ? "Nothing is refused right now" : "Nothing is refused");
}

/** The name of a scope or group, without the side it is on. */
export const nameOf = (key) => key.slice(key.indexOf(":") + 1);

/** One sentence: `github:get refuses: circuit breaker open, probes in 42 s`. */
export const sentence = (trouble) => `${trouble.subject} ${trouble.says}${trouble.until && `, ${trouble.until}`}`;

function* everything({ global, scopes }) {
  const refusals = Object.entries(scopes).filter(([key]) => key.startsWith("outbound:")).map(([, scope]) => scope.denial);
  const capped = refusals.filter((refusal) => refusal?.reason === "global_request_cap_exceeded").map((refusal) => refusal.retry_after);
  const says = "refuses all outbound traffic";
  if (global.degraded_mode_active) {
    const but = refusals.includes(null) ? ", but for exempt providers" : "";
    yield made("", EVERYTHING, "Degraded mode", says + but + cause(global), `goes on in ${span(global.degraded_for)}`, global.degraded_for);
  } else if (capped.length) {
    const wait = Math.min(...capped);
    yield made("", EVERYTHING, CAP, `${says}: ${used(global)}`, `next permit in ${span(wait)}`, wait);
  } else if (global.requests_per_minute !== null && 100 * global.requests_last_minute > HIGH * global.requests_per_minute) {
    yield made("", WATCHED, CAP, `is nearly used up: ${used(global)}`, "", null);
  }
}

const used = (global) => `${count(global.requests_last_minute)} of ${count(global.requests_per_minute)} in the last minute`;

/** Why traffic is paused: `, after failures in a row of github, reddit`. */
function cause({ degraded_cause: word, degraded_providers: providers }) {
  if (!word) return "";
  const why = word === "failures" ? "failures in a row" : "too many requests over the cap";
  return `, after ${why}${providers.length ? ` of ${providers.join(", ")}` : ""}`;
}

function outbound(key, scope, recent) {
  const { denial: refusal, circuit_breaker: breaker, metrics } = scope;
  if (!refusal) return watched(key, scope, recent);
  if (EVERYWHERE.has(refusal.reason)) return null;
  const lately = total(recent);
  const counting = refusal.reason === "circuit_breaker_open" ? COUNTING[breaker.state] : undefined;
  const [cause, until] = counting ?? [reason(refusal.reason), whenOver(refusal)];
  let why = cause;
  let rank = counting && breaker.state === "closed" ? LIMITED : STOPPED;
  if (LIMITS.has(refusal.reason)) {
    // A limit that is met for a moment, by nobody who is told no, is a limit at work.
    if (!lately && !metrics.waiting && refusal.retry_after < 1) return null;
    rank = LIMITED;
    why += metrics.waiting ? `, ${count(metrics.waiting)} waiting` : "";
  }
  return made(key, rank, nameOf(key), `refuses: ${why}`, until, refusal.retry_after, lately);
}

/** A scope that grants, and is worth a look. */
function watched(key, { circuit_breaker: breaker }, recent) {
  const own = Object.keys(recent).filter((word) => !EVERYWHERE.has(word)).map(reason);
  const look = (says, until) => made(key, WATCHED, nameOf(key), says, until, null, total(recent));
  if (breaker.state === "open") return look("has its circuit breaker open", "the next call is a probe");
  if (breaker.state === "half_open") return look("has its circuit breaker half-open", "probes decide");
  return own.length ? look(`has refused lately: ${own.join(", ")}`, "grants again") : null;
}

function group(key, scope, recent) {
  const lately = total(recent);
  if (!lately) return null;
  const [loudest] = scope.most_denied;
  const says = `turns callers away: ${count(lately)} in the last ${RECENT} s`;
  return made(key, LIMITED, nameOf(key), says, loudest ? `most often ${loudest.client}` : "", null, lately);
}

function whenOver({ reason: word, retry_after: wait }) {
  if (wait === null) return "waiting cannot help";
  if (word === "concurrency_exceeded") return "next permit when a call ends";
  return `${AFTER[word] ?? "goes on"} in ${span(wait)}`;
}

const made = (key, rank, subject, says, until, wait, recent = 0) => ({ key, rank, subject, says, until, wait, recent });
