// The page in a real browser. `scripts/test web` runs it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, browser, pages, visitor, world } from "./visitor.mjs";

let chrome;
let site;

before(async () => {
  [chrome, site] = await Promise.all([browser(), world()]);
});

after(async () => {
  site?.close();
  await chrome?.close();
});

for (const colorScheme of ["light", "dark"]) {
  for (const width of [1440, 360]) {
    test(`everybody can use every page: ${colorScheme}, ${width} px`, async () => {
      const me = await visitor(chrome, site, { colorScheme, viewport: { width, height: 800 } });
      for (const [name, path] of Object.entries(pages(site))) {
        await me.open(path);
        if (await me.page.locator("h-tree").count()) await me.page.locator("h-tree .row a").first().waitFor();
        await accessible(me.page, `${name}, ${colorScheme}, ${width} px`);
        const wide = await me.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${name} is ${wide} px wider than the window of ${width}`);
      }
      await me.close();
    });
  }
}

test("the printed address signs in, and keeps no token", async () => {
  const me = await visitor(chrome, site, { token: null });
  const sent = [];
  me.page.on("request", (request) => sent.push(request.url()));
  await me.open(`/queues#t=${site.admin}`);
  await me.page.getByRole("heading", { name: "Queues" }).waitFor();
  assert.ok(!me.page.url().includes(site.admin));
  assert.ok(sent.every((url) => !url.includes(site.admin)));
  const wrong = await visitor(chrome, site, { token: null });
  await wrong.open(`/#t=${"x".repeat(32)}`);
  await wrong.page.getByLabel("Token").waitFor();
  await wrong.close();
  await me.page.getByRole("button", { name: "Sign out" }).click();
  await me.page.getByLabel("Token").waitFor();
  await me.close();
});

test("hostile texts do nothing", async () => {
  const me = await visitor(chrome, site);
  for (const path of [
    "/", "/jobs", `/jobs/${site.jobs.hostile}`, `/tasks/${site.jobs.hostile}`, `/jobs/${site.jobs.hostile}/log`,
    `/jobs/${site.jobs.hostile}/failures`, "/failures", `/tasks/${site.jobs.hostile}/record`, "/jobs?q=%3Cimg%20src=x%20onerror=window.hacked=1%3E",
  ]) {
    await me.open(path);
    if (await me.page.locator("h-tree").count()) await me.page.locator("h-tree .row .trouble").first().waitFor();
    const harm = await me.page.evaluate(() => [
      window.hacked,
      document.querySelectorAll("img, svg[onload], script:not([src])").length,
      /[\u202e\u001b]/.test(document.documentElement.outerHTML),
    ]);
    assert.deepEqual(harm, [undefined, 0, false], path);
  }
  await me.open(`/tasks/${site.jobs.hostile}`);
  const value = await me.page.getByLabel("Value").textContent();
  assert.ok(value.length < 70_000, "megabytes are cut");
  const json = await me.page.evaluate(async (path) => (await (await fetch(path)).json()).value, `/api/v1/tasks/${site.jobs.hostile}`);
  assert.equal(json.text.length, 800_000);
  await me.close();
});

test("numbers are shown with every digit", async () => {
  const me = await visitor(chrome, site);
  await me.open("/submit?kind=write_page");
  await me.page.getByLabel("Arguments, as a JSON object").fill('{"page": 9007199254740993}');
  await me.page.getByRole("button", { name: "Submit" }).click();
  await me.page.getByRole("link", { name: "Root task" }).click();
  assert.match(await me.page.getByLabel("Arguments").textContent(), /9007199254740993/);
  await me.close();
});

test("a job is followed while it grows", async () => {
  const me = await visitor(chrome, site);
  const job = site.jobs.growing;
  const tell = (value) =>
    fetch(`${site.url}/api/v1/tasks/${job}/signal/more`, {
      method: "POST",
      headers: { Authorization: `Bearer ${site.admin}`, "Content-Type": "application/json" },
      body: JSON.stringify(value),
    });
  await me.open(`/jobs/${job}/log`);
  const log = await visitor(chrome, site);
  await log.open(`/jobs/${job}/log`);
  const timeline = await visitor(chrome, site);
  await timeline.open(`/jobs/${job}/timeline`);
  await timeline.page.getByRole("link", { name: "First half" }).focus();
  await me.open(`/jobs/${job}`);
  const before = await me.page.evaluate(() => performance.timeOrigin);
  assert.ok((await tell(40)).ok);
  await me.page.locator('[data-live="succeeded"]', { hasText: /^40$/ }).waitFor();
  await log.page.locator("#log .text", { hasText: "page 39 is found" }).waitFor();
  assert.ok((await tell(0)).ok);
  await me.page.locator("#status", { hasText: "completed" }).waitFor();
  await me.page.locator("#alive", { hasText: "completed: 41 of 41 done" }).waitFor();
  await log.page.locator("#alive", { hasText: "this was the last line" }).waitFor();
  // The timeline is drawn anew, and whoever is at a link stays there.
  await timeline.page.getByRole("link", { name: "write_page × 40" }).waitFor();
  await timeline.page.locator("#timeline tbody tr", { hasText: "growing" }).getByText("succeeded").waitFor();
  assert.equal(await timeline.page.evaluate(() => document.activeElement?.textContent), "First half");
  await timeline.close();
  assert.match(await me.page.title(), /^✓ a tree that grows/);
  assert.equal(await me.page.evaluate(() => performance.timeOrigin), before, "nothing was loaded anew");
  await log.close();
  await me.close();
});

test("a tree of a thousand holds a few rows, and jumps", async () => {
  const me = await visitor(chrome, site);
  await me.open(`/jobs/${site.jobs.wide}`);
  const tree = me.page.getByRole("treegrid");
  await tree.getByRole("row").first().waitFor();
  await me.page.getByLabel("Go to child").fill("873");
  await me.page.keyboard.press("Enter");
  const row = tree.locator('.row[aria-selected="true"]');
  await row.locator(".trouble", { hasText: "page 873 cannot be parsed" }).waitFor();
  assert.equal(await row.getAttribute("aria-posinset"), "874");
  assert.equal(await row.getAttribute("aria-setsize"), "1000");
  assert.ok((await tree.getByRole("row").count()) < 60);
  assert.match(me.page.url(), /#at=873$/);
  // The address is a link to it.
  await me.open("/about");
  await me.open(`/jobs/${site.jobs.wide}#at=873`);
  await row.locator(".trouble", { hasText: "page 873" }).waitFor();
  await me.close();
});

test("a tree is unfolded with the keyboard alone", async () => {
  const me = await visitor(chrome, site);
  await me.open(`/jobs/${site.jobs.nightly}`);
  const { page } = me;
  const tree = page.getByRole("treegrid");
  await tree.locator(".row a").first().waitFor();
  for (let tabs = 0; tabs < 60; tabs += 1) {
    await page.keyboard.press("Tab");
    if (await tree.evaluate((tree) => tree === document.activeElement)) break;
  }
  assert.ok(await tree.evaluate((tree) => tree === document.activeElement), "Tab leads to the tree");
  const active = tree.locator('.row[aria-selected="true"]');
  const named = async () => {
    const id = await tree.getAttribute("aria-activedescendant");
    return page.locator(`#${id}`).textContent();
  };
  // Two sets, each with one child: the import has children of its own.
  for (let moves = 0; moves < 4 && !/import/.test(await named()); moves += 1) {
    await page.keyboard.press("ArrowDown");
    await page.waitForFunction((m) => document.querySelector(".row[aria-selected=true]")?.ariaRowIndex === String(m + 2), moves);
  }
  if ((await active.getAttribute("aria-expanded")) === null) {
    await page.keyboard.press("ArrowDown");
    await active.locator(".kind", { hasText: "import" }).waitFor();
  }
  await page.keyboard.press("ArrowRight");
  await tree.locator('.row[aria-level="2"]').first().waitFor();
  assert.equal(await active.getAttribute("aria-expanded"), "true");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await active.locator(".trouble", { hasText: "page 3 cannot be parsed" }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "write_page" }).waitFor();
  await me.close();
});

test("a million children share the pixels", async () => {
  const me = await visitor(chrome, site);
  const TOTAL = 1_000_000;
  // The store's part is tested without a browser: here are answers like its own.
  const asked = [];
  await me.page.route("**/api/v1/tasks/*/sets", (route) => {
    const children = { spawned: TOTAL, succeeded: TOTAL, failed: 0, cancelled: 0, open: 0 };
    route.fulfill({ json: { items: [{ type: "set", key: "ab".repeat(12) + "0".repeat(8), own: TOTAL, children }], next: null } });
  });
  await me.page.route("**/api/v1/tasks/*/window*", (route) => {
    const from = Number(new URL(route.request().url()).searchParams.get("from"));
    asked.push(from);
    const now = new Date().toISOString();
    const rows = Array.from({ length: 100 }, (_, at) => ({
      type: "row", number: from + at, id: `${site.jobs.wide}`, kind: `child_${from + at}`, state: "succeeded", attempt: 1,
      created: now, started: now, ended: now, spawned: 0, below: 0, trouble: null,
    }));
    route.fulfill({ json: { items: rows, next: null } });
  });
  await me.open(`/jobs/${site.jobs.wide}`);
  const tree = me.page.getByRole("treegrid");
  const shows = (number) => tree.locator(".kind", { hasText: new RegExp(`^child_${number}$`) }).waitFor();
  await shows(0);
  await me.page.getByLabel("Go to child").fill("734512");
  await me.page.keyboard.press("Enter");
  await shows(734512);
  const height = await tree.evaluate((tree) => tree.scrollHeight);
  assert.ok(height <= 8_000_010, `${height} px`);
  await tree.focus();
  await me.page.keyboard.press("End");
  await shows(999999);
  await me.page.keyboard.press("Home");
  await shows(0);
  // A wheel moves by rows, though a pixel is worth three of them.
  await tree.hover();
  await me.page.mouse.wheel(0, 240);
  await shows(11);
  const first = await tree.locator(".row:not([hidden])").first().getAttribute("aria-rowindex");
  assert.equal(first, "11");
  assert.ok(asked.length < 20, `${asked.length} windows were read`);
  await me.close();
});

test("every page works without scripts, and so do actions", async () => {
  const me = await visitor(chrome, site, { javaScriptEnabled: false });
  const { page } = me;
  for (const path of Object.values(pages(site))) {
    await me.open(path);
    await page.locator("h1").waitFor();
  }
  await me.open(`/jobs/${site.jobs.wide}`);
  await page.getByRole("link", { name: "Last" }).click();
  await page.getByRole("row", { name: /^999 / }).waitFor();
  await me.open("/submit?kind=approval");
  await page.getByLabel("Arguments, as a JSON object").fill('{"rows": 7}');
  await page.getByLabel("Title").fill("an approval");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByRole("heading", { name: "an approval" }).waitFor();
  await page.getByRole("link", { name: "Cancel…" }).click();
  await page.getByLabel("Why").fill("not needed");
  await page.getByRole("button", { name: "Cancel it" }).click();
  await page.locator(".message", { hasText: "Cancelled." }).waitFor();
  await page.getByText("ada (web) cancelled it: not needed").first().waitFor();
  await page.getByRole("link", { name: "Retry…" }).click();
  await page.getByRole("button", { name: "Retry" }).click();
  await page.locator(".message", { hasText: "Retried: 1 task runs again." }).waitFor();
  await me.close();
});

test("a queue is paused with the keyboard alone", async () => {
  const me = await visitor(chrome, site);
  const { page } = me;
  await me.open("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  const tabTo = async (name) => {
    for (let tabs = 0; tabs < 80; tabs += 1) {
      await page.keyboard.press("Tab");
      const [text, ring] = await page.evaluate(() => {
        const at = document.activeElement;
        return [at.textContent, getComputedStyle(at).outlineStyle];
      });
      if (text === name) {
        assert.notEqual(ring, "none", `${name} shows that it has the focus`);
        return;
      }
    }
    assert.fail(`Tab does not lead to ${name}`);
  };
  await tabTo("Queues");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Queues" }).waitFor();
  await tabTo("Resume…");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Resume the queue paused?" }).waitFor();
  await page.keyboard.press("Tab");
  for (let tabs = 0; tabs < 30; tabs += 1) {
    if (await page.evaluate(() => document.activeElement.id === "confirm")) break;
    await page.keyboard.press("Tab");
  }
  await page.keyboard.type("paused");
  await page.keyboard.press("Enter");
  await page.locator(".message", { hasText: "Resumed paused." }).waitFor();
  await me.close();
});

test("viewers find nothing to act with", async () => {
  const me = await visitor(chrome, site, { token: site.viewer });
  await me.open(`/jobs/${site.jobs.nightly}`);
  await me.page.getByRole("treegrid").waitFor();
  assert.equal(await me.page.locator("main .actions a, main form[method=post]").count(), 0);
  await me.close();
});

test("dark and light are chosen", async () => {
  const me = await visitor(chrome, site, { colorScheme: "light" });
  const back = () => me.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await back();
  await me.page.getByRole("button", { name: "Theme: system" }).click();
  await me.page.getByRole("button", { name: "Theme: light" }).click();
  assert.notEqual(await back(), light);
  await me.open("/jobs");
  assert.notEqual(await back(), light, "it is remembered");
  await me.close();
});

test("below a path, everything still works", async () => {
  const nested = await world(200, "base");
  try {
    const me = await visitor(chrome, nested);
    await me.open(`/jobs/${nested.jobs.wide}`);
    await me.page.getByRole("treegrid").getByRole("row").first().waitFor();
    await me.page.getByRole("link", { name: "Log", exact: true }).click();
    await me.page.locator("#log .text", { hasText: "200 pages found" }).waitFor();
    await me.open(`/jobs/${nested.jobs.growing}`);
    await me.page.getByRole("link", { name: "Cancel…" }).click();
    await me.page.getByRole("button", { name: "Cancel it" }).click();
    await me.page.locator(".message", { hasText: "Cancelled." }).waitFor();
    await me.close();
  } finally {
    nested.close();
    await nested.exited;
  }
});

test("a server that goes away is told of, and the page stays", async () => {
  const brief = await world(10);
  const me = await visitor(chrome, brief);
  await me.open(`/jobs/${brief.jobs.nightly}`);
  await me.page.locator("h-tree .row a").first().waitFor();
  brief.close();
  await brief.exited;
  await me.page.locator("#alive", { hasText: "trying again" }).waitFor();
  assert.ok(await me.page.locator("h-tree .row a").count());
  me.troubles.length = 0; // refused connections are what this is about
  await me.context.close();
});
