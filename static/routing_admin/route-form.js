"use strict";
// Conditions are added from a menu and removed one by one, so are groups of them, and of the action only what belongs to its
// kind is shown. Without this script every condition stands under “More conditions”, and one that is emptied is gone.
(() => {
  const form = document.querySelector("form[data-route-form]");
  // The server says all that is wrong at once, in one place and at the fields; a browser says one thing after the other.
  form.noValidate = true;

  const button = (text, className, label) => {
    const node = document.createElement("button");
    node.type = "button";
    node.className = className;
    node.textContent = text;
    if (label) node.setAttribute("aria-label", label);
    return node;
  };
  const changed = () => form.dispatchEvent(new CustomEvent("ra:changed", { bubbles: true }));
  const controls = (node) => [...node.querySelectorAll("input, select, textarea")];
  const focusIn = (node) => node.querySelector("input:not([type=hidden]), select, textarea:not([hidden])")?.focus();

  // --- Conditions
  const fitConditions = (box) => {
    const rows = box.querySelector(":scope > [data-rows]");
    const none = box.querySelector(":scope > [data-none]");
    const others = box.querySelector(":scope > [data-others]");
    const group = box.closest("[data-group]")?.dataset.group;
    const to = { any_of: " to this alternative", not: " to this exception" }[group] ?? "";
    others.hidden = true;

    const stand = (row) => {
      const marker = document.createElement("input");
      marker.type = "hidden";
      marker.name = box.dataset.row;
      marker.value = row.dataset.condition;
      const remove = button("×", "btn condition-x");
      const what = document.createElement("span");
      what.className = "visually-hidden";
      what.textContent = ` Remove: ${row.dataset.title}`;
      remove.append(what);
      remove.addEventListener("click", () => {
        const next = row.nextElementSibling ?? row.previousElementSibling;
        for (const control of controls(row)) {
          if (control.type === "checkbox") control.checked = false;
          else control.value = "";
          control.dispatchEvent(new CustomEvent("ra:cleared"));
        }
        row.querySelector("[data-remove-condition]").replaceChildren();
        others.querySelector(`[data-place="${row.dataset.groupPlace}"]`).append(row);
        none.hidden = rows.childElementCount > 0;
        if (next) next.querySelector(".condition-x").focus();
        else opener.focus();
        changed();
      });
      row.querySelector("[data-remove-condition]").replaceChildren(marker, remove);
    };

    for (const row of rows.children) stand(row);

    const opener = button("Add a condition", "btn", to ? `Add a condition${to}` : "");
    opener.setAttribute("aria-haspopup", "menu");
    opener.setAttribute("aria-expanded", "false");
    const menu = document.createElement("div");
    menu.className = "condition-menu";
    menu.setAttribute("role", "menu");
    menu.setAttribute("aria-label", "Conditions");
    menu.hidden = true;
    const whole = document.createElement("div");
    whole.className = "condition-add";
    whole.append(opener, menu);
    others.after(whole);

    let typed = "";
    let typedAt = 0;
    const items = () => [...menu.querySelectorAll("[role=menuitem]")];
    const close = () => {
      menu.hidden = true;
      opener.setAttribute("aria-expanded", "false");
    };
    const choose = (row) => {
      close();
      rows.append(row);
      none.hidden = true;
      for (const control of controls(row)) {
        // Who adds “Has images” means that it has.
        if (control.tagName === "SELECT" && !control.value) control.value = "true";
        if (control.name.endsWith("window_tz")) control.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
      }
      stand(row);
      focusIn(row);
      changed();
    };
    const open = () => {
      typed = "";
      menu.replaceChildren();
      for (const heading of others.querySelectorAll(":scope > [data-heading]")) {
        const free = heading.querySelectorAll(":scope > [data-condition]");
        if (!free.length) continue;
        const part = document.createElement("div");
        part.setAttribute("role", "group");
        part.setAttribute("aria-label", heading.dataset.heading);
        const title = document.createElement("p");
        title.textContent = heading.dataset.heading;
        title.setAttribute("aria-hidden", "true");
        part.append(title);
        for (const row of free) {
          const item = button(row.dataset.title, "");
          item.setAttribute("role", "menuitem");
          item.addEventListener("click", () => choose(row));
          part.append(item);
        }
        menu.append(part);
      }
      menu.hidden = false;
      opener.setAttribute("aria-expanded", "true");
      items()[0]?.focus({ preventScroll: true });
      menu.scrollIntoView({ block: "nearest" });
    };
    opener.addEventListener("click", () => (menu.hidden ? open() : close()));
    opener.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" || !menu.hidden) return;
      event.preventDefault();
      open();
    });
    menu.addEventListener("keydown", (event) => {
      const all = items();
      const at = all.indexOf(document.activeElement);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
      if (to !== undefined) all[(to + all.length) % all.length].focus();
      else if (event.key === "Escape") {
        close();
        opener.focus();
      } else if (event.key === "Tab") return close();
      else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) {
        if (event.timeStamp - typedAt > 800) typed = "";
        if (event.key === " " && !typed) return; // which presses the button
        typed += event.key.toLowerCase();
        typedAt = event.timeStamp;
        // From here on, around, and at the beginning of a name before the middle of one.
        const around = [...all.slice(at + (typed.length === 1 ? 1 : 0)), ...all];
        const says = (item) => item.textContent.toLowerCase();
        (around.find((item) => says(item).startsWith(typed)) ?? around.find((item) => says(item).includes(typed)))?.focus();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
    whole.addEventListener("focusout", (event) => {
      if (!whole.contains(event.relatedTarget)) close();
    });
  };

  // --- Groups
  const fit = (group) => {
    const checkbox = group.querySelector(":scope > [data-remove]");
    const remove = button("Remove this group", "btn btn-small");
    remove.addEventListener("click", () => {
      group.remove();
      refresh();
      form.querySelector("[data-add]:not([hidden])")?.focus();
      changed();
    });
    checkbox.replaceWith(remove);
    group.querySelectorAll("[data-conditions]").forEach(fitConditions);
  };

  const refresh = () => {
    for (const add of form.querySelectorAll("[data-add]")) {
      const there = form.querySelectorAll(`[data-group="${add.dataset.add}"]`).length;
      add.hidden = add.dataset.add === "not" && there > 0;
      form.querySelector(`[data-groups="${add.dataset.add}"] > [data-groups-say]`).hidden = there === 0;
    }
    form.querySelectorAll('[data-group="any_of"] > legend').forEach((legend, place) => {
      legend.textContent = `Alternative ${place + 1}`;
    });
    const kind = form.elements.kind?.value ?? "";
    for (const part of form.querySelectorAll("[data-kind]")) {
      // Disabled, so that what does not belong is not sent either.
      part.hidden = part.disabled = !part.dataset.kind.split(" ").includes(kind);
    }
  };

  form.querySelectorAll("[data-conditions]").forEach((box) => {
    if (!box.closest("[data-group]")) fitConditions(box);
  });
  let next = 1 + Math.max(-1, ...[...form.querySelectorAll('input[name="any_of"]')].map((input) => Number(input.value)));
  for (const group of form.querySelectorAll("[data-group]")) fit(group);
  for (const add of form.querySelectorAll("[data-add]")) {
    add.addEventListener("click", () => {
      const kind = add.dataset.add;
      const blank = form.querySelector(`template[data-blank="${kind}"]`);
      const groups = form.querySelector(`[data-groups="${kind}"]`);
      groups.insertAdjacentHTML("beforeend", blank.innerHTML.replaceAll("__n__", String(next++)));
      const group = groups.lastElementChild;
      fit(group);
      group.dispatchEvent(new CustomEvent("ra:added", { bubbles: true }));
      refresh();
      group.querySelector(".condition-add > button").focus();
      changed();
    });
  }
  form.elements.kind?.addEventListener("change", refresh);
  // In a list of models Enter ends a model; where it ended the form too, it would publish what is half written.
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("input") || event.defaultPrevented) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) form.requestSubmit(form.querySelector(".btn-primary[type=submit]"));
  });
  form.addEventListener("formdata", ({ formData }) => {
    // The server takes a thousand fields, and a route's groups have more; what is empty says nothing.
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
    // What a browser cannot read it would send as nothing, and a condition would be gone in silence.
    for (const control of form.elements) if (control.validity?.badInput) formData.set(control.name, "?");
  });
  refresh();
  const refused = document.querySelector("[data-mistakes], [data-doubts]");
  refused?.focus();

  // What was written and not saved is not lost by a link.
  const written = () => {
    const data = new FormData(form);
    for (const name of ["json", "json_mark"]) data.delete(name); // the preview writes them too
    return JSON.stringify([...data]);
  };
  const was = refused ? "" : written();
  let isSent = false;
  form.addEventListener("submit", () => (isSent = true));
  addEventListener("beforeunload", (event) => {
    if (!isSent && written() !== was) event.preventDefault();
  });
})();
