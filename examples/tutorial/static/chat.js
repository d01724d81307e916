// The chat page. README.md describes the JSON that goes over the two sockets.

import { byId, paintTime, reconcile } from "./dom.js";
import { MessageList } from "./messages.js";
import { guestName, paintAvatar } from "./people.js";
import { LiveSocket } from "./socket.js";
import { systemSocket } from "./system.js";

const DEFAULT_ROOM = "lobby";
const PEOPLE_SHOWN = 100;

const people = (count) => (count === 1 ? "1 person" : `${count} people`);
const roomPath = (room) => `/rooms/${encodeURIComponent(room)}`;

// ----- where we are and who we are -----

const oneLine = (value) => value.replace(/\s+/g, " ").trim();

function roomFromAddress() {
  const match = location.pathname.match(/^\/rooms\/(.+)$/);
  try {
    return match ? oneLine(decodeURIComponent(match[1])) : DEFAULT_ROOM;
  } catch {
    return DEFAULT_ROOM; // a stray % in a typed address
  }
}

// One name per tab, so that two tabs are two people. Storage may be forbidden; the name
// then lasts as long as the page.
function storedName() {
  try {
    return sessionStorage.getItem("name");
  } catch {
    return null;
  }
}

function storeName(value) {
  try {
    sessionStorage.setItem("name", value);
  } catch {
    // See storedName().
  }
}

let room = roomFromAddress();
let name = storedName() ?? guestName();
let me = null; // {id, name} once welcomed
let visited = false; // whether this room has welcomed us before
let unseen = 0; // messages that came while the tab was hidden
const members = new Map(); // id -> {id, name}
const pending = new Map(); // ref -> {text, line}: sent, and not yet come back

storeName(name);
byId("my-name").value = name;

const log = new MessageList({
  scroller: byId("log"),
  list: byId("messages"),
  empty: byId("empty"),
  button: byId("unread"),
});

function socketUrl(path, query = {}) {
  const url = new URL(path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  return url;
}

const chat = new LiveSocket(() => socketUrl(`/ws${roomPath(room)}`, { name }));
const system = systemSocket(() => socketUrl("/ws/system"), showRooms);

// ----- connection state -----

const STATES = {
  connecting: "Connecting",
  online: "Online",
  waiting: "Offline",
  refused: "Not connected",
  closed: "Left",
};

const status = byId("state");
let countdown = 0;

chat.addEventListener("state", ({ detail: { state, retryAt, reason } }) => {
  // While a server is away, one attempt after another is no news: "Offline" is said once.
  const isRetry = state === "connecting" && status.textContent === STATES.waiting;
  const words = isRetry ? STATES.waiting : STATES[state];
  if (status.textContent !== words) status.textContent = words;
  byId("connection").dataset.state = isRetry ? "waiting" : state;

  const retry = byId("retry");
  const away = state === "waiting" || isRetry;
  if (!away && document.activeElement === retry) byId("text").focus();
  retry.hidden = !away;
  byId("send").setAttribute("aria-disabled", String(state !== "online"));

  clearInterval(countdown);
  byId("countdown").textContent = isRetry ? "trying" : "";
  if (state === "waiting") {
    const show = () => {
      const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
      byId("countdown").textContent = `retrying in ${seconds} s`;
    };
    show();
    countdown = setInterval(show, 250);
  }
  if (state === "refused") {
    showAlert(reason || "The server does not let you in.");
    log.hideEmpty();
    showRooms();
  }
  if (state !== "online") {
    // Who is here now? Better no answer than an old one.
    members.clear();
    showPeople(0);
    failPending();
  }
});

byId("retry").addEventListener("click", retryAll);
addEventListener("online", retryAll); // the browser's network came back
addEventListener("pagehide", () => [chat, system].forEach((socket) => socket.close()));
addEventListener("pageshow", (event) => {
  if (event.persisted) [chat, system].forEach((socket) => socket.open()); // back from the cache
});

function retryAll() {
  chat.retryNow();
  system.retryNow();
}

// ----- what the room says -----

const onRoom = {
  welcome({ you, members: present }) {
    me = you;
    members.clear();
    for (const member of present) members.set(member.id, member);
    showPeople(present.length);
    showAlert("");
    if (visited) log.notice("You are back. What was said in between is not shown.");
    visited = true;
  },
  joined({ member, count, at }) {
    members.set(member.id, member);
    showPeople(count);
    log.notice(`${member.name} joined`, at);
  },
  left({ member, count, at }) {
    members.delete(member.id);
    showPeople(count);
    log.notice(`${member.name} left`, at);
  },
  renamed({ member, previous, at }) {
    members.set(member.id, member);
    if (member.id === me.id) adoptName(member.name);
    showPeople(members.size);
    log.notice(`${previous} is now ${member.name}`, at);
  },
  message(message) {
    const own = pending.get(message.ref);
    if (own && message.member.id === me.id) {
      pending.delete(message.ref);
      own.line.classList.remove("sending");
      paintTime(own.line.querySelector("time"), message.at);
      return;
    }
    log.message(message, { own: message.member.id === me.id });
    if (document.hidden) showTitle((unseen += 1));
  },
  error({ detail }) {
    showAlert(detail);
    failPending();
  },
};

chat.addEventListener("json", ({ detail }) => onRoom[detail.type]?.(detail));

// ----- rooms and people -----

let knownRooms = null;

// rooms: [{room, members}], or null while nobody can say.
function showRooms(rooms = knownRooms) {
  knownRooms = rooms;
  const counts = new Map((rooms ?? []).map((each) => [each.room, each.members]));
  const always = chat.state === "refused" ? [DEFAULT_ROOM] : [DEFAULT_ROOM, room];
  for (const each of always) if (!counts.has(each)) counts.set(each, 0);

  reconcile(byId("rooms"), [...counts].sort(([a], [b]) => a.localeCompare(b)), {
    key: ([each]) => each,
    template: "room-template",
    paint(element, [each, count]) {
      const link = element.querySelector("a");
      link.href = roomPath(each);
      if (each === room) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      link.querySelector(".room-label").textContent = each;
      const badge = link.querySelector(".badge");
      badge.textContent = count;
      badge.setAttribute("aria-label", people(count));
      badge.classList.toggle("none", count === 0);
      badge.hidden = rooms === null;
    },
  });
}

function showPeople(count) {
  byId("count").textContent = count ? `${people(count)} here` : "";
  reconcile(byId("people"), [...members.values()].slice(0, PEOPLE_SHOWN), {
    key: (member) => member.id,
    template: "person-template",
    paint(element, member) {
      paintAvatar(element.querySelector(".avatar"), member.name);
      element.querySelector(".person-name").textContent = member.name;
      element.querySelector(".you").textContent = member.id === me?.id ? "you" : "";
    },
  });
}

function showTitle() {
  document.title = `${unseen ? `(${unseen}) ` : ""}#${room} · Fast Channels chat`;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) unseen = 0;
  showTitle();
});

