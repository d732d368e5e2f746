"use strict";

// Rows come as HTML in which the server escaped every text; nothing here builds HTML of its own.

const stored = localStorage.getItem("latentlabels-theme");
if (stored) document.documentElement.dataset.theme = stored;

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// Pixels up to which a picture is shown with its pixels as squares.
const TINY = 160;

let shownAt = 0;
let busy = false;
let waiting = null;
let unsent = null;

/* What is asked for */

function filters() {
  const wanted = new URLSearchParams();
  for (const [name, value] of new FormData(one("#filters"))) {
    if (value !== "") wanted.set(name, value);
  }
  return wanted;
}

async function ask(address, content) {
  const options = content && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer. What was decided is saved. Start it again, and open the address it prints.");
  }
  if (answer.status === 403) throw new Error(await answer.text());
  return answer;
}

// One thing at a time: a key that comes too early would speak of a row that is not there yet.
// What has to come about all the same waits, the last of it.
async function doing(action, waits = false) {
  if (busy) {
    if (waits) waiting = action;
    return;
  }
  busy = true;
  try {
    await action();
    trouble("");
    unsent = null;
  } catch (error) {
    unsent = action;
    trouble(error.message);
  } finally {
    busy = false;
  }
  const next = waiting;
  waiting = null;
  if (next) await doing(next);
}

function trouble(message) {
  const place = one("#trouble");
  one("p", place).textContent = message;
  place.hidden = !message;
}

function say(message) {
  one("#status").textContent = message;
}

/* The row that is shown */

async function show(more, focus = true) {
  const asked = filters();
  const wanted = new URLSearchParams(asked);
  for (const [name, value] of Object.entries(more)) wanted.set(name, value);
  const answer = await ask(`/row?${wanted}`);
  one("#view").innerHTML = await answer.text();
  begin(focus, asked);
}

// The address is that of what is shown; by now other filters may have been chosen.
function begin(focus, address) {
  shownAt = performance.now();
  const article = one("article");
  if (article) address.set("row", article.dataset.row);
  history.replaceState(null, "", `/?${address}`);
  for (const image of all(".example img")) {
    if (image.complete) loaded(image);
    for (const name of ["load", "error"]) image.addEventListener(name, () => loaded(image));
  }
  ticked();
  if (focus) one("#view h2").focus({ preventScroll: true });
}

function loaded(image) {
  const width = image.naturalWidth;
  image.classList.toggle("tiny", width <= TINY);
  image.hidden = width === 0;
  one(".broken", image.parentElement).hidden = width > 0;
}

function units() {
  return all("#choice input:checked").map((input) => Number(input.value));
}

function isProposal() {
  const inputs = all("#choice input");
  const same = inputs.every((input) => input.checked === ("proposed" in input.dataset));
  return "proposal" in one("article").dataset && same;
}

function ticked() {
  if (!one("article")) return;
  one(".accept .told").textContent = isProposal() ? "Accept" : "Save";
  one(".accept").classList.toggle("edited", !isProposal());
}

function tick(input) {
  input.checked = input.type === "radio" || !input.checked;
  ticked();
}

/* Decisions */

// Undo goes back through what this tab decided, also after a reload.
const entries = {
  list: () => JSON.parse(sessionStorage.getItem("latentlabels-entries") || "[]"),
  keep: (list) => sessionStorage.setItem("latentlabels-entries", JSON.stringify(list)),
};

const SAID = { accept: "Accepted", reject: "Rejected", edit: "Saved", skip: "Skipped" };

async function decide(verdict) {
  const article = one("article");
  if (!article) return;
  const { row, seen } = article.dataset;
  const id = one(".id").textContent;
  const said = {
    row: Number(row),
    verdict,
    labels: verdict === "edit" ? units() : null,
    seen: seen === "" ? null : Number(seen),
    seconds: (performance.now() - shownAt) / 1000,
  };
  let after = null;
  await doing(async () => {
    const answer = await ask("/decide", said);
    const told = await answer.json();
    if (answer.status === 409) {
      after = { row };
      say(told.detail);
    } else if (answer.ok) {
      after = { after: row };
      entries.keep([...entries.list(), told.entry]);
      say(`${SAID[verdict]} row ${id}.`);
    } else {
      say(typeof told.detail === "string" ? told.detail : "This cannot be saved.");
    }
  });
  // On its own: where this fails, the decision is made and is not to be made again.
  if (after) await doing(() => show(after));
}

