// The charts, the menu's groups, the key "/" for the search box, and what is selected in a list that is updated. The server and htmx do everything else.
"use strict";

(() => {
  const drawn = new Map();

  function draw(element) {
    const { since, delivered, failed } = JSON.parse(element.dataset.series);
    const style = getComputedStyle(element);
    const [ink, line] = ["--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
    const bars = uPlot.paths.bars({ size: [0.8, 12] });
    const axis = { stroke: ink, font: "12px Inter, system-ui, sans-serif", grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const series = (label, color) => ({ label, stroke: color, fill: color, width: 0, paths: bars, points: { show: false } });
    const total = delivered.map((count, minute) => count + failed[minute]);
    drawn.get(element)?.destroy();
    drawn.set(element, new uPlot(
      {
        width: element.clientWidth,
        height: element.clientHeight,
        legend: { show: false },
        cursor: { show: false },
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
        scales: { y: { range: (_, __, most) => [0, Math.max(5, most * 1.1)] } },
        axes: [{ ...axis, grid: { show: false }, size: 28, values: [[900, "{HH}:{mm}", null, null, null, null, null, null, 1]], incrs: [900] }, { ...axis, size: 40, space: 40 }],
        // Stacked bars: the total is drawn first, then the delivered part over it.
        series: [{}, series("failed", style.getPropertyValue("--failed").trim()), series("delivered", style.getPropertyValue("--delivered").trim())],
      },
      [delivered.map((_, minute) => since + 60 * minute), total, delivered],
      element,
    ));
  }

  function drawAll(root) {
    for (const element of drawn.keys()) if (!element.isConnected) { drawn.get(element).destroy(); drawn.delete(element); }
    root.querySelectorAll(".chart").forEach(draw);
  }

  document.addEventListener("DOMContentLoaded", () => drawAll(document));
  document.addEventListener("htmx:load", (event) => drawAll(event.detail.elt));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
  let resized;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => drawAll(document), 150); });

  const checked = new WeakMap();
  document.addEventListener("htmx:sseBeforeMessage", ({ target }) => {
    if ("keepChecked" in target.dataset) checked.set(target, [...target.querySelectorAll(":checked")].map((box) => box.id));
  });
  document.addEventListener("htmx:sseMessage", ({ target }) => {
    for (const id of checked.get(target) ?? []) document.getElementById(id)?.setAttribute("checked", "");
  });

  const openMenu = () => document.querySelector("nav details[open]");
  document.addEventListener("click", ({ target }) => { if (!openMenu()?.contains(target)) openMenu()?.removeAttribute("open"); });
  document.addEventListener("focusin", ({ target }) => { if (!openMenu()?.contains(target)) openMenu()?.removeAttribute("open"); });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && openMenu()) {
      const menu = openMenu();
      menu.removeAttribute("open");
      if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    }
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      document.getElementById("search-box")?.focus();
    }
  });
})();
