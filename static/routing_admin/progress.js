"use strict";
// Looks how far the replay is while it waits or runs, and stops by itself: the answer comes in place of the progress. Words are
// the server's. Without this script the page has a link to look again.
(() => {
  const USUAL = 1000;
  const LONGEST = 30000;
  const place = document.querySelector("[data-progress]");
  if (!place) return;
  const trouble = document.querySelector("[data-trouble]");
  const told = document.createElement("p");
  told.className = "ra-unseen";
  told.setAttribute("aria-live", "polite");
  told.setAttribute("role", "status");
  place.after(told);
  let pause = USUAL;
  let timer = 0;
  let asking = false;

  const parts = (text) => new DOMParser().parseFromString(text, "text/html");

  const get = async (url) => {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    if (answer.redirected) throw new Error("You are signed out. Load the page again.");
    if (answer.status === 404 || answer.status === 403) throw new Error("You may not see this plan any more.");
    if (!answer.ok) throw null;
    return parts(await answer.text());
  };

  const finish = async () => {
    const page = await get(location.href);
    const mine = document.querySelector("#content");
    const fresh = page.querySelector("#content");
    if (!mine || !fresh) return location.reload();
    mine.replaceChildren(...fresh.childNodes);
    document.title = page.title;
    const answer = mine.querySelector(".plan-answer");
    if (answer) {
      answer.tabIndex = -1;
      answer.focus({ preventScroll: true }); // what had the focus may be gone
    }
    return undefined;
  };

  const look = async () => {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const now = (await get(place.dataset.progress)).querySelector("[data-state]");
      if (!now) throw null;
      pause = USUAL;
      trouble.textContent = "";
      if ("done" in now.dataset) {
        await finish();
        return;
      }
      place.replaceChildren(now);
      if (told.textContent !== now.dataset.told) told.textContent = now.dataset.told;
    } catch (error) {
      if (error instanceof Error && !(error instanceof TypeError)) {
        trouble.textContent = error.message; // to look again would not help
        return;
      }
      pause = Math.min(2 * pause, LONGEST);
      trouble.textContent = `The server did not answer. Looking again in ${Math.round(pause / 1000)} s.`;
    } finally {
      asking = false;
    }
    next();
  };

  const next = () => {
    clearTimeout(timer);
    timer = setTimeout(look, pause);
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && document.contains(place)) look();
  });
  next();
})();
