// A WebSocket that comes back by itself, and carries JSON.

const FIRST_DELAY = 500;
const LONGEST_DELAY = 15_000;

// The server says with these close codes that trying again would not help.
const isRefusal = (code) => code >= 4400 && code < 4500;

// Events: "state" with detail {state, retryAt, reason}, and "json" with the decoded message.
//
//   connecting -> online -> waiting (until retryAt) -> connecting -> ...
//   any of them -> refused (the server said why) or closed (we left)
export class LiveSocket extends EventTarget {
  #url;
  #socket = null;
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

    // Events of a socket that we have given up on are late news.
    const listen = (type, listener) =>
      socket.addEventListener(type, (event) => {
        if (socket === this.#socket) listener(event);
      });

    listen("open", () => this.#setState("online"));
    listen("message", (event) => {
      // Only now: a server that accepts and closes at once is not to be hammered.
      this.#failures = 0;
      this.dispatchEvent(new CustomEvent("json", { detail: JSON.parse(event.data) }));
    });
    listen("close", (event) => {
      this.#socket = null;
      if (isRefusal(event.code)) this.#setState("refused", { reason: event.reason });
      else this.#wait();
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
    if (this.state === "waiting") this.open();
  }

  // Whether the message was handed over; the network may still lose it.
  send(message) {
    if (this.state !== "online") return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #wait() {
    // Doubling keeps a struggling server from being flooded. The random half keeps all the
    // pages that it dropped at the same moment from coming back at the same moment.
    const ceiling = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#failures);
    const delay = ceiling / 2 + (Math.random() * ceiling) / 2;
    this.#failures += 1;
    this.#timer = setTimeout(() => this.open(), delay);
    this.#setState("waiting", { retryAt: Date.now() + delay });
  }

  #setState(state, detail = {}) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, ...detail } }));
  }
}
