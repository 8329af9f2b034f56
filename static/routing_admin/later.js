"use strict";
// Parts of a page that take a while, such as figures over the log: asked for once the page is there. Without this script a link
// leads to each of them.
(() => {
  const fill = async (place) => {
    try {
      const answer = await fetch(place.dataset.later, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const part = new DOMParser().parseFromString(await answer.text(), "text/html");
      place.replaceChildren(...part.body.childNodes);
    } catch {
      place.textContent = "This could not be counted now. Load the page again to try once more.";
    }
    place.setAttribute("aria-busy", "false");
  };
  document.querySelectorAll("[data-later]").forEach(fill);
})();
