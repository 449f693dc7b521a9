// What the pages do better with JavaScript: states that keep themselves up to date, and keys. upload.js has uploads.
"use strict";

document.documentElement.classList.add("script");

// Pauses between two questions to the server, in milliseconds: short while things change, longer while they do not.
const SOON = 700;
const LATEST = 10000;
const UNSEEN = 60000;

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// Longer while nobody looks; whoever looks again gets the news at once.
function pauseWhileUnseen(milliseconds) {
  if (!document.hidden) return pause(milliseconds);
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = () => {
      over.abort();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, UNSEEN);
    document.addEventListener("visibilitychange", end, { signal: over.signal });
  });
}

// Asks again and again until `ask` returns "done"; "changed" starts over with short pauses.
async function keepAsking(ask) {
  let wait = SOON;
  for (;;) {
    await pauseWhileUnseen(wait);
    let outcome = "failed";
    try {
      outcome = await ask();
    } catch {
      // The server is away for the moment; the growing pause is the answer.
    }
    if (outcome === "done") return;
    wait = outcome === "changed" ? SOON : Math.min(wait * 1.5, LATEST);
  }
}

function say(words) {
  const place = document.getElementById("said");
  if (place.textContent !== words) place.textContent = words;
}

// Asks for a document; the answer is an empty 304 while it is the one that the tag came with.
function fetchUnlessSame(address, kind, tag) {
  return fetch(address, { headers: { Accept: kind, ...(tag ? { "If-None-Match": tag } : {}) } });
}

// --- Pages that refresh their own middle part -----------------------------------------------------------------

// Puts a fresh part of the page into the old one's place, unless they are the same; returns whether it did.
function swapIn(here, fresh) {
  // What the reader opened stays open, and where the keyboard was it stays.
  const twins = fresh.querySelectorAll("details");
  here.querySelectorAll("details").forEach((details, index) => {
    if (twins[index]) twins[index].open = details.open;
  });
  if (fresh.outerHTML === here.outerHTML) return false;
  const stops = "a, button, summary";
  const stop = [...here.querySelectorAll(stops)].indexOf(document.activeElement);
  here.replaceWith(fresh);
  if (stop >= 0) fresh.querySelectorAll(stops)[stop]?.focus({ preventScroll: true });
  return true;
}

function keepFresh(id) {
  let tag = null;
  keepAsking(async () => {
    const here = document.getElementById(id);
    if (!("live" in here.dataset)) return "done";
    const answer = await fetchUnlessSame(location.href, "text/html", tag);
    if (answer.status === 304) return "same";
    if (!answer.ok) return "failed";
    tag = answer.headers.get("ETag");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(id);
    if (!fresh) return "failed";
    if (!swapIn(here, fresh)) return "same";
    if (fresh.dataset.words !== here.dataset.words) say(fresh.dataset.words);
    return "changed";
  });
}

if (document.querySelector("#live[data-live]")) keepFresh("live");

// --- Keys ------------------------------------------------------------------------------------------------------

// A key presses what carries it; in a field it is a letter like any other, and Escape leaves the field.
function setUpKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const field = event.target.closest("input, textarea, select");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    const key = CSS.escape(event.key.toLowerCase());
    const target = document.querySelector(`[data-key="${key}"]`);
    if (!target) return;
    event.preventDefault();
    if (target.matches("textarea")) target.focus();
    else target.click();
  });
}

if (document.querySelector("[data-key]")) setUpKeys();
