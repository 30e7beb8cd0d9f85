// What the page shows now: filter, view and page, kept in the fragment of its address.

const GROUPS = 50;
const form = byId("mw-filter");
const app = byId("mw-app");
const now = { q: "", view: "list", page: 0 };
const open = new Map();
let found = [];
let groupPage = 0;

// Many findings that few causes explain are shown by cause, unless something else is asked for.
const usual = total > 20 && data.explained * 2 < total ? "groups" : "list";

function remember() {
  const parts = new URLSearchParams();
  if (now.q) parts.set("q", now.q);
  if (now.view !== usual) parts.set("view", now.view);
  if (now.page && now.view === "list") parts.set("page", now.page + 1);
  // Slashes and colons mean nothing in a fragment; a CIDR stays readable.
  const text = parts.toString().replace(/%3A/g, ":").replace(/%2F/g, "/").replace(/%2C/g, ",").replace(/%40/g, "@");
  const target = `#${text}`;
  if (target !== (location.hash || "#")) history.replaceState(null, "", target);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  now.q = parts.get("q") || "";
  now.view = ["groups", "list"].includes(parts.get("view")) ? parts.get("view") : usual;
  now.page = Math.max(0, (parseInt(parts.get("page"), 10) || 1) - 1);
  groupPage = 0;
}

function share(part) {
  const svg = document.createElementNS(svgSpace, "svg");
  svg.setAttribute("class", "share");
  svg.setAttribute("viewBox", "0 0 100 6");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const rect = document.createElementNS(svgSpace, "rect");
  rect.setAttribute("width", Math.max(1, part * 100));
  rect.setAttribute("height", 6);
  svg.append(rect);
  return svg;
}

function group(g, list, most) {
  const { title, place, owner, tag, since, count, new: fresh } = data.groups[g];
  const many = list.length === count ? numbers.format(count) : `${numbers.format(list.length)} of ${numbers.format(count)}`;
  const inside = el("div", { class: "inside", id: `mw-group-${g}`, hidden: !open.has(g) });
  const button = el("button", { type: "button", class: "head stop", "aria-expanded": String(open.has(g)), "aria-controls": `mw-group-${g}` },
    el("span", { class: `v ${tag}` }, tag),
    el("span", { class: "name" }, el("b", {}, el("bdi", {}, title)), fresh ? el("i", {}, `${numbers.format(fresh)} new`) : null, el("bdi", {}, place)),
    el("span", { class: "owner" }, el("bdi", {}, owner)),
    el("span", { class: "since" }, since ? `since ${since}` : ""),
    el("span", { class: "n" }, many, share(list.length / most)));
  const fill = () => table(inside, list, open.get(g) || 0, `Findings: ${title}`, (page) => open.set(g, page));
  button.addEventListener("click", () => {
    const opening = inside.hidden;
    inside.hidden = !opening;
    button.setAttribute("aria-expanded", String(opening));
    if (opening) { open.set(g, 0); fill(); } else { open.delete(g); inside.replaceChildren(); }
  });
  if (open.has(g)) fill();
  return el("li", { class: "cause" }, button, inside);
}

function causes() {
  const lists = new Map();
  for (const i of found) {
    const list = lists.get(rows.group[i]);
    if (list) list.push(i); else lists.set(rows.group[i], [i]);
  }
  const order = [...lists.keys()].sort((a, b) => a - b);
  groupPage = Math.max(0, Math.min(groupPage, Math.ceil(order.length / GROUPS) - 1));
  const most = Math.max(1, ...order.slice(0, 2000).map((g) => lists.get(g).length));
  const list = el("ol", { class: "causes", "aria-label": "Findings by what explains them" });
  for (const g of order.slice(groupPage * GROUPS, (groupPage + 1) * GROUPS)) list.append(group(g, lists.get(g), most));
  const pages = pager("groups", order.length, GROUPS, groupPage, (to) => {
    groupPage = to;
    causes();
    app.querySelector(":scope > .pager button:enabled")?.focus({ preventScroll: true });
    app.scrollIntoView({ block: "start" });
  });
  app.replaceChildren(list, ...(pages ? [pages] : []));
  return order.length;
}

