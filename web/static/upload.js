// Uploads: files and folders, a few requests at a time, each file followed until its answer shows.

import { chosen, dropped, entriesOf } from "./chosen.js";
import { Row } from "./row.js";
import { PASSING, canBeRead, groups } from "./sending.js";

// Requests that are under way at once.
const AT_ONCE = 3;
// Files whose state is asked for at once.
const WINDOW = 100;
// Rows that are drawn at once.
const DRAWN = 100;

function numbered(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

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
