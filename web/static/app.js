// What the pages do better with JavaScript: uploads with progress, and states that keep themselves up to date.
// Names and words from the server are only ever set as text, never as markup.
"use strict";

document.documentElement.classList.add("script");

// Pauses between two questions to the server, in milliseconds: short while things change, longer while they do not.
const SOON = 700;
const LATEST = 10000;

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// Asks again and again until `ask` returns "done"; "changed" starts over with short pauses.
async function keepAsking(ask) {
  let wait = SOON;
  for (;;) {
    await pause(wait);
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
  keepAsking(async () => {
    const here = document.getElementById(id);
    if (!("live" in here.dataset)) return "done";
    if (document.hidden) return "same";
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return "failed";
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(id);
    if (!fresh) return "failed";
    if (!swapIn(here, fresh)) return "same";
    if (fresh.dataset.words !== here.dataset.words) say(fresh.dataset.words);
    return "changed";
  });
}

if (document.querySelector("#live[data-live]")) keepFresh("live");

// --- Upload ---------------------------------------------------------------------------------------------------

// One request carries at most this many files and, unless a single one is larger, this many bytes.
const MOST_FILES = 20;
const MOST_BYTES = 24 * 1024 * 1024;
const ENDED = ["done", "failed", "quarantined", "cancelled"];
const STATES = {
  waiting: "Waiting in the queue",
  running: "Being classified",
  done: "Classified",
  failed: "Failed",
  quarantined: "Set aside",
  cancelled: "Cancelled",
};

// As web/words.py has them.
const FLAGS = {
  doubtful: "The model is unsure; a person should look.",
  "unlike-radiographs": "Unlike the radiographs that the model knows; perhaps not a radiograph.",
};

function groups(rows) {
  const all = [];
  let bytes = 0;
  for (const row of rows) {
    const last = all[all.length - 1];
    if (!last || last.length >= MOST_FILES || bytes + row.file.size > MOST_BYTES) {
      all.push([row]);
      bytes = row.file.size;
    } else {
      last.push(row);
      bytes += row.file.size;
    }
  }
  return all;
}

function percent(share) {
  if (share > 0.99) return "> 99 %";
  return share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}

function readable(label) {
  const words = label.replace(/[-_]/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function element(kind, className, text) {
  const made = document.createElement(kind);
  made.className = className;
  made.textContent = text;
  return made;
}

// The row of one file, from the moment it is chosen.
class Row {
  constructor(file) {
    this.file = file;
    this.ended = false;
    this.node = document.getElementById("file-row").content.firstElementChild.cloneNode(true);
    this.node.querySelector(".name").textContent = file.name;
    this.state("none", "Waiting to be sent");
  }

  state(kind, words, reason) {
    const parts = [element("span", `state ${kind}`, words)];
    if (reason) parts.push(element("span", "reason", reason));
    this.node.querySelector(".answer").replaceChildren(...parts);
  }

  fail(words, reason) {
    this.ended = true;
    this.node.querySelector(".thumb").textContent = "×";
    this.state("rejected", words, reason);
  }

  // Shows what the server says of the file; a file with several pages shows the first, and says so.
  show(entry) {
    this.arrival = entry.arrival;
    if (entry.error) return this.fail("Rejected", entry.error.words);
    const [result] = entry.results;
    this.ended = entry.results.every((each) => !each.unfinished);
    const notes = [];
    if (entry.duplicate) notes.push("The same bytes were here before; this is the stored result.");
    if (entry.results.length > 1) notes.push(`${entry.results.length} pages; this is the first.`);
    this.node.querySelector(".note").textContent = notes.join(" ");
    this.link(result);
    const first = result.fracture && result.fracture.model !== result.model ? result.fracture : null;
    if (result.label === null && !first) {
      return this.state(result.status, STATES[result.status] ?? "Not asked", ENDED.includes(result.status) ? result.error?.words : "");
    }
    const answer = [];
    const suspected = !first || !/^(no|non|not)-|^normal/.test(first.label);
    if (first) {
      answer.push(
        this.label(suspected ? "Fracture suspected" : "No fracture suspected", result.page),
        element("span", "confidence", `fracture ${percent(first.probability)}`),
        this.bar(first.probability),
      );
    }
    if (result.label === null) {
      answer.push(element("span", `state ${result.status}`, STATES[result.status] ?? "Not asked"));
    } else if (!suspected) {
      answer.push(element("span", "kind", `if fractured: ${readable(result.label)} ${percent(result.confidence)}`));
    } else {
      answer.push(
        this.label(readable(result.label), result.page),
        element("span", "confidence", percent(result.confidence)),
        this.bar(result.confidence),
      );
    }
    for (const flag of new Set([...result.flags, ...(first?.flags ?? [])])) {
      answer.push(element("span", "flag", FLAGS[flag] ?? readable(flag)));
    }
    return this.node.querySelector(".answer").replaceChildren(...answer);
  }

  link(result) {
    if (this.node.querySelector("a.name")) return;
    const link = element("a", "name", this.file.name);
    link.href = result.page;
    this.node.querySelector(".name").replaceWith(link);
    if (result.error?.code === "unreadable") return;
    const picture = element("img", "thumb", "");
    picture.src = `${result.image}?size=128`;
    picture.alt = "";
    this.node.querySelector(".thumb").replaceWith(picture);
  }

  label(words, page) {
    const made = element("a", "label", words);
    made.href = page;
    return made;
  }

  bar(share) {
    const drawn = element("meter", "share", "");
    drawn.min = 0;
    drawn.max = 1;
    drawn.value = share;
    drawn.setAttribute("aria-hidden", "true");
    return drawn;
  }
}

// Sends one group; resolves to {status, body}, status 0 when the server was not reached.
function send(form, group, submission, onProgress) {
  const body = new FormData();
  if (submission) body.append("submission", submission);
  for (const row of group) body.append("files", row.file, row.file.name);
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => resolve({ status: request.status, body: request.response });
    request.onerror = () => resolve({ status: 0, body: null });
    request.send(body);
  });
}

// What is away for the moment is asked again, with growing pauses; sending the same bytes twice does no harm.
async function sendPatiently(form, group, submission, onProgress) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await send(form, group, submission, onProgress);
    if (![0, 429, 502, 503, 504].includes(answer.status) || attempt === 4) return answer;
    await pause(1000 * 2 ** (attempt - 1));
  }
}

