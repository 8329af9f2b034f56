"use strict";
// Adds and removes groups of conditions, and shows of the action only what belongs to its kind. Without this script all
// that is there can be edited; a group is then removed by its checkbox.
(() => {
  const form = document.querySelector("form[data-route-form]");

  const fit = (group) => {
    const checkbox = group.querySelector(":scope > [data-remove]");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn";
    button.textContent = "Remove this group";
    button.addEventListener("click", () => {
      group.remove();
      refresh();
      form.querySelector("[data-add]:not([hidden])")?.focus();
    });
    checkbox.replaceWith(button);
  };

  const refresh = () => {
    for (const button of form.querySelectorAll("[data-add]")) {
      const there = form.querySelectorAll(`[data-group="${button.dataset.add}"]`).length;
      button.hidden = button.dataset.add === "not" && there > 0;
    }
    const kind = form.elements.kind?.value ?? "";
    for (const part of form.querySelectorAll("[data-kind]")) {
      // Disabled, so that what does not belong is not sent either.
      part.hidden = part.disabled = !part.dataset.kind.split(" ").includes(kind);
    }
  };

  let next = 1 + Math.max(-1, ...[...form.querySelectorAll('input[name="any_of"]')].map((input) => Number(input.value)));
  for (const group of form.querySelectorAll("[data-group]")) fit(group);
  for (const button of form.querySelectorAll("[data-add]")) {
    button.addEventListener("click", () => {
      const kind = button.dataset.add;
      const blank = form.querySelector(`template[data-blank="${kind}"]`);
      const groups = form.querySelector(`[data-groups="${kind}"]`);
      groups.insertAdjacentHTML("beforeend", blank.innerHTML.replaceAll("__n__", String(next++)));
      fit(groups.lastElementChild);
      refresh();
      groups.lastElementChild.querySelector("textarea, input:not([type=hidden])").focus();
    });
  }
  form.elements.kind?.addEventListener("change", refresh);
  // The server takes a thousand fields, and a route's groups have more; what is empty says nothing.
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });
  refresh();
})();
