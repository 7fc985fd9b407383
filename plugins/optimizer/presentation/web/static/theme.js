// The color scheme: Airflow's choice where its UI has made one, else the system's. Runs before the page is drawn.
"use strict";

(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage can be switched off
    }
  };
  const apply = () => {
    const theme = chosen();
    const isChosen = theme === "dark" || theme === "light";
    if (isChosen) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    document.documentElement.style.colorScheme = isChosen ? theme : ""; // no white page before the style sheets are there
    document.dispatchEvent(new Event("themechange"));
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", (event) => event.key === "theme" && apply());
})();
