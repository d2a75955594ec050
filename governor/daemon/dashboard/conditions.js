// Conditions as the daemon reports them (governor/conditions.py): their order, and the worst of each scope.

/** The severities, from the mildest on. */
export const SEVERITIES = ["info", "warning", "error", "critical"];

/** Whether a condition denies something. */
export const denies = ({ severity }) => severity !== "info";

/** The name of a scope or group without its direction. */
export const nameOf = (key) => key.slice(key.indexOf(":") + 1);

/** The provider of an outbound scope, `github` of `outbound:github:get`. */
export const providerOf = (key) => nameOf(key).split(":")[0];

/** One sentence: `github:get denies calls: circuit breaker open, probes in 42 s`. */
export const sentence = ({ subject, summary, outlook }) => `${subject} ${summary}${outlook && `, ${outlook}`}`;

/** The conditions of each scope and group, the worst first. */
export function byKey(conditions) {
  const found = new Map();
  for (const condition of conditions) {
    if (!found.has(condition.key)) found.set(condition.key, []);
    found.get(condition.key).push(condition);
  }
  return found;
}

/** How bad the worst of these conditions is: 0 for none, 1 for info, up to 4 for critical. */
export const rankOf = (conditions) => (conditions?.length ? SEVERITIES.indexOf(conditions[0].severity) + 1 : 0);
