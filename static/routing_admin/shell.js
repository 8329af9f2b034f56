"use strict";
// Menus that close again, and the way to anything: "/" or Ctrl+K. Without this script menus are opened and closed by hand,
// and the way to anything is a page of its own.
(() => {
  const menus = [...document.querySelectorAll("details.ra-menu")];
  const close = (but) => {
    for (const menu of menus) if (menu !== but) menu.open = false;
  };
  document.addEventListener("click", (event) => close(event.target.closest("details.ra-menu")));
  for (const menu of menus) {
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }
  const here = document.querySelector(".ra-sections [aria-current]");
  const strip = here?.closest(".ra-sections");
  if (strip && here.offsetLeft + here.offsetWidth > strip.clientWidth) {
    strip.scrollLeft = here.offsetLeft - (strip.clientWidth - here.offsetWidth) / 2;
  }

  const opener = document.querySelector("[data-find]");
  if (!opener) return;
  const dialog = document.createElement("dialog");
  dialog.className = "ra-palette";
  dialog.setAttribute("aria-label", "Search or jump to");
  dialog.innerHTML =
    '<input type="text" role="combobox" aria-label="Search or jump to" aria-expanded="true" aria-controls="ra-results"' +
    ' aria-autocomplete="list" autocomplete="off" spellcheck="false" maxlength="200"' +
    ' placeholder="A page, route, plan, version or model">' +
    '<p class="muted" role="status"></p><div id="ra-results" role="listbox" aria-label="Results"></div>';
  document.body.append(dialog);
  const input = dialog.querySelector("input");
  const list = dialog.querySelector("[role=listbox]");
  const status = dialog.querySelector("[role=status]");
  let asked = 0;
  let timer = 0;

  const choose = (option) => {
    for (const each of list.children) each.setAttribute("aria-selected", String(each === option));
    if (option) {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  };
  const chosen = () => list.querySelector('[aria-selected="true"]');

  const show = ({ results, is_near: isNear }) => {
    list.replaceChildren(
      ...results.map((one, place) => {
        const option = document.createElement("a");
        option.id = `ra-result-${place}`;
        option.setAttribute("role", "option");
        option.href = one.url;
        option.tabIndex = -1;
        for (const [name, text] of [["title", one.title], ["muted", one.hint], ["badge", one.kind]]) {
          const part = document.createElement("span");
          part.className = name;
          part.textContent = text;
          option.append(part);
        }
        return option;
      }),
    );
    choose(list.firstElementChild);
    const none = `Nothing here is called “${input.value.trim()}”.`;
    status.textContent = isNear ? `${none} Names like it:` : results.length ? "" : none;
  };

  const look = async () => {
    const mine = ++asked;
    const url = new URL(opener.href);
    url.search = new URLSearchParams({ q: input.value, as: "json" });
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      const found = answer.ok && !answer.redirected ? await answer.json() : null;
      if (mine !== asked) return;
      if (found) show(found);
      else status.textContent = "You are signed out. Load the page again.";
    } catch {
      if (mine === asked) status.textContent = "The server did not answer.";
    }
  };

  const open = () => {
    if (dialog.open) return;
    close();
    dialog.showModal();
    input.select();
    look();
  };

  opener.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  document.addEventListener("keydown", (event) => {
    const writes = event.target.closest?.("input, textarea, select, [contenteditable]");
    const isKey = (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k";
    if (!isKey && (event.key !== "/" || writes || event.ctrlKey || event.metaKey || event.altKey)) return;
    event.preventDefault();
    open();
  });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, 120);
  });
  input.addEventListener("keydown", (event) => {
    const options = [...list.children];
    const at = options.indexOf(chosen());
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: options.length - 1 }[event.key];
    if (to !== undefined && !(["Home", "End"].includes(event.key) && input.value)) {
      event.preventDefault();
      if (options.length) choose(options[(to + options.length) % options.length]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      chosen()?.click();
    }
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
})();
