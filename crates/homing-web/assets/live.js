// @ts-check
// A job's page, live: its record as it changes, by one stream while the page is seen.

import { follow } from "./stream.js";

/** A shape and a class for each status: what the server writes. */
const STATUS = {
  "in-progress": ["▶", "running", "in progress"],
  stalled: ["⚠", "failed", "stalled"],
  completed: ["✓", "succeeded", "completed"],
  "completed-with-errors": ["◐", "cancelled", "completed with errors"],
  failed: ["✗", "failed", "failed"],
  cancelled: ["⊘", "cancelled", "cancelled"],
};
/** Between two things that a screen reader is told. */
const POLITE = 5000;
/** The time that the pace is measured over. */
const SPAN = 10000;

const number = new Intl.NumberFormat("en-US");
const page = document.querySelector("#job");
const base = document.body.dataset.base ?? "";
const alive = document.querySelector("#alive");

let told = 0;
/** @type {[number, number][]} */
let looks = [];

/** @param {string} selector @param {string} text */
function write(selector, text) {
  const at = page?.querySelector(selector);
  if (at && at.textContent !== text) at.textContent = text;
}

/** Tasks that ended a second, and how long it will take, of the last seconds. @param {number} ended @param {number} spawned */
function pace(ended, spawned) {
  const now = performance.now();
  looks.push([now, ended]);
  while (looks.length > 2 && now - looks[1][0] >= SPAN) looks.shift();
  const [then, before] = looks[0];
  if (now - then < 1000 || ended <= before) return "";
  const rate = ((ended - before) / (now - then)) * 1000;
  const left = Math.ceil((spawned - ended) / rate);
  const words = left < 90 ? `${left} s` : left < 5400 ? `${Math.round(left / 60)} min` : `${Math.round(left / 3600)} h`;
  return `${rate < 10 ? rate.toFixed(1) : number.format(Math.round(rate))} tasks/s, about ${words} left of what is known`;
}

/** @param {any} job */
function show(job) {
  const [shape, style, word] = STATUS[/** @type {keyof typeof STATUS} */ (job.status)] ?? ["", "", job.status];
  const counts = job.counts;
  let [ended, spawned] = [counts.succeeded + counts.failed + counts.cancelled, 0];
  for (const [state, count] of Object.entries(counts)) {
    write(`[data-live="${state}"]`, number.format(/** @type {number} */ (count)));
    spawned += /** @type {number} */ (count);
  }
  const mark = page?.querySelector("#status .state");
  if (mark) {
    mark.className = `state ${style}`;
    mark.replaceChildren(Object.assign(document.createElement("span"), { textContent: shape }), ` ${word}`);
    mark.firstElementChild?.setAttribute("aria-hidden", "true");
  }
  const bar = page?.querySelector("progress");
  if (bar instanceof HTMLProgressElement) {
    bar.value = job.progress;
    write('[data-live="done"]', `${Math.floor(job.progress)} %`);
  } else {
    write('[data-live="done"]', `${number.format(ended)} done, ${number.format(spawned - ended)} open`);
  }
  const isOver = !["in-progress", "stalled"].includes(job.status);
  write("#pace", isOver ? "" : pace(ended, spawned));
  document.title = document.title.replace(/^\S+/, shape);
  const now = Date.now();
  if (alive && (isOver || now - told > POLITE)) {
    told = now;
    alive.textContent = `${word}: ${number.format(ended)} of ${number.format(spawned)} done, ${number.format(counts.failed)} failed`;
  }
  document.dispatchEvent(new CustomEvent("homing:job", { detail: { ended, spawned, over: isOver } }));
}

if (page instanceof HTMLElement) {
  const job = (/** @type {MessageEvent} */ event) => {
    document.documentElement.classList.remove("away");
    show(JSON.parse(event.data));
  };
  const away = () => {
    if (!alive) return;
    document.documentElement.classList.add("away");
    alive.textContent = `As of ${new Date().toISOString().slice(11, 19)}: the store does not answer; trying again`;
  };
  follow(() => `${base}/api/v1/jobs/${page.dataset.job}/events`, { job }, { away });
}
