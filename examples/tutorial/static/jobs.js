// Background jobs: started here, run elsewhere, and followed to their end.

import { Card } from "./card.js";
import { byId, fromTemplate, linkButton, newRef } from "./dom.js";

const KEPT = 20;
const TITLES = { report: "Report", fail: "Job that fails" };

// One job as it is shown.
class Job {
  #progress;

  constructor(kind, text) {
    this.kind = kind;
    this.text = text;
    this.element = fromTemplate("job-template");
    this.element.querySelector(".job-kind").textContent = TITLES[kind];
    this.element.querySelector(".job-text").textContent = text;
    this.#progress = this.element.querySelector("progress");
    this.#progress.setAttribute("aria-label", `Progress of: ${text}`);
    this.say("Sent");
  }

  say(words) {
    this.element.querySelector(".job-state").textContent = words;
  }

  show(done, of) {
    this.#progress.max = of;
    this.#progress.value = done;
    this.say(`${Math.round((100 * done) / of)} %`);
  }

  // outcome: "finished", "failed" or "unknown", also for the colours.
  end(outcome, words, ...more) {
    this.element.dataset.outcome = outcome;
    if (outcome === "finished") this.#progress.value = this.#progress.max;
    else this.#progress.removeAttribute("value");
    this.#progress.hidden = outcome !== "finished";
    this.say({ finished: "Done", failed: "Failed", unknown: "Unknown" }[outcome]);
    this.element.querySelector(".job-result").replaceChildren(words, ...more);
  }
}

export function jobsCard() {
  const list = byId("jobs-list");
  const byRef = new Map(); // sent, and not yet started
  const byJobId = new Map(); // started, and not yet over

  const end = (id, outcome, words) => {
    byJobId.get(id)?.end(outcome, words);
    byJobId.delete(id);
  };

  const card = new Card(byId("jobs"), {
    path: () => "/ws/jobs",
    on: {
      welcome() {
        for (const id of byJobId.keys()) card.socket.send({ type: "follow", id });
      },
      started({ id, ref }) {
        const job = byRef.get(ref);
        if (!job) return;
        byRef.delete(ref);
        byJobId.set(id, job);
        job.say("Waiting for a worker");
      },
      progress: ({ id, done, of }) => byJobId.get(id)?.show(done, of),
      finished: ({ id, result }) => end(id, "finished", result),
      failed: ({ id, error }) => end(id, "failed", error),
      unknown: ({ id }) => end(id, "unknown", "The server knows nothing of this job any more."),
      error: loseUnstarted,
    },
  });
  card.addEventListener("state", ({ detail: { state } }) => {
    if (state === "live") return;
    loseUnstarted();
    for (const job of byJobId.values()) job.say("Connection lost");
  });

  // Starting a job twice may matter, so that is for a person to decide.
  function loseUnstarted() {
    for (const job of byRef.values()) {
      const again = linkButton("Start again", () => {
        if (start(job.kind, job.text)) job.element.remove();
      });
      job.end("unknown", "Perhaps not started. ", again);
    }
    byRef.clear();
  }

  function start(kind, text) {
    const ref = newRef();
    if (!card.socket.send({ type: "start", job: kind, text, ref })) {
      card.alert("Not connected: nothing was started.");
      return false;
    }
    card.alert("");
    const job = new Job(kind, text);
    byRef.set(ref, job);
    byId("jobs-empty").hidden = true;
    list.prepend(job.element);
    list.scrollTop = 0;
    while (list.children.length > KEPT) list.lastElementChild.remove();
    return true;
  }

  byId("jobs-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("jobs-text").value.trim();
    if (text) start(event.submitter?.value ?? "report", text);
  });
  return card;
}
