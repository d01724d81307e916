// What all the cards share: a connection of their own, how it is, and which process serves it.

import { fromTemplate } from "./dom.js";
import { LiveSocket } from "./socket.js";

const STATES = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Offline",
  absent: "Not there yet",
  refused: "Not connected",
  closed: "Left",
};

function socketUrl(path, query) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  return url;
}

// Events: "state", like the socket's, and "process" when another process serves it, or none.
export class Card extends EventTarget {
  #element;
  #status;
  #absent;
  #shown = "";
  #countdown = 0;
  #alert;

  process = null;

  // path and query: functions, asked before every attempt. on: what to do with each type of
  // message.
  constructor(element, { path, query = () => ({}), on }) {
    super();
    this.#element = element;
    this.title = element.querySelector("h2").firstChild.textContent.trim();
    this.#status = fromTemplate("status-template");
    this.#alert = fromTemplate("alert-template");
    const absent = (this.#absent = fromTemplate("absent-template"));
    const head = element.querySelector(".card-head");
    head.append(this.#status);
    head.after(this.#alert, absent);

    this.socket = new LiveSocket(() => {
      absent.querySelector("code").textContent = decodeURI(path());
      return socketUrl(path(), query());
    });
    this.socket.addEventListener("state", ({ detail }) => this.#showState(detail));
    this.socket.addEventListener("json", ({ detail: message }) => {
      if (message.type === "welcome") this.#welcome(message);
      on[message.type]?.(message);
      // "detail" is the application's word, "message" that of Fast Channels for frames it refuses.
      if (message.type === "error") this.alert(message.detail ?? message.message);
    });
    for (const button of [this.#part("retry"), absent.querySelector("button")]) {
      button.addEventListener("click", () => this.socket.retryNow());
    }
  }

  get state() {
    return this.#shown;
  }

  alert(text) {
    this.#alert.textContent = text;
  }

  #part(name) {
    return this.#status.querySelector(`.${name}`);
  }

  #welcome({ process }) {
    this.alert("");
    this.#showProcess(process);
  }

  #showProcess(process) {
    this.process = process;
    this.#part("process").textContent = process === null ? "" : `process ${process}`;
    this.dispatchEvent(new Event("process"));
  }

  #showState({ state, retryAt, reason }) {
    // While a server is away, one attempt after another is no news.
    const isRetry = state === "connecting" && ["waiting", "absent"].includes(this.#shown);
    const shown = isRetry ? this.#shown : state;
    this.#shown = shown;
    this.#element.dataset.state = shown;
    this.#part("state").textContent = STATES[shown];
    if (shown !== "live" && this.process !== null) this.#showProcess(null);

    const retry = this.#part("retry");
    const wasOn = document.activeElement;
    retry.hidden = shown !== "waiting";
    this.#absent.hidden = shown !== "absent";
    // A button that has done what it is for takes nobody's place with it.
    if (wasOn === retry ? retry.hidden : this.#absent.hidden && this.#absent.contains(wasOn)) {
      this.#element.querySelector(".card-body :is(textarea, input)")?.focus();
    }

    clearInterval(this.#countdown);
    this.#part("countdown").hidden = state !== "waiting";
    this.#part("trying").hidden = !isRetry || shown !== "waiting";
    if (state === "waiting") {
      const show = () => {
        const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
        this.#part("seconds").textContent = `${seconds} s`;
      };
      show();
      this.#countdown = setInterval(show, 250);
    }
    if (state === "refused") this.alert(reason || "The server does not let you in.");
    this.dispatchEvent(new CustomEvent("state", { detail: { state, shown } }));
  }
}
