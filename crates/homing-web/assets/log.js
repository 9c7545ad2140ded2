// @ts-check
// A log that is followed: new lines below, and the view stays with them while it is at the end.

import { follow } from "./stream.js";
import { make, shown } from "./text.js";

/** Lines kept on the page. */
const KEPT = 5000;

const log = document.querySelector("#log");
const base = document.body.dataset.base ?? "";
const alive = document.querySelector("#alive");

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

if (log instanceof HTMLElement && !location.hash) log.scrollTop = log.scrollHeight;
if (log instanceof HTMLElement && "follow" in log.dataset) {
  const address = () => {
    const { job, after, level, task, search } = log.dataset;
    const asked = new URLSearchParams({ after: after ?? "0", level: level ?? "", task: task ?? "", search: search ?? "" });
    return `${base}/api/v1/jobs/${job}/log/events?${asked}`;
  };
  const lines = (/** @type {MessageEvent} */ event) => {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
    document.querySelector("#nothing")?.remove();
    const { items } = JSON.parse(event.data);
    log.append(...items.map(write));
    while (log.children.length > KEPT) log.firstElementChild?.remove();
    log.dataset.after = event.lastEventId;
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  const ended = () => {
    if (alive) alive.textContent = "The job has ended: this was the last line.";
  };
  follow(address, { lines }, { ended });
}