function count(groups, bad) {
  if (bad.length > 0) return `Not understood: ${bad.join(", ")}`;
  const n = found.length === total ? `All ${numbers.format(total)} findings` : `${numbers.format(found.length)} of ${numbers.format(total)} findings`;
  return groups === null ? n : `${n}, ${numbers.format(groups)} ${groups === 1 ? "group" : "groups"}`;
}

function show() {
  const result = filter(now.q);
  found = result.found;
  if (form.elements.q.value.trim().toLowerCase() !== now.q.toLowerCase()) form.elements.q.value = now.q;
  const pieces = parse(now.q);
  for (const key of ["severity", "state", "kind", "owner"]) {
    const set = pieces.filter((piece) => piece.key === key && !piece.not);
    const field = form.elements[key];
    field.value = set.length === 1 ? [...field.options].find((o) => o.value.toLowerCase() === set[0].value)?.value ?? "" : "";
  }
  let groups = null;
  if (now.view === "groups") {
    groups = causes();
  } else {
    now.page = Math.max(0, Math.min(now.page, Math.ceil(found.length / PAGE) - 1));
    table(app, found, now.page, "Findings, worst first", (page) => { now.page = page; remember(); });
  }
  app.hidden = found.length === 0;
  byId("mw-none").hidden = found.length > 0;
  byId("mw-count").textContent = count(groups, result.bad);
  for (const b of byId("mw-bar").querySelectorAll("[data-view]")) b.setAttribute("aria-pressed", String(b.dataset.view === now.view));
}

function ask(q) {
  now.q = q.trim();
  now.page = 0;
  groupPage = 0;
  show();
  remember();
}

// Opens a finding, whatever the filter hides and on whatever page it is.
function reveal(id) {
  const i = rows.id.indexOf(id);
  if (i < 0) return false;
  if (!found.includes(i)) {
    now.q = "";
    found = filter("").found;
  }
  if (now.view === "groups") {
    const g = rows.group[i];
    const inGroup = found.filter((k) => rows.group[k] === g);
    const order = [...new Set(found.map((k) => rows.group[k]))].sort((a, b) => a - b);
    groupPage = Math.floor(order.indexOf(g) / GROUPS);
    open.set(g, Math.floor(inGroup.indexOf(i) / PAGE));
  } else {
    now.page = Math.floor(found.indexOf(i) / PAGE);
  }
  if (!byId(`f-${id}`)) show();
  const row = byId(`f-${id}`);
  if (!row) return false;
  for (const other of app.querySelectorAll("tr.at")) other.classList.remove("at");
  row.classList.add("at");
  const details = row.querySelector("details");
  details.fill();
  details.open = true;
  row.scrollIntoView({ block: "center" });
  row.querySelector("a").focus({ preventScroll: true });
  return true;
}

function follow() {
  const hash = location.hash.slice(1);
  if (hash.startsWith("f-")) {
    if (!reveal(hash.slice(2))) byId("mw-count").textContent = "The finding of this link is not in this report.";
  } else if (hash === "" || /^(q|view|page)=/.test(hash)) {
    recall();
    show();
    if (now.q) byId("findings").scrollIntoView({ block: "start" });
  }
}

