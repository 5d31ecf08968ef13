// Before anything is painted: the reader's choice of light or dark, and that scripts run.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  try {
    const chosen = localStorage.getItem("labelbench-theme");
    if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  } catch {
    // No storage here: the system's choice holds.
  }
})();
