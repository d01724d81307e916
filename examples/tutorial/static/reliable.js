// The reliable chat: one room for all, on a layer that keeps messages for a slow reader.

import { Card } from "./card.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { identity } from "./identity.js";
import { MessageList } from "./messages.js";

export function reliableCard() {
  const log = new MessageList({
    scroller: byId("reliable-log"),
    list: byId("reliable-messages"),
    empty: byId("reliable-empty"),
    button: byId("reliable-unread"),
  });
  let welcomed = false;

  const card = new Card(byId("reliable"), {
    path: () => "/ws/reliable",
    query: () => ({ name: identity.name }),
    on: {
      welcome({ you }) {
        conversation.you = you;
        if (welcomed) log.notice("You are back. What was said in between is not shown.");
        welcomed = true;
      },
      message: (message) => conversation.hear(message),
      missed: () => log.notice("Messages were missed here."),
      error: () => conversation.fail(),
    },
  });
  const conversation = new Conversation({ card, log, form: byId("reliable-form") });

  // The name is part of the address, so a new one needs a new connection.
  identity.addEventListener("change", () => {
    if (!["connecting", "live", "refused"].includes(card.socket.state)) return;
    welcomed = false;
    card.socket.close();
    card.socket.open();
  });
  return card;
}
