// @ts-check
// The tree below a task as one list that scrolls over all of it, a million children or two.
//
// The view is a list of segments, not of nodes: a task's sets, each a range of numbers, in which an expanded child
// makes room for its own. Row n of a set is fetched by its number, so that a jump costs one look. The page holds
// the rows that are seen, and no more.

import { make, shown } from "./text.js";

/** Height of a row in pixels: what the style sheet says. */
const ROW = 24;
/** Tallest list: browsers stop drawing somewhere beyond twice this. Further rows share its pixels. */
const TALLEST = 8_000_000;
/** Children fetched at once. */
const PAGE = 100;
/** Pages kept. */
const PAGES = 50;
/** Most tasks that are expanded at once. */
const EXPANDED = 1000;
/** Between two refreshes of what is seen. */
const REFRESH = 500;

const number = new Intl.NumberFormat("en-US");
const SHAPES = { pending: "○", running: "▶", waiting: "‖", succeeded: "✓", failed: "✗", cancelled: "⊘" };

/**
 * @typedef {{ number: number, id: string, kind: string, state: string, attempt: number, created: string,
 *   started: string | null, ended: string | null, spawned: number, below: number, trouble: string | null }} Row
 * @typedef {{ rows: Row[], stale: boolean, used: number }} Page
 * @typedef {{ node: Node, key: string, count: number, counts: any, pages: Map<number, Page>,
 *   open: Map<number, Node>, wanted: number | null, busy: boolean, failed: number }} Part
 * @typedef {{ id: string, depth: number, parts: Part[] | null }} Node
 * @typedef {{ part: Part, at: number | null }} Place
 */

/** @param {string} text */
function instant(text) {
  return Date.parse(text);
}

