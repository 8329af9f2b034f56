"use strict";
// Keeps the chosen file between preview and import, and shows how far the import is. Without this script both steps are
// ordinary forms.
(() => {
  const form = document.querySelector("form[data-import]");
  const panel = document.querySelector("[data-progress]");
  const bar = panel.querySelector("progress");
  const said = panel.querySelector("[data-said]");
  const file = form.elements.file;
  const part = (name, root = document) => root.querySelector(`[data-part="${name}"]`);
  const number = (value) => value.toLocaleString("en");
  let previews = 0;

  const problem = (text) => {
    const notice = document.createElement("div");
    notice.className = "notice notice-bad";
    notice.setAttribute("role", "alert");
    notice.textContent = text;
    part("messages").replaceChildren(notice);
    notice.scrollIntoView({ block: "nearest" });
  };

  // Everything of an answered page but the field with the file, which would forget it.
  const take = (html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    if (!part("preview", page)) return problem("You are signed out, or not allowed to import. Load the page again.");
    for (const name of ["messages", "file-errors", "options", "preview"]) {
      part(name).replaceChildren(...part(name, page).childNodes);
    }
  };

  const isParquet = async () => (await file.files[0].slice(0, 4).text()) === "PAR1";

  const preview = async () => {
    const mine = ++previews;
    const chosen = file.files[0];
    const data = new FormData(form);
    data.set("step", "preview");
    // The beginning is enough of what has lines; what a Parquet file is, stands at its end.
    if (!(await isParquet())) data.set("file", chosen.slice(0, Number(form.dataset.head)), chosen.name);
    form.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(location.href, { method: "POST", body: data });
      const html = await answer.text();
      if (mine === previews) take(html);
    } catch {
      problem("The server did not answer. Nothing was imported; try again.");
    }
    form.removeAttribute("aria-busy");
  };

  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.round(seconds) % 60).padStart(2, "0")}`;

  const show = (line, began) => {
    const share = Math.min(line.bytes / Math.max(file.files[0].size, 1), 1);
    const seconds = (performance.now() - began) / 1000;
    const left = share > 0 && seconds > 1 ? `, ${clock(seconds / share - seconds)} left` : "";
    const refused = line.refused ? `, ${number(line.refused)} refused` : "";
    const done =
      line.phase === "checked"
        ? `Checking: ${number(line.read)} rows`
        : `${number(line.imported)} rows imported${line.repeated ? `, ${number(line.repeated)} repeated` : ""}`;
    bar.value = share;
    said.textContent = `${done}${refused}${left}`;
  };

  const send = () => {
    const data = new FormData(form);
    data.set("step", "import");
    const request = new XMLHttpRequest();
    let read = 0;
    let phase = "";
    let began = performance.now();
    let result = null;

    const lines = () => {
      const text = request.responseText;
      for (let end = text.indexOf("\n", read); end >= 0; end = text.indexOf("\n", read)) {
        const line = JSON.parse(text.slice(read, end));
        read = end + 1;
        if (line.code) {
          result = line;
        } else {
          if (line.phase !== phase) began = performance.now();
          phase = line.phase;
          show(line, began);
        }
      }
    };
    const finish = (text) => {
      panel.hidden = true;
      form.hidden = false;
      if (text) problem(text);
    };

    request.open("POST", location.href);
    request.setRequestHeader("Accept", "application/x-ndjson");
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.loaded / event.total;
      said.textContent = `Sending the file: ${Math.floor((100 * event.loaded) / event.total)} %`;
    });
    request.upload.addEventListener("load", () => {
      bar.removeAttribute("value");
      said.textContent = "The file is there; reading it.";
    });
    request.addEventListener("progress", () => {
      if (request.status === 200) lines();
    });
    request.addEventListener("load", () => {
      if (request.status !== 200) {
        finish();
        return take(request.responseText);
      }
      lines();
      if (!result) return finish("The import broke off. What was stored stays; import the file again to add the rest.");
      finish();
      part("result").innerHTML = result.html; // the server's own words, escaped there
      if (result.code === "imported") {
        form.reset();
        part("preview").replaceChildren();
      }
      part("messages").replaceChildren();
      part("result").querySelector("[data-result]").focus();
    });
    const stopped = "What was stored stays; import the file again to add the rest.";
    request.addEventListener("error", () => finish(`The connection broke off. ${stopped}`));
    request.addEventListener("abort", () => finish(`Cancelled. ${stopped}`));
    panel.querySelector("[data-cancel]").onclick = () => request.abort();

    bar.value = 0;
    said.textContent = "Sending the file";
    part("result").replaceChildren();
    part("messages").replaceChildren();
    panel.hidden = false;
    form.hidden = true;
    request.send(data);
    panel.querySelector("[data-cancel]").focus();
  };

  form.addEventListener("submit", async (event) => {
    if (!file.files.length) return; // the browser, or the server, says that one is needed
    event.preventDefault();
    if (file.files[0].size > Number(form.dataset.max)) return problem("The file is too large: 1 GiB is possible here.");
    if (event.submitter?.value === "import") return send();
    await preview();
    part("preview").querySelector("[data-preview]")?.focus();
  });

  // Another choice shows at once what it does; another file has to be looked at anew.
  form.addEventListener("change", async (event) => {
    if (event.target === file) {
      previews++;
      for (const name of ["preview", "file-errors", "messages"]) part(name).replaceChildren();
    } else if (event.target.name === "target" && !(await isParquet())) {
      const index = [...form.querySelectorAll('select[name="target"]')].indexOf(event.target);
      await preview();
      form.querySelectorAll('select[name="target"]')[index]?.focus();
    }
  });
})();
