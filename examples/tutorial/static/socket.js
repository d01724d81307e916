// A WebSocket that comes back by itself, and carries JSON.

import { keepAlive } from "./heartbeat.js";

const BACK_OFF = { first: 500, longest: 15_000 };
const SLOW = { first: 4_000, longest: 30_000 }; // for what may not exist
const LONGEST_HINT = 60_000;
const SILENCE = 30_000; // heartbeat_interval and heartbeat_timeout of the server's consumers

const SERVICE_RESTART = 1012;

// The server says with these close codes that trying again would not help.
const isRefusal = (code) => code >= 4400 && code < 4500;

// A server that is about to end may say when to come back: {"retry_after": seconds}. Milliseconds.
function hint({ code, reason }) {
  if (code !== SERVICE_RESTART) return 0;
  try {
    const delay = Number(JSON.parse(reason).retry_after) * 1000;
    return delay > 0 ? Math.min(delay, LONGEST_HINT) : 0;
  } catch {
    return 0; // a reason for people, or none
  }
}

// Events: "state" with detail {state, retryAt, reason}, and "json" with the decoded message.
//
//   connecting -> live -> waiting (until retryAt) -> connecting -> ...
//   connecting -> absent (until retryAt), as long as no attempt has been let in
//   any of them -> refused (the server said why) or closed (we left)
export class LiveSocket extends EventTarget {
  #url;
  #socket = null;
  #everOpen = false;
  #failures = 0;
  #timer = 0;

  state = "closed";

  // url: a function, asked before every attempt, so that a changed name is taken along.
  constructor(url) {
    super();
    this.#url = url;
  }

  open() {
    clearTimeout(this.#timer);
    this.#setState("connecting");
    const socket = new WebSocket(this.#url());
    this.#socket = socket;
    keepAlive(socket, {
      silence: SILENCE,
      onSilent: () => {
        if (socket !== this.#socket) return;
        this.#socket = null; // its close event may take minutes
        socket.close();
        this.#wait();
      },
    });

    // Events of a socket that we have given up on are late news.
    const listen = (type, listener) =>
      socket.addEventListener(type, (event) => {
        if (socket === this.#socket) listener(event);
      });

    listen("open", () => {
      // It exists, so from now on it is worth coming back to quickly.
      if (!this.#everOpen) this.#failures = 0;
      this.#everOpen = true;
    });
    listen("message", (event) => {
      // Live only now: a server that accepts and closes at once is not to be hammered.
      this.#failures = 0;
      if (this.state !== "live") this.#setState("live");
      this.dispatchEvent(new CustomEvent("json", { detail: JSON.parse(event.data) }));
    });
    listen("close", (event) => {
      this.#socket = null;
      if (isRefusal(event.code)) this.#setState("refused", { reason: event.reason });
      else this.#wait(hint(event));
    });
  }

  close() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#setState("closed");
  }

  // For a button, or for the browser's word that the network is back.
  retryNow() {
    if (this.state === "waiting" || this.state === "absent") this.open();
  }

  // Whether the message was handed over; the network may still lose it.
  send(message) {
    if (this.state !== "live") return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #wait(atLeast = 0) {
    // Doubling keeps a struggling server from being flooded. The random half keeps all the
    // pages that it dropped at the same moment from coming back at the same moment.
    const { first, longest } = this.#everOpen ? BACK_OFF : SLOW;
    const ceiling = Math.min(longest, first * 2 ** this.#failures);
    const delay = atLeast + ceiling / 2 + (Math.random() * ceiling) / 2;
    this.#failures += 1;
    this.#timer = setTimeout(() => this.open(), delay);
    this.#setState(this.#everOpen ? "waiting" : "absent", { retryAt: Date.now() + delay });
  }

  #setState(state, detail = {}) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, ...detail } }));
  }
}