/** A span in at most two units. @param {number} ms */
function span(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

class Tree extends HTMLElement {
  base = document.body.dataset.base ?? "";
  /** @type {Node} */ root = { id: "", depth: 0, parts: null };
  first = 0;
  active = 0;
  tick = 0;
  expanded = 0;
  /** The scroll position that was set here: its event is no wish of anybody's. */
  placed = -1;
  drawing = false;
  refreshed = 0;
  over = false;
  /** @type {HTMLElement[]} */ slots = [];

  async connectedCallback() {
    this.root.id = this.dataset.task ?? "";
    try {
      await this.load(this.root);
    } catch {
      return; // the server's list stays
    }
    this.build();
    const at = /^#at=(\d+)$/.exec(location.hash);
    if (at) this.jump(Number(at[1]));
    else this.draw();
    document.addEventListener("homing:job", (event) => this.refresh(/** @type {CustomEvent} */ (event).detail));
  }

  /** Reads a task's sets. @param {Node} node */
  async load(node) {
    const items = await this.get(`/tasks/${node.id}/sets`);
    const before = new Map((node.parts ?? []).map((part) => [part.key, part]));
    node.parts = items.map((/** @type {any} */ set) => {
      const known = before.get(set.key);
      const count = set.children.spawned;
      if (known) return Object.assign(known, { count, counts: set.children });
      const fresh = { node, key: set.key, count, counts: set.children, wanted: null, busy: false, failed: -Infinity };
      return { ...fresh, pages: new Map(), open: new Map() };
    });
  }

  /** @param {string} path */
  async get(path) {
    const answer = await fetch(`${this.base}/api/v1${path}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    return (await answer.json()).items;
  }

  build() {
    const tools = make("div", "tools", "");
    const label = make("label", "", "Go to child ");
    const field = Object.assign(document.createElement("input"), { type: "number", min: "0", id: "tree-at" });
    label.setAttribute("for", "tree-at");
    this.note = make("span", "count", "");
    this.note.setAttribute("role", "status");
    field.addEventListener("change", () => {
      this.jump(Number(field.value));
      history.replaceState(null, "", `#at=${Number(field.value)}`);
    });
    tools.append(label, field, this.note);
    this.view = make("div", "view", "");
    this.view.tabIndex = 0;
    this.view.setAttribute("role", "treegrid");
    this.view.setAttribute("aria-label", "Tree of tasks");
    this.view.setAttribute("aria-readonly", "true");
    this.height = make("div", "height", "");
    this.rows = make("div", "rows", "");
    this.height.setAttribute("role", "presentation");
    this.rows.setAttribute("role", "presentation");
    this.height.append(this.rows);
    this.view.append(this.height);
    this.view.addEventListener("scroll", () => this.scrolled());
    this.view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.replaceChildren(tools, this.view);
    new ResizeObserver(() => this.draw()).observe(this.view);
  }

  /** Rows of what is below a node. @param {Node} node @returns {number} */
  size(node) {
    let size = 0;
    for (const part of node.parts ?? []) size += this.heading(node) + this.length(part);
    return size;
  }

  /** Whether a node's sets have headings: of a single one there is nothing to tell apart. @param {Node} node */
  heading(node) {
    return (node.parts?.length ?? 0) > 1 ? 1 : 0;
  }

  /** Rows of a set without its heading. @param {Part} part */
  length(part) {
    let length = part.count;
    for (const node of part.open.values()) length += this.size(node);
    return length;
  }

  /** What stands on a row. @param {number} row @param {Node} node @returns {Place | null} */
  place(row, node = this.root) {
    for (const part of node.parts ?? []) {
      if (this.heading(node)) {
        if (row === 0) return { part, at: null };
        row -= 1;
      }
      const length = this.length(part);
      if (row >= length) {
        row -= length;
        continue;
      }
      let from = 0;
      for (const [at, below] of part.open) {
        // The expanded child is the last of the plain rows before its own.
        const plain = at + 1 - from;
        if (row < plain) return { part, at: from + row };
        row -= plain;
        from = at + 1;
        const size = this.size(below);
        if (row < size) return this.place(row, below);
        row -= size;
      }
      return { part, at: from + row };
    }
    return null;
  }

  get total() {
    return this.size(this.root);
  }

  get seen() {
    return Math.max(1, Math.floor((this.view?.clientHeight ?? ROW) / ROW));
  }

  get capped() {
    return this.total * ROW > TALLEST;
  }

  scrolled() {
    const top = this.view?.scrollTop ?? 0;
    if (Math.abs(top - this.placed) < 1) return;
    this.placed = -1;
    if (this.capped) {
      const way = TALLEST - (this.view?.clientHeight ?? 0);
      this.first = Math.round((top / way) * Math.max(0, this.total - this.seen));
    } else {
      this.first = Math.floor(top / ROW);
    }
    this.draw();
  }

  /** In a list whose rows share pixels, a wheel moves by rows all the same. @param {WheelEvent} event */
  wheel(event) {
    if (!this.capped || event.ctrlKey) return;
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * ROW : event.deltaY;
    const step = Math.trunc(pixels / ROW) || Math.sign(pixels);
    this.to(this.first + step);
  }

  /** Shows a row as the first. @param {number} first */
  to(first) {
    this.first = Math.max(0, Math.min(first, this.total - this.seen));
    if (this.view) {
      const way = TALLEST - this.view.clientHeight;
      const most = Math.max(1, this.total - this.seen);
      this.placed = this.capped ? Math.round((this.first / most) * way) : this.first * ROW;
      this.view.scrollTop = this.placed;
      this.placed = this.view.scrollTop;
    }
    this.draw();
  }

  /** Shows a child of the first set. @param {number} at */
  jump(at) {
    const part = this.root.parts?.[0];
    if (!part || !Number.isFinite(at)) return;
    let row = this.heading(this.root) + Math.max(0, Math.min(Math.trunc(at), part.count - 1));
    for (const [before, node] of part.open) if (before < at) row += this.size(node);
    this.active = row;
    this.resize();
    this.to(row - Math.floor(this.seen / 2));
  }

  resize() {
    if (this.height) this.height.style.height = `${Math.min(this.total * ROW, TALLEST)}px`;
  }

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.paint();
    });
  }

  paint() {
    const { view, rows } = this;
    if (!view || !rows) return;
    this.resize();
    this.tick += 1;
    const total = this.total;
    this.first = Math.max(0, Math.min(this.first, total - this.seen));
    this.active = Math.max(0, Math.min(this.active, total - 1));
    const shift = this.capped ? 0 : -(view.scrollTop - this.first * ROW);
    const count = Math.min(total - this.first, this.seen + 2);
    while (this.slots.length < count) {
      const slot = make("div", "row", "");
      slot.setAttribute("role", "row");
      this.slots.push(slot);
      rows.append(slot);
    }
    this.slots.forEach((slot, at) => {
      slot.hidden = at >= count;
      if (at < count) {
        slot.style.top = `${at * ROW + shift}px`;
        this.fill(slot, this.first + at);
      }
    });
    const named = this.active >= this.first && this.active < this.first + count;
    if (named) view.setAttribute("aria-activedescendant", `tree-row-${this.active}`);
    else view.removeAttribute("aria-activedescendant");
    view.setAttribute("aria-rowcount", String(total));
    if (this.note) {
      const last = Math.min(total, this.first + this.seen);
      this.note.textContent = `rows ${number.format(this.first + 1)}–${number.format(last)} of ${number.format(total)}`;
    }
  }

  /** @param {HTMLElement} slot @param {number} index */
  fill(slot, index) {
    const place = this.place(index);
    if (!place) return;
    const { part, at } = place;
    slot.id = `tree-row-${index}`;
    slot.setAttribute("aria-rowindex", String(index + 1));
    slot.setAttribute("aria-selected", String(index === this.active));
    slot.setAttribute("aria-level", String(part.node.depth + 1));
    slot.style.paddingLeft = `${8 + Math.min(part.node.depth, 24) * 16}px`;
    slot.removeAttribute("aria-expanded");
    slot.onclick = () => {
      this.active = index;
      this.draw();
    };
    if (at === null) {
      const { spawned, open, failed } = part.counts;
      const kind = part.pages.get(0)?.rows[0]?.kind ?? "children";
      const cell = make("span", "set", "");
      cell.setAttribute("role", "gridcell");
      cell.append(shown(kind), ` × ${number.format(spawned)}: ${number.format(open)} open, ${number.format(failed)} failed`);
      slot.replaceChildren(cell);
      this.want(part, 0);
      return;
    }
    slot.setAttribute("aria-setsize", String(part.count));
    slot.setAttribute("aria-posinset", String(at + 1));
    const row = this.row(part, at);
    slot.setAttribute("aria-busy", String(!row));
    const cell = (/** @type {string} */ style, /** @type {string} */ text) => {
      const cell = make("span", style, text);
      cell.setAttribute("role", "gridcell");
      return cell;
    };
    if (!row) {
      slot.replaceChildren(cell("fold", ""), cell("count number", number.format(at)), cell("count", "…"));
      return;
    }
    const fold = cell("fold", "");
    if (row.spawned > 0) {
      const isOpen = part.open.has(at);
      slot.setAttribute("aria-expanded", String(isOpen));
      const button = make("button", "toggle", isOpen ? "▾" : "▸");
      button.tabIndex = -1;
      button.setAttribute("aria-label", isOpen ? "Collapse" : "Expand");
      button.addEventListener("click", (event) => {
        event.stopPropagation();
        this.active = index;
        this.toggle(part, at, row);
      });
      fold.append(button);
    }
    const link = make("a", "", "");
    link.tabIndex = -1;
    link.setAttribute("href", `${this.base}/tasks/${row.id}`);
    link.append(shown(row.kind));
    const kind = cell("kind", "");
    kind.append(link);
    const state = cell(`state ${row.state}`, "");
    const shape = make("span", "", SHAPES[/** @type {keyof typeof SHAPES} */ (row.state)] ?? "");
    shape.setAttribute("aria-hidden", "true");
    state.append(shape, ` ${row.state}${row.attempt > 1 ? `, attempt ${row.attempt}` : ""}`);
    const end = row.ended ? instant(row.ended) : Date.now();
    const took = cell("count took", span(end - instant(row.started ?? row.created)));
    const below = cell("count below", row.spawned > 0 ? `${number.format(row.below)}/${number.format(row.spawned)}` : "");
    const trouble = cell("trouble", "");
    if (row.trouble) trouble.append(shown(row.trouble));
    slot.replaceChildren(fold, cell("count number", number.format(at)), kind, state, took, below, trouble);
  }

  /** A child, if it is here; else it is fetched. @param {Part} part @param {number} at */
  row(part, at) {
    const page = Math.floor(at / PAGE);
    this.want(part, page);
    const known = part.pages.get(page);
    if (known) known.used = this.tick;
    return known?.rows[at - page * PAGE];
  }

  /** Sees to a page being here and fresh: one request of a set at a time, for what was wanted last.
   * @param {Part} part @param {number} page */
  want(part, page) {
    const known = part.pages.get(page);
    if (known && !known.stale) return;
    if (performance.now() - part.failed < 2000) return;
    part.wanted = page;
    if (!part.busy) this.fetch(part);
  }

  /** @param {Part} part */
  async fetch(part) {
    part.busy = true;
    while (part.wanted !== null) {
      const page = part.wanted;
      part.wanted = null;
      try {
        const from = page * PAGE;
        const rows = await this.get(`/tasks/${part.node.id}/window?set=${part.key}&from=${from}&limit=${PAGE}`);
        part.pages.set(page, { rows, stale: false, used: this.tick });
        this.forget();
      } catch {
        part.failed = performance.now();
        setTimeout(() => this.draw(), 2100);
        break;
      }
      this.paint();
    }
    part.busy = false;
  }

  /** Keeps the pages that were seen last. */
  forget() {
    /** @type {[Part, number, number][]} */
    const all = [];
    const walk = (/** @type {Node} */ node) => {
      for (const part of node.parts ?? []) {
        for (const [page, { used }] of part.pages) all.push([part, page, used]);
        for (const below of part.open.values()) walk(below);
      }
    };
    walk(this.root);
    if (all.length <= PAGES) return;
    all.sort((a, b) => a[2] - b[2]);
    for (const [part, page] of all.slice(0, all.length - PAGES)) part.pages.delete(page);
  }

  /** @param {Part} part @param {number} at @param {Row} row */
  async toggle(part, at, row) {
    if (part.open.delete(at)) {
      this.expanded -= 1;
      this.draw();
      return;
    }
    if (this.expanded >= EXPANDED) {
      if (this.note) this.note.textContent = `${EXPANDED} tasks are expanded: collapse one first`;
      return;
    }
    /** @type {Node} */
    const node = { id: row.id, depth: part.node.depth + 1, parts: null };
    try {
      await this.load(node);
    } catch {
      return;
    }
    part.open = new Map([...part.open, [at, node]].sort((a, b) => Number(a[0]) - Number(b[0])));
    this.expanded += 1;
    this.draw();
  }

  /** Something has changed: what is seen is read anew, what has all ended is not. @param {any} detail */
  refresh(detail) {
    this.over = detail.over;
    const now = performance.now();
    const wait = REFRESH - (now - this.refreshed);
    if (wait > 0 && !detail.over) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.refresh(detail), wait);
      return;
    }
    this.refreshed = now;
    /** @type {Node[]} */
    const nodes = [];
    const walk = (/** @type {Node} */ node) => {
      nodes.push(node);
      for (const part of node.parts ?? []) {
        for (const page of part.pages.values()) {
          page.stale = page.rows.length < PAGE || page.rows.some((row) => !row.ended || row.below < row.spawned);
        }
        for (const below of part.open.values()) walk(below);
      }
    };
    walk(this.root);
    Promise.all(nodes.slice(0, 20).map((node) => this.load(node).catch(() => {}))).then(() => this.draw());
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = this.place(this.active);
    const row = place && place.at !== null ? this.row(place.part, place.at) : undefined;
    const moves = {
      ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: this.seen, PageUp: -this.seen,
      Home: -Infinity, g: -Infinity, End: Infinity, G: Infinity,
    };
    const move = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (move !== undefined) {
      this.active = Math.max(0, Math.min(this.total - 1, this.active + move));
      if (this.active < this.first) this.to(this.active);
      else if (this.active >= this.first + this.seen) this.to(this.active - this.seen + 1);
      else this.draw();
    } else if (event.key === "ArrowRight" && place && place.at !== null && row && row.spawned > 0) {
      if (!place.part.open.has(place.at)) this.toggle(place.part, place.at, row);
    } else if (event.key === "ArrowLeft" && place && place.at !== null && row && place.part.open.has(place.at)) {
      this.toggle(place.part, place.at, row);
    } else if (event.key === "Enter" && row) {
      location.assign(`${this.base}/tasks/${row.id}`);
    } else {
      return;
    }
    event.preventDefault();
  }
}

customElements.define("h-tree", Tree);