function fields() {
  const owners = new Map();
  for (let i = 0; i < total; i += 1) owners.set(rows.owner[i], (owners.get(rows.owner[i]) || 0) + 1);
  const list = [...owners].map(([n, many]) => [n === 0 ? "none" : data.text[n], many]).sort((a, b) => b[1] - a[1]).slice(0, 200);
  for (const [name, many] of list) {
    form.elements.owner.append(el("option", { value: name }, `${name} (${numbers.format(many)})`));
  }
  let frame = 0;
  form.elements.q.addEventListener("input", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => ask(form.elements.q.value));
  });
  for (const key of ["severity", "state", "kind", "owner"]) {
    form.elements[key].addEventListener("change", () => {
      const value = form.elements[key].value;
      const rest = parse(now.q).filter((piece) => piece.key !== key || piece.not);
      if (value) rest.push({ not: false, key, value: value.toLowerCase() });
      ask(write(rest));
    });
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(form.elements.q.value); });
  form.addEventListener("reset", (event) => { event.preventDefault(); ask(""); });
  for (const b of byId("mw-bar").querySelectorAll("[data-view]")) {
    b.addEventListener("click", () => { now.view = b.dataset.view; now.page = 0; show(); remember(); });
  }
}

// j and k go through what can be opened; what has the focus is opened by Enter as any link or button.
function step(by) {
  const stops = [...app.querySelectorAll(".stop")];
  const at = stops.indexOf(document.activeElement.closest?.("tr, li")?.querySelector(".stop"));
  const to = stops[at < 0 ? (by > 0 ? 0 : stops.length - 1) : at + by];
  to?.focus({ preventScroll: true });
  to?.closest("tr, li").scrollIntoView({ block: "nearest" });
}

function closeUp() {
  const row = document.activeElement.closest?.("tr");
  const details = row?.querySelector("details[open]");
  if (details) {
    details.open = false;
    row.querySelector("a").focus();
    return;
  }
  const head = document.activeElement.closest?.(".cause")?.querySelector('[aria-expanded="true"]');
  if (head) { head.click(); head.focus(); }
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "Escape") {
    if (event.target === form.elements.q) { event.preventDefault(); ask(""); } else if (!typing) closeUp();
  } else if (!typing && byId("mw-keys").checked) {
    if (event.key === "/") { event.preventDefault(); form.elements.q.focus(); form.elements.q.select(); }
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
  }
}

function theme() {
  const button = byId("mw-theme");
  const names = ["system", "light", "dark"];
  let at = 0;
  // A page from a file may have no storage.
  try { at = Math.max(0, names.indexOf(localStorage.getItem("mimawari-theme"))); } catch { at = 0; }
  const apply = () => {
    if (at === 0) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = names[at];
    button.textContent = `Theme: ${names[at]}`;
  };
  button.addEventListener("click", () => {
    at = (at + 1) % names.length;
    apply();
    try { localStorage.setItem("mimawari-theme", names[at]); } catch { /* it lasts until the page is closed */ }
  });
  button.hidden = false;
  apply();
}

theme();
sites();
if (form) {
  byId("mw-plain").remove();
  fields();
  byId("mw-help").hidden = false;
  for (const id of ["mw-filter", "mw-bar", "mw-app"]) byId(id).hidden = false;
  const linked = location.hash.startsWith("#f-");
  if (linked) now.view = usual;
  else recall();
  show();
  if (location.hash) follow();
  // When the page has loaded the browser goes to the fragment itself, and takes the focus away.
  if (linked) addEventListener("load", () => requestAnimationFrame(follow));
  addEventListener("hashchange", follow);
  addEventListener("keydown", key);
  // Paper has nothing to click on.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...app.querySelectorAll("tr details:not([open])")];
    for (const d of opened) { d.fill(); d.open = true; }
  });
  addEventListener("afterprint", () => { for (const d of opened) d.open = false; });
}
for (const figure of document.querySelectorAll(".map")) {
  drawn(figure, (cidr) => {
    if (!form) return;
    const rest = parse(now.q).filter((piece) => piece.key !== "in" || piece.not);
    ask(write([...rest, { not: false, key: "in", value: cidr }]));
    byId("findings").scrollIntoView({ block: "start" });
    byId("findings").focus({ preventScroll: true });
  });
}
document.documentElement.dataset.ready = "";
