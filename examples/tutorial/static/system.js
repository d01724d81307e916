// The connection to the system channel: news about rooms, and an echo.

import { byId, fromTemplate, paintTime } from "./dom.js";
import { LiveSocket } from "./socket.js";

const KEPT = 50;
const LOST = "Connection lost";

let lastLine = "";

function addLine(text, at = new Date().toISOString()) {
  const line = fromTemplate("notice-template");
  line.querySelector("span").textContent = lastLine = text;
  paintTime(line.querySelector("time"), at);
  const list = byId("system");
  list.append(line);
  while (list.children.length > KEPT) list.firstElementChild.remove();
  byId("system-log").scrollTop = list.scrollHeight;
}

// onRooms is called with the list of rooms, and with null when nobody can say.
export function systemSocket(url, onRooms) {
  const socket = new LiveSocket(url);

  socket.addEventListener("state", ({ detail: { state } }) => {
    if (state === "online") addLine("Connected");
    if (state !== "waiting") return;
    if (lastLine !== LOST) addLine(LOST); // once, however many attempts follow
    onRooms(null);
  });

  const on = {
    rooms: ({ rooms }) => onRooms(rooms),
    echo: ({ text, at }) => addLine(`Echo: ${text}`, at),
    error: ({ detail }) => addLine(detail),
  };
  socket.addEventListener("json", ({ detail }) => on[detail.type]?.(detail));

  byId("echo-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("echo-text");
    const text = field.value.trim();
    if (!text) return;
    if (socket.send({ type: "echo", text })) field.value = "";
    else addLine("Not connected: no echo just now");
  });

  return socket;
}
