// The page: six cards, each with a connection of its own, and a summary of them on top.

import { countersCard, showProcesses } from "./counters.js";
import { byId } from "./dom.js";
import { jobsCard } from "./jobs.js";
import { notificationsCard } from "./notifications.js";
import { reliableCard } from "./reliable.js";
import { roomCard } from "./room.js";
import { systemCard } from "./system.js";

const cards = [
  systemCard(),
  roomCard(),
  jobsCard(),
  reliableCard(),
  notificationsCard(),
  countersCard(),
];

// In words, and as one of the states that have a colour.
function summary() {
  const count = (...states) => cards.filter(({ state }) => states.includes(state)).length;
  const live = count("live");
  const absent = count("absent");
  if (live === cards.length) return [`All ${live} parts live`, "live"];
  if (count("connecting", "closed") && !count("waiting")) return ["Connecting", "connecting"];
  if (live + absent === cards.length) return [`${live} live, ${absent} not there yet`, live ? "live" : "absent"];
  return [live ? `${live} of ${cards.length - absent} parts live` : "Offline", "waiting"];
}

function showSummary() {
  const [words, state] = summary();
  const element = byId("summary-words");
  if (element.textContent !== words) element.textContent = words; // it is announced
  byId("summary").dataset.state = state;
}

for (const card of cards) {
  card.addEventListener("state", ({ detail: { state } }) => {
    showSummary();
    // The server has perhaps been started anew, with more to offer.
    if (state === "live") {
      for (const other of cards) if (other.state === "absent") other.socket.retryNow();
    }
  });
  card.addEventListener("process", () => showProcesses(cards));
}

const sockets = cards.map((card) => card.socket);
addEventListener("online", () => sockets.forEach((socket) => socket.retryNow())); // the network
addEventListener("pagehide", () => sockets.forEach((socket) => socket.close()));
addEventListener("pageshow", (event) => {
  if (event.persisted) sockets.forEach((socket) => socket.open()); // back from the cache
});
sockets.forEach((socket) => socket.open());