// A dropped folder looks like a file until it is read, and would take its whole group down with it.
async function canBeRead(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

class Upload {
  constructor(form) {
    this.form = form;
    this.rows = [];
    this.submission = null;
    this.sending = false;
    this.place = document.getElementById("sent");
    this.progress = document.getElementById("sent-progress");
  }

  async start(files) {
    const rows = files.map((file) => new Row(file));
    this.rows = rows;
    this.submission = null;
    this.sending = true;
    this.place.hidden = false;
    document.getElementById("sent-link").hidden = true;
    document.getElementById("sent-files").replaceChildren(...rows.map((row) => row.node));
    const most = Number(this.form.dataset.mostBytes);
    const good = [];
    for (const row of rows) {
      if (row.file.size > most) row.fail("Too large", "This installation does not accept files of that size.");
      else if (await canBeRead(row.file)) good.push(row);
      else row.fail("Cannot be read", "It is a folder, or the file is gone or not yours to read.");
    }
    const total = good.reduce((sum, row) => sum + row.file.size, 0) || 1;
    let sent = 0;
    this.progress.value = 0;
    this.progress.hidden = false;
    this.tell();
    for (const group of groups(good)) {
      for (const row of group) row.state("running", "Being sent");
      const bytes = group.reduce((sum, row) => sum + row.file.size, 0);
      const answer = await sendPatiently(this.form, group, this.submission, (loaded) => {
        this.progress.value = (sent + Math.min(loaded, bytes)) / total;
      });
      sent += bytes;
      this.progress.value = sent / total;
      this.take(group, answer);
      this.tell();
    }
    this.sending = false;
    this.progress.hidden = true;
    this.tell();
  }

  take(group, { status, body }) {
    if (!body?.files) {
      const words = body?.detail ?? (status === 0 ? "The server was not reached; send the file again." : `The server answered ${status}.`);
      for (const row of group) row.fail("Not accepted", words);
      return;
    }
    group.forEach((row, index) => row.show(body.files[index]));
    if (this.submission) return;
    this.submission = body.submission;
    const link = document.getElementById("sent-link");
    link.href = body.page;
    link.hidden = false;
    this.follow(body.url);
  }

  follow(url) {
    const submission = this.submission;
    keepAsking(async () => {
      // Another upload has taken this one's place on the page.
      if (this.submission !== submission) return "done";
      if (!this.sending && this.rows.every((row) => row.ended)) return "done";
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      if (!answer.ok) return "failed";
      const files = new Map((await answer.json()).files.map((entry) => [entry.arrival, entry]));
      let changed = false;
      for (const row of this.rows) {
        const entry = files.get(row.arrival);
        const words = JSON.stringify(entry);
        if (!entry || row.ended || row.last === words) continue;
        row.last = words;
        row.show(entry);
        changed = true;
      }
      this.tell();
      return changed ? "changed" : "same";
    });
  }

  tell() {
    const ended = this.rows.filter((row) => row.ended).length;
    const words = `${ended} of ${this.rows.length} ${this.rows.length === 1 ? "file" : "files"} finished.`;
    document.getElementById("sent-words").textContent = words;
    say(words);
  }
}

function setUpUpload(form) {
  const upload = new Upload(form);
  const input = document.getElementById("files");
  const drop = document.getElementById("drop");
  const button = form.querySelector("button");
  const take = async (chosen) => {
    const files = [...chosen];
    const most = Number(form.dataset.mostFiles);
    if (!files.length || upload.sending) return;
    if (files.length > most) {
      say("");
      say(`At most ${most} files can be sent at once; ${files.length} were chosen.`);
      document.getElementById("sent").hidden = false;
      document.getElementById("sent-words").textContent = `At most ${most} files can be sent at once; ${files.length} were chosen.`;
      return;
    }
    button.disabled = true;
    await upload.start(files);
    form.reset();
    button.disabled = false;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take(input.files);
  });
  for (const kind of ["dragenter", "dragover"]) {
    form.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    form.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.remove("over");
    });
  }
  form.addEventListener("drop", (event) => take(event.dataTransfer.files));
  window.addEventListener("beforeunload", (event) => {
    if (upload.sending) event.preventDefault();
  });
}

const form = document.getElementById("upload");
if (form) setUpUpload(form);

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
