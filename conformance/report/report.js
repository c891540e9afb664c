"use strict";
// Filters, arrow keys and the panel. The tables are there without it.
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = await new Response(unpacked).json();
  const matrix = document.querySelector(".matrix");
  const form = document.querySelector(".filters");
  const dialog = document.querySelector("dialog");
  const body = dialog.querySelector(".body");
  const rows = [...matrix.querySelectorAll("tr[data-rule]")];
  const columns = [...matrix.tHead.rows[0].cells].slice(1);
  const cells = [...matrix.querySelectorAll("button[data-record]")];
  let shown = -1;

  // Streams are whatever a guest printed: everything that would act on the reader is made visible.
  const visible = (text) => String(text).replace(/\r\n/g, "\n").replace(
    /[^\P{C}\n\t]|[\u2028\u2029]/gu,
    (c) => {
      const code = c.codePointAt(0).toString(16);
      return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\u{${code}}`;
    });

  // An element; strings become text, never markup.
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== "")
      .map((child) => (child instanceof Node ? child : visible(child))));
    return element;
  };
  const icon = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#i-${name}`);
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    svg.append(use);
    return svg;
  };
  const words = (value) => {
    if (value === true) return "yes";
    if (value === false) return "no";
    if (value === null || value === undefined) return "–";
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  };
  const link = (url, text = url) => (/^https?:\/\//.test(url)
    ? make("a", { href: url, rel: "noreferrer noopener", target: "_blank" }, text) : make("span", {}, text));
  const pairs = (entries) => make("dl", { class: "pairs" },
    Object.entries(entries).map(([key, value]) => make("div", {}, make("dt", {}, key), make("dd", {}, words(value)))));
  const chip = (judged) => make("span", { class: `chip ${data.words[judged][2]}` }, icon(judged), data.words[judged][0]);
  const section = (title, ...children) => {
    const kept = children.flat().filter(Boolean);
    return kept.length ? [make("h3", {}, title), ...kept] : [];
  };
  const copied = (text) => make("div", { class: "run" }, make("pre", {}, text),
    Object.assign(make("button", { type: "button", class: "copy" }, "Copy"), { onclick: () => copy(text) }));

  const say = (text) => {
    const place = document.querySelector(".said");
    (dialog.open ? dialog : document.body).append(place);
    place.textContent = text;
    place.classList.add("shown");
    clearTimeout(say.timer);
    say.timer = setTimeout(() => { place.classList.remove("shown"); place.textContent = ""; }, 1500);
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // No clipboard outside https; the old way still works there.
      const area = make("textarea", {});
      area.value = text;
      (dialog.open ? dialog : document.body).append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say("Copied");
  };

  // ---- filters
  const haystacks = new Map(rows.map((row) => {
    const rule = data.requirements[row.dataset.rule];
    const records = [...row.querySelectorAll("[data-record]")].map((cell) => data.records[cell.dataset.record]);
    const parts = [row.dataset.rule, rule.title, rule.text, rule.basis, rule.area,
      ...records.flatMap((r) => [r.id, r.sentence, r.message, r.reason, data.words[r.judged][0]])];
    return [row, parts.join("\n").toLowerCase()];
  }));
  const filter = () => {
    const wanted = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const flags = ["fails", "unexpected", "differs", "between", "lost", "changed"].filter((name) => form.elements[name].checked);
    const controls = form.elements.controls.checked;
    document.body.classList.toggle("no-controls", !controls);
    document.body.classList.toggle("compact", form.elements.compact.checked);
    const layer = form.elements.layer.value;
    columns.forEach((column, number) => {
      const outside = Boolean(layer) && !column.dataset.layers.split(" ").includes(layer);
      if (column.hidden !== outside) {
        column.hidden = outside;
        for (const row of rows) row.cells[number + 1].hidden = outside;
      }
    });
    let count = 0;
    for (const row of rows) {
      const hit = [...row.querySelectorAll("[data-record]")].some((cell) => (controls || !cell.closest(".control"))
        && !cell.parentElement.hidden && flags.every((flag) => cell.dataset.flags.split(" ").includes(flag)));
      row.hidden = !((!flags.length || hit)
        && (!form.elements.level.value || row.dataset.level === form.elements.level.value)
        && (!form.elements.area.value || row.parentElement.dataset.area === form.elements.area.value)
        && wanted.every((word) => haystacks.get(row).includes(word)));
      count += !row.hidden;
    }
    for (const group of matrix.tBodies) group.hidden = !group.querySelector("tr[data-rule]:not([hidden])");
    form.elements.count.value = `${count} of ${rows.length} rules`;
    document.querySelector(".empty").hidden = count > 0;
    matrix.tHead.hidden = count === 0;
    if (!reachable().includes(current)) rove(reachable()[0]);
    measure();
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  document.querySelector("[data-reset]").addEventListener("click", () => { form.reset(); form.elements.text.focus(); });
  // Sticky headings need a box that does not scroll; a matrix that is wider than the page needs one that does.
  const measure = () => {
    const box = matrix.parentElement;
    box.style.setProperty("--bar", `${Math.floor(form.offsetHeight)}px`);
    const fits = matrix.scrollWidth <= box.clientWidth;
    box.classList.toggle("fits", fits);
    box.classList.toggle("wide", !fits);
  };
  new ResizeObserver(measure).observe(form);

  // ---- arrow keys: the matrix is one stop for Tab
  let current = null;
  const reachable = () => cells.filter((cell) => cell.offsetParent !== null);
  const rove = (cell) => {
    if (current) current.tabIndex = -1;
    current = cell || null;
    if (current) current.tabIndex = 0;
  };
  const move = (from, dx, dy) => {
    const td = from.closest("td");
    const inside = [...td.querySelectorAll("button[data-record]")];
    const next = inside[inside.indexOf(from) + dy];
    if (dy && next) return next;
    const visibleRows = rows.filter((row) => !row.hidden);
    let row = visibleRows.indexOf(td.parentElement);
    let column = td.cellIndex;
    for (;;) {
      row += dy;
      column += dx;
      const place = visibleRows[row]?.cells[column];
      if (!place || (dx && column < 1)) return null;
      const found = place.offsetParent === null ? [] : [...place.querySelectorAll("button[data-record]")];
      if (found.length) return dy < 0 ? found.at(-1) : found[0];
    }
  };
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  matrix.addEventListener("keydown", (event) => {
    if (!event.target.dataset.record || event.ctrlKey || event.metaKey || event.altKey) return;
    let target = null;
    if (steps[event.key]) target = move(event.target, ...steps[event.key]);
    else if (event.key === "Home") target = reachable()[0];
    else if (event.key === "End") target = reachable().at(-1);
    else return;
    event.preventDefault();
    target?.focus();
    target?.scrollIntoView({ block: "nearest" });
  });
  matrix.addEventListener("focusin", (event) => { if (event.target.dataset.record) rove(event.target); });
  for (const cell of cells) {
    const record = data.records[cell.dataset.record];
    cell.tabIndex = -1;
    cell.setAttribute("aria-label", `${cell.innerText.replace(/\s+/g, " ").trim()}: ${record.requirement}, ${record.path}`);
    cell.setAttribute("aria-haspopup", "dialog");
  }

  // ---- panel
  const verdict = (label, other) => other && make("li", {}, make("span", { class: "dim" }, label),
    Object.assign(make("button", { type: "button", class: `cell ${data.words[other.judged][2]}` },
      icon(other.judged), make("span", {}, data.words[other.judged][0])), { onclick: () => openId(other.record) }),
    make("span", {}, other.path));
  const explanation = (record) => {
    const known = record.expectation === undefined ? null : data.expectations[record.expectation];
    return make("div", { class: "why" },
      make("p", {}, chip(record.judged), " ", data.words[record.judged][1]),
      record.reason ? make("p", {}, record.skip_reason ? `${record.skip_reason}: ` : "", record.reason) : null,
      known ? make("p", {}, make("b", {}, known.reason), " ", make("code", {}, known.id)) : null,
      known?.issue ? make("p", {}, "Issue: ", link(known.issue)) : null,
      known?.reproduction ? make("p", {}, "Reproduction: ", make("code", {}, known.reproduction)) : null,
      known?.observed && Object.keys(known.observed).length
        ? make("p", {}, "Pinned to: ", make("code", {}, Object.entries(known.observed).map(([k, v]) => `${k} ${words(v)}`).join(", "))) : null,
      known?.affects && Object.keys(known.affects).length
        ? make("p", {}, "Affects: ", make("code", {}, Object.entries(known.affects).map(([k, v]) => `${k} ${v}`).join(", "))) : null);
  };
  const stream = (name, value) => section(`${name} · ${value ? value.bytes : 0} bytes${value?.truncated ? ", truncated" : ""}`,
    make("pre", {}, value?.text || "(empty)"));
  const seconds = (value) => (value === null || value === undefined ? null : `${(value * 1000).toFixed(1)} ms`);
  const bases = {
    "spec": "a specification asks for it", "upstream-doc": "the upstream's own documentation promises it",
    "parity": "a native container on the same runtime does it", "project": "an observation of this project",
  };
  const fill = (record) => {
    const rule = data.requirements[record.requirement];
    const path = data.paths[record.path];
    const facts = path?.facts;
    const numbers = {
      "first output": seconds(record.times?.first_output_seconds), "container": seconds(record.times?.container_seconds),
      "check": seconds(record.times?.check_seconds), "commands": seconds(record.times?.commands_seconds),
      "harness": seconds(record.times?.harness_seconds),
      "memory peak": record.memory_peak_bytes ? `${(record.memory_peak_bytes / 1048576).toFixed(1)} MiB` : null,
      "guest": record.guest ? `${record.guest.name}, ${record.guest.bytes} bytes, sha256 ${record.guest.sha256}` : null,
      "asked for by": record.guest?.request ?? null,
      "attempts": record.attempts > 1 ? record.attempts : null, "started": record.started,
    };
    const elsewhere = [
      verdict("native control", record.control), verdict("one layer down", record.below),
      record.also_fails_natively ? make("li", {}, "Also fails natively: the fault is not WebAssembly's.") : null,
      record.differs_from_native ? make("li", {}, "Differs from native.") : null,
      path?.glue?.includes(record.requirement)
        ? make("li", {}, "Also rests on this project's own code between the library and the engine.") : null,
      record.lost_here ? make("li", {}, `Holds in ${record.below.path}, is lost above it.`) : null,
      record.change ? make("li", {}, `Changed since the previous run: ${record.change}.`) : null,
    ].filter(Boolean);
    body.replaceChildren(
      chip(record.judged),
      make("h2", { id: "panel-title" }, record.sentence || record.id),
      make("p", { class: "dim" }, `${record.path}${path ? ` · ${path.layers.join(" › ")}` : ""}`),
      ...(rule ? section("Rule", make("blockquote", {}, rule.text),
        make("p", {}, make("b", {}, rule.level), ` · ${rule.basis}: ${bases[rule.basis]} · `, make("code", {}, record.requirement)),
        make("p", {}, link(rule.url))) : []),
      make("div", { class: "pair" },
        make("div", {}, section("Expected", make("p", {}, rule ? rule.title : record.sentence))),
        make("div", {}, section("Observed", record.message ? make("pre", {}, record.message)
          : make("p", {}, record.raw === "passed" ? "as expected" : record.raw)))),
      ...(record.observations ? [pairs(record.observations)] : []),
      ...section("Why it counts as it does", explanation(record)),
      ...(elsewhere.length ? section("Elsewhere", make("ul", { class: "elsewhere" }, elsewhere)) : []),
      ...section("Commands", (record.commands || []).map(copied), rule ? copied(`conformance replay '${record.id}'`) : null),
      ...(record.raw === "skipped" || record.raw === "not-run" ? []
        : [...stream("stdout", record.streams.stdout), ...stream("stderr", record.streams.stderr)]),
      ...section("Numbers", pairs(Object.fromEntries(Object.entries(numbers).filter(([, value]) => value)))),
      ...(facts ? section("Versions and node", pairs({ ...facts.components, ...facts.node })) : []),
    );
    dialog.querySelector(".where").textContent = visible(record.requirement || record.id);
  };
  const open = (number) => {
    shown = Number(number);
    const record = data.records[shown];
    fill(record);
    if (!dialog.open) dialog.showModal();
    body.scrollTop = 0;
    body.focus({ preventScroll: true });
    for (const button of dialog.querySelectorAll("[data-step]")) button.disabled = !beside(Number(button.dataset.step));
    history.replaceState(null, "", `#${encodeURIComponent(record.id)}`);
  };
  const openId = (id) => {
    const number = data.records.findIndex((record) => record.id === id);
    if (number >= 0) open(number);
    return number >= 0;
  };
  const beside = (step) => {
    const here = cells.find((cell) => Number(cell.dataset.record) === shown);
    return here && here.offsetParent !== null ? move(here, 0, step) : null;
  };
  const step = (by) => { const next = beside(by); if (next) open(next.dataset.record); };
  document.addEventListener("click", (event) => {
    const target = event.target.closest("button");
    if (target?.dataset.record) open(target.dataset.record);
    else if (target?.dataset.step) step(Number(target.dataset.step));
    else if (target && "close" in target.dataset) dialog.close();
    else if (target && "copyPrevious" in target.dataset) copy(target.previousElementSibling.textContent);
    else if (event.target === dialog && event.clientX < dialog.getBoundingClientRect().left) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => {
    history.replaceState(null, "", location.pathname + location.search);
    // The browser goes back to where the panel was opened; after stepping on, that is somewhere else.
    const cell = cells.find((one) => Number(one.dataset.record) === shown);
    if (cell && cell.offsetParent !== null && matrix.contains(document.activeElement)) cell.focus();
  });

  for (const button of document.querySelectorAll("[data-copy-previous]")) button.hidden = false;
  form.hidden = false;
  filter();
  if (location.hash.length > 1) {
    try { openId(decodeURIComponent(location.hash.slice(1))); } catch { /* not an id of ours */ }
  }
})();
