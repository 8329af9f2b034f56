"use strict";
// How many seconds are left before something can be done, counted down; then the words that say that it can. Without this
// script the page says how long it was when it was loaded.
(() => {
  const tick = (place, until) => {
    const left = Math.ceil((until - performance.now()) / 1000);
    if (left <= 0) {
      place.textContent = place.dataset.then;
      return;
    }
    place.querySelector("[data-left]").textContent = left;
    setTimeout(tick, 250, place, until);
  };
  for (const place of document.querySelectorAll("[data-seconds]")) {
    tick(place, performance.now() + 1000 * Number(place.dataset.seconds));
  }
})();