function undo() {
  doing(async () => {
    const list = entries.list();
    if (!list.length) {
      say("Nothing to undo in this tab. Show decided rows to change others.");
      return;
    }
    const answer = await ask("/undo", { entry: list.pop() });
    entries.keep(list);
    const told = await answer.json();
    if (!answer.ok) {
      say(told.detail);
      return;
    }
    await show({ row: told.row });
    say(`Undone: row ${one(".id").textContent} is open again.`);
  });
}

/* Other labels */

let asking = 0;

async function find(text) {
  const turn = ++asking;
  const place = one("#found");
  if (!text.trim()) {
    place.replaceChildren();
    return;
  }
  const answer = await ask(`/labels?${new URLSearchParams({ search: text })}`);
  const found = await answer.text();
  if (turn !== asking || !place.isConnected) return;
  place.innerHTML = found;
  place.scrollIntoView({ block: "nearest" });
}

function choose(button) {
  const there = one(`#choice input[value="${button.dataset.unit}"]`);
  if (there) {
    there.checked = true;
  } else {
    const first = one("#choice input");
    const line = document.createElement("li");
    const label = document.createElement("label");
    const key = document.createElement("kbd");
    const input = document.createElement("input");
    key.className = "without";
    Object.assign(input, { type: first ? first.type : one("#choice").dataset.type, name: "label" });
    Object.assign(input, { value: button.dataset.unit, checked: true });
    label.append(key, input, one(".name", button).cloneNode(true));
    line.append(label);
    one("#choice ul").append(line);
  }
  one("#find").value = "";
  one("#found").replaceChildren();
  one("#find").focus();
  ticked();
  say(`${one(".name", button).textContent.slice(0, 60)} is ticked.`);
}

/* What keys and buttons do */

const ACTIONS = {
  accept: () => decide(isProposal() ? "accept" : "edit"),
  reject: () => decide("reject"),
  skip: () => decide("skip"),
  undo,
  edit: () => one("#find")?.focus(),
  next: () => one("article") && doing(() => show({ after: one("article").dataset.row })),
  previous: () => one("article") && doing(() => show({ before: one("article").dataset.row })),
  search: () => one("#filters input").focus(),
  help: () => one("#help").showModal(),
  retry: () => (unsent ? doing(unsent) : location.reload()),
  dark: () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("latentlabels-theme", root.dataset.theme);
  },
};

const KEYS = {
  a: "accept", Enter: "accept", r: "reject", e: "edit", s: "skip", u: "undo",
  ArrowRight: "next", ArrowLeft: "previous", "/": "search", "?": "help", d: "dark",
};

function escape() {
  if (document.activeElement.matches("input[type=search], select")) {
    one("#view h2").focus();
    return;
  }
  for (const input of all("#choice input")) input.checked = "proposed" in input.dataset;
  ticked();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || one("#help").open) return;
  if (event.key === "Escape") return escape();
  const { target } = event;
  if (target.id === "find") {
    const first = one("#found button");
    if (event.key === "Enter" && first) {
      event.preventDefault();
      choose(first);
    } else if (event.key === "Enter" && !target.value) {
      event.preventDefault();
      ACTIONS.accept();
    } else if (event.key === "ArrowDown" && first) {
      event.preventDefault();
      first.focus();
    }
    return;
  }
  if (target.matches("input[type=search], select")) {
    if (event.key === "Enter") event.preventDefault();
    return;
  }
  if (event.key === "Enter" && target.matches("button, a")) return;
  if (event.key.startsWith("Arrow") && target.matches("input[type=radio]")) return;
  if (/^[1-9]$/.test(event.key)) {
    const input = all("#choice input")[Number(event.key) - 1];
    if (input) tick(input);
    return;
  }
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (action && !event.repeat) {
    event.preventDefault();
    ACTIONS[action]();
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.addEventListener("keydown", pressed);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action], button[data-unit]");
    if (button?.dataset.unit) choose(button);
    else if (button) ACTIONS[button.dataset.action]();
  });
  document.addEventListener("change", (event) => {
    if (event.target.closest("#choice")) ticked();
    else if (event.target.matches("select")) doing(() => show({}, false), true);
  });
  let typing;
  document.addEventListener("input", (event) => {
    const { target } = event;
    if (target.id !== "find" && target.name !== "search") return;
    clearTimeout(typing);
    typing = setTimeout(() => {
      if (target.id === "find") find(target.value).catch((error) => trouble(error.message));
      else doing(() => show({}, false), true);
    }, 150);
  });
  begin(true, filters());
});
