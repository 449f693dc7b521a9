// Requests that carry files, each of which may be sent again without harm.

// One request carries at most this many files and, unless a single one is larger, this many bytes.
const MOST_FILES = 20;
const MOST_BYTES = 24 * 1024 * 1024;
// The first request is small and goes alone: the others join the submission that it makes.
const FIRST_FILES = 4;
const ATTEMPTS = 4;
// What passes: not reached, still at it, too often, parts that are away.
export const PASSING = [0, 409, 429, 502, 503, 504];

// Files that go together. Its key makes sending them once more harmless, so it never changes what it sends.
export class Group {
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

export function groups(rows, first) {
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
export async function canBeRead(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
