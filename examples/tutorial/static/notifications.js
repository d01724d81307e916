// Notifications: they come over the socket, from this page's form, other pages and scripts.

import { Card } from "./card.js";
import { byId, fromTemplate, oneLine, paintTime } from "./dom.js";

const KEPT = 50;
const LEVELS = { info: "Info", warning: "Warning" };
const SOURCES = { page: "from a page", script: "from a script" };

export function notificationsCard() {
  const list = byId("notifications-list");

  const card = new Card(byId("notifications"), {
    path: () => "/ws/notifications",
    on: { notification: show },
  });

  function show({ text, level, source, at }) {
    const line = fromTemplate("notification-template");
    line.dataset.level = level === "warning" ? "warning" : "info";
    line.querySelector(".level").textContent = LEVELS[level] ?? level;
    line.querySelector(".notification-text").textContent = text;
    line.querySelector(".source").textContent = SOURCES[source] ?? source;
    paintTime(line.querySelector("time"), at);
    byId("notifications-empty").hidden = true;
    list.prepend(line);
    while (list.children.length > KEPT) list.lastElementChild.remove();
  }

  byId("notifications-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = byId("notification-text");
    const text = oneLine(field.value);
    if (!text) return;
    const trouble = await post({ text, level: byId("notification-level").value });
    card.alert(trouble);
    if (!trouble) field.value = "";
  });
  return card;
}

// Over HTTP, as any other program would. What went wrong, or nothing.
async function post(notification) {
  try {
    const response = await fetch("/notifications", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(notification),
    });
    return response.ok ? "" : `The server did not take it (${response.status}).`;
  } catch {
    return "The server could not be reached. Your text is still here.";
  }
}
