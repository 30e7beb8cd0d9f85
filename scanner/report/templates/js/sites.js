// The table of web sites, which stands in the page, with its filter.

function sites() {
  const form = byId("mw-site-filter");
  const body = byId("mw-sites")?.tBodies[0];
  if (!form || !body) return;
  const all = Array.from(body.rows);
  const count = byId("mw-site-count");
  let read = null;

  function apply() {
    if (!read) read = all.map((row) => row.textContent.toLowerCase());
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = form.elements.kind.value;
    let shown = 0;
    all.forEach((row, i) => {
      const match = (!kind || row.dataset.k === kind) && words.every((w) => read[i].includes(w));
      if (row.hidden === match) row.hidden = !match;
      if (match) shown += 1;
    });
    byId("mw-site-none").hidden = shown > 0;
    count.textContent = shown === all.length
      ? `All ${numbers.format(all.length)} shown`
      : `${numbers.format(shown)} of ${numbers.format(all.length)} shown`;
  }

  let timer = 0;
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 120); });
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  form.addEventListener("reset", () => setTimeout(apply, 0));
  form.hidden = false;
}
