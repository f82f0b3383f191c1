// Dark or light, before anything is drawn. The choice is the only thing that is kept once
// the page is closed.
"use strict";
(() => {
  const NAME = "amulet-theme";
  const kept = () => {
    try {
      return localStorage.getItem(NAME);
    } catch {
      return null; // storage is blocked: the choice lasts as long as the page
    }
  };
  const keep = (theme) => {
    try {
      if (theme) localStorage.setItem(NAME, theme);
      else localStorage.removeItem(NAME);
    } catch {
      // the same
    }
  };
  const apply = (theme) => {
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  apply(kept());
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = document.documentElement.dataset.theme ?? "";
    select.addEventListener("change", () => {
      apply(select.value);
      keep(select.value);
    });
  });
})();
