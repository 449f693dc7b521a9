// One radiograph, looked at closely: enlarge, move, invert, window and level, and the activation map laid over it.
// Everything happens in the browser; the picture is not fetched again.
"use strict";

const MOST_TIMES = 16; // enlarged
const STEP = 1.25;
const MOVES = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
const KEYS = { "+": "in", "=": "in", "-": "out", 0: "fit", i: "invert", I: "invert" };

class Viewer {
  constructor(film, tools) {
    this.film = film;
    this.stack = film.querySelector(".stack");
    this.picture = film.querySelector("img");
    this.tools = tools;
    this.inverted = false;
    this.fit();
    tools.addEventListener("submit", (event) => event.preventDefault());
    tools.addEventListener("click", (event) => {
      const tool = event.target.closest("[data-tool]")?.dataset.tool;
      if (tool) this.use(tool);
    });
    tools.addEventListener("input", () => this.draw());
    film.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    film.addEventListener("keydown", (event) => this.key(event));
    film.addEventListener("pointerdown", (event) => this.grab(event));
    film.addEventListener("dragstart", (event) => event.preventDefault());
    film.addEventListener("dblclick", () => this.fit());
  }

  value(id) {
    return Number(document.getElementById(id)?.value ?? 0);
  }

  fit() {
    [this.scale, this.x, this.y] = [1, 0, 0];
    this.draw();
  }

  use(tool) {
    const box = this.film.getBoundingClientRect();
    if (tool === "in") this.enlarge(STEP, box.width / 2, box.height / 2);
    if (tool === "out") this.enlarge(1 / STEP, box.width / 2, box.height / 2);
    if (tool === "fit") this.fit();
    if (tool === "invert") this.inverted = !this.inverted;
    if (tool === "reset") {
      this.tools.reset();
      this.inverted = false;
      this.fit();
    }
    this.draw();
  }

  // Enlarge so that what lies under (x, y), in pixels from the film's corner, stays there.
  enlarge(factor, x, y) {
    const scale = Math.min(MOST_TIMES, Math.max(1, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.draw();
  }

  move(x, y) {
    this.x += x;
    this.y += y;
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    const box = this.film.getBoundingClientRect();
    this.enlarge(event.deltaY < 0 ? STEP : 1 / STEP, event.clientX - box.left, event.clientY - box.top);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in MOVES) this.move(...MOVES[event.key]);
    else if (event.key in KEYS) this.use(KEYS[event.key]);
    else return;
    event.preventDefault();
  }

  grab(event) {
    if (event.button !== 0) return;
    this.film.setPointerCapture(event.pointerId);
    const done = new AbortController();
    const { signal } = done;
    this.film.addEventListener("pointermove", (moved) => this.move(moved.movementX, moved.movementY), { signal });
    for (const kind of ["pointerup", "pointercancel"]) this.film.addEventListener(kind, () => done.abort(), { signal });
  }

  draw() {
    const box = this.film.getBoundingClientRect();
    // The picture never leaves the film.
    this.x = Math.min(0, Math.max(box.width * (1 - this.scale), this.x));
    this.y = Math.min(0, Math.max(box.height * (1 - this.scale), this.y));
    this.stack.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.picture.style.filter = this.levels() + (this.inverted ? " invert(1)" : "");
    this.tools.querySelector("[data-tool=invert]").setAttribute("aria-pressed", String(this.inverted));
    this.overlay();
  }

  // Grey levels from `low` to `high` become black to white, by the two filters that browsers have for that.
  levels() {
    const width = this.value("window") / 255;
    const low = this.value("level") / 255 - width / 2;
    if (Math.abs(low) < 0.003 && Math.abs(width - 1) < 0.003) return "";
    const contrast = 1 + (2 * low) / width;
    // A window that begins far below black has no contrast in this sense; brightness alone comes nearest.
    if (contrast < 0.01) return `brightness(${1 / (low + width)})`;
    return `brightness(${1 / (width * contrast)}) contrast(${contrast})`;
  }

  overlay() {
    const strength = this.value("map") / 100;
    const chosen = document.getElementById("map-of")?.value;
    for (const map of this.film.querySelectorAll(".map")) {
      const shown = strength > 0 && (!chosen || chosen === map.dataset.map);
      if (shown && !map.src) map.src = map.dataset.src;
      map.hidden = !shown;
      map.style.opacity = String(strength);
    }
  }
}

const film = document.getElementById("film");
if (film) new Viewer(film, document.getElementById("tools"));
