// The room chat: where we are, who else is here, and what is said.

import { Card } from "./card.js";
import { Conversation } from "./conversation.js";
import { byId, oneLine, reconcile } from "./dom.js";
import { identity } from "./identity.js";
import { MessageList } from "./messages.js";
import { paintAvatar } from "./people.js";

const DEFAULT_ROOM = "lobby";
const PEOPLE_SHOWN = 100;

const roomPath = (room) => `/rooms/${encodeURIComponent(room)}`;

function roomFromAddress() {
  const match = location.pathname.match(/^\/rooms\/(.+)$/);
  try {
    return match ? oneLine(decodeURIComponent(match[1])) : DEFAULT_ROOM;
  } catch {
    return DEFAULT_ROOM; // a stray % in a typed address
  }
}

export function roomCard() {
  let room = roomFromAddress();
  let visited = false; // whether this room has welcomed us before
  let unseen = 0; // messages that came while the tab was hidden
  const rooms = new Set([DEFAULT_ROOM]); // those that have welcomed this page
  const members = new Map(); // id -> {id, name}

  const log = new MessageList({
    scroller: byId("room-log"),
    list: byId("room-messages"),
    empty: byId("room-empty"),
    button: byId("room-unread"),
  });
  const text = byId("room-text");

  // ----- what the room says -----

  // Everybody who is there answers a newcomer, one by one: this is the beginning of the roll.
  function callRoll() {
    members.clear();
    const { you } = conversation;
    if (you) members.set(you.id, you);
    showPeople();
  }

  const card = new Card(byId("room"), {
    path: () => `/ws${roomPath(room)}`,
    query: () => ({ name: identity.name }),
    on: {
      welcome({ you }) {
        conversation.you = you;
        callRoll();
        rooms.add(room);
        showRooms();
        if (visited) log.notice("You are back. What was said in between is not shown.");
        visited = true;
      },
      present({ member }) {
        members.set(member.id, member);
        showPeople();
      },
      joined({ member, at }) {
        members.set(member.id, member);
        showPeople();
        log.notice(`${member.name} joined`, at);
      },
      left({ member, at }) {
        members.delete(member.id);
        showPeople();
        log.notice(`${member.name} left`, at);
      },
      renamed({ member, previous, at }) {
        members.set(member.id, member);
        if (member.id === conversation.you?.id) adoptName(member.name);
        showPeople();
        log.notice(`${previous} is now ${member.name}`, at);
      },
      message(message) {
        if (conversation.hear(message) && document.hidden) showTitle((unseen += 1));
      },
      missed() {
        callRoll();
        log.notice("Messages may have been missed here.");
      },
      error: () => conversation.fail(),
    },
  });
  card.addEventListener("state", ({ detail: { state } }) => {
    if (state === "live") return;
    // Who is here now? Better no answer than an old one.
    members.clear();
    showPeople();
    if (state === "refused") {
      log.hideEmpty();
      showRooms();
    }
  });
  const conversation = new Conversation({
    card,
    log,
    form: byId("room-composer"),
    sent: fitComposer,
  });

  // ----- rooms and people -----

  function showRooms() {
    const listed = card.state === "refused" ? rooms : new Set(rooms).add(room);
    reconcile(byId("rooms"), [...listed].sort((a, b) => a.localeCompare(b)), {
      key: (each) => each,
      template: "room-template",
      paint(element, each) {
        const link = element.querySelector("a");
        link.href = roomPath(each);
        link.querySelector("bdi").textContent = each;
        if (each === room) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      },
    });
  }

  function showPeople() {
    const counted = members.size === 1 ? "1 person here" : `${members.size} people here`;
    byId("room-count").textContent = members.size ? counted : "People here";
    const sorted = [...members.values()].sort((a, b) => a.name.localeCompare(b.name));
    reconcile(byId("people"), sorted.slice(0, PEOPLE_SHOWN), {
      key: (member) => member.id,
      template: "person-template",
      paint(element, member) {
        paintAvatar(element.querySelector(".avatar"), member.name);
        element.querySelector(".person-name").textContent = member.name;
        element.querySelector(".you").hidden = member.id !== conversation.you?.id;
      },
    });
  }

  function showTitle() {
    document.title = `${unseen ? `(${unseen}) ` : ""}#${room} · Fast Channels`;
  }

  function showRoom() {
    byId("room-name").textContent = room;
    byId("second-tab").href = roomPath(room);
    showTitle();
    showRooms();
  }

  // On a touch screen, focus in the message box would bring up the keyboard.
  function focusRoom() {
    const target = matchMedia("(pointer: fine)").matches ? text : byId("room-title");
    target.focus();
  }

  function enter(newRoom, { push = true } = {}) {
    if (newRoom === room && card.state !== "refused") return focusRoom();
    card.socket.close();
    room = newRoom;
    visited = false;
    conversation.you = null;
    log.clear();
    card.alert("");
    if (push) history.pushState(null, "", roomPath(room));
    showRoom();
    card.socket.open();
    focusRoom();
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) unseen = 0;
    showTitle();
  });

  addEventListener("popstate", () => {
    // Following the link that skips to the message box comes by here, too.
    if (roomFromAddress() !== room) enter(roomFromAddress(), { push: false });
  });

  byId("rooms").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const wantsNewTab = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!link || wantsNewTab) return;
    event.preventDefault();
    enter(link.closest("li").dataset.key);
  });

  byId("room-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = oneLine(byId("room-wanted").value);
    if (!wanted) return;
    byId("room-wanted").value = "";
    enter(wanted);
  });

  // ----- one's own name -----

  function adoptName(name) {
    identity.name = name;
    byId("my-name").value = name;
  }

  byId("name-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = oneLine(byId("my-name").value);
    if (!wanted) return;
    if (wanted !== identity.name && !card.socket.send({ type: "rename", name: wanted })) {
      adoptName(wanted); // taken along when the connection is back
      if (card.state === "refused") card.socket.open();
    }
    focusRoom();
  });

  // ----- writing -----

  function fitComposer() {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
    const left = text.maxLength - text.value.length;
    byId("room-left").textContent = left <= 200 ? `${left} characters left` : "";
  }

  text.addEventListener("input", fitComposer);
  byId("my-name").value = identity.name;
  showRoom();
  return card;
}
