// Actions of an operator: buttons for what the daemon offers, and the dialog that confirms one and asks for the admin token.
//
// The token stays in the memory of this page. One that the daemon rejects is forgotten.

import { nameOf } from "./conditions.js";
import { arrange, byId, element, say } from "./dom.js";
import { clock } from "./words.js";

/** Milliseconds for an answer. */
const TIMEOUT = 15_000;
/** What an admin token may consist of. */
const VISIBLE = /^[!-~]+$/;
/** Milliseconds for which the page says that an action was done. */
const SHOWN = 20_000;

/** What a status means, before what the answer itself says. */
const MEANINGS = {
  401: "The daemon rejects this admin token. Enter it again.",
  403: "The request was denied on its way to the daemon, for instance by a proxy (403).",
  409: "The action no longer applies (409).",
};

export class Actions {
  #api;
  #token = "";
  #offers = [];
  /** The offer and the key that the dialog is about, and where the focus goes if their button has gone. */
  #chosen = null;
  #isBusy = false;
  #forget = 0;

  /** `api` is the URL under which the paths of offers are. */
  constructor(api) {
    this.#api = api;
    byId("action-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#confirmed();
    });
    byId("action-cancel").addEventListener("click", () => byId("action").close());
    byId("action").addEventListener("close", () => this.#closed());
  }

  /** The actions that apply from now on. */
  offer(offers) {
    this.#offers = offers;
  }

  /** Lets `parent` have a button for each action that applies to this key. If the focused one goes, `other` gets the focus. */
  draw(parent, key, other) {
    const offers = this.#offers.filter(({ keys }) => keys.includes(key));
    const buttons = new Map([...parent.children].map((button) => [button.value, button]));
    const isFocused = parent.contains(document.activeElement);
    arrange(parent, offers.map((offer) => buttons.get(offer.name) ?? this.#button(offer, key, other)));
    parent.hidden = offers.length === 0;
    if (isFocused && !parent.contains(document.activeElement)) other.focus({ preventScroll: true });
  }

  #button({ name, label, question }, key, other) {
    const button = element("button", "", question ? `${label} …` : label);
    button.type = "button";
    button.value = name;
    button.addEventListener("click", () => this.#choose(name, key, other));
    return button;
  }

  #choose(name, key, other) {
    const offer = this.#offers.find((one) => one.name === name && one.keys.includes(key));
    if (!offer || this.#isBusy) return;
    this.#chosen = { offer, key, other };
    if (offer.question || !this.#token) this.#ask();
    else this.#act(null);
  }

  /** Opens the dialog, with what went wrong before. */
  #ask(failed = "") {
    const { offer, key } = this.#chosen;
    const dialog = byId("action");
    say(byId("action-title"), offer.label);
    say(byId("action-subject"), nameOf(key));
    say(byId("action-question"), offer.question ?? "");
    say(byId("action-do"), offer.label);
    byId("action-asks").hidden = Boolean(this.#token);
    const spans = Object.entries(offer.open_for);
    byId("action-span").hidden = spans.length === 0;
    if (!dialog.open) {
      byId("action-open-for").replaceChildren(...spans.map(([value, label]) => new Option(label, value)));
      dialog.showModal();
    }
    say(byId("action-failed"), failed);
    if (failed && !this.#token) byId("action-token").focus();
  }

  #confirmed() {
    const typed = byId("action-token");
    const said = typed.value.trim();
    typed.value = "";
    if (!this.#token && VISIBLE.test(said)) this.#token = said;
    if (this.#token) this.#act(byId("action-open-for").value || null);
    else this.#ask("Enter the admin token: visible ASCII characters, without spaces.");
  }

  async #act(openFor) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const { offer, key } = this.#chosen;
    const failed = await this.#send(offer, key ? { scope: key, open_for: openFor } : {});
    this.#isBusy = false;
    if (failed) return this.#ask(failed);
    byId("action").close();
    this.#say(`${[offer.label, nameOf(key)].filter(Boolean).join(": ")}. Done at ${clock(Date.now() / 1_000)}.`);
  }

  /** Sends the request. Returns what went wrong, or "". */
  async #send({ path }, body) {
    const answer = await fetch(new URL(path.slice(1), this.#api), {
      method: "POST",
      headers: { Authorization: `Bearer ${this.#token}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT),
    }).catch(() => null);
    if (!answer) return "No answer came. Look whether it was done before you try again.";
    if (answer.ok) return "";
    if (answer.status === 401) {
      this.#token = "";
      return MEANINGS[401];
    }
    const { detail = "" } = await answer.json().catch(() => ({}));
    return [MEANINGS[answer.status], detail].filter(Boolean).join(" ") || `Nothing was done: HTTP ${answer.status}.`;
  }

  #say(text) {
    say(byId("action-done"), text);
    clearTimeout(this.#forget);
    this.#forget = setTimeout(() => say(byId("action-done"), ""), SHOWN);
  }

  #closed() {
    byId("action-token").value = "";
    if (document.activeElement === document.body) this.#chosen?.other.focus({ preventScroll: true });
  }
}
