"use strict";
// Moves rows of the list of routes, by button or by dragging, and counts those that are chosen. Without this script each
// step of a route is saved by itself.
(() => {
  const form = document.querySelector("form[data-route-list]");
  if (!form) return;
  const body = form.querySelector("tbody");
  if (!body) return; // no route is like what was asked for
  const unsaved = form.querySelector("[data-unsaved]");
  const status = form.querySelector("[data-status]");
  const all = form.querySelector("[data-all]");
  const live = unsaved.hidden ? form.elements.order.value : "";
  let was = [...body.rows];

  // What saving makes of the numbers and priorities of the rows.
  const priorities = form.dataset.priorities.split(",");
  const renumber = () => {
    const places = new Map(form.elements.order.value.split(",").map((id, index) => [id, index]));
    for (const row of body.rows) {
      const place = places.get(row.dataset.route);
      const cell = row.querySelector("[data-priority]");
      const now = cell.dataset.priority;
      row.querySelector("[data-number]").textContent = place + 1;
      cell.textContent = priorities[place] === now ? now : `${now} → ${priorities[place]}`;
      cell.classList.toggle("is-changed", priorities[place] !== now);
    }
  };

  // Beside its neighbour in sight; the page may show a part of the routes.
  const moved = (row) => {
    const order = form.elements.order.value.split(",").filter((id) => id !== row.dataset.route);
    const next = row.nextElementSibling?.dataset.route;
    const before = row.previousElementSibling?.dataset.route;
    const wasUp = was.indexOf(row) > [...body.rows].indexOf(row);
    const place = next && (wasUp || !before) ? order.indexOf(next) : order.indexOf(before) + 1;
    order.splice(place, 0, row.dataset.route);
    was = [...body.rows];
    form.elements.order.value = order.join(",");
    unsaved.hidden = form.elements.order.value === live;
    renumber();
    refresh();
    const end = unsaved.hidden ? "This is the order that is live." : "Not saved yet.";
    status.textContent = `“${row.dataset.name}” is number ${place + 1} of ${order.length}. ${end}`;
  };

  const refresh = () => {
    const boxes = [...form.querySelectorAll('input[name="ids"]')];
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
    const told = { 0: "No route is chosen.", 1: "1 chosen route:" }[chosen] ?? `${chosen} chosen routes:`;
    form.querySelector("[data-chosen]").textContent = told;
    form.querySelector(".chosen").classList.toggle("is-wanted", chosen > 0);
    const rows = [...body.rows];
    for (const [place, row] of rows.entries()) {
      for (const [way, end] of [["up", 0], ["down", rows.length - 1]]) {
        row.querySelector(`button[value$=" ${way}"]`).disabled = place === end;
      }
    }
    // Another act would lose an order that is not saved.
    for (const button of form.querySelectorAll('button[name="do"]')) button.disabled = chosen === 0 || !unsaved.hidden;
    for (const button of form.querySelectorAll('button[name="revision"], button[name="one"]')) button.disabled = !unsaved.hidden;
  };

  body.addEventListener("click", (event) => {
    const button = event.target.closest('button[name="move"]');
    if (!button) return;
    event.preventDefault();
    const row = button.closest("tr");
    if (button.value.endsWith(" up")) row.previousElementSibling?.before(row);
    else row.nextElementSibling?.after(row);
    moved(row);
    // At the end the focus stays on the row: at the only way from there.
    (button.disabled ? row.querySelector('button[name="move"]:enabled') : button)?.focus();
  });

  let dragged = null;
  for (const handle of form.querySelectorAll("[data-handle]")) {
    handle.hidden = false;
    handle.draggable = true;
    handle.addEventListener("dragstart", (event) => {
      dragged = handle.closest("tr");
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setDragImage(dragged, 0, 0);
    });
    handle.addEventListener("dragend", () => {
      if (dragged) moved(dragged);
      dragged = null;
    });
  }
  body.addEventListener("dragover", (event) => {
    const row = event.target.closest("tr");
    if (!dragged || !row) return;
    event.preventDefault();
    if (row === dragged) return;
    const box = row.getBoundingClientRect();
    if (event.clientY < box.top + box.height / 2) row.before(dragged);
    else row.after(dragged);
  });
  body.addEventListener("drop", (event) => event.preventDefault());

  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of form.querySelectorAll('input[name="ids"]')) box.checked = all.checked;
    refresh();
  });
  form.addEventListener("change", refresh);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.type === "checkbox") event.preventDefault(); // it would send the form
  });
  // An order that is not saved is not lost by a link.
  let isSent = false;
  form.addEventListener("submit", () => (isSent = true));
  form.querySelector("[data-put-back]").addEventListener("click", () => (isSent = true));
  addEventListener("beforeunload", (event) => {
    if (!unsaved.hidden && !isSent) event.preventDefault();
  });

  // The server takes a thousand fields: what is chosen is sent as one.
  form.addEventListener("formdata", ({ formData }) => {
    const ids = formData.getAll("ids").join(",");
    formData.delete("ids");
    formData.set("ids", ids);
  });
  renumber();
  refresh();
})();
