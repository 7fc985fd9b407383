// Times in UTC or in the reader's own zone: a button in the header switches, and the browser remembers it.
"use strict";

(() => {
  const button = document.querySelector("[data-zone]");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const read = () => {
    try {
      return localStorage.getItem("optimizer-zone") === "own" ? own : "UTC";
    } catch {
      return "UTC"; // storage can be switched off
    }
  };
  let zone = read();

  function write(element) {
    const parts = { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
    const format = new Intl.DateTimeFormat("en-CA", { ...parts, hourCycle: "h23", timeZoneName: "short" });
    const said = Object.fromEntries(format.formatToParts(new Date(element.dateTime)).map((part) => [part.type, part.value]));
    element.textContent = `${said.year}-${said.month}-${said.day} ${said.hour}:${said.minute}\u00a0${said.timeZoneName}`;
  }
  const writeAll = (root) => root.querySelectorAll("time[data-moment]").forEach(write);
  function show() {
    button.textContent = zone === "UTC" ? "Times: UTC" : `Times: ${own}`;
    writeAll(document);
  }

  if (own === "UTC") return; // there is nothing to switch
  button.hidden = false;
  button.addEventListener("click", () => {
    zone = zone === "UTC" ? own : "UTC";
    try {
      localStorage.setItem("optimizer-zone", zone === "UTC" ? "UTC" : "own");
    } catch {
      // the choice then lasts for this page
    }
    show();
  });
  document.addEventListener("htmx:afterSwap", (event) => writeAll(event.target));
  show();
})();
