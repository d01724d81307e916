// The live counters: totals of the whole application, here and in the strip on top; and which
// process serves which card.

import { Card } from "./card.js";
import { byId, paintTime, reconcile } from "./dom.js";

const number = new Intl.NumberFormat();

export function countersCard() {
  const card = new Card(byId("counters"), {
    path: () => "/ws/analytics",
    on: { totals: showTotals },
  });
  // Old numbers would look as if nothing happened.
  card.addEventListener("state", ({ detail: { state } }) => {
    if (state !== "live") byId("strip").hidden = true;
  });
  return card;
}

function showTotals({ counts, since }) {
  for (const element of document.querySelectorAll("[data-count]")) {
    element.textContent = number.format(counts[element.dataset.count] ?? 0);
  }
  paintTime(byId("counters-since"), since);
  byId("counters-totals").hidden = false;
  byId("strip").hidden = false;
}

export function showProcesses(cards) {
  const known = cards.filter((card) => card.process !== null);
  reconcile(byId("processes"), known, {
    key: (card) => card.title,
    template: "process-template",
    paint(element, { title, process }) {
      element.querySelector("dt").textContent = title;
      element.querySelector("dd").textContent = process;
    },
  });
}
