"use strict";
// The models of a split: each a row with its weight and the share that follows from all weights. The text of the server's field,
// `model = weight` a line, stays what is sent; without this script, and where a line is not of this kind, it is what is written
// into.
(() => {
  const MOST = 10;
  const line = /^(?:([^="]*[^="\s])|("(?:[^"\\]|\\.)*"))\s*=\s*([^\s=]*)$/;

  const make = (tag, className, text = "") => {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    return node;
  };

  /** The rows of a text; null where it is not of this kind. */
  const read = (text) => {
    const found = text.split("\n").map((each) => each.trim()).filter(Boolean).map((each) => line.exec(each));
    if (found.includes(null)) return null;
    try {
      return found.map(([, plain, quoted, weight]) => ({ model: plain ?? JSON.parse(quoted), weight }));
    } catch {
      return null;
    }
  };

  const fit = (area) => {
    const given = read(area.value);
    if (given === null) return;
    const box = make("div", "arms");
    const list = make("div", "arms-rows");
    const add = make("button", "btn btn-small", "Add a model");
    add.type = "button";
    const [id, described] = [area.id, area.getAttribute("aria-describedby")];
    area.removeAttribute("id");
    area.hidden = true;
    area.after(box);
    box.append(list, add);
    const help = document.getElementById(`${id}_helptext`);
    if (help) help.textContent = area.dataset.armsHelp;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", area.dataset.arms);
    let rows = [];

    const input = (label, value, more) => {
      const node = Object.assign(document.createElement("input"), { type: "text", autocomplete: "off", spellcheck: false, value, ...more });
      node.setAttribute("aria-label", label);
      if (described) node.setAttribute("aria-describedby", described);
      if (area.hasAttribute("aria-invalid")) node.setAttribute("aria-invalid", area.getAttribute("aria-invalid"));
      return node;
    };
    const quoted = (model) => (/[="]/.test(model) ? JSON.stringify(model) : model);
    const write = () => {
      const named = rows.filter((row) => row.model.value.trim());
      area.value = named.map((row) => `${quoted(row.model.value.trim())} = ${row.weight.value.trim()}`).join("\n");
      const weights = named.map((row) => Number(row.weight.value));
      const whole = weights.reduce((sum, weight) => sum + weight, 0);
      for (const row of rows) {
        const share = Number(row.weight.value) / whole;
        const is_known = row.model.value.trim() && row.weight.value.trim() && whole > 0 && weights.every((weight) => weight > 0);
        row.share.textContent = is_known ? `${Number((100 * share).toFixed(1))}%` : "";
      }
    };
    const changed = () => {
      write();
      area.dispatchEvent(new CustomEvent("ra:changed", { bubbles: true }));
    };
    const append = ({ model, weight }) => {
      const number = rows.length + 1;
      const node = make("div", "arms-row");
      const row = {
        node,
        model: input(`Model ${number}`, model),
        weight: input(`Weight of model ${number}`, weight, { inputMode: "numeric", className: "arms-weight" }),
        share: make("span", "muted arms-share"),
      };
      row.model.setAttribute("list", "models");
      const remove = make("button", "btn btn-small", "×");
      remove.type = "button";
      remove.setAttribute("aria-label", `Remove model ${number}`);
      remove.addEventListener("click", () => {
        const left = rows.filter((each) => each !== row).map((each) => ({ model: each.model.value, weight: each.weight.value }));
        show(left);
        changed();
        (rows[Math.min(number - 1, rows.length - 1)] ?? rows[0]).model.focus();
      });
      for (const each of [row.model, row.weight]) each.addEventListener("input", write);
      node.append(row.model, row.weight, row.share, remove);
      list.append(node);
      rows.push(row);
    };
    const show = (wanted) => {
      rows = [];
      list.replaceChildren();
      wanted.forEach(append);
      while (rows.length < 2) append({ model: "", weight: "50" });
      rows[0].model.id = id;
      add.hidden = rows.length >= MOST;
    };
    add.addEventListener("click", () => {
      append({ model: "", weight: rows.at(-1).weight.value });
      add.hidden = rows.length >= MOST;
      write();
      rows.at(-1).model.focus();
    });
    area.addEventListener("ra:cleared", () => {
      show([]);
      write();
    });
    show(given);
    write();
  };

  document.querySelectorAll("textarea[data-arms]").forEach(fit);
})();
