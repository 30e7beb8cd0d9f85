"use strict";
(() => {
  const number = new Intl.NumberFormat("en");

  // A table with its filter. The fields are those of the form, by the data attribute that they match.
  function filtered(prefix, tableId, fields) {
    const form = document.getElementById(`${prefix}-filter`);
    const table = document.getElementById(tableId);
    if (!form || !table) return null;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    const count = document.getElementById(`${prefix}-count`);
    const none = document.getElementById(`${prefix}-none`);
    let texts = null;
    let timer = 0;

    // The text of a row is read once, and only when somebody searches: the table may be long.
    function text(i) {
      if (!texts) texts = rows.map((row) => row.textContent.toLowerCase());
      return texts[i];
    }

    function apply() {
      const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = Object.entries(fields)
        .map(([key, name]) => [key, form.elements[name].value])
        .filter(([, value]) => value);
      let shown = 0;
      rows.forEach((row, i) => {
        const match =
          wanted.every(([key, value]) => row.dataset[key] === value) &&
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

    form.addEventListener("input", later);
    form.addEventListener("change", apply);
    form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
    form.addEventListener("reset", () => setTimeout(apply, 0));
    form.hidden = false;
    apply();
    return { form, body, rows, apply };
  }

  filtered("mw-site", "mw-sites", { k: "kind" });
  const findings = filtered("mw", "mw-findings", { v: "severity", s: "state", k: "kind" });
  if (!findings) return;

  // A link to a finding opens it, whatever the filter hides.
  function reveal() {
    const row = document.getElementById(location.hash.slice(1));
    if (!row || row.parentNode !== findings.body) return;
    if (row.hidden) {
      findings.form.reset();
      findings.apply();
    }
    row.querySelector("details").open = true;
    row.scrollIntoView({ block: "center" });
  }

  // Paper has nothing to click on.
  let opened = [];
  addEventListener("beforeprint", () => {
    const visible = findings.rows.filter((row) => !row.hidden);
    if (visible.length > 500) return;
    opened = visible.map((row) => row.querySelector("details")).filter((d) => !d.open);
    opened.forEach((d) => { d.open = true; });
  });
  addEventListener("afterprint", () => {
    opened.forEach((d) => { d.open = false; });
    opened = [];
  });

  addEventListener("hashchange", reveal);
  reveal();
})();
