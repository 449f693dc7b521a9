// The queue page keeps its figures fresh. Numbers come as JSON and are set as text; when the page's structure changes
// (a worker comes, a cause of failures appears, a minute is over) the server's own HTML takes the old one's place.
const EACH = 2000; // milliseconds between two questions

function length(seconds) {
  // As web/words.py writes it.
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

function bytes(count) {
  if (!count) return "–";
  if (count < 2 ** 20) return `${Math.round(count / 1024)} KiB`;
  return `${(count / 2 ** 20).toFixed(1).replace(/\.0$/, "")} MiB`;
}

const KINDS = {
  seconds: length,
  rate: (value) => `${value.toFixed(1)} answers/s`,
  spread: (value) => `${length(value.p50)} · ${length(value.p95)}`,
};

function put(node, words) {
  if (node && node.textContent !== words) node.textContent = words;
}

// What the HTML was made for; numbers that are set one by one are no part of it.
function signature(figures) {
  return [
    figures.workers.map((each) => each.name).join(" "),
    figures.mains.map((each) => each.name).join(" "),
    figures.paused.map((each) => `${each.target}@${each.host ?? ""}`).join(" "),
    figures.failures.map((each) => `${each.code}:${each.failed}:${each.pausing}`).join(" "),
    figures.workers.some((each) => ["busy", "idle"].includes(each.state)) ? "able" : "unable",
    figures.waiting ? "waits" : "",
    Math.floor(Date.now() / 60000) === minute ? "" : "minute",
  ].join("|");
}

let minute = Math.floor(Date.now() / 60000);
let shown = null;

function show(page, figures) {
  for (const node of page.querySelectorAll("[data-figure]")) {
    const value = node.dataset.figure.split(".").reduce((part, name) => part?.[name], figures);
    const write = KINDS[node.dataset.kind] ?? String;
    if (value === 0 && node.dataset.zero) put(node, node.dataset.zero);
    else put(node, value === null || value === undefined ? node.dataset.none : write(value));
  }
  const difference = page.querySelector("[data-problem=broker]");
  put(difference, figures.broker.words);
  difference.hidden = figures.broker.agrees;
  for (const worker of [...figures.mains, ...figures.workers]) {
    const row = page.querySelector(`[data-worker="${CSS.escape(worker.name)}"]`);
    if (!row) continue;
    const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
    put(cell("state"), worker.state + (worker.paused ? ", paused" : ""));
    cell("state").className = `state ${worker.state}`;
    put(cell("words"), worker.words);
    cell("words").hidden = !worker.words;
    put(cell("seen"), `${length(worker.seen_seconds_ago)} ago`);
    put(cell("memory"), bytes(worker.memory_bytes));
    if (!("holds" in worker)) continue;
    put(cell("holds"), String(worker.holds));
    put(cell("held"), worker.held_seconds === null ? "–" : length(worker.held_seconds));
    put(cell("model"), worker.model ?? "–");
    put(cell("engine"), worker.engine || "–");
  }
}

async function fetchPage() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("figures");
  if (!fresh) return false;
  swapIn(document.getElementById("figures"), fresh);
  return true;
}

async function refresh() {
  const page = document.getElementById("figures");
  const answer = await fetch(page.dataset.figures, { headers: { Accept: "application/json" } });
  if (answer.status === 401) return location.reload();
  if (!answer.ok) throw new Error(`answered ${answer.status}`);
  const figures = await answer.json();
  const now = signature(figures);
  if (shown !== null && now !== shown && (await fetchPage())) minute = Math.floor(Date.now() / 60000);
  shown = signature(figures);
  show(document.getElementById("figures"), figures);
  document.querySelector("[data-problem=away]").hidden = true;
  return undefined;
}

(async () => {
  for (;;) {
    try {
      if (!document.hidden) await refresh();
    } catch {
      // The server is away for the moment; old figures are worse than none unless they say that they are old.
      document.querySelector("[data-problem=away]").hidden = false;
    }
    await pause(EACH);
  }
})();
