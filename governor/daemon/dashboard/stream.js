// Live updates: one connection to the daemon, reopened whenever it breaks or falls silent.

/** Milliseconds: a connection that is silent for so long counts as broken. */
const SILENCE = 5_000;
/** The same for one that has been answered, until its snapshot is there: with many scopes it is read and sent for seconds. */
const FIRST_SILENCE = 30_000;
/** Milliseconds before the next attempt; the last one from then on. */
const PAUSES = [500, 1_000, 2_000];

export class Stream {
  #url;
  #told;
  #source = null;
  /** The status as this connection has told it; null before its snapshot. */
  #status = null;
  #tries = 0;
  #heardAt = 0;

  /** `told` has `status(status)`, `entry(entry)`, `missed(events)`, and `connection(live)` for each change of that. */
  constructor(url, told) {
    this.#url = url;
    this.#told = told;
  }

  /** Connects. */
  open() {
    const source = new EventSource(this.#url);
    this.#source = source;
    this.#heardAt = performance.now();
    source.addEventListener("error", () => this.#broken());
    source.addEventListener("snapshot", ({ data }) => this.#heard(JSON.parse(data)));
    source.addEventListener("changes", ({ data }) => this.#heard(merged(this.#status, JSON.parse(data))));
    source.addEventListener("timeline", ({ data }) => this.#told.entry(JSON.parse(data)));
    source.addEventListener("missed", ({ data }) => this.#told.missed(JSON.parse(data).events));
  }

  /** Call this every second: a connection that died in silence is given up. */
  check() {
    const isArriving = !this.#status && this.#source?.readyState === EventSource.OPEN;
    if (this.#source && performance.now() - this.#heardAt > (isArriving ? FIRST_SILENCE : SILENCE)) this.#broken();
  }

  #heard(status) {
    this.#status = status;
    this.#tries = 0;
    this.#heardAt = performance.now();
    this.#told.connection(true);
    this.#told.status(status);
  }

  #broken() {
    // Closed by hand: a browser gives up for good when an answer is not an event stream.
    this.#source?.close();
    this.#source = this.#status = null;
    this.#told.connection(false);
    setTimeout(() => this.open(), PAUSES[Math.min(this.#tries++, PAUSES.length - 1)]);
  }
}

/** Merges the changes into the status. In place: to copy 10,000 scopes takes longer than to change a few. */
function merged(status, { labels, scopes, gone, ...others }) {
  Object.assign(status.labels, labels);
  Object.assign(status.scopes, scopes);
  for (const key of gone) {
    delete status.labels[key];
    delete status.scopes[key];
  }
  return Object.assign(status, others);
}
