"use strict";
// Lists of models: each a chip with its price, and a field that completes the next. The text of the server's field, a model a
// line, stays what is sent; without this script it is what is written into. It has what is being typed too, so nothing is lost.
// A field for one model says its price below.
(() => {
  const costs = new Map();
  for (const option of document.querySelectorAll("#models option")) costs.set(option.value, option.label);

  const make = (tag, className, text = "") => {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    return node;
  };

  const fit = (area) => {
    const box = make("div", "chips");
    const list = make("ul", "chips-list");
    const input = make("input", "");
    input.type = "text";
    input.autocomplete = "off";
    input.spellcheck = false;
    input.setAttribute("list", area.dataset.chips);
    for (const name of ["id", "aria-describedby", "aria-invalid"]) {
      if (area.hasAttribute(name)) input.setAttribute(name, area.getAttribute(name));
      area.removeAttribute(name);
    }
    delete area.dataset.chips;
    list.setAttribute("aria-label", "Chosen models");
    area.hidden = true;
    area.after(box);
    box.append(list, input);
    let values = [];

    // No model's name has a comma in it, and people write lists with them.
    const several = (text) => text.split(/[\r\n,]+/).map((name) => name.trim()).filter(Boolean);
    const write = () => {
      area.value = [...values, ...several(input.value)].join("\n");
    };
    const changed = () => {
      write();
      area.dispatchEvent(new CustomEvent("ra:changed", { bubbles: true }));
    };
    const show = () => {
      list.hidden = values.length === 0;
      list.replaceChildren(
        ...values.map((value, place) => {
          const chip = make("li", "chip");
          const remove = make("button", "", "×");
          remove.type = "button";
          remove.setAttribute("aria-label", `Remove ${value}`);
          remove.addEventListener("click", () => {
            values.splice(place, 1);
            show();
            changed();
            input.focus();
          });
          chip.append(make("span", "chip-text", value), make("span", "muted", costs.get(value) ?? "no known price"), remove);
          return chip;
        }),
      );
    };
    const read = () => {
      values = area.value.split("\n").filter((line) => line.trim());
      input.value = "";
      show();
    };
    const add = (texts) => {
      values.push(...texts);
      input.value = "";
      show();
      changed();
    };

    input.addEventListener("input", (event) => {
      // What is chosen from the list is whole; what is typed is not, and stays: a chip that came when somebody clicks
      // elsewhere would move what they click on.
      if (event.inputType === "insertReplacementText" && costs.has(input.value)) add([input.value]);
      else write();
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault(); // which would publish
        add(several(input.value));
      } else if (event.key === "Backspace" && !input.value && values.length) {
        event.preventDefault();
        input.value = values.pop();
        show();
        changed();
      }
    });
    input.addEventListener("paste", (event) => {
      const text = event.clipboardData.getData("text");
      if (several(text).length < 2) return;
      event.preventDefault();
      add(several(text));
    });
    area.addEventListener("ra:cleared", read);
    read();
  };

  const price = (input) => {
    const line = make("p", "help");
    const say = () => {
      line.textContent = costs.has(input.value) ? `${input.value}: ${costs.get(input.value)}` : "";
    };
    input.after(line);
    input.addEventListener("input", say);
    say();
  };
  for (const input of document.querySelectorAll('form[data-route-form] input[list="models"]')) price(input);

  const all = (root) => root.querySelectorAll("textarea[data-chips]").forEach(fit);
  document.addEventListener("ra:added", (event) => all(event.target));
  all(document);
})();
