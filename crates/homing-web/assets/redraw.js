// @ts-check
// A drawing that the server makes, made anew: when the job that it shows changes, or every so many seconds. What is read
// is the page itself, as a document: nothing is made of text.

import { follow } from "./stream.js";

/** Between two readings for a job, in milliseconds. */
const LEAST = 2000;

const base = document.body.dataset.base ?? "";
let at = 0;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let due;

/** Puts the drawing of a fresh page in place of the one that is shown. */
function redraw() {
  due = undefined;
  at = Date.now();
  const request = new XMLHttpRequest();
  request.open("GET", location.href.split("#")[0]);
  request.responseType = "document";
  request.onload = () => {
    for (const old of document.querySelectorAll("[data-redraw]")) {
      const fresh = request.status === 200 && request.response?.getElementById(old.id);
      if (!fresh) continue;
      const held = old.contains(document.activeElement) ? document.activeElement : null;
      const number = held ? [...old.querySelectorAll("a, summary")].indexOf(held) : -1;
      const unfolded = [...old.querySelectorAll("details")].map((part) => part.open);
      old.replaceWith(document.adoptNode(fresh));
      [...fresh.querySelectorAll("details")].forEach((part, n) => (part.open = unfolded[n] ?? part.open));
      // Whoever was at a link goes on from there.
      if (number >= 0) fresh.querySelectorAll("a, summary")[number]?.focus({ preventScroll: true });
    }
  };
  request.send();
}

function soon() {
  due ??= setTimeout(redraw, Math.max(0, at + LEAST - Date.now()));
}

const shown = document.querySelector("[data-redraw]");
if (shown instanceof HTMLElement) {
  if (shown.dataset.redraw === "job") {
    at = Date.now();
    follow(() => `${base}/api/v1/jobs/${shown.dataset.job}/events`, { job: soon }, { ended: soon });
  } else {
    setInterval(() => document.hidden || redraw(), Number(shown.dataset.redraw) * 1000);
  }
}
