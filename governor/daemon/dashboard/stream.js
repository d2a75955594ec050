// Are the figures live? One connection, opened again whenever it breaks or falls silent.

/** What the daemon tells beside snapshots: names of governor/instrumentation/events.py, and word of what was dropped. */
const EVENTS = ["breaker_changed", "degraded_entered", "degraded_left", "missed", "call_denied", "client_denied"];
/** Milliseconds: a connection that has been silent for so long counts as broken. */
const SILENCE = 5_000;
/** Milliseconds before the next try; the last one from then on. */
const PAUSES = [500, 1_000, 2_000];

export class Stream {
  #url;
  #told;
  #source = null;
  #tries = 0;
  #heardAt = 0;

  /** `told` has `snapshot(status)`, `event(name, data)`, and `connection(live)` for each change of that. */
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
    source.addEventListener("snapshot", ({ data }) => {
      this.#tries = 0;
      this.#heardAt = performance.now();
      this.#told.connection(true);
      this.#told.snapshot(JSON.parse(data));
    });
    for (const name of EVENTS) source.addEventListener(name, ({ data }) => this.#told.event(name, JSON.parse(data)));
  }

  /** Call it now and then: a connection that has died in silence is given up. */
  check() {
    if (this.#source && performance.now() - this.#heardAt > SILENCE) this.#broken();
  }

  #broken() {
    // Closed by hand, because a browser gives up for good where an answer is not what it expects.
    this.#source?.close();
    this.#source = null;
    this.#told.connection(false);
    setTimeout(() => this.open(), PAUSES[Math.min(this.#tries++, PAUSES.length - 1)]);
  }
}
