// The contents of a folder of pages: the list of its pictures, which can be searched.

const find = (id) => document.getElementById(id);
const AT_ONCE = 50; // rows
const REMARKS = { faulty: "the run has faults", skipped: "skipped", absent: "not done yet", unread: "not shown" };

const pictures = JSON.parse(find("pictures").textContent).map(([name, target, state, address, response, share, remark]) => ({
  name, target, state, address, response, share, remark, text: `${name} ${target}`.toLowerCase(),
}));
let found = pictures;
let shown = 0;

function cell(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function row({ name, target, state, address, response, share, remark }) {
  const title = address === null ? name : cell("a", { href: address }, name);
  const reason = state === "explained" ? "" : [REMARKS[state], remark].filter(Boolean).join(": ");
  return cell(
    "tr",
    {},
    cell("td", {}, title),
    cell("td", {}, target),
    cell("td", { class: "value" }, response === null ? "" : response.toFixed(2).replace("-", "−")),
    cell("td", { class: "value" }, share === null ? "" : `${(100 * share).toFixed(0)}%`),
    cell("td", { class: "state" }, reason),
  );
}

function more() {
  find("list").append(...found.slice(shown, shown + AT_ONCE).map(row));
  shown = Math.min(shown + AT_ONCE, found.length);
  find("more").hidden = shown === found.length;
  const [some, every] = [found, pictures].map((list) => list.length.toLocaleString("en"));
  const all = some === every ? `${every} pictures` : `${some} of ${every} pictures`;
  find("count").textContent = shown === found.length ? all : `${all}, the first ${shown.toLocaleString("en")} below`;
}

function search() {
  const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = find("state").value;
  found = pictures.filter((one) => (state === "" || one.state === state) && words.every((word) => one.text.includes(word)));
  shown = 0;
  find("list").replaceChildren();
  more();
}

for (const [state, label] of Object.entries(REMARKS)) {
  if (pictures.some((one) => one.state === state)) find("state").append(cell("option", { value: state }, label));
}
find("state").parentElement.hidden = find("state").options.length === 1;
find("search").addEventListener("input", search);
find("state").addEventListener("change", search);
find("more").addEventListener("click", more);
search();
