"use strict";
// Keeps the wall fresh: texts at once, a picture only when it is loaded, so nothing flickers.

const PERIOD_MS = 1000;
const TIMEOUT_MS = 5000;
const wall = document.getElementById("wall");
const lost = document.getElementById("lost");

function showPicture(tile, told) {
  const picture = new Image();
  const link = tile.querySelector(".photo");
  picture.alt = wall.dataset.alt.replace("{camera}", told.camera);
  picture.src = `${wall.dataset.base}/pictures/${encodeURIComponent(told.event_id)}`;
  tile.dataset.event = told.event_id;
  picture.decode().then(() => {
    if (tile.dataset.event !== told.event_id) return; // a newer one is on its way
    link.href = `${wall.dataset.base}/why/${encodeURIComponent(told.event_id)}`;
    link.replaceChildren(picture);
  }).catch(() => { /* no longer kept: the last picture stays, its age is beside it */ });
}

function show(told) {
  const tile = wall.querySelector(`[data-camera="${CSS.escape(told.camera)}"]`);
  if (!tile) return false;
  tile.className = `tile ${told.decision}`;
  for (const field of tile.querySelectorAll("[data-field]")) {
    const text = told[field.dataset.field];
    if (field.textContent !== text) field.textContent = text;
  }
  if (told.event_id && tile.dataset.event !== told.event_id) showPicture(tile, told);
  return true;
}

async function renew() {
  try {
    const answer = await fetch(wall.dataset.source, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    const { tiles } = await answer.json();
    const n_shown = wall.querySelectorAll(".tile").length;
    if (!tiles.every(show) || tiles.length !== n_shown) { location.reload(); return; }
    lost.hidden = true;
    wall.classList.remove("old");
  } catch {
    lost.hidden = false;
    wall.classList.add("old");
  }
  setTimeout(renew, PERIOD_MS);
}

setTimeout(renew, PERIOD_MS);
