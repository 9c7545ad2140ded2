// A browser, a site to visit, and what every visit is held to: no error in the console, no report of the policy.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A site in a process of its own. */
export async function world(wide = 1000, base = "") {
  const program = process.env.HOMING_BROWSER_WORLD;
  assert.ok(program, "HOMING_BROWSER_WORLD names the example browser_world: scripts/test web sets it");
  const child = spawn(program, [String(wide), base], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    const site = JSON.parse(line);
    return { ...site, close: () => child.stdin.end(), exited: new Promise((done) => child.on("exit", done)) };
  }
  throw new Error("the site did not start");
}

/** The browser. Without a sandbox: the tests run as root in containers, and visit only their own pages. */
export function browser() {
  return chromium.launch({
    executablePath: process.env.HOMING_CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
}

/** Somebody with a window of the browser's, signed in unless they are nobody. */
export async function visitor(chrome, site, { token = site.admin, ...options } = {}) {
  const context = await chrome.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const troubles = [];
  context.on("weberror", (error) => troubles.push(String(error.error())));
  context.on("console", (message) => {
    if (message.type() !== "error") return;
    // A page that is refused, or a stream that is cut by leaving the page, is no error of ours.
    if (/status of (401|404|409)/.test(message.text())) return;
    troubles.push(message.text());
  });
  const page = await context.newPage();
  if (token) {
    await page.goto(`${site.url}/login`);
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
  }
  const open = (path) => page.goto(site.url + path);
  const close = async () => {
    await context.close();
    assert.deepEqual(troubles, [], "the console and the policy are silent");
  };
  return { page, open, close, context, troubles };
}

/** Fails where the page keeps somebody out who sees, hears or moves otherwise. */
export async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const told = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" | ")}`);
  assert.deepEqual(told, [], where);
}

/** Every page, by a name. */
export function pages({ jobs, worker }) {
  return {
    overview: "/",
    jobs: "/jobs",
    "jobs-found": "/jobs?q=status:failed",
    "jobs-wrong": "/jobs?q=status:soon",
    job: `/jobs/${jobs.nightly}`,
    "job-failed": `/jobs/${jobs.failed}`,
    "job-hostile": `/jobs/${jobs.hostile}`,
    timeline: `/jobs/${jobs.nightly}/timeline`,
    "timeline-wide": `/jobs/${jobs.wide}/timeline`,
    "timeline-stray": `/jobs/${jobs.stray}/timeline`,
    log: `/jobs/${jobs.wide}/log?after=0`,
    "log-followed": `/jobs/${jobs.nightly}/log`,
    failures: `/jobs/${jobs.wide}/failures`,
    task: `/tasks/${jobs.failed}`,
    "task-hostile": `/tasks/${jobs.hostile}`,
    record: `/tasks/${jobs.stray}/record`,
    "task-drifted": `/tasks/${jobs.stray}`,
    groups: "/failures",
    group: `/failures/${jobs.print}`,
    "groups-none": "/failures?kind=nobody",
    queues: "/queues",
    queue: "/queues/default",
    workers: "/workers",
    worker: `/workers/${worker}`,
    "overview-long": "/?span=6h",
    kinds: "/kinds",
    kind: "/kinds/nightly",
    actions: "/actions",
    about: "/about",
    retry: `/jobs/${jobs.failed}/retry`,
    cancel: `/jobs/${jobs.nightly}/cancel`,
    signal: `/tasks/${jobs.growing}/signal`,
    pause: "/queues/default/pause",
    submit: "/submit",
    "submit-kind": "/submit?kind=nightly",
    nowhere: "/nowhere",
  };
}
