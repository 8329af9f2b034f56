"use strict";
// What a new key is for decides what else it has; and a key that was made is copied by a button. Without this script each field
// says when it counts, and the key is copied by hand.
(() => {
  const kind = document.querySelector("form[data-new-key] select[name$='kind']");
  if (kind) {
    const fields = { role: kind.form.dataset.newKey, metadata: "traffic", allows_force: "traffic" };
    const refresh = () => {
      for (const [name, of] of Object.entries(fields)) {
        const field = kind.form.querySelector(`[name$='${name}']`);
        field.closest(".field").hidden = field.disabled = kind.value !== of; // what is not seen is not sent
      }
    };
    kind.addEventListener("change", refresh);
    addEventListener("pageshow", refresh); // a browser fills in what was chosen before it came back
    refresh();
  }

  const button = document.querySelector("[data-copy]");
  if (!button || !navigator.clipboard) return; // browsers have none where the connection is open to all
  const text = document.getElementById(button.dataset.copy);
  const status = button.nextElementSibling;
  button.hidden = false;
  button.addEventListener("click", async () => {
    status.textContent = "";
    try {
      await navigator.clipboard.writeText(text.textContent);
      status.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      status.textContent = "The browser did not allow it. The key is selected: copy it by hand.";
    }
  });
})();
