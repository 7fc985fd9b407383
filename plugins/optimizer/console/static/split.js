// The split form: the sum of the percents as they are typed, the rest for one run, and what htmx brings.
"use strict";

const form = document.getElementById("split-form");

function percents() {
  return [...form.querySelectorAll('input[type="number"]')];
}

function rest(own) {
  return 100 - percents().reduce((sum, input) => sum + (input === own ? 0 : Number(input.value) || 0), 0);
}

function showSum() {
  const sum = document.getElementById("sum");
  const left = rest(null);
  sum.classList.toggle("worse", left !== 0);
  const advice = left > 0 ? `: ${left} % are left` : left < 0 ? `: ${-left} % too many` : "";
  sum.textContent = `The percents sum to ${100 - left} %${advice}.`;
}

// A preview of other percents than those that are entered now must not be deployed by mistake.
function dropPreview() {
  if (document.getElementById("preview-title")) say("The percents were changed: preview them again.");
}

if (form) {
  form.addEventListener("input", () => {
    showSum();
    dropPreview();
  });
  for (const button of form.querySelectorAll(".rest")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const input = button.parentElement.querySelector("input");
      input.value = Math.max(0, rest(input));
      showSum();
      dropPreview();
    });
  }
  // Enter in the search finds runs; the form's first button is the preview.
  form.querySelector("#search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    form.querySelector("button[formaction]").click();
  });
  showSum();
}

document.addEventListener("htmx:afterSwap", (event) => {
  event.target.querySelector("#preview-title")?.focus();
});

document.addEventListener("htmx:responseError", (event) => say(`The preview failed with status ${event.detail.xhr.status}; try again.`));
document.addEventListener("htmx:sendError", () => say("The server does not answer; try again."));

function say(text) {
  const notice = document.createElement("p");
  notice.className = "error";
  notice.setAttribute("role", "alert");
  notice.textContent = text;
  document.getElementById("preview").replaceChildren(notice);
}
