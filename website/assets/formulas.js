// Draws the formulas of a page by KaTeX, also on pages that are shown without a reload.
const draw = () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const text = element.textContent.trim();
    if (!/^\\[([]/.test(text)) continue; // drawn already
    katex.render(text.slice(2, -2), element, { displayMode: text.startsWith("\\["), throwOnError: false });
  }
};
if (typeof document$ === "undefined") document.addEventListener("DOMContentLoaded", draw);
else document$.subscribe(draw);
