// Uploads: files and folders, a few requests at a time, each file followed until its answer shows.
// Names and words from the server are only ever set as text, never as markup.
"use strict";

// One request carries at most this many files and, unless a single one is larger, this many bytes.
const MOST_FILES = 20;
const MOST_BYTES = 24 * 1024 * 1024;
// The first request is small and goes alone: the others join the submission that it makes.
const FIRST_FILES = 4;
// Requests that are under way at once.
const AT_ONCE = 3;
const ATTEMPTS = 4;
// What passes: not reached, still at it, too often, parts that are away.
const PASSING = [0, 409, 429, 502, 503, 504];
// Files whose state is asked for at once.
const WINDOW = 100;
// Rows that are drawn at once.
const DRAWN = 100;
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
// As core/plausibility.py has them; a test compares.
const UNJUDGED = {
  "too-small": "too small",
  "extreme-aspect": "a strip, far too long for its width",
  blank: "blank, or nothing but a shade",
  colour: "a colour photograph or drawing",
  text: "text or a plot",
  inverted: "light and dark are exchanged",
  clipped: "nothing but black and white",
  screenshot: "a screenshot or a page with a border",
  several: "several pictures on one sheet",
};
const UNFIT = ["too-small", "extreme-aspect", "inverted", "screenshot", "clipped", "several"];
const FLAGS = {
  doubtful: "The model is unsure; a person should look.",
  "unlike-radiographs": "Unlike the radiographs that the model knows; perhaps not a radiograph.",
};

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

function numbered(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

// --- What was chosen or dropped --------------------------------------------------------------------------------

// Each is {name, file}: the name with its folders, and null for what cannot be read.

function isJunk(name) {
  return name.startsWith(".") || ["thumbs.db", "desktop.ini"].includes(name.toLowerCase());
}

// Yields what lies below a dropped file or folder.
async function* below(entry, path) {
  const name = path + entry.name;
  try {
    if (entry.isFile) {
      yield { name, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) };
      return;
    }
    const reader = entry.createReader();
    const entries = [];
    for (;;) {
      // A browser tells a large folder in parts; an empty part is the end.
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!part.length) break;
      entries.push(...part);
    }
    entries.sort((one, other) => one.name.localeCompare(other.name));
    for (const each of entries) if (!isJunk(each.name)) yield* below(each, `${name}/`);
  } catch {
    yield { name, file: null };
  }
}

// Has to be called while the event is handled: afterwards the browser has forgotten what was dropped.
function entriesOf(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  return items.map((item) => item.webkitGetAsEntry?.() ?? null).filter(Boolean);
}

async function dropped(entries, most) {
  const found = [];
  for (const entry of entries) {
    for await (const each of below(entry, "")) {
      found.push(each);
      if (found.length > most) return found;
    }
  }
  return found;
}

function chosen(files) {
  return [...files]
    .filter((file) => !file.webkitRelativePath || !file.webkitRelativePath.split("/").some(isJunk))
    .map((file) => ({ name: file.webkitRelativePath || file.name, file }))
    .sort((one, other) => (one.file.webkitRelativePath ? one.name.localeCompare(other.name) : 0));
}

// --- One file --------------------------------------------------------------------------------------------------

// The row of one file, from the moment it is chosen.
class Row {
  constructor({ name, file }) {
    this.name = name;
    this.file = file;
    this.arrival = null;
    this.ended = false;
    this.unsent = false;
    this.node = document.getElementById("file-row").content.firstElementChild.cloneNode(true);
    this.node.querySelector(".name").textContent = name;
    this.state("none", "Waiting to be sent");
  }

  get size() {
    return this.file?.size ?? 0;
  }

  state(kind, words, reason) {
    const parts = [element("span", `state ${kind}`, words)];
    if (reason) parts.push(element("span", "reason", reason));
    this.node.querySelector(".answer").replaceChildren(...parts);
  }

  sending(share) {
    let bar = this.node.querySelector("progress");
    if (!bar) {
      this.state("running", "Being sent");
      bar = document.createElement("progress");
      bar.setAttribute("aria-label", `Sent of ${this.name}`);
      this.node.querySelector(".answer").append(bar);
    }
    bar.value = share;
  }

  fail(words, reason) {
    this.ended = true;
    this.node.querySelector(".thumb").textContent = "×";
    this.state("rejected", words, reason);
  }

  // It can be sent again.
  wait(words, reason) {
    this.fail(words, reason);
    this.unsent = true;
  }

  again() {
    this.ended = this.unsent = false;
    this.node.querySelector(".thumb").textContent = "";
    this.state("none", "Waiting to be sent");
  }

