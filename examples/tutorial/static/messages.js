// The list of messages: what a line looks like, and when the list scrolls.
//
// Whatever people typed goes in as textContent, never as HTML.

import { fromTemplate, paintTime } from "./dom.js";
import { paintAvatar } from "./people.js";

const KEPT = 500;
const NEAR_END = 80; // pixels
const ONE_TURN = 5 * 60_000; // lines of one author within this time share a heading

export class MessageList {
  #scroller;
  #list;
  #empty;
  #button;
  #unread = 0;
  #last = null; // {memberId, at} of the last line, when that was a message

  constructor({ scroller, list, empty, button }) {
    this.#scroller = scroller;
    this.#list = list;
    this.#empty = empty;
    this.#button = button;
    button.addEventListener("click", () => {
      this.toEnd();
      scroller.focus();
    });
    let following = true;
    const onScroll = () => {
      following = this.#atEnd();
      if (following) this.#showUnread(0);
    };
    scroller.addEventListener("scroll", onScroll, { passive: true });
    // A growing message box or a turned phone must not push the newest line out of sight.
    new ResizeObserver(() => following && this.toEnd()).observe(scroller);
  }

  clear() {
    this.#list.replaceChildren();
    this.#empty.hidden = false;
    this.#last = null;
    this.#showUnread(0);
  }

  // There is no conversation to begin: say nothing about how quiet it is.
  hideEmpty() {
    this.#empty.hidden = true;
  }

  message({ member, text, at }, { own = false } = {}) {
    const line = fromTemplate("message-template");
    const time = Date.parse(at);
    const sameTurn = this.#last?.memberId === member.id && time - this.#last.at < ONE_TURN;
    line.classList.toggle("own", own);
    line.classList.toggle("continued", sameTurn);
    paintAvatar(line.querySelector(".avatar"), member.name);
    line.querySelector(".author").textContent = own ? "You" : member.name;
    line.querySelector(".bubble").textContent = text;
    paintTime(line.querySelector("time"), at);
    this.#empty.hidden = true;
    this.#add(line, { counts: true, follow: own });
    this.#last = { memberId: member.id, at: time };
    return line;
  }

  notice(text, at = new Date().toISOString()) {
    const line = fromTemplate("notice-template");
    line.querySelector("span").textContent = text;
    paintTime(line.querySelector("time"), at);
    this.#add(line);
    this.#last = null;
  }

  toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#showUnread(0);
  }

  // Follow the conversation, except for somebody who scrolled up to read.
  #add(line, { counts = false, follow = false } = {}) {
    const stay = !follow && !this.#atEnd();
    this.#list.append(line);
    while (this.#list.children.length > KEPT) this.#list.firstElementChild.remove();
    if (!stay) this.toEnd();
    else if (counts) this.#showUnread(this.#unread + 1);
  }

  #atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  #showUnread(count) {
    this.#unread = count;
    this.#button.hidden = count === 0;
    this.#button.textContent = count === 1 ? "1 new message" : `${count} new messages`;
  }
}
