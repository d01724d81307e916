// System messages: an echo, and what happened to the connection.

import { Card } from "./card.js";
import { addNotice, byId } from "./dom.js";

const LOST = "Connection lost";

export function systemCard() {
  const list = byId("system-lines");
  let last = "";

  const add = (text, at) => {
    addNotice(list, (last = text), { at });
    byId("system-log").scrollTop = list.scrollHeight;
  };

  const card = new Card(byId("system"), {
    path: () => "/ws/system",
    on: {
      welcome: () => add("Connected"),
      echo: ({ text, at }) => add(`Echo: ${text}`, at),
    },
  });
  card.addEventListener("state", ({ detail: { state } }) => {
    if (state === "waiting" && last !== LOST) add(LOST); // once, however many attempts follow
  });

  byId("echo-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("echo-text");
    const text = field.value.trim();
    if (!text) return;
    if (card.socket.send({ type: "echo", text })) {
      field.value = "";
      card.alert("");
    } else {
      card.alert("Not connected: no echo just now.");
    }
  });
  return card;
}
