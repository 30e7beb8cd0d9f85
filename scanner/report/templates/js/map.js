// The maps: what is in a cell, by pointer or by key; a click filters the findings by it.

// Column and row of a place on the Hilbert curve, as in the drawing.
function hilbert(side, index) {
  let x = 0, y = 0;
  for (let s = 1, rest = index; s < side; s *= 2, rest = Math.floor(rest / 4)) {
    const quarter = rest % 4;
    const right = quarter > 1, low = quarter === 1 || quarter === 2;
    if (!low) {
      if (right) [x, y] = [s - 1 - x, s - 1 - y];
      [x, y] = [y, x];
    }
    if (right) x += s;
    if (low) y += s;
  }
  return [x, y];
}

function spell(n, bits) {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => (n >> shift) & 255n).join(".");
  const parts = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) parts.push(((n >> shift) & 65535n).toString(16));
  const text = parts.join(":");
  // The longest run of zeros is written as two colons (RFC 5952, section 4.2).
  const runs = [...text.matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].sort((a, b) => b[0].length - a[0].length);
  if (runs.length === 0) return text;
  const { index, 0: zeros } = runs[0];
  const before = text.slice(0, index), after = text.slice(index + zeros.length).replace(/^:/, "");
  return `${before}::${after}`;
}

function cellOf(map, index) {
  const [ip, prefix] = map.range.split("/");
  const a = address(ip);
  if (!a) return map.range;
  const wanted = (prefix === undefined ? a.bits : Number(prefix)) + Math.log2(map.cells);
  const length = Math.min(wanted, a.bits);
  const at = BigInt(index) >> BigInt(wanted - length);
  const first = spell(a.n | (at << BigInt(a.bits - length)), a.bits);
  return length === a.bits ? first : `${first}/${length}`;
}

function drawn(figure, choose) {
  const map = data.maps[Number(figure.dataset.map)];
  const svg = figure.querySelector("svg");
  const said = figure.querySelector(".said");
  if (!map || !svg || !said) return;
  const side = Math.sqrt(map.cells);
  const summary = said.textContent;
  const place = Array.from({ length: map.cells }, (_, n) => hilbert(side, n));
  const index = new Uint16Array(map.cells);
  place.forEach(([x, y], n) => { index[y * side + x] = n; });
  const marked = new Map(map.marks.map((mark) => [mark[0], mark]));
  const cursor = document.createElementNS(svg.namespaceURI, "rect");
  cursor.setAttribute("class", "m-cursor");
  cursor.setAttribute("width", 10);
  cursor.setAttribute("height", 10);
  cursor.setAttribute("visibility", "hidden");
  svg.append(cursor);
  let now = -1;

  function content(n) {
    const mark = marked.get(n);
    if (!mark) return byId("mw-partly") ? "nothing seen, perhaps not covered" : "nothing seen";
    const names = ["unexpected", "missing", "unverified", "allowed"];
    return names.map((name, k) => (mark[k + 1] ? `${numbers.format(mark[k + 1])} ${name}` : ""))
      .filter(Boolean).join(", ");
  }

  function show(n) {
    if (n === now) return;
    now = n;
    if (n < 0) {
      cursor.setAttribute("visibility", "hidden");
      said.textContent = summary;
      return;
    }
    const [x, y] = place[n];
    cursor.setAttribute("x", x * 10);
    cursor.setAttribute("y", y * 10);
    cursor.setAttribute("visibility", "visible");
    said.replaceChildren(el("b", { class: "mono" }, cellOf(map, n)), ` ${content(n)}`);
  }

  function at(event) {
    const box = svg.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * side);
    const y = Math.floor((event.clientY - box.top) / box.height * side);
    return x < 0 || y < 0 || x >= side || y >= side ? -1 : index[y * side + x];
  }

  svg.setAttribute("tabindex", "0");
  svg.setAttribute("role", "application");
  svg.setAttribute("aria-roledescription", "map");
  svg.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. Arrow keys move, n goes to the next cell that is not empty, Enter filters the findings by it, Tab leaves.`);
  said.setAttribute("aria-live", "polite");
  svg.addEventListener("pointermove", (event) => show(at(event)));
  svg.addEventListener("pointerleave", () => show(-1));
  svg.addEventListener("blur", () => show(-1));
  svg.addEventListener("focus", () => {
    if (now < 0 && svg.matches(":focus-visible")) show(map.marks[0]?.[0] ?? 0);
  });
  svg.addEventListener("click", (event) => {
    const n = at(event);
    if (n >= 0) choose(cellOf(map, n));
  });
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const from = place[Math.max(now, 0)];
    if (steps[event.key]) {
      const [x, y] = from.map((c, k) => Math.max(0, Math.min(side - 1, c + steps[event.key][k])));
      show(index[y * side + x]);
    } else if (event.key === "n" && map.marks.length > 0) {
      show((map.marks.find((mark) => mark[0] > now) || map.marks[0])[0]);
    } else if (event.key === "Enter" && now >= 0) {
      choose(cellOf(map, now));
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
}
