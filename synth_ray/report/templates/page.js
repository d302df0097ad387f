"use strict";
(() => {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));

  // Filters: a row is shown when every chosen value is its own and its text holds what is searched for.
  const form = document.getElementById("filters");
  if (form) {
    const records = all(".record").map((element) => ({ element, text: element.textContent.toLowerCase() }));
    const selects = all("select", form);
    const search = document.getElementById("filter-text");
    const count = document.getElementById("filter-count");
    const apply = () => {
      const words = search.value.toLowerCase().trim();
      let shown = 0;
      for (const { element, text } of records) {
        const matches = selects.every((s) => !s.value || element.dataset[s.dataset.filter] === s.value) && text.includes(words);
        element.hidden = !matches;
        shown += matches ? 1 : 0;
      }
      for (const group of all("[data-group]")) group.hidden = !group.querySelector(".record:not([hidden])");
      count.textContent = shown === records.length ? `${shown} rows` : `${shown} of ${records.length} rows`;
    };
    form.hidden = false;
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  // Choices: one of several blocks at a time.
  for (const choice of all("[data-choice]")) {
    const select = choice.querySelector(":scope > .chooser select");
    const options = all(":scope > [data-option]", choice);
    if (options.length < 2) continue;
    const apply = () => options.forEach((option, number) => { option.hidden = number !== Number(select.value); });
    select.closest(".chooser").hidden = false;
    select.addEventListener("change", apply);
    apply();
  }

  // Paper shows everything, and afterwards the screen is as it was.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const details of closed) details.open = true;
  });
  window.addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
})();
