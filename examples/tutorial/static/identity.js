// One name per tab, so that two tabs are two people. Storage may be forbidden; the name then
// lasts as long as the page.

import { guestName } from "./people.js";

function stored() {
  try {
    return sessionStorage.getItem("name");
  } catch {
    return null;
  }
}

class Identity extends EventTarget {
  #name = stored() ?? guestName();

  constructor() {
    super();
    this.#store();
  }

  get name() {
    return this.#name;
  }

  // The event "change" follows.
  set name(value) {
    if (value === this.#name) return;
    this.#name = value;
    this.#store();
    this.dispatchEvent(new Event("change"));
  }

  #store() {
    try {
      sessionStorage.setItem("name", this.#name);
    } catch {
      // See stored().
    }
  }
}

export const identity = new Identity();
