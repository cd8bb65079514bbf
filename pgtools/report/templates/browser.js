"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const head = JSON.parse(byId("head").textContent);
  const images = JSON.parse(byId("rows").textContent).map(([number, name, label, attributes, sha256, data]) => {
    const score = typeof attributes.score === "number" ? attributes.score : null;
    const split = typeof attributes.split === "string" ? attributes.split : null;
    return { number, name, lower: name.toLowerCase(), label, attributes, sha256, data, score, split };
  });
  // The browser may drop the text of the data from memory: all of it is in `images` now.
  byId("rows").remove();
  const grid = byId("grid"), view = byId("view"), field = (id) => byId(id).value;
  // What turns the order of letters around, or has no shape, could make one name look like another.
  const visible = (text) => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g,
    (sign) => "⟨U+" + sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩");
  const rounded = (score) => String(Number(score.toPrecision(4)));
  const thousands = (number) => number.toLocaleString("en-US");
  let shown = images, active = 0, open = -1;

  // Rows outside the window do not exist; the active image does, so that the keyboard never loses its place.
  const GAP = 10, OVERSCAN = 2, cells = new Map();
  let columns = 1, cellWidth = 0, rowHeight = 1;

  const element = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const uri = (image) => "data:image/webp;base64," + image.data;
  const isPixels = head.side <= 64;
  const has = {
    label: images.some((image) => image.label !== null), score: images.some((image) => image.score !== null),
  };

  const makeCell = (image) => {
    const cell = element("div", undefined, "cell");
    const button = element("button");
    const picture = element("img", undefined, isPixels ? "pixels" : "");
    cell.setAttribute("role", "listitem");
    button.type = "button";
    picture.alt = "Image " + image.number;
    picture.src = uri(image);
    const name = element("span");
    name.append(element("bdi", visible(image.name.split("/").pop() || image.name)));
    button.title = visible(image.name);
    button.append(picture, name);
    // A line for each kind of fact that any image has, so that all cells are of one height.
    if (has.label) button.append(element("span", image.label === null ? "" : "label " + image.label, "minor"));
    if (has.score) button.append(element("span", image.score === null ? "" : "score " + rounded(image.score), "minor"));
    cell.append(button);
    return cell;
  };

  const place = (position) => {
    let cell = cells.get(position);
    if (!cell) {
      cell = makeCell(shown[position]);
      cell.dataset.position = position;
      cell.setAttribute("aria-setsize", shown.length);
      cell.setAttribute("aria-posinset", position + 1);
      cells.set(position, cell);
      const later = [...grid.children].find((other) => Number(other.dataset.position) > position);
      grid.insertBefore(cell, later ?? null);
    }
    cell.firstChild.tabIndex = position === active ? 0 : -1;
    cell.style.width = cellWidth + "px";
    const x = (position % columns) * (cellWidth + GAP), y = Math.floor(position / columns) * rowHeight;
    cell.style.transform = "translate(" + x + "px," + y + "px)";
    return cell;
  };

  const measure = () => {
    const width = grid.clientWidth, wanted = width < 600 ? 104 : 128;
    columns = Math.max(1, Math.floor((width + GAP) / (wanted + GAP)));
    cellWidth = Math.floor((width - GAP * (columns - 1)) / columns);
    if (shown.length) rowHeight = place(active).offsetHeight + GAP;
    grid.style.height = Math.ceil(shown.length / columns) * rowHeight + "px";
  };

  const draw = () => {
    const top = -grid.getBoundingClientRect().top;
    const firstRow = Math.max(0, Math.floor(top / rowHeight) - OVERSCAN);
    const lastRow = Math.ceil((top + window.innerHeight) / rowHeight) + OVERSCAN;
    const first = firstRow * columns, last = Math.min(shown.length, Math.max(0, lastRow) * columns);
    for (const [position, cell] of cells) {
      if ((position < first || position >= last) && position !== active) {
        cell.remove();
        cells.delete(position);
      }
    }
    for (let position = first; position < last; position++) place(position);
    if (shown.length) place(active);
  };
  let waiting = false;
  const drawSoon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
  const layOut = () => { measure(); draw(); };

  const activate = (position, focus) => {
    active = Math.min(Math.max(position, 0), shown.length - 1);
    const top = Math.floor(active / columns) * rowHeight + grid.getBoundingClientRect().top;
    if (top < 0) window.scrollBy(0, top - GAP);
    else if (top + rowHeight > window.innerHeight) window.scrollBy(0, top + rowHeight - window.innerHeight + GAP);
    draw();
    if (focus) cells.get(active).firstChild.focus({ preventScroll: true });
  };

  const compareNames = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.number - b.number);
  const scoreOr = (image, missing) => (image.score === null ? missing : image.score);
  const ORDERS = {
    number: (a, b) => a.number - b.number,
    name: compareNames,
    "score-high": (a, b) => scoreOr(b, -Infinity) - scoreOr(a, -Infinity) || a.number - b.number,
    "score-low": (a, b) => scoreOr(a, Infinity) - scoreOr(b, Infinity) || a.number - b.number,
  };

  const filter = () => {
    const text = field("name").toLowerCase();
    const lowest = field("lowest"), highest = field("highest"), label = field("label"), split = field("split");
    shown = images.filter((image) =>
      image.lower.includes(text)
      && (lowest === "" || (image.score !== null && image.score >= Number(lowest)))
      && (highest === "" || (image.score !== null && image.score <= Number(highest)))
      && (label === "" || String(image.label) === label)
      && (split === "" || image.split === split.slice(1)));
    shown.sort((a, b) => ORDERS[field("order")](a, b) || 0);
    active = 0;
    for (const cell of cells.values()) cell.remove();
    cells.clear();
    byId("status").textContent = shown.length === images.length
      ? "All " + thousands(images.length) + " images in this page"
      : shown.length
        ? thousands(shown.length) + " of the " + thousands(images.length) + " images in this page"
        : "None of the " + thousands(images.length) + " images in this page; “Show all” brings them back";
    layOut();
  };

  const addChoices = (select, values, valueOf) => {
    const counts = new Map();
    for (const value of values) if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
    if (!counts.size) return;
    byId(select + "s").hidden = false;
    const sorted = [...counts.keys()].sort((a, b) => (a < b ? -1 : 1));
    byId(select).append(new Option("all", ""), ...sorted.map((value) =>
      new Option(visible(value) + " (" + thousands(counts.get(value)) + ")", valueOf(value))));
  };

  const addFact = (name, value, className) => {
    const row = element("div"), text = element("dd", undefined, className);
    text.append(element("bdi", visible(value)));
    row.append(element("dt", visible(name)), text);
    byId("facts").append(row);
  };

  const show = (position) => {
    open = position;
    const image = shown[position];
    byId("view-title").textContent = "Image " + thousands(image.number);
    byId("large").src = uri(image);
    byId("large").alt = "Image " + image.number + ", enlarged";
    byId("large").className = isPixels ? "pixels" : "";
    byId("facts").replaceChildren();
    addFact("Number", image.number);
    addFact("Name", image.name);
    if (image.label !== null) addFact("Label", image.label + " (of " + head.classes + " classes, from 0)");
    if (image.score !== null) addFact("Score", image.score);
    for (const [name, value] of Object.entries(image.attributes)) {
      if (name !== "score" || image.score === null) addFact(name, value);
    }
    addFact("SHA-256 of the pixels", image.sha256, "hash");
    addFact("Levels", head.levels.join(", ") + (head.stored.length < head.levels.length
      ? " (stored: " + head.stored.join(", ") + ")" : ""));
    addFact("Shown here", head.side + "×" + head.side + " of " + head.resolution + "×" + head.resolution + " pixels");
    byId("previous").disabled = position === 0;
    byId("next").disabled = position === shown.length - 1;
    if (!view.open) {
      view.showModal();
      byId("view-title").focus();
    } else if (document.activeElement === document.body || document.activeElement.disabled) {
      byId("view-title").focus();
    }
  };
  const step = (by) => { if (shown[open + by]) show(open + by); };

  grid.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    activate(Number(cell.dataset.position), false);
    show(active);
  });
  grid.addEventListener("focusin", (event) => {
    const cell = event.target.closest(".cell");
    if (cell && Number(cell.dataset.position) !== active) activate(Number(cell.dataset.position), false);
  });
  grid.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(window.innerHeight / rowHeight)) * columns;
    const isLastRow = Math.floor(active / columns) === Math.floor((shown.length - 1) / columns);
    const moves = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: active < columns ? 0 : -columns, ArrowDown: isLastRow ? 0 : columns,
      PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity,
    };
    const by = moves[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey || !shown.length) return;
    event.preventDefault();
    activate(active + by, true);
  });
  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });
  view.addEventListener("close", () => activate(open, true));
  view.addEventListener("click", (event) => {
    const box = view.getBoundingClientRect(), x = event.clientX, y = event.clientY;
    const isOutside = x < box.left || x > box.right || y < box.top || y > box.bottom;
    if (event.target === view && isOutside) view.close();
  });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => view.close());
  byId("filters").addEventListener("input", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(filter));
  window.addEventListener("scroll", drawSoon, { passive: true });
  new ResizeObserver(layOut).observe(grid.parentElement);

  addChoices("label", images.map((image) => image.label), String);
  // A mark before the name tells a split that is called "" from no choice.
  addChoices("split", images.map((image) => image.split), (name) => "=" + name);
  const scores = images.filter((image) => image.score !== null).map((image) => image.score);
  if (scores.length) {
    const [low, high] = scores.reduce(([a, b], score) => [Math.min(a, score), Math.max(b, score)], [Infinity, -Infinity]);
    byId("scores").hidden = false;
    byId("lowest").placeholder = rounded(low);
    byId("highest").placeholder = rounded(high);
    byId("order").append(new Option("score, highest first", "score-high"), new Option("score, lowest first", "score-low"));
  }
  filter();
})();
