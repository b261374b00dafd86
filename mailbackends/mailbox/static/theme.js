// Before the page is drawn, so that it does not flash in the other colours.
"use strict";
(() => {
  let wanted = null;
  try { wanted = localStorage.getItem("mailbox-theme"); } catch { /* storage is blocked */ }
  if (wanted === "light" || wanted === "dark") document.documentElement.dataset.theme = wanted;
})();
