// Actions on a running governor. The daemon takes them only with its token, which this page keeps in memory and nowhere else.

import { byId, say } from "./dom.js";

export class Actions {
  #url;
  #token = "";
  /** Whether the daemon takes actions at all. */
  enabled = false;

  constructor(url) {
    this.#url = url;
    byId("token").addEventListener("close", () => {
      this.#token = byId("token").returnValue === "ok" ? byId("token-text").value : "";
      byId("token-text").value = "";
    });
  }

  /** Carries out an action after it was confirmed, and says on the page what came of it. */
  async run(name, question, body = {}) {
    if (!this.#token && !(await this.#askForToken())) return;
    if (!window.confirm(question)) return;
    const answer = await fetch(new URL(name, this.#url), {
      method: "POST",
      headers: { Authorization: `Bearer ${this.#token}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }).catch(() => null);
    if (answer?.status === 401) this.#token = "";
    say(byId("action-result"), answer?.ok ? "Done." : `Not done: ${answer ? (await answer.json()).detail : "no answer"}`);
  }

  #askForToken() {
    const dialog = byId("token");
    dialog.showModal();
    return new Promise((resolve) => dialog.addEventListener("close", () => resolve(Boolean(this.#token)), { once: true }));
  }
}
