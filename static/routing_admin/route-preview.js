"use strict";
// The panel beside the form: what the server says of the route while somebody writes. Without this script it shows how the
// route was when the page came, and its JSON.
(() => {
  const panel = document.querySelector("[data-preview]");
  if (!panel) return;
  const form = panel.closest("form");
  const find = (name) => panel.querySelector(`[data-${name}]`);
  const [sentence, ready, wrong, findings] = ["sentence", "ready", "wrong", "findings"].map(find);
  const [unlinted, counted, countedWords] = ["unlinted", "counted", "counted-words"].map(find);
  const text = panel.querySelector("textarea");
  const mark = form.elements.json_mark;

  const make = (tag, className, words = "") => {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = words;
    return node;
  };

  // --- Tabs
  const tabs = [...panel.querySelectorAll("[role=tab]")];
  const choose = (tab) => {
    for (const each of tabs) {
      const isChosen = each === tab;
      each.setAttribute("aria-selected", String(isChosen));
      each.tabIndex = isChosen ? 0 : -1;
      document.getElementById(each.getAttribute("aria-controls")).hidden = !isChosen;
    }
  };
  for (const tab of tabs) {
    const part = document.getElementById(tab.getAttribute("aria-controls"));
    part.setAttribute("role", "tabpanel");
    part.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = tabs[1 - tabs.indexOf(tab)];
      choose(other);
      other.focus();
    });
  }
  find("tabs").hidden = false;
  choose(document.querySelector('[data-mistakes] a[href="#f-json"]') ? tabs[1] : tabs[0]);

  // --- What the server says
  let asked = 0;
  let timer = 0;
  const send = async (url) => {
    const data = new FormData(form);
    data.delete("json");
    const answer = await fetch(url, { method: "POST", body: data, headers: { Accept: "application/json" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return answer.json();
  };

  // What was wrong when it was sent: of the list above the form, and at the fields, what is put right goes away.
  // Of a plan's route the preview does not know all that is wrong, such as a name that the plan has twice.
  const refused = form.elements.in_plan ? null : document.querySelector("[data-mistakes]:has([data-at])");
  const told = [...(refused?.querySelectorAll("[data-at]") ?? [])];
  const showRefused = (mistakes) => {
    if (!refused) return;
    refused.removeAttribute("role"); // It was read out once.
    const still = Map.groupBy(mistakes, (one) => one.field);
    for (const [at, lines] of Map.groupBy(told, (line) => line.dataset.at)) {
      const messages = (still.get(at) ?? []).map((one) => one.message);
      lines.forEach((line, place) => {
        line.hidden = place >= messages.length;
        line.querySelector("[data-says]").textContent = messages[place] ?? "";
      });
      const control = document.getElementById(at);
      const box = control?.closest(".field");
      box?.classList.toggle("has-error", messages.length > 0);
      box?.querySelector(".errorlist")?.replaceChildren(...messages.map((message) => make("li", "", message)));
      if (control?.hasAttribute("aria-invalid")) control.setAttribute("aria-invalid", String(messages.length > 0));
    }
    const left = told.filter((line) => !line.hidden).length;
    const rest = refused.querySelectorAll("li:not([data-at])").length; // Of these only saving knows.
    const none = rest ? "The rest is put right. Save again to see about this:" : "All of it is put right: save again.";
    refused.querySelector("[data-how-many]").textContent =
      { 0: none, 1: "1 thing to put right:" }[left + (left && rest)] ?? `${left + rest} things to put right:`;
    refused.classList.toggle("notice-bad", left + rest > 0);
  };

  const show = (said) => {
    sentence.textContent = said.sentence;
    ready.textContent = said.words;
    ready.classList.toggle("is-ready", said.mistakes.length === 0);
    showRefused(said.mistakes);
    const others = said.mistakes.filter((one) => !told.some((line) => line.dataset.at === one.field));
    wrong.hidden = others.length === 0;
    wrong.replaceChildren(
      ...others.map((one) => {
        const line = make("li", "");
        if (one.field) {
          const link = make("a", "", one.label);
          link.href = `#${one.field}`;
          line.append(link, `: ${one.message}`);
        } else line.append(one.message);
        return line;
      }),
    );
    findings.replaceChildren(
      ...said.findings.map((one) => {
        const box = make("div", "preview-finding");
        const kind = { error: "badge badge-bad", warning: "badge badge-warn" }[one.severity] ?? "badge";
        box.append(make("span", kind, one.label), make("p", "", one.message));
        if (one.example) {
          const example = make("p", "muted", "For example: ");
          example.append(make("span", "mono", one.example));
          box.append(example);
        }
        return box;
      }),
    );
    unlinted.textContent = said.unlinted;
    unlinted.hidden = !said.unlinted;
    if (said.json !== null && !isEdited()) {
      text.value = text.dataset.was = said.json;
      mark.value = said.json_mark;
    }
  };

  const showCount = (said) => {
    counted.hidden = false;
    countedWords.textContent = said.words;
    const svg = counted.querySelector("svg");
    svg.parentElement.hidden = !said.sample;
    const share = (count) => String(said.sample ? (100 * count) / said.sample : 0);
    svg.querySelector(".share-taken").setAttribute("width", share(said.matched));
    svg.querySelector(".share-own").setAttribute("width", share(said.matched - said.taken_above));
  };

  const look = async () => {
    const mine = ++asked;
    try {
      const said = await send(panel.dataset.preview);
      if (mine !== asked) return;
      show(said);
      if (!panel.dataset.matching) return;
      if (said.mistakes.length) {
        counted.hidden = true;
        return;
      }
      if (counted.hidden) countedWords.textContent = "Being counted …";
      counted.hidden = false;
      const count = await send(panel.dataset.matching);
      if (mine === asked) showCount(count);
    } catch {
      if (mine === asked) ready.textContent = "The preview is not there: the server did not answer, or you are signed out.";
    }
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(look, 350);
  };

  // --- JSON that somebody writes
  const notice = find("json-changed");
  const back = find("json-back");
  const isEdited = () => text.value.trim() !== text.dataset.was.trim();
  // What has no mark somebody wrote, and it was not used.
  text.dataset.was = mark.value ? text.value : "";
  const edited = () => {
    notice.hidden = back.hidden = !isEdited();
  };
  text.addEventListener("input", (event) => {
    event.stopPropagation(); // The form is as it was.
    edited();
  });
  back.addEventListener("click", () => {
    text.value = text.dataset.was;
    edited();
    text.focus();
    soon();
  });

  edited();
  for (const event of ["input", "change", "ra:changed"]) form.addEventListener(event, soon);
  if (document.querySelector("[data-mistakes]") || form.elements.name.value) look();
})();
