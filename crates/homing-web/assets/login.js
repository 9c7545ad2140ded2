// @ts-check
// The printed address ends in `#t=TOKEN`: the token never reaches a server's log. It is sent once, for a cookie.

const form = document.querySelector("#login");
const token = new URLSearchParams(location.hash.slice(1)).get("t");
const base = document.body.dataset.base ?? "";

/** Opens the page that was wanted; the login itself leads to the overview. */
function enter() {
  const here = location.pathname === `${base}/login` ? base || "/" : location.pathname + location.search;
  location.replace(here);
}

if (form instanceof HTMLFormElement) {
  const to = form.elements.namedItem("to");
  if (to instanceof HTMLInputElement && location.pathname !== `${base}/login`) {
    to.value = location.pathname + location.search;
  }
  if (token) {
    // Nor does it stay in the history.
    history.replaceState(null, "", location.pathname + location.search);
    const body = new URLSearchParams({ token });
    fetch(`${base}/login`, { method: "POST", body, headers: { "X-Homing": "1" } }).then((answer) => {
      if (answer.ok) enter();
    });
  } else if (!sessionStorage.getItem("homing-again")) {
    // A link on another site's page brings no cookie along; one from here does.
    sessionStorage.setItem("homing-again", "1");
    fetch(`${base}/api/v1/kinds`).then((answer) => {
      if (answer.ok) enter();
    });
  }
}
