// Light or dark, as one likes: before anything is drawn, so that nothing flashes. Without a choice the system's.
"use strict";
(() => {
  const KEY = "homing-theme";
  const root = document.documentElement;
  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is off: the system's theme it is
    }
  };
  const show = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  show(read());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("button.theme");
    if (!button) return;
    const label = () => {
      button.textContent = `Theme: ${root.dataset.theme ?? "system"}`;
    };
    button.hidden = false;
    label();
    button.addEventListener("click", () => {
      const next = { light: "dark", dark: "system" }[root.dataset.theme] ?? "light";
      show(next);
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // It lasts for this page.
      }
      label();
    });
  });
})();
