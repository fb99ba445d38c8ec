// What the theme's script adds, as readers of the screen need it: buttons beside code are no landmark, and what scrolls takes the focus.
const mend = () => {
  for (const buttons of document.querySelectorAll("nav.md-code__nav:not([role])")) buttons.setAttribute("role", "none");
  for (const wide of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) wide.tabIndex = 0;
};
new MutationObserver(mend).observe(document.documentElement, { childList: true, subtree: true });
