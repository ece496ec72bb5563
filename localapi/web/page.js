// The status page. It reads /v1/status and the lists every few seconds, and
// /v1/stream all the time. Text from outside goes into the page as text only.

const KEY = "fieldpost.key";
const SHOWN = 60;
const STALE_MS = 20_000; // the stream says something each 15 s

const $ = (id) => document.getElementById(id);

let key = takeKey();
let me = null;
let position = "";
let heard = Date.now();
let paused = false;
let run = null; // aborts what runs with the present key
const peaks = new Map(); // the largest backlog of an uplink since it was last empty
const seen = new Map(); // the card of a device, and the event it showed last

// takeKey takes the key out of the address, so that it is in no history, and
// keeps it for this tab.
function takeKey() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given || sessionStorage.getItem(KEY) || "";
}

async function call(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (key) headers.Authorization = "Bearer " + key;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.ok) return answer;
  let problem = {};
  try { problem = await answer.json(); } catch { /* no problem+json */ }
  const err = new Error(problem.detail || answer.statusText);
  err.status = answer.status;
  err.type = problem.type;
  throw err;
}

const get = async (path, signal) => (await call(path, { signal })).json();
const post = async (path, body) => (await call(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();

function el(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

const count = (n) => Number(n).toLocaleString();

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return n.toLocaleString(undefined, { maximumFractionDigits: 1 }) + " " + units[i];
}

function span(seconds) {
  if (seconds < 60) return Math.round(seconds) + " s";
  if (seconds < 3600) return Math.round(seconds / 60) + " min";
  if (seconds < 86400) return (seconds / 3600).toFixed(1) + " h";
  return (seconds / 86400).toFixed(1) + " days";
}

function clock(text) {
  const t = new Date(text);
  return isNaN(t) ? "" : t.toLocaleTimeString([], { hour12: false });
}

function text(value) {
  if (value === undefined || value === null) return "–";
  if (typeof value === "number") return value.toLocaleString(undefined, { maximumFractionDigits: 4 });
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// shown is a value the way people say it.
function shown(data) {
  if (data === null || typeof data !== "object") return text(data);
  if (data.state !== undefined) return String(data.state);
  if (data.value !== undefined) return text(data.value) + (data.unit ? " " + data.unit : "");
  return JSON.stringify(data);
}

const mayWrite = () => me && me.role !== "read";

function showStatus(s) {
  me = s.you;
  document.title = s.agent.id + " – Fieldpost";
  $("agent").textContent = s.agent.id;
  $("sub").textContent = "up " + span(s.agent.uptime) + " · clock " + s.clock.state + " · key " + s.you.name + " (" + s.you.role + ")";
  $("version").textContent = "fieldpost " + s.agent.version;
  $("state").textContent = s.state === "ok" ? "OK" : "degraded";
  $("state").className = "pill " + (s.state === "ok" ? "ok" : "bad-text");
  $("problems").replaceChildren(...s.problems.map((p) => el("li", "", p)));
  $("problems").hidden = s.problems.length === 0;
  const facts = [
    ["stored since start", count(s.store.events)], ["newest event", s.store.position], ["last flush", s.store.flush_ms.toFixed(2) + " ms"],
    ["waiting", count(s.store.waiting)], ["rings", count(s.store.rings)], ["free", bytes(s.store.free)],
  ];
  $("store").replaceChildren(...facts.map(([k, v]) => {
    const d = el("div");
    d.append(el("dt", "", k), el("dd", "", v));
    return d;
  }));
  showUplinks(s.uplinks, s.demo);
}

function showUplinks(list, demo) {
  $("no-uplinks").hidden = list.length > 0;
  $("uplinks").replaceChildren(...list.map((u) => {
    const card = el("div", "card device");
    const head = el("div", "split");
    const up = u.state === "up";
    head.append(el("span", "name", u.name), el("span", "pill " + (up ? "ok" : "warn-text"), u.state));
    card.append(head, el("div", "small", u.sender + " · " + u.address));

    if (u.backlog === 0) peaks.delete(u.name);
    else peaks.set(u.name, Math.max(peaks.get(u.name) || 0, u.backlog));
    const bar = el("progress");
    bar.max = Math.max(peaks.get(u.name) || 1, 1);
    bar.value = u.backlog;
    bar.setAttribute("aria-label", "backlog of " + u.name);
    let line = u.backlog === 0 ? "nothing waits" : count(u.backlog) + " events wait";
    if (u.empty_in !== undefined && u.backlog > 0) line += " · empty in " + span(u.empty_in);
    if (u.rate > 0) line += " · " + u.rate.toFixed(u.rate < 10 ? 1 : 0) + "/s";
    card.append(bar, el("div", "small", line), el("div", "small", count(u.acknowledged) + " delivered" + (u.refused ? " · " + count(u.refused) + " refused" : "")));
    if (u.error && !up) card.append(el("div", "small bad-text", u.error));
    if (demo && me && me.role === "admin") card.append(cutButton(u, up));
    return card;
  }));
}

const cut = new Set();

// cutButton offers to join a line that is down, too: this page may not be the one
// that cut it.
function cutButton(u, up) {
  const on = cut.has(u.name) || !up;
  const b = el("button", on ? "" : "quiet", on ? "Join the line" : "Cut the line");
  b.onclick = async () => {
    b.disabled = true;
    try {
      await post("v1/uplinks/" + encodeURIComponent(u.name) + "/cut", { cut: !on });
      if (on) cut.delete(u.name); else cut.add(u.name);
      b.textContent = on ? "joining…" : "cutting…";
    } catch (err) { b.textContent = err.message; }
  };
  return b;
}

function showDevices(list) {
  $("no-devices").hidden = list.length > 0;
  const names = new Set(list.map((d) => d.name));
  for (const [name, card] of seen) if (!names.has(name)) { card.root.remove(); seen.delete(name); }
  for (const d of list) {
    let card = seen.get(d.name);
    if (!card) {
      card = { root: el("div", "card device"), event: d.event };
      seen.set(d.name, card);
      $("devices").append(card.root);
    }
    fillDevice(card, d);
  }
}

function fillDevice(card, d) {
  const head = el("div", "split");
  const who = el("div");
  who.append(el("div", "name", d.label || d.name), el("div", "small", [d.label ? d.name : "", d.room, d.driver, (d.pins || []).join(" ")].filter(Boolean).join(" · ")));
  head.append(who);
  const commands = d.commands || [];
  if (commands.includes("on") && commands.includes("off") && mayWrite()) head.append(toggle(d));
  const switched = commands.includes("on") && typeof d.value === "boolean";
  const value = el("div", "value", d.state || (switched ? (d.value ? "on" : "off") : text(d.value)));
  if (d.unit && !d.state) value.append(el("span", "unit", d.unit));
  const foot = el("div", "small");
  if (d.status === "ok") foot.textContent = d.since ? "since " + clock(d.since) : "";
  else { foot.className = "small bad-text"; foot.textContent = d.status + (d.error ? ": " + d.error : ""); }
  if (d.since) foot.title = d.since;
  card.root.replaceChildren(head, value, foot);
  if (card.event !== d.event) {
    card.event = d.event;
    card.root.classList.add("fresh");
    requestAnimationFrame(() => setTimeout(() => card.root.classList.remove("fresh"), 400));
  }
}

// toggle shows sent until the board has confirmed; it never just flips.
function toggle(d) {
  const on = d.value === true || d.value === 1;
  const b = el("button", "switch");
  b.setAttribute("role", "switch");
  b.setAttribute("aria-checked", String(on));
  b.setAttribute("aria-label", d.label || d.name);
  b.onclick = async () => {
    b.disabled = true;
    b.classList.add("sent");
    try {
      await post("v1/devices/" + encodeURIComponent(d.name) + "/" + (on ? "off" : "on"), {});
    } catch (err) {
      const card = seen.get(d.name);
      if (card) card.root.append(el("div", "small bad-text", err.message));
    }
    soon();
  };
  return b;
}

function showEvent(ev) {
  if (paused) return;
  const li = el("li", ev.kind === "gap" ? "gap" : "");
  const t = el("time", "", clock(ev.time));
  t.title = ev.time || "";
  const data = el("code", "", ev.kind + " " + shown(ev.data));
  data.title = JSON.stringify(ev.data) + " · " + ev.id + " · " + ev.ring + " " + ev.seq + (ev.from ? " · " + ev.from : "");
  li.append(t, el("span", "name", ev.name), data);
  const list = $("events");
  list.prepend(li);
  while (list.children.length > SHOWN) list.lastChild.remove();
  if (ev.from && ev.from.startsWith("device:")) soon();
}

// soon reads the devices again, once for many events.
let planned = 0;
function soon() {
  if (planned || !run) return;
  planned = setTimeout(async () => {
    planned = 0;
    try { showDevices((await get("v1/devices", run?.signal)).devices); } catch { /* poll says so */ }
  }, 250);
}

function refuse(err) {
  stop();
  key = "";
  sessionStorage.removeItem(KEY);
  $("main").hidden = true;
  $("logout").hidden = true;
  const unclaimed = err !== null && isUnclaimed(err) && !err.tried;
  $("claim").hidden = !unclaimed;
  $("login").hidden = unclaimed;
  if (unclaimed) askForCode(err.type === OPEN);
  $("refused").textContent = err && err.status !== 401 ? err.message : err && err.tried ? "That key is not known." : "";
  $("state").textContent = "locked";
  $("state").className = "pill";
}

const OPEN = "urn:fieldpost:claim-open"; // the agent's button was held
const isUnclaimed = (err) => err.type === "urn:fieldpost:unclaimed" || err.type === OPEN;

// askForCode shows what the claim takes, and looks every few seconds whether the
// agent's button has changed that.
let asking = 0;
function askForCode(open) {
  $("by-code").hidden = $("code").hidden = open;
  $("by-button").hidden = !open;
  clearTimeout(asking);
  asking = setTimeout(async () => {
    if ($("claim").hidden) return;
    if (document.hidden) { askForCode(open); return; }
    try { await get("v1/status"); } catch (err) {
      if ($("claim").hidden) return;
      if (isUnclaimed(err)) askForCode(err.type === OPEN);
      else if (err.status === 401) refuse(err); // another has claimed it
      else askForCode(open);
    }
  }, 3000);
}

function stop() {
  if (run) run.abort();
  run = null;
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function poll(signal) {
  while (!signal.aborted) {
    try {
      const [s, d] = await Promise.all([get("v1/status", signal), get("v1/devices", signal)]);
      showStatus(s);
      showDevices(d.devices);
      $("main").hidden = false;
      $("login").hidden = true;
      $("claim").hidden = true;
      $("logout").hidden = false;
      heard = Math.max(heard, Date.now());
    } catch (err) {
      if (signal.aborted) return;
      if (err.status === 401) { err.tried = key !== ""; refuse(err); return; }
    }
    const old = Date.now() - heard > STALE_MS;
    $("stale").hidden = !old;
    document.body.classList.toggle("stale", old);
    await wait(document.hidden ? 10_000 : 2000);
  }
}

async function stream(signal) {
  while (!signal.aborted) {
    try {
      const begin = position || (await recent(signal));
      const answer = await call("v1/stream" + (begin ? "?after=" + encodeURIComponent(begin) : ""), { signal });
      await readStream(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch (err) {
      if (signal.aborted || err.status === 401) return;
    }
    await wait(2000);
  }
}

// recent shows the newest events and gives the position behind them.
async function recent(signal) {
  const page = await get("v1/events?order=desc&limit=20", signal);
  for (const ev of page.events.reverse()) showEvent(ev);
  const last = page.events.filter((ev) => ev.n).pop();
  return last ? last.id.replace("-", ".") : "";
}

async function readStream(reader) {
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard = Date.now();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) takeBlock(block);
  }
}

function takeBlock(block) {
  let name = "message", data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) position = line.slice(4);
    else if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (name === "message" && data) showEvent(JSON.parse(data));
}

function start() {
  stop();
  run = new AbortController();
  heard = Date.now();
  poll(run.signal);
  stream(run.signal);
}

$("login").addEventListener("submit", (e) => {
  e.preventDefault();
  key = $("key").value.trim();
  $("key").value = "";
  if (!key) return;
  sessionStorage.setItem(KEY, key);
  start();
});
$("claim").addEventListener("submit", async (e) => {
  e.preventDefault();
  const button = e.submitter || $("claim").querySelector("button");
  button.disabled = true;
  $("not-claimed").textContent = "";
  try {
    key = (await post("v1/claim", $("code").hidden ? {} : { code: $("code").value })).key;
    sessionStorage.setItem(KEY, key);
    $("code").value = "";
    $("new-key").textContent = key;
    $("claim").hidden = true;
    $("claimed").hidden = false;
  } catch (err) {
    $("not-claimed").textContent = err.message;
  }
  button.disabled = false;
});
$("have-key").addEventListener("click", () => {
  $("claim").hidden = true;
  $("login").hidden = false;
  $("key").focus();
});
$("go-on").addEventListener("click", () => {
  $("new-key").textContent = "";
  $("claimed").hidden = true;
  start();
});
$("logout").addEventListener("click", () => refuse(null));
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").textContent = paused ? "Go on" : "Pause";
  $("pause").setAttribute("aria-pressed", String(paused));
});
window.addEventListener("hashchange", () => { key = takeKey(); if (key) start(); });
start();