  // One of these files was an archive, so that more was answered than was sent.
  unpacked(entries) {
    this.ended = true;
    const accepted = entries.filter((entry) => !entry.error).length;
    this.node.querySelector(".note").textContent = "With what was in archives; each file is on the upload's own page.";
    this.state("none", `${accepted} of ${entries.length} files accepted`);
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
    const flags = new Set([...result.flags, ...(first?.flags ?? [])]);
    const unjudged = Object.keys(UNJUDGED).filter((word) => flags.has(word));
    if (unjudged.length) {
      const start = unjudged.every((word) => UNFIT.includes(word)) ? "Not judged" : "Not judged as a radiograph";
      answer.push(this.label(`${start}: ${unjudged.map((word) => UNJUDGED[word]).join(", ")}`, result.page));
      return this.node.querySelector(".answer").replaceChildren(...answer);
    }
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
    for (const flag of flags) {
      answer.push(element("span", "flag", FLAGS[flag] ?? readable(flag)));
    }
    return this.node.querySelector(".answer").replaceChildren(...answer);
  }

  link(result) {
    if (this.node.querySelector("a.name")) return;
    const link = element("a", "name", this.name);
    link.href = result.page;
    this.node.querySelector(".name").replaceWith(link);
    if (result.error?.code === "unreadable") return;
    const picture = element("img", "thumb", "");
    picture.src = `${result.image}?size=128`;
    picture.alt = "";
    picture.loading = "lazy";
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

// --- One request -----------------------------------------------------------------------------------------------

// Files that go together. Its key makes sending them once more harmless, so it never changes what it sends.
class Group {
  constructor(rows) {
    this.rows = rows;
    this.key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    this.fields = null;
  }

  get bytes() {
    return this.rows.reduce((sum, row) => sum + row.size, 0);
  }

  // Resolves to {status, body}, status 0 when the server was not reached.
  send(form, onProgress) {
    const body = new FormData();
    for (const [name, value] of Object.entries(this.fields)) body.append(name, value);
    for (const row of this.rows) body.append("files", row.file, row.name);
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("Idempotency-Key", this.key);
      request.responseType = "json";
      request.upload.onprogress = (event) => onProgress(event.loaded);
      request.onload = () => resolve({ status: request.status, body: request.response });
      request.onerror = request.onabort = () => resolve({ status: 0, body: null });
      request.send(body);
    });
  }

  // What is away for the moment is asked again, with growing pauses.
  async sendPatiently(form, onProgress) {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.send(form, onProgress);
      if (!PASSING.includes(answer.status) || attempt === ATTEMPTS) return answer;
      await pause(1000 * 2 ** (attempt - 1));
    }
  }

  progress(loaded) {
    let left = loaded;
    for (const row of this.rows) {
      row.sending(row.size ? Math.min(1, Math.max(0, left / row.size)) : 1);
      left -= row.size;
    }
  }
}

function groups(rows, first) {
  const all = [];
  let bytes = 0;
  for (const row of rows) {
    const last = all[all.length - 1];
    const most = first && all.length === 1 ? FIRST_FILES : MOST_FILES;
    if (!last || last.length >= most || bytes + row.size > MOST_BYTES) {
      all.push([row]);
      bytes = row.size;
    } else {
      last.push(row);
      bytes += row.size;
    }
  }
  return all.map((each) => new Group(each));
}

