// @ts-check
// Text of a store on the page: always as text, and what could turn or hide it shown as its code.

/** What moves a cursor, turns the direction of text or breaks a line: as `words::steers` of the server has it. */
const steers = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef]/;

/** An element with a text. @param {string} tag @param {string} style @param {string} text */
export function make(tag, style, text) {
  const element = document.createElement(tag);
  if (style) element.className = style;
  element.textContent = text;
  return element;
}

/** Text in which what could turn or hide it is shown as its code. @param {string} text */
export function shown(text) {
  const parts = document.createDocumentFragment();
  let plain = "";
  const flush = () => {
    if (plain) parts.append(plain);
    plain = "";
  };
  for (const part of text) {
    if (part === "\n" || part === "\t") plain += " ";
    else if (steers.test(part)) {
      flush();
      parts.append(make("span", "esc", `\\u{${(part.codePointAt(0) ?? 0).toString(16)}}`));
    } else plain += part;
  }
  flush();
  return parts;
}
