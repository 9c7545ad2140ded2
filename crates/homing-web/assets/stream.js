// @ts-check
// The stream of a page. It is open while the page is seen: one that nobody sees reads nothing, and holds none of the few
// connections that a browser has.

/**
 * Follows a stream until it says that it has ended.
 *
 * @param {() => string} address where it is, each time that it is opened
 * @param {Record<string, (event: MessageEvent) => void>} hears what is done with each sort of event
 * @param {{ ended?: () => void, away?: () => void }} [told] what is done at its end, and while it does not answer
 */
export function follow(address, hears, told = {}) {
  /** @type {EventSource | null} */
  let source = null;
  let over = false;

  function close() {
    source?.close();
    source = null;
  }

  function open() {
    if (source || over || document.hidden) return;
    source = new EventSource(address());
    for (const [name, hear] of Object.entries(hears)) source.addEventListener(name, hear);
    source.addEventListener("end", () => {
      over = true;
      close();
      told.ended?.();
    });
    const away = () => {
      if (!over) told.away?.();
      // The browser opens a stream again by itself, but not after an answer that is none.
      if (source?.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 3000);
      }
    };
    source.addEventListener("trouble", away);
    source.addEventListener("error", away);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}
