// Small helpers around the document. Whatever people typed goes in as textContent, never as HTML.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const fullDate = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const byId = (id) => document.getElementById(id);

export const fromTemplate = (id) => byId(id).content.firstElementChild.cloneNode(true);

export const oneLine = (text) => text.replace(/\s+/g, " ").trim();

export const newRef = () => crypto.randomUUID?.() ?? String(Math.random());

// element: a <time>; at: ISO 8601.
export function paintTime(element, at) {
  element.dateTime = at;
  element.textContent = clock.format(new Date(at));
  element.title = fullDate.format(new Date(at));
}

// A line of text with its time, for a list that keeps the newest `kept` of them.
export function addNotice(list, text, { at = new Date().toISOString(), kept = 50 } = {}) {
  const line = fromTemplate("notice-template");
  line.querySelector("span").textContent = text;
  paintTime(line.querySelector("time"), at);
  list.append(line);
  while (list.children.length > kept) list.firstElementChild.remove();
}

export function linkButton(text, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "link-button";
  button.textContent = text;
  button.addEventListener("click", onClick);
  return button;
}

// Brings a list in line with its items. Elements that stay are kept, and so is the focus of
// whoever has it in the list.
export function reconcile(list, items, { key, template, paint }) {
  const existing = new Map([...list.children].map((element) => [element.dataset.key, element]));
  items.forEach((item, index) => {
    const id = key(item);
    const element = existing.get(id) ?? fromTemplate(template);
    existing.delete(id);
    element.dataset.key = id;
    paint(element, item);
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
  for (const element of existing.values()) element.remove();
}
