"use strict";
// What the log says of the routes, and how many of them need attention, once the list is there. Without this script the list
// does without.
(() => {
  const ask = async (url) => {
    const answer = await fetch(url, { headers: { Accept: "application/json" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return answer.json();
  };

  const words = document.querySelector("[data-hits-words]");
  const cells = [...document.querySelectorAll("[data-hits]")];
  const show = (cell, { count, share }, isTold) => {
    if (share === null) return;
    const text = count === 0 ? "none" : share < 0.001 ? "< 0.1%" : `${(100 * share).toFixed(1)}%`;
    const said = document.createElement(isTold && count ? "a" : "span");
    if (said.href === "") said.href = `${words.dataset.log}?route=${cell.dataset.hits}`;
    said.textContent = text;
    const meter = document.createElement("meter");
    meter.value = share;
    meter.setAttribute("aria-hidden", "true"); // the number says it
    cell.append(said, meter);
    if (!cell.dataset.aside || !count) return;
    const aside = document.createElement("div"); // a route that is paused takes requests and leaves them as they are
    aside.className = "muted";
    aside.textContent = cell.dataset.aside;
    said.classList.add("muted");
    cell.append(aside);
  };
  const hits = async () => {
    words.hidden = false;
    words.textContent = "Counting requests …";
    try {
      const said = await ask(words.dataset.url);
      for (const cell of cells) {
        cell.hidden = said.sample === 0;
        show(cell, said.hits[cell.dataset.hits] ?? { share: null }, said.is_told);
      }
      document.querySelector("[data-hits-head]").hidden = said.sample === 0;
      words.textContent = said.words;
    } catch {
      words.textContent = "The requests could not be counted now. Load the page again to try once more.";
    }
  };
  if (words) hits();

  const attention = document.querySelector("[data-attention]");
  const count = async () => {
    const badge = attention.querySelector(".badge");
    try {
      badge.textContent = (await ask(attention.dataset.attention)).count.toLocaleString("en");
    } catch {
      badge.textContent = "?";
    }
  };
  if (attention) count();
})();
