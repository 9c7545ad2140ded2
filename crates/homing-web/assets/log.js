// @ts-check
// A log that is followed: new lines below, and the view stays with them while it is at the end.

import { make, shown } from "./text.js";

/** Lines kept on the page. */
const KEPT = 5000;

const log = document.querySelector("#log");
const base = document.body.dataset.base ?? "";
const alive = document.querySelector("#alive");

/** @type {EventSource | null} */
let source = null;
let over = false;

/** @param {any} line */
function write(line) {
  const item = make("li", line.level, "");
  item.id = `line-${line.number}`;
  const link = make("a", "permalink", String(line.number));
  link.setAttribute("href", `${location.pathname}?after=${line.number - 1}#line-${line.number}`);
  const task = make("a", "", "task");
  task.setAttribute("href", `${base}/tasks/${line.task}`);
  const time = make("time", "", `${(line.time ?? "").slice(0, 19).replace("T", " ")}Z`);
  const text = make("span", "text", "");
  text.append(shown(line.message));
  item.append(link, " ", time, " ", make("span", "level", line.level), " ", task, " ", text);
  return item;
}

function open() {
  if (source || over || document.hidden || !(log instanceof HTMLElement) || !("follow" in log.dataset)) return;
  const { job, after, level, task, search } = log.dataset;
  const asked = new URLSearchParams({ after: after ?? "0", level: level ?? "", task: task ?? "", search: search ?? "" });
  source = new EventSource(`${base}/api/v1/jobs/${job}/log/events?${asked}`);
  source.addEventListener("lines", (event) => {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
    document.querySelector("#nothing")?.remove();
    const { items } = JSON.parse(event.data);
    log.append(...items.map(write));
    while (log.children.length > KEPT) log.firstElementChild?.remove();
    log.dataset.after = event.lastEventId;
    if (atEnd) log.scrollTop = log.scrollHeight;
  });
  source.addEventListener("end", () => {
    over = true;
    close();
    if (alive) alive.textContent = "The job has ended: this was the last line.";
  });
  source.addEventListener("error", () => {
    if (source?.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, 3000);
    }
  });
}

function close() {
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
addEventListener("pageshow", open);
if (log && !location.hash) log.scrollTop = log.scrollHeight;
open();
