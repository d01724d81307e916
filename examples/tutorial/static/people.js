// Names and the small pictures made of them.

const ADJECTIVES = ["Amber", "Brisk", "Calm", "Clever", "Gentle", "Lucky", "Merry", "Quiet", "Sunny", "Witty"];
const ANIMALS = ["Badger", "Crane", "Fox", "Heron", "Lynx", "Marten", "Otter", "Robin", "Seal", "Wren"];
const HUES = 12;

const pick = (list) => list[Math.floor(Math.random() * list.length)];

export const guestName = () => `${pick(ADJECTIVES)} ${pick(ANIMALS)}`;

// The same name has the same colour on every screen (FNV-1a; nothing depends on its quality).
function hue(name) {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  return ((hash >>> 0) % HUES) * (360 / HUES);
}

// "Ada Lovelace" -> "AL". Spreading a string keeps characters outside the BMP whole.
function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const chosen = words.length > 1 ? [words[0], words.at(-1)] : words;
  return chosen.map((word) => [...word][0].toLocaleUpperCase()).join("");
}

export function paintAvatar(element, name) {
  element.textContent = initials(name);
  element.style.setProperty("--hue", hue(name));
}
