// Repairs what the theme's script adds, for screen readers: code buttons are not landmarks, and scrolling tables take the keyboard focus.
const mend = () => {
  for (const buttons of document.querySelectorAll("nav.md-code__nav:not([role])")) buttons.setAttribute("role", "none");
  for (const wide of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) wide.tabIndex = 0;
};
new MutationObserver(mend).observe(document.documentElement, { childList: true, subtree: true });
mend();
