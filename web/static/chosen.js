// Files and folders that were chosen or dropped: each is {name, file}, the name with its folders, and null for what
// cannot be read.

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
export function entriesOf(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  return items.map((item) => item.webkitGetAsEntry?.() ?? null).filter(Boolean);
}

export async function dropped(entries, most) {
  const found = [];
  for (const entry of entries) {
    for await (const each of below(entry, "")) {
      found.push(each);
      if (found.length > most) return found;
    }
  }
  return found;
}

export function chosen(files) {
  return [...files]
    .filter((file) => !file.webkitRelativePath || !file.webkitRelativePath.split("/").some(isJunk))
    .map((file) => ({ name: file.webkitRelativePath || file.name, file }))
    .sort((one, other) => (one.file.webkitRelativePath ? one.name.localeCompare(other.name) : 0));
}
