// A slider and its number field have the same value; the number is what is sent.
"use strict";

document.addEventListener("input", (event) => {
  const from = event.target;
  if (from.dataset.for) document.getElementById(from.dataset.for).value = from.value;
  else document.querySelector(`[data-for="${CSS.escape(from.id)}"]`)?.setAttribute("value", from.value);
});
