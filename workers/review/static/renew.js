"use strict";
// Fetches the same page again every few seconds and takes over its changing part.

const PERIOD_MS = 5000;
const TIMEOUT_MS = 5000;
const lost = document.getElementById("lost");

async function renew() {
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = document.querySelector("[data-renew]");
    const next = page.querySelector("[data-renew]");
    if (next && next.innerHTML !== now.innerHTML) now.replaceWith(next);
    lost.hidden = true;
  } catch {
    lost.hidden = false;
  }
  setTimeout(renew, PERIOD_MS);
}

setTimeout(renew, PERIOD_MS);
