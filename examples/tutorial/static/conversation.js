// What a person says: shown at once, confirmed when the server sends it back, and offered to be
// sent again when it may have been lost.

import { linkButton, newRef, paintTime } from "./dom.js";
import { identity } from "./identity.js";

export class Conversation {
  #card;
  #log;
  #field;
  #pending = new Map(); // ref -> {text, line}: sent, and not yet come back
  #sent;

  you = null; // {id, name} once welcomed

  // sent: called after each message that left the field.
  constructor({ card, log, form, sent = () => {} }) {
    this.#card = card;
    this.#log = log;
    this.#field = form.querySelector("textarea, input");
    this.#sent = sent;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("keydown", (event) => {
      // While an input method is composing, Enter picks a candidate.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    const button = form.querySelector("button");
    card.addEventListener("state", ({ detail: { state } }) => {
      button.setAttribute("aria-disabled", String(state !== "live"));
      if (state !== "live") this.fail();
    });
  }

  // A message of anybody's, oneself included; whether it was new.
  hear(message) {
    const mine = message.member.id === this.you?.id;
    const own = mine ? this.#pending.get(message.ref) : undefined;
    if (own) {
      this.#pending.delete(message.ref);
      own.line.classList.remove("sending");
      paintTime(own.line.querySelector("time"), message.at);
      return false;
    }
    this.#log.message(message, { own: mine });
    return true;
  }

  // A message that has not come back when the connection ends may or may not have arrived.
  // Sending it again is for its author to decide.
  fail() {
    for (const { text, line } of this.#pending.values()) {
      line.classList.replace("sending", "failed");
      const again = linkButton("Send again", () => {
        if (!this.#post(text)) return;
        line.remove();
        this.#field.focus();
      });
      line.querySelector(".delivery").replaceChildren("Perhaps not delivered. ", again);
    }
    this.#pending.clear();
  }

  #submit() {
    const text = this.#field.value.trim();
    if (text && this.#post(text)) {
      this.#field.value = "";
      this.#card.alert("");
      this.#sent();
    } else if (text) {
      this.#card.alert("You are not connected. Your message stays here until you are.");
    }
    this.#field.focus();
  }

  #post(text) {
    const ref = newRef();
    if (!this.#card.socket.send({ type: "message", text, ref })) return false;
    const line = this.#log.message(
      { member: this.you ?? { id: "", name: identity.name }, text, at: new Date().toISOString() },
      { own: true },
    );
    line.classList.add("sending");
    this.#pending.set(ref, { text, line });
    return true;
  }
}
