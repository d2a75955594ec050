// Numbers, spans, rates and times as text, formatted as in governor/wording.py. Sentences come from the daemon.

/** A reason on the wire as words. */
export const reason = (word) => word.replaceAll("_", " ");

/** Made once: `toLocaleString` took a fifth of the time in which 10,000 scopes are drawn. */
const COMMAS = new Intl.NumberFormat("en");

/** A whole number, with commas. */
export const count = (number) => COMMAS.format(Math.round(number));

/** A span of seconds, rounded up: `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function span(seconds) {
  const whole = Math.max(0, Math.ceil(seconds - 1e-6));
  if (whole < 120) return `${whole} s`;
  if (whole < 7_200) return two(whole, 60, "min", "s");
  const minutes = Math.ceil(whole / 60);
  if (minutes < 2_880) return two(minutes, 60, "h", "min");
  return two(Math.ceil(minutes / 60), 24, "d", "h");
}

function two(value, size, large, small) {
  const head = `${count(Math.floor(value / size))} ${large}`;
  return value % size ? `${head} ${value % size} ${small}` : head;
}

/** A rate per second in the unit of time that reads best: `8.3/s`, `30/min`, `50/h`. */
export function rate(perSecond) {
  if (perSecond >= 1 || perSecond === 0) return `${short(perSecond)}/s`;
  if (perSecond * 60 >= 1) return `${short(perSecond * 60)}/min`;
  return `${short(perSecond * 3_600)}/h`;
}

/** A number with one decimal below 100, and whole above. */
export function short(number) {
  return number >= 100 ? count(number) : String(Math.round(number * 10) / 10);
}

/** A time of day in the time zone of the browser, from seconds since 1970. */
export function clock(seconds) {
  return new Date(seconds * 1_000).toLocaleTimeString("en-GB", { hour12: false });
}

/** The sum of counts by name. */
export const total = (counts) => Object.values(counts).reduce((sum, one) => sum + one, 0);

/** `1 scope`, `2 scopes`. */
export const several = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