// A file may be gone since it was chosen; its whole group would fail with it.
async function canBeRead(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

// --- The whole -------------------------------------------------------------------------------------------------

class Upload {
  constructor(form) {
    this.form = form;
    this.rows = [];
    this.unsent = [];
    this.submission = null;
    this.sending = false;
    this.followed = null;
    this.place = document.getElementById("sent");
    this.progress = document.getElementById("sent-progress");
    this.again = document.getElementById("sent-again");
    this.again.querySelector("button").addEventListener("click", () => this.resend());
  }

  async start(files, name) {
    this.rows = files.map((file) => new Row(file));
    this.unsent = [];
    this.submission = null;
    this.name = name;
    this.place.hidden = false;
    document.getElementById("sent-link").hidden = true;
    await this.draw();
    const most = Number(this.form.dataset.mostBytes);
    const good = [];
    for (const row of this.rows) {
      if (!row.file) row.fail("Cannot be read", "The browser cannot read it: it is gone, or not yours to read.");
      else if (row.size > most) row.fail("Too large", "This installation does not accept files of that size.");
      else good.push(row);
    }
    await this.sendAll(groups(good, true));
  }

  // A part at a time, so that many rows do not hold up the page.
  async draw() {
    const list = document.getElementById("sent-files");
    list.replaceChildren();
    for (let start = 0; start < this.rows.length; start += DRAWN) {
      list.append(...this.rows.slice(start, start + DRAWN).map((row) => row.node));
      await pause(0);
    }
  }

  async resend() {
    const waiting = this.unsent;
    this.unsent = [];
    for (const group of waiting) for (const row of group.rows) row.again();
    await this.sendAll(waiting);
  }

  async sendAll(waiting) {
    this.sending = true;
    this.again.hidden = true;
    this.progress.hidden = false;
    this.total = waiting.reduce((sum, group) => sum + group.bytes, 0) || 1;
    this.loaded = new Map();
    this.tell();
    while (waiting.length && !this.submission) await this.sendOne(waiting.shift(), waiting);
    const lane = async () => {
      while (waiting.length) await this.sendOne(waiting.shift(), waiting);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    this.sending = false;
    this.progress.hidden = true;
    this.again.hidden = !this.unsent.length;
    this.tell();
  }

  async sendOne(group, waiting) {
    if (!group.fields) {
      const readable = await Promise.all(group.rows.map((row) => canBeRead(row.file)));
      group.rows.forEach((row, index) => readable[index] || row.fail("Cannot be read", "It is gone, or not yours to read."));
      group.rows = group.rows.filter((_, index) => readable[index]);
      group.fields = this.submission ? { submission: this.submission } : { name: this.name };
    }
    if (!group.rows.length) return;
    group.progress(0);
    const answer = await group.sendPatiently(this.form, (loaded) => {
      group.progress(loaded);
      this.loaded.set(group, Math.min(loaded, group.bytes));
      this.progress.value = [...this.loaded.values()].reduce((sum, bytes) => sum + bytes, 0) / this.total;
    });
    this.take(group, answer, waiting);
    this.tell();
  }

  take(group, { status, body }, waiting) {
    if (body?.files) {
      if (body.files.length === group.rows.length) group.rows.forEach((row, index) => row.show(body.files[index]));
      else group.rows.forEach((row) => row.unpacked(body.files));
      if (!this.submission) this.made(body);
      this.follow();
      return;
    }
    if (!PASSING.includes(status)) {
      for (const row of group.rows) row.fail("Not accepted", body?.detail ?? `The server answered ${status}.`);
      return;
    }
    // Nobody there: what else waits would only find out the same, one after the other.
    const words = body?.detail ?? "The server was not reached; nothing is lost, send it again.";
    for (const each of [group, ...waiting.splice(0)]) {
      for (const row of each.rows) row.wait("Not accepted", words);
      this.unsent.push(each);
    }
  }

  made(body) {
    this.submission = body.submission;
    this.url = body.url;
    const link = document.getElementById("sent-link");
    link.href = body.page;
    link.hidden = false;
  }

  // Asks for the files that have not ended, some at a time and in turn.
  follow() {
    const submission = this.submission;
    if (this.followed === submission) return;
    this.followed = submission;
    const tags = new Map();
    let place = 0;
    keepAsking(async () => {
      // Another upload has taken this one's place on the page.
      if (this.submission !== submission) return "done";
      const open = this.rows.filter((row) => row.arrival && !row.ended).sort((one, other) => one.arrival - other.arrival);
      if (!open.length) {
        if (this.sending) return "same";
        this.followed = null;
        return "done";
      }
      const first = open.find((row) => row.arrival > place) ?? open[0];
      const address = `${this.url}?limit=${WINDOW}${first.arrival > 1 ? `&after=${first.arrival - 1}` : ""}`;
      const answer = await fetchUnlessSame(address, "application/json", tags.get(address));
      place = first.arrival + WINDOW;
      if (answer.status === 304) return "same";
      if (!answer.ok) return "failed";
      tags.set(address, answer.headers.get("ETag"));
      const { files } = await answer.json();
      const rows = new Map(open.map((row) => [row.arrival, row]));
      let changed = false;
      for (const entry of files) {
        const row = rows.get(entry.arrival);
        const words = JSON.stringify(entry);
        if (!row || row.last === words) continue;
        row.last = words;
        row.show(entry);
        changed = true;
      }
      if (files.length) place = files[files.length - 1].arrival;
      this.tell();
      return changed ? "changed" : "same";
    });
  }

  tell() {
    const ended = this.rows.filter((row) => row.ended).length;
    const words = `${ended} of ${numbered(this.rows.length, "file", "files")} finished.`;
    document.getElementById("sent-words").textContent = words;
    say(words);
  }
}

function setUpUpload(form) {
  const upload = new Upload(form);
  const [input, folder] = [document.getElementById("files"), document.getElementById("folder")];
  const drop = document.getElementById("drop");
  const button = form.querySelector("button");
  const most = Number(form.dataset.mostFiles);
  let busy = false;
  input.required = false;
  const tell = (words) => {
    say(words);
    document.getElementById("sent").hidden = false;
    document.getElementById("sent-words").textContent = words;
  };
  const take = async (looking) => {
    if (busy || upload.sending) return;
    busy = button.disabled = true;
    try {
      const files = await looking;
      if (files.length > most) {
        tell(`At most ${most} files can be sent at once, and there are more; send them in parts, or copy them into the inbox.`);
      } else if (!files.length) {
        tell("Choose at least one file first.");
      } else {
        await upload.start(files, document.getElementById("upload-name").value.trim());
        form.reset();
      }
    } finally {
      busy = button.disabled = false;
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take([...chosen(input.files), ...chosen(folder.files)]);
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
  form.addEventListener("drop", (event) => {
    const entries = entriesOf(event.dataTransfer);
    take(entries.length ? dropped(entries, most) : chosen(event.dataTransfer.files));
  });
  window.addEventListener("beforeunload", (event) => {
    if (upload.sending) event.preventDefault();
  });
}

const form = document.getElementById("upload");
if (form) setUpUpload(form);
