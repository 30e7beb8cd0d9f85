"use strict";
(() => {
  const form = document.getElementById("mw-filter");
  const table = document.getElementById("mw-findings");
  if (!form || !table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const count = document.getElementById("mw-count");
  const none = document.getElementById("mw-none");
  const number = new Intl.NumberFormat("en");
  const fields = { v: form.elements.severity, s: form.elements.state, k: form.elements.kind };
  let texts = null;
  let timer = 0;

  // The text of a row is read once, and only when somebody searches: the table may be long.
  function text(i) {
    if (!texts) texts = rows.map((row) => row.textContent.toLowerCase());
    return texts[i];
  }

  function apply() {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = Object.entries(fields).filter(([, field]) => field.value);
    let shown = 0;
    rows.forEach((row, i) => {
      const match =
        wanted.every(([key, field]) => row.dataset[key] === field.value) &&
        words.every((word) => text(i).includes(word));
      if (row.hidden === match) row.hidden = !match;
      if (match) shown += 1;
    });
    none.hidden = shown > 0;
    count.textContent = shown === rows.length
      ? `All ${number.format(rows.length)} shown`
      : `${number.format(shown)} of ${number.format(rows.length)} shown`;
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(apply, 120);
  }

  // A link to a finding opens it, whatever the filter hides.
  function reveal() {
    const row = document.getElementById(location.hash.slice(1));
    if (!row || row.parentNode !== body) return;
    if (row.hidden) {
      form.reset();
      apply();
    }
    row.querySelector("details").open = true;
    row.scrollIntoView({ block: "center" });
  }

  // Paper has nothing to click on.
  let opened = [];
  addEventListener("beforeprint", () => {
    const visible = rows.filter((row) => !row.hidden);
    if (visible.length > 500) return;
    opened = visible.map((row) => row.querySelector("details")).filter((d) => !d.open);
    opened.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => {
    opened.forEach((d) => { d.open = false; });
    opened = [];
  });

  form.addEventListener("input", later);
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  form.addEventListener("reset", () => setTimeout(apply, 0));
  addEventListener("hashchange", reveal);
  form.hidden = false;
  apply();
  reveal();
})();
