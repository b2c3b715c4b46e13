"use strict";
// One part, one key. The next picture is loaded before it is needed; answers go out in order, in the background.

const AHEAD = 3; // pictures loaded in advance
const REFILL_BELOW = 5;
const LOOK_MS = 150; // nobody recognises a part sooner: it was a key that bounced
const POLL_MS = 3000; // while there is nothing to label
const TIMEOUT_MS = 10000;
const byId = (id) => document.getElementById(id);
const queue = byId("queue");
const { base, token } = queue.dataset;
const wanted = Number(queue.dataset.wanted);
const texts = JSON.parse(queue.dataset.texts);
const start = JSON.parse(queue.dataset.start);
const buttons = [...document.querySelectorAll("#classes button")];
const names = new Map(buttons.map((one) => [one.value, one.querySelector("span").textContent]));

let waiting = start.items; // waiting[0] is on the screen
let nWaiting = start.n_waiting;
const past = []; // {item, before, label}, the last one last; label null: skipped
let nDone = 0;
let begunAt = null; // of the first answer
let isLooked = false; // the picture is on the screen: nobody labels what he has not seen
let sending = Promise.resolve();
let isRefilling = false;
const settled = new Set(); // answered or skipped here, perhaps not yet at the server
const pictures = new Map(); // event id -> Promise of a loaded Image, or of null

function say(key, values = {}) {
  return Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`{${name}}`, value), texts[key]);
}

function picture(item) {
  if (!pictures.has(item.event_id)) {
    const image = new Image();
    image.alt = say("queue_picture", { camera: item.camera });
    image.src = item.picture;
    pictures.set(item.event_id, image.decode().then(() => image, () => null));
  }
  return pictures.get(item.event_id);
}

function showCounts(counts) { // of labelled pictures per class, where the first head is waited for
  if (!wanted) return;
  let nEnough = 0;
  for (const one of buttons) {
    const n = counts[one.value] ?? 0;
    const shown = one.querySelector(".count");
    shown.textContent = n >= wanted ? `✓ ${n}` : say("queue_count", { n, wanted });
    shown.classList.toggle("enough", n >= wanted);
    if (n >= wanted) nEnough += 1;
  }
  byId("classes-done").textContent = say("queue_classes_done", { n: nEnough, all: buttons.length });
  byId("enough").hidden = nEnough < buttons.length;
}

function tell(text, isBad = false) {
  byId("said").textContent = text;
  byId("said").className = isBad ? "bad" : "";
}

async function show() {
  const item = waiting[0];
  isLooked = false;
  for (const id of ["part", "choice"]) byId(id).hidden = !item;
  byId("empty").hidden = Boolean(item);
  showProgress();
  if (!item) return;
  byId("event-id").value = item.event_id;
  byId("camera").textContent = item.camera;
  byId("time").textContent = item.time;
  byId("blind").hidden = !item.blind;
  byId("model").hidden = !item.model_text;
  byId("model-text").textContent = item.model_text || "";
  byId("model-confidence").textContent = item.model_confidence || "";
  byId("again").hidden = !item.said;
  byId("again").textContent = item.said ? say("queue_again", { label: names.get(item.said) ?? item.said }) : "";
  mark(buttons.findIndex((one) => one.value === (item.said ?? item.model_label)));
  const image = await picture(item);
  if (waiting[0] !== item) return;
  byId("no-picture").hidden = Boolean(image);
  byId("photo").querySelectorAll("img").forEach((old) => old.remove());
  if (image) byId("photo").prepend(image);
  setTimeout(() => {
    if (waiting[0] !== item) return;
    isLooked = true;
    queue.dataset.shown = item.event_id;
  }, LOOK_MS);
  waiting.slice(1, 1 + AHEAD).forEach(picture);
  if (past.length > AHEAD) pictures.delete(past[past.length - AHEAD - 1].item.event_id);
}

function showProgress() {
  byId("left").textContent = wanted ? "" : say("queue_left", { n: nWaiting });
  byId("done").textContent = say("queue_done", { n: nDone });
  const seconds = begunAt === null ? 0 : (performance.now() - begunAt) / 1000;
  byId("pace").textContent = nDone > 2 ? say("queue_pace", { seconds: (seconds / nDone).toFixed(1) }) : "";
  byId("undo").disabled = past.length === 0;
}

function marked() {
  return buttons.findIndex((one) => one.classList.contains("marked"));
}

function mark(place) {
  buttons.forEach((one, at) => one.classList.toggle("marked", at === place));
  if (place >= 0) buttons[place].scrollIntoView({ block: "nearest" });
}

