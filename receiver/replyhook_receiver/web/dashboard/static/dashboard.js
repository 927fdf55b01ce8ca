// The dashboard's own script: times in the viewer's zone, and a question before a form does something.
"use strict";

const wholeTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const exactTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const words = wholeTime.format(at);
    if (time.textContent !== words) time.textContent = words;
    time.title = exactTime.format(at) + " · " + time.dateTime;
  }
}

// Fields for a moment hold UTC as they come; what is typed and seen is in the viewer's zone, what is sent says so.
const zone = exactTime.resolvedOptions().timeZone || "UTC";
const two = (number) => String(number).padStart(2, "0");

function localizeFields() {
  for (const words of document.querySelectorAll("[data-zone]")) words.textContent = zone;
  for (const field of document.querySelectorAll("input[type=datetime-local]")) {
    const at = new Date(field.defaultValue + "Z");
    if (Number.isNaN(at.getTime())) continue;
    const day = [String(at.getFullYear()).padStart(4, "0"), two(at.getMonth() + 1), two(at.getDate())].join("-");
    field.value = day + "T" + two(at.getHours()) + ":" + two(at.getMinutes());
  }
}

document.addEventListener("formdata", (event) => {
  for (const field of event.target.querySelectorAll("input[type=datetime-local]")) {
    const at = new Date(field.value);
    if (!Number.isNaN(at.getTime())) event.formData.set(field.name, at.toISOString());
  }
});

function askBefore(form) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("#confirm-words").textContent = form.dataset.confirm;
  dialog.querySelector("[data-answer=yes]").textContent = form.dataset.confirmLabel || "Do it";
  const answered = (event) => {
    const answer = event.target.dataset && event.target.dataset.answer;
    if (!answer) return;
    dialog.close();
    if (answer === "yes") {
      form.dataset.confirmed = "yes";
      form.requestSubmit();
    }
  };
  dialog.addEventListener("click", answered);
  dialog.addEventListener("close", () => dialog.removeEventListener("click", answered), { once: true });
  dialog.showModal();
  dialog.querySelector("[data-answer=no]").focus();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.confirm || form.dataset.confirmed === "yes") return;
  event.preventDefault();
  askBefore(form);
});
document.addEventListener("DOMContentLoaded", () => {
  localize(document);
  localizeFields();
  // On a phone the filters would fill the screen.
  const filters = document.querySelector("details.of-filters:not([data-asked])");
  if (filters && window.matchMedia("(max-width: 44rem)").matches) filters.open = false;
  // On a phone the pages' names may be wider than the screen: the current one is to be seen.
  const current = document.querySelector("nav [aria-current=page]");
  if (current) current.scrollIntoView({ block: "nearest", inline: "nearest" });
  // What is fetched anew is put right before it is painted.
  const changed = { subtree: true, childList: true, characterData: true, attributeFilter: ["datetime"] };
  new MutationObserver(() => localize(document)).observe(document.getElementById("main"), changed);
});
