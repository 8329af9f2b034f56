"use strict";
// How many requests each window has is counted after the page is there.
(async () => {
  const place = document.querySelector("[data-windows]");
  if (!place) return;
  const dates = [...place.querySelectorAll("input[type='datetime-local'], input[name^='window_']")];
  const other = place.querySelector("input[name='window'][value='other']");
  for (const field of dates) {
    field.addEventListener("input", () => {
      if (other) other.checked = true; // else what is written there would not count
    });
  }
  const told = [...place.querySelectorAll("[data-window]")].filter((one) => one.dataset.window !== "other");
  try {
    const answer = await fetch(place.dataset.windows, { headers: { Accept: "application/json" } });
    const words = answer.ok && !answer.redirected ? await answer.json() : {};
    for (const one of told) one.textContent = words[one.dataset.window] ?? "";
  } catch {
    place.querySelector("[data-trouble]").textContent = "How many requests these are could not be counted.";
  }
})();
