// Airflow shows the pages in a frame that may neither leave it nor open tabs.
"use strict";

// Airflow's router goes to its own pages, and the page around the frame opens tabs.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-airflow-page], a[target=_blank]");
  if (!link || window.parent === window || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.target === "_blank") {
    const { href, target, rel } = link;
    Object.assign(window.parent.document.createElement("a"), { href, target, rel }).click();
    return;
  }
  window.parent.history.pushState(null, "", link.href);
  window.parent.dispatchEvent(new PopStateEvent("popstate"));
});