async function post(path, fields) {
  const answer = await fetch(base + path, {
    method: "POST",
    headers: { Accept: "application/json", "X-CSRF-Token": token },
    body: new URLSearchParams(fields),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const told = await answer.json().catch(() => ({})); // also where it is fine: an unread body keeps its connection
  if (answer.ok) { showCounts(told.n_labelled); return null; }
  return { isFast: answer.status === 429, isGone: answer.status === 422 || answer.status === 404, text: told.error };
}

function bringBack(entry) {
  const at = past.indexOf(entry);
  if (at >= 0) { past.splice(at, 1); nDone -= 1; nWaiting += 1; }
  settled.delete(entry.item.event_id);
  waiting = [entry.before, ...waiting.filter((one) => one.event_id !== entry.item.event_id)];
  show();
}

function send(entry) {
  const fields = { event_id: entry.item.event_id };
  if (entry.label !== null) fields.label = entry.label;
  const path = entry.label === null ? "/queue/skip" : "/queue/answer";
  sending = sending.then(() => post(path, fields)).then((refusal) => {
    if (refusal === null) {
      const text = entry.label === null ? "" : say("queue_taken", { label: names.get(entry.label) ?? entry.label });
      tell(entry.label === null ? say("queue_skipped") : text);
    } else if (refusal.isGone) {
      tell(refusal.text, true); // expired, or answered by others: asking again would change nothing
    } else {
      tell(refusal.isFast ? say("queue_slow_down") : refusal.text || say("queue_not_saved"), true);
      bringBack(entry);
    }
  }).catch(() => { tell(say("lost"), true); bringBack(entry); });
}

function settle(label) {
  const item = waiting[0];
  if (!item || !isLooked) return;
  begunAt ??= performance.now();
  waiting = waiting.slice(1);
  const isKept = label === null && item.said; // skipped after coming back: the earlier answer stands
  const entry = { item: { ...item, said: label ?? item.said }, before: item, label };
  past.push(entry);
  settled.add(item.event_id);
  nDone += 1;
  nWaiting = Math.max(0, nWaiting - 1);
  if (!isKept) send(entry);
  show();
  if (waiting.length < REFILL_BELOW) refill();
}

function undo() {
  const entry = past.pop();
  if (!entry) return;
  nDone -= 1;
  nWaiting += 1;
  settled.delete(entry.item.event_id);
  waiting = [entry.item, ...waiting];
  tell("");
  show();
}

async function refill() {
  if (isRefilling) return;
  isRefilling = true;
  try {
    await sending;
    const answer = await fetch(`${base}/queue.json`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    const told = await answer.json();
    const known = new Set(waiting.map((one) => one.event_id));
    const fresh = told.items.filter((one) => !known.has(one.event_id) && !settled.has(one.event_id));
    const wasEmpty = waiting.length === 0;
    waiting = [...waiting, ...fresh];
    nWaiting = Math.max(told.n_waiting, waiting.length);
    showCounts(told.n_labelled);
    byId("lost").hidden = true;
    if (wasEmpty && fresh.length) show(); else showProgress();
    waiting.slice(1, 1 + AHEAD).forEach(picture);
  } catch {
    byId("lost").hidden = false;
  } finally {
    isRefilling = false;
  }
}

function pressed(event) { // the character, also where a Japanese input method holds it back
  if (event.key.length === 1) return event.key.toLowerCase();
  const held = /^(?:Digit|Numpad|Key)([0-9A-Z])$/.exec(event.code);
  return event.key === "Process" && held ? held[1].toLowerCase() : event.key;
}

function move(by) {
  const at = marked();
  mark(at < 0 ? (by > 0 ? 0 : buttons.length - 1) : (at + by + buttons.length) % buttons.length);
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return; // a key held down is one answer
  const key = pressed(event);
  const keys = byId("keys");
  if (key === "?") { if (keys.open) keys.close(); else keys.showModal(); event.preventDefault(); return; }
  if (keys.open) return;
  const isTool = document.activeElement?.closest(".tools, header") && (key === "Enter" || key === " ");
  if (isTool) return; // a button that was reached with Tab does what it says
  const acts = {
    Enter: () => { if (marked() >= 0) settle(buttons[marked()].value); },
    Backspace: undo,
    " ": () => settle(null),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
  };
  const chosen = buttons.find((one) => one.dataset.key && one.dataset.key === key);
  const act = chosen ? () => settle(chosen.value) : acts[key];
  if (act) { event.preventDefault(); act(); }
}

document.addEventListener("keydown", onKey);
byId("choice").addEventListener("submit", (event) => {
  event.preventDefault();
  settle(event.submitter?.id === "skip" ? null : event.submitter?.value ?? null);
  event.submitter?.blur(); // or the next Space would press it again
});
byId("undo").addEventListener("click", (event) => { undo(); event.currentTarget.blur(); });
byId("help").addEventListener("click", () => byId("keys").showModal());
for (const id of ["undo", "help"]) byId(id).hidden = false;
setInterval(() => { if (waiting.length === 0 && !document.hidden) refill(); }, POLL_MS);
showCounts(start.n_labelled);
show();
