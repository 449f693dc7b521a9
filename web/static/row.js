// The row of one file on the page of uploads, from the moment it is chosen until its answer shows.
// Names and words from the server are only ever set as text, never as markup.

const ENDED = ["done", "failed", "quarantined", "cancelled"];
// As web/words.py has them.
const STATES = {
  waiting: "Waiting in the queue",
  running: "Being classified",
  done: "Classified",
  failed: "Failed",
  quarantined: "Set aside",
  cancelled: "Cancelled",
};

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

export class Row {
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
    // As core/doubts.py has them: whichever model is unsure, its question is named.
    if (result.fracture?.flags.includes("doubtful")) answer.push(element("span", "flag", "Unsure whether fractured."));
    if (result.flags.includes("doubtful") && result.fracture?.model !== result.model) {
      answer.push(element("span", "flag", "Unsure which kind."));
    }
    flags.delete("doubtful");
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
