"use strict";
// Paths are added, moved and removed. Without this script there are empty ones at the end, and one that is emptied is gone.
(() => {
  const form = document.querySelector("form[data-service-form]");
  const list = form.querySelector("[data-paths]");
  const blank = form.querySelector("template[data-blank-path]");
  const add = form.querySelector("[data-add-path]");
  // The server says all that is wrong at once, in one place and at the fields; a browser says one thing after the other.
  form.noValidate = true;

  const refresh = () => {
    const paths = [...list.children];
    paths.forEach((path, place) => {
      path.querySelector("legend").textContent = `Path ${place + 1}`;
      path.querySelector("[data-up]").disabled = place === 0;
      path.querySelector("[data-down]").disabled = place === paths.length - 1;
      path.querySelector("[data-path-acts]").hidden = false;
    });
    add.hidden = false;
  };
  let next = 1 + Math.max(-1, ...[...list.querySelectorAll("input[name=row]")].map((input) => Number(input.value)));
  const more = () => {
    list.insertAdjacentHTML("beforeend", blank.innerHTML.replaceAll("__n__", String(next++)));
    refresh();
    return list.lastElementChild;
  };
  add.addEventListener("click", () => more().querySelector("input:not([type=hidden])").focus());
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const path = event.target.closest("[data-path]");
    if (!button || !path) return;
    if (button.matches("[data-remove-path]")) {
      const beside = path.nextElementSibling ?? path.previousElementSibling;
      path.remove();
      (beside?.querySelector("[data-remove-path]") ?? add).focus();
    } else if (button.matches("[data-up]")) path.previousElementSibling?.before(path);
    else if (button.matches("[data-down]")) path.nextElementSibling?.after(path);
    refresh();
    // At an end the button that was pressed can be pressed no more.
    if (path.isConnected) (button.disabled ? path.querySelector("[data-up]:enabled, [data-down]:enabled") : button)?.focus();
  });
  // What is empty says nothing, and a server takes so many fields and no more.
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });
  if (!list.children.length) more();
  refresh();
  const refused = document.querySelector("[data-mistakes]");
  refused?.focus();

  // What was written and not saved is not lost by a link.
  const written = () => JSON.stringify([...new FormData(form)]);
  const was = refused ? "" : written();
  let isSent = false;
  form.addEventListener("submit", () => (isSent = true));
  addEventListener("beforeunload", (event) => {
    if (!isSent && written() !== was) event.preventDefault();
  });
})();
