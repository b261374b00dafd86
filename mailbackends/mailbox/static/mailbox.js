// New mail without a reload, search while typing, keys, colours. The page also works without.
"use strict";

const base = document.body.dataset.base;
const list = document.getElementById("list");
const search = document.getElementById("search");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// The list

const state = () => list.querySelector(".list-head").dataset;
const selected = () => location.pathname.match(/messages\/(\d+)\/$/)?.[1] ?? "";
let latest = 0;

async function refresh() {
  const turn = ++latest;
  const query = new URLSearchParams({ q: search.value, selected: selected() });
  const answer = await fetch(`${base}list?${query}`);
  const text = await answer.text();
  if (!answer.ok || turn !== latest) return;
  const known = new Set([...list.querySelectorAll(".line")].map((line) => line.dataset.id));
  const picked = new Set([...list.querySelectorAll(".pick:checked")].map((box) => box.name));
  const place = list.scrollTop;
  list.innerHTML = text; // from our own server, which has escaped it
  list.scrollTop = place;
  for (const box of list.querySelectorAll(".pick")) box.checked = picked.has(box.name);
  for (const line of list.querySelectorAll(".line")) {
    if (!known.has(line.dataset.id)) line.classList.add("arrived");
  }
  const unread = Number(state().unread);
  document.title = document.title.replace(/^(\(\d+\) )?/, unread ? `(${unread}) ` : "");
}

async function follow() {
  for (;;) {
    if (document.hidden) {
      await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
      continue;
    }
    const asked = new AbortController();
    const away = () => document.hidden && asked.abort();
    document.addEventListener("visibilitychange", away);
    try {
      const answer = await fetch(`${base}api/changes?since=${state().version}&wait=20`, { signal: asked.signal });
      if (!answer.ok) throw new Error(answer.statusText);
      const told = await answer.json();
      list.classList.remove("lost");
      if (String(told.version) !== state().version) await refresh();
      else if (!told.may_wait) await pause(2000);
      else await pause(50);
    } catch {
      if (!asked.signal.aborted) {
        list.classList.add("lost");
        await pause(2000);
      }
    } finally {
      document.removeEventListener("visibilitychange", away);
    }
  }
}

if (list) {
  follow();
  let typed;
  search.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(refresh, 120);
  });
  list.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
}


// Keys

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    search.focus();
  } else if (event.key === "j" || event.key === "k") {
    const lines = [...document.querySelectorAll(".line")];
    const here = lines.findIndex((line) => line.getAttribute("aria-current"));
    const next = here < 0 ? 0 : here + (event.key === "j" ? 1 : -1);
    lines[next]?.click();
  }
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// The frame: how wide, and in which colours the mail finds itself.

const frame = document.getElementById("frame");
for (const button of document.querySelectorAll("[data-frame], [data-scheme]")) {
  button.addEventListener("click", () => {
    for (const other of button.parentElement.children) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    if (button.dataset.frame) frame.classList.toggle("narrow", button.dataset.frame === "narrow");
    else frame.classList.toggle("dark", button.dataset.scheme === "dark");
  });
}

// Faults: only what the kind needs.

const kind = document.getElementById("kind");
if (kind) {
  const show = () => {
    for (const label of document.querySelectorAll("[data-for]")) {
      label.hidden = !label.dataset.for.split(" ").includes(kind.value);
    }
  };
  kind.addEventListener("change", show);
  show();
}

// Colours of the page

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try { localStorage.setItem("mailbox-theme", root.dataset.theme); } catch { /* for this page only */ }
});
