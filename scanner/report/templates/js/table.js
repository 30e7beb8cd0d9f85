// A table of findings, a page at a time.

const PAGE = 100;
const heads = ["Severity", "State", "Where", "What and why", "Service", "Seen (UTC)"];

function sentence(text) {
  const pieces = text.split("`");
  if (pieces.length % 2 === 0) return [text];
  return pieces.map((piece, n) => (n % 2 ? el("code", {}, piece) : piece));
}

function rowOf(i) {
  const text = (column) => data.text[column[i]];
  const severity = data.severities[rows.severity[i]] || "info";
  const id = `f-${rows.id[i]}`;
  const state = el("td", { role: "cell" }, (data.states[rows.state[i]] || ["", ""])[1]);
  for (const mark of rows.marks[i]) state.append(" ", el("i", {}, data.text[mark]));
  const list = el("dl", {});
  const line = (label, value, mono) =>
    list.append(el("dt", {}, label), el("dd", mono ? { class: "mono" } : {}, el("bdi", {}, value)));
  const details = el("details", {}, el("summary", {}, "Details"), list);
  // Filled when it is opened: most never are.
  const fill = () => {
    if (list.firstChild) return;
    const d = rows.details[i];
    for (let n = 0; n < d.length; n += 2) line(data.text[d[n]], data.text[d[n + 1]]);
    line("First seen", `${time(rows.first[i], 19)} UTC`);
    line("Last seen", `${time(rows.last[i], 19)} UTC`);
    line("Id", rows.id[i], true);
  };
  details.addEventListener("toggle", () => { if (details.open) fill(); });
  details.fill = fill;
  const where = el("th", { scope: "row", role: "rowheader", class: "mono" },
    el("a", { href: `#${id}`, class: "stop" }, endpoint(i)));
  if (rows.resource[i]) where.append(el("bdi", {}, text(rows.resource)));
  return el("tr", { role: "row", id, class: rows.flags[i] & SETTLED ? "settled" : null },
    el("td", { role: "cell" }, el("span", { class: `v ${severity}` }, severity)),
    state,
    where,
    el("td", { role: "cell" }, el("b", {}, el("bdi", {}, text(rows.what))),
      el("p", {}, ...sentence(text(rows.why))), details),
    el("td", { role: "cell", class: "mono" }, el("bdi", {}, text(rows.service))),
    el("td", { role: "cell" }, time(rows.last[i], 16)));
}

// Buttons to the pages of a list; nothing where one page is enough.
function pager(what, length, size, page, go) {
  if (length <= size) return null;
  const last = Math.ceil(length / size) - 1;
  const said = `${numbers.format(page * size + 1)}–${numbers.format(Math.min(length, (page + 1) * size))} of ${numbers.format(length)}`;
  const button = (label, to, off) => {
    const b = el("button", { type: "button", disabled: off, "data-to": label }, label);
    b.addEventListener("click", () => go(to, label));
    return b;
  };
  return el("nav", { class: "pager", "aria-label": `Pages of ${what}` },
    button("First", 0, page === 0), button("Previous", page - 1, page === 0),
    el("span", {}, said),
    button("Next", page + 1, page === last), button("Last", last, page === last));
}

// Shows a page of the findings in a box. `moved` is told when another page was chosen.
function table(box, list, page, label, moved) {
  const top = Math.max(0, Math.min(page, Math.ceil(list.length / PAGE) - 1));
  const body = el("tbody", { role: "rowgroup" });
  for (const i of list.slice(top * PAGE, (top + 1) * PAGE)) body.append(rowOf(i));
  const head = el("tr", { role: "row" },
    ...heads.map((name) => el("th", { scope: "col", role: "columnheader" }, name)));
  const go = (to, button) => {
    table(box, list, to, label, moved);
    if (moved) moved(to);
    const same = box.querySelector(`.pager [data-to="${button}"]`);
    (same?.disabled ? box.querySelector(".pager button:enabled") : same)?.focus({ preventScroll: true });
    box.scrollIntoView({ block: "start" });
  };
  const pages = pager("findings", list.length, PAGE, top, go);
  box.replaceChildren(
    el("table", { role: "table" }, el("caption", {}, label),
      el("thead", { role: "rowgroup" }, head), body),
    ...(pages ? [pages] : []));
}
