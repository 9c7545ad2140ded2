// Pictures of each page for the documentation: `scripts/test shots`. Small: a palette, and no more than is seen.

import { mkdirSync } from "node:fs";
import { browser, pages, visitor, world } from "./visitor.mjs";

const out = process.argv[2];
mkdirSync(out, { recursive: true });
const [chrome, site] = await Promise.all([browser(), world()]);
const shown = ["overview", "jobs", "job", "timeline", "log", "failures", "task", "record", "groups", "queues", "queue", "workers", "worker", "kinds", "actions", "about", "retry", "submit-kind"];
const looks = {
  light: { colorScheme: "light", viewport: { width: 1000, height: 640 } },
  dark: { colorScheme: "dark", viewport: { width: 1000, height: 640 } },
  phone: { colorScheme: "light", viewport: { width: 360, height: 720 } },
};
for (const [look, options] of Object.entries(looks)) {
  const me = await visitor(chrome, site, options);
  for (const name of shown) {
    const height = { job: 860, log: 480, overview: 1100, queue: 760, worker: 1000 }[name] ?? options.viewport.height;
    await me.page.setViewportSize({ ...options.viewport, height });
    await me.open(pages(site)[name]);
    const rows = me.page.locator("h-tree .row");
    if (await me.page.locator("h-tree").count()) {
      await rows.locator("a").first().waitFor();
      const unfold = rows.locator(".toggle").first();
      if (await unfold.count()) {
        await unfold.click();
        await me.page.locator('h-tree .row[aria-level="2"] a').first().waitFor();
      }
    }
    await me.page.evaluate(() => {
      document.activeElement?.blur();
      scrollTo(0, 0);
    });
    await me.page.screenshot({ path: `${out}/${name}-${look}.png` });
  }
  await me.context.close();
}
site.close();
await chrome.close();