function showAlert(text) {
  byId("alert").textContent = text;
}

function showRoom() {
  byId("room-title").textContent = room;
  byId("second-tab").href = roomPath(room);
  showTitle();
  showRooms();
}

// On a touch screen, focus in the message box would bring up the keyboard.
function focusRoom() {
  const target = matchMedia("(pointer: fine)").matches ? "text" : "room-title";
  byId(target).focus();
}

function enter(newRoom, { push = true } = {}) {
  closeMenu();
  if (newRoom === room && chat.state !== "refused") return focusRoom();
  chat.close();
  room = newRoom;
  visited = false;
  me = null;
  log.clear();
  showAlert("");
  if (push) history.pushState(null, "", roomPath(room));
  showRoom();
  chat.open();
  focusRoom();
}

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
  const wanted = oneLine(byId("room-name").value);
  if (!wanted) return;
  byId("room-name").value = "";
  enter(wanted);
});

function adoptName(value) {
  name = value;
  storeName(name);
  byId("my-name").value = name;
}

byId("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = oneLine(byId("my-name").value);
  if (!wanted) return;
  if (wanted !== name && !chat.send({ type: "rename", name: wanted })) {
    adoptName(wanted); // taken along when the connection is back
    if (chat.state === "refused") chat.open();
  }
  closeMenu();
  focusRoom();
});

// ----- writing -----

const text = byId("text");

function fitComposer() {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
  const left = text.maxLength - text.value.length;
  byId("left").textContent = left <= 200 ? `${left} characters left` : "";
}

function post(value) {
  const ref = crypto.randomUUID?.() ?? String(Math.random());
  if (!chat.send({ type: "message", text: value, ref })) return false;
  const line = log.message(
    { member: me ?? { id: "", name }, text: value, at: new Date().toISOString() },
    { own: true },
  );
  line.classList.add("sending");
  pending.set(ref, { text: value, line });
  return true;
}

// A message that has not come back when the connection ends may or may not have arrived.
// Sending it again is for its author to decide.
function failPending() {
  for (const { text: value, line } of pending.values()) {
    line.classList.replace("sending", "failed");
    const again = document.createElement("button");
    again.type = "button";
    again.className = "link-button";
    again.textContent = "Send again";
    again.addEventListener("click", () => {
      if (!post(value)) return;
      line.remove();
      text.focus();
    });
    line.querySelector(".delivery").replaceChildren("Perhaps not delivered. ", again);
  }
  pending.clear();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const value = text.value.trim();
  if (value && post(value)) {
    text.value = "";
    showAlert("");
    fitComposer();
  } else if (value) {
    showAlert("You are not connected. Your message stays here until you are.");
  }
  text.focus();
});

text.addEventListener("input", fitComposer);
text.addEventListener("keydown", (event) => {
  // While an input method is composing, Enter picks a candidate.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});

// ----- the side panel on small screens -----

function closeMenu() {
  document.body.classList.remove("menu-open");
  byId("menu").setAttribute("aria-expanded", "false");
}

byId("menu").addEventListener("click", () => {
  const open = document.body.classList.toggle("menu-open");
  byId("menu").setAttribute("aria-expanded", String(open));
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !document.body.classList.contains("menu-open")) return;
  closeMenu();
  byId("menu").focus();
});

showRoom();
chat.open();
system.open();
