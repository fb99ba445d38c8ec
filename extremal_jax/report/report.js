// The page: the picture that is shown, the gallery, and what follows a choice.

const EVEN = 7; // the most buttons in one row
const NAMED = 60; // channels in a list
const SHARPNESS = 900; // pixels of the longer side of the stage
const READINGS = {
  "response": "Response to what it keeps",
  "response left": "Response to what is left",
  "difference": "Difference of both responses",
};
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const state = { picture: null, stop: null, slice: 0, view: "kept", rest: "removed" };
const stage = find("canvas");
const slider = find("area");
let running = 0; // the transition from one mask to the next

/** Which mask a stop has, in words. */
function title(stop) {
  const { all } = state.picture;
  if (stop.whole) return all[0].toUpperCase() + all.slice(1);
  return stop.smallest ? `a* ${amount(stop)}` : amount(stop);
}

function sentence(stop) {
  const { form, noun, all, layer, reading } = state.picture;
  const name = stop.whole ? all : `${amount(stop)} of ${form === "channels" ? layer : `the ${noun}`}${stop.smallest ? ", the smallest area" : ""}`;
  const part = stop.share === null || stop.whole ? "" : `, ${whole(stop.share)} of the response to ${form === "channels" ? "all" : `the ${all}`}`;
  return `${name}; ${stop.whole ? "response" : reading} ${minus(decimal(stop.response))}${part}`;
}

function paintStage(before) {
  const { picture, stop, slice } = state;
  if (picture.form === "series") return paintSeries();
  const views = { kept: "what the mask keeps", without: "what is left without it", mask: "the mask" };
  const shown = picture.form === "channels" ? `channels, ${state.view === "without" ? "those that are not kept" : "those that are kept"}` : views[state.view];
  const where = picture.form === "slices" ? `, ${place()}` : "";
  stage.setAttribute("aria-label", `${picture.name}${where}, ${shown}: ${sentence(picture.stops[stop])}`);
  if (picture.form === "channels") return paintChannels(stage, picture.stops[stop], SHARPNESS);
  const scale = Math.max(1, Math.round(SHARPNESS / Math.max(picture.width, picture.height)));
  const thick = Math.max(2, (Math.max(picture.width, picture.height) * scale) / 300);
  const to = plane(picture, picture.masks[stop], slice);
  const from = before === undefined ? to : plane(picture, picture.masks[before], slice);
  const mixed = new Uint8ClampedArray(to.length);
  const run = ++running;
  const start = performance.now();
  const seconds = from === to || calm.matches ? 0 : 0.2;
  const turn = (now) => {
    if (run !== running) return;
    const part = seconds === 0 ? 1 : Math.min(1, Math.max(0, (now - start) / 1000 / seconds));
    for (let i = 0; i < to.length; i++) mixed[i] = from[i] + (to[i] - from[i]) * part;
    paint(stage, picture, part === 1 ? to : mixed, scale, thick, slice);
    if (part < 1) requestAnimationFrame(turn);
  };
  turn(start);
}

function paintStrip() {
  const { picture, slice } = state;
  picture.stops.forEach((stop, i) => {
    const canvas = find("strip").children[i].firstChild;
    if (picture.form === "channels") paintChannels(canvas, stop, 160);
    else if (picture.form === "series") show(canvas, compose(picture, picture.masks[i], "mask"), 1);
    else paint(canvas, picture, plane(picture, picture.masks[i], slice), 1, 2, slice);
  });
}

function choose(index) {
  const { picture } = state;
  const before = state.stop;
  const stop = picture.stops[index];
  state.stop = index;
  slider.value = index;
  slider.setAttribute("aria-valuetext", sentence(stop));
  [...find("strip").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
  find("fact-area").textContent = picture.form === "channels" ? String(stop.asked) : share(stop.area);
  find("fact-reading").textContent = stop.whole ? `Response to ${picture.form === "channels" ? "" : "the "}${picture.all}` : READINGS[picture.reading] || picture.reading;
  find("fact-response").textContent = minus(decimal(stop.response));
  find("fact-share").textContent = whole(stop.share);
  const note = remark(stop);
  find("fact-note").textContent = note;
  find("fact-note").hidden = note === "";
  listClasses();
  emphasise();
  fillFound();
  paintStage(before);
  paintFilm();
}

function remark(stop) {
  const { curve, layer, form, channels } = state.picture;
  if (form === "channels") return stop.whole ? "" : `${stop.channels.length} of ${channels}: ${listing(stop.channels)}`;
  if (stop.smallest && curve.area === null) return `No area reaches a response of ${decimal(curve.wanted)}; this mask comes nearest.`;
  if (stop.smallest) return `a*, the smallest area found whose mask reaches a response of ${decimal(curve.wanted)}.`;
  return layer === null ? "" : `The masks are of the layer ${layer}, resized to the picture.`;
}

const listing = (channels) => channels.slice(0, NAMED).join(", ") + (channels.length > NAMED ? ", …" : "");

function listClasses() {
  const { picture, stop, view } = state;
  find("classes").hidden = picture.classes === null;
  if (picture.classes === null) return;
  const { whole: all, kept, without } = picture.classes;
  const isWhole = picture.stops[stop].whole;
  const top = isWhole ? all : view === "without" ? without[stop] : kept[stop];
  find("classes-title").textContent = isWhole ? `Classes of ${picture.form === "channels" ? "" : "the "}${picture.all}` : view === "without" ? "Classes of what is left" : "Classes of what it keeps";
  const most = Math.max(...[all, ...kept, ...without].map((one) => one.rows[0].score || 0), 1e-9);
  find("classes-list").replaceChildren(
    ...top.rows.map((row) => {
      const bar = make("i");
      bar.style.width = `${(100 * Math.max(0, row.score || 0)) / most}%`;
      const mark = row.target ? " (target)" : "";
      const cells = [make("span", {}, row.name + mark), make("span", { class: "score" }, minus(decimal(row.score)))];
      return make("li", { class: row.target ? "target" : null }, ...cells, make("span", { class: "bar", "aria-hidden": "true" }, bar));
    }),
  );
  const place = top.rank === null ? "" : `The target is number ${top.rank} of ${top.count} classes. `;
  find("classes-note").textContent = `${place}Numbers are the model's scores.`;
}

function fillStrip() {
  const { stops } = state.picture;
  const buttons = stops.map((stop, i) => {
    const detail = `${minus(decimal(stop.response))}${stop.share === null || stop.whole ? "" : ` (${whole(stop.share)})`}`;
    const button = make("button", { type: "button" }, make("canvas", { "aria-hidden": "true" }), make("b", {}, title(stop)), " ", detail);
    button.addEventListener("click", () => choose(i));
    return button;
  });
  find("strip").replaceChildren(...buttons);
}

function fillNumbers() {
  const { stops, reading } = state.picture;
  find("numbers-reading").textContent = reading[0].toUpperCase() + reading.slice(1);
  const rows = stops.map((stop) => {
    const channels = state.picture.form === "channels";
    const name = stop.smallest ? "a*" : stop.whole ? state.picture.all : channels ? String(stop.asked) : share(stop.asked);
    return [name, channels ? decimal(stop.area) : share(stop.area, 2), minus(decimal(stop.response)), whole(stop.share)].map((text) => make("td", {}, text));
  });
  find("numbers").replaceChildren(...rows.map((cells) => make("tr", {}, ...cells)));
}

function fillMaps() {
  const { maps, heats, width, height, image, form } = state.picture;
  const { slice, picture } = state;
  find("maps-section").hidden = maps.length === 0;
  find("maps").classList.toggle("large", form === "maps");
  find("maps-note").textContent = `${form === "series" ? "Each map, a row for each feature" : "Each map over the picture in grey"}, from dark (none) to bright (most). The cross marks the highest place.`;
  const figures = maps.map((one, i) => {
    const [row, column, at = 0] = one.peak;
    const inside = form === "slices" ? `, in ${picture.labels[0]} ${picture.slices[at]}` : "";
    const canvas = make("canvas", { role: "img", "aria-label": `Map of ${one.name}, highest at row ${row}, column ${column}${inside}` });
    const scale = Math.max(1, Math.round((form === "maps" ? 600 : 400) / Math.max(width, height)));
    const base = image && plane(picture, image, slice, 4);
    const context = show(canvas, heat(plane(picture, heats[i], slice), base, width, height), scale);
    const [x, y] = [(column + 0.5) * scale, (row + 0.5) * scale];
    const arm = Math.max(width, height) * scale * 0.03;
    const path = new Path2D();
    path.moveTo(x - arm, y - arm);
    path.lineTo(x + arm, y + arm);
    path.moveTo(x - arm, y + arm);
    path.lineTo(x + arm, y - arm);
    if (at === slice) stroke(context, path, arm / 4);
    return make("figure", {}, canvas, make("figcaption", {}, one.name));
  });
  if (form === "maps") {
    const photo = make("img", { alt: `The picture, ${picture.name}`, src: picture.original });
    figures.unshift(make("figure", {}, photo, make("figcaption", {}, "the picture")));
  }
  find("maps").replaceChildren(...figures);
}

// Colours from dark to bright, whose brightness grows evenly, also for people who see few colours.
const HEAT = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

function heat(map, image, width, height) {
  const out = new ImageData(width, height);
  for (let i = 0; i < map.length; i++) {
    const level = map[i] / 255;
    const opacity = 0.75 * Math.sqrt(level);
    const place = Math.min(level * (HEAT.length - 1), HEAT.length - 1.001);
    const [low, high] = [HEAT[Math.floor(place)], HEAT[Math.floor(place) + 1]];
    const light = image === null ? 0 : (image[4 * i] + image[4 * i + 1] + image[4 * i + 2]) / 3;
    for (let c = 0; c < 3; c++) {
      const colour = low[c] + (high[c] - low[c]) * (place % 1);
      out.data[4 * i + c] = (1 - opacity) * light + opacity * colour;
    }
    out.data[4 * i + 3] = 255;
  }
  return out;
}

// The gallery

const cards = [...document.querySelectorAll(".card")];
const single = cards.length === 1;
const heading = document.title;
const listed = () => [...document.querySelectorAll(".card:not([hidden])")];

function arrange() {
  const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const card of cards) {
    const text = `${card.dataset.name} ${card.dataset.target}`.toLowerCase();
    card.hidden = !words.every((word) => text.includes(word));
    shown += !card.hidden;
  }
  find("count").textContent = shown === cards.length ? `${shown} pictures` : `${shown} of ${cards.length} pictures`;
  const [, down, key] = find("sort").value.match(/^(-?)(.*)$/);
  const sign = down ? -1 : 1;
  const value = (card) => (["name", "target"].includes(key) ? card.dataset[key] : key in card.dataset ? sign * Number(card.dataset[key]) : Infinity);
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a === b ? 0 : a - b);
  const sorted = key === "order" ? cards : [...cards].sort((a, b) => compare(value(a), value(b)));
  document.querySelector(".cards").append(...sorted);
}

async function showPicture(index) {
  const card = cards[index];
  const picture = await opened(card);
  state.picture = picture;
  find("gallery").hidden = true;
  find("detail").hidden = false;
  const { name, target, stops, channels, slices, form, count } = picture;
  const isDefault = single && name === "picture";
  const heads = target === "" ? [isDefault ? heading : name] : [target, isDefault ? null : name];
  find("detail-title").textContent = heads[0];
  const response = stops.length === 0 ? null : `response to ${channels ? "" : "the "}${words(picture).all} ${minus(decimal(picture.whole))}`;
  const sides = `${picture.width} × ${picture.height} pixels`;
  const size = channels ? `${channels} channels of ${picture.layer}` : form === "series" ? `${count} features` : form === "slices" ? `${count} slices of ${sides}` : sides;
  find("detail-facts").textContent = finite([heads[1] ?? null, response, size]).join(" · ");
  document.title = [...new Set([...finite(heads.slice(0, 1)), ...finite(heads.slice(1))])].join(", ") + (heads[0] === heading ? "" : ` – ${heading}`);
  find("faults").hidden = picture.faults.length === 0;
  find("faults").replaceChildren(...picture.faults.map((line) => make("p", {}, line)));
  find("removal").textContent = picture.removal;
  const hidden = picture.removed === null;
  document.querySelector("input[value=removed]").parentElement.hidden = hidden;
  if (hidden && state.rest === "removed" && form !== "series") document.querySelector("input[value=black]").click();
  setForm(picture);
  state.slice = 0;
  slider.max = stops.length - 1;
  const frame = document.querySelector(".stage");
  frame.style.setProperty("--stops", stops.length);
  frame.classList.toggle("even", stops.length <= EVEN);
  state.stop = stops.length === 0 ? null : Math.min(state.stop ?? Math.floor((stops.length - 1) / 2), stops.length - 1);
  if (form === "slices") fillFilm();
  fillMaps();
  fillFound();
  drawCharts();
  if (stops.length > 0) {
    fillStrip();
    fillNumbers();
    paintStrip();
    choose(state.stop);
  }
  if (!single) {
    document.querySelector("nav.pictures").hidden = false;
    const order = listed();
    const at = order.indexOf(card);
    link("previous", order[at - 1]);
    link("next", order[at + 1]);
  }
  document.documentElement.dataset.ready = String(index);
}

function link(kind, card) {
  const anchor = document.querySelector(`nav .${kind}`);
  if (card === undefined) {
    anchor.removeAttribute("href");
    anchor.setAttribute("aria-disabled", "true");
    anchor.setAttribute("role", "link");
    return;
  }
  anchor.setAttribute("href", `#picture-${cards.indexOf(card) + 1}`);
  anchor.removeAttribute("aria-disabled");
  anchor.removeAttribute("role");
}

function showGallery() {
  find("gallery").hidden = false;
  find("detail").hidden = true;
  document.querySelector("nav.pictures").hidden = true;
  document.title = heading;
}

async function route(event) {
  const match = location.hash.match(/^#picture-(\d+)$/);
  if (single || (match && cards[match[1] - 1])) await showPicture(single ? 0 : match[1] - 1);
  else if (["", "#", "#gallery"].includes(location.hash)) showGallery();
  else return;
  if (event && !single) {
    scrollTo(0, 0);
    find(match ? "detail-title" : "gallery-title").focus();
  }
}

// What follows a choice

slider.addEventListener("input", () => choose(Number(slider.value)));
reel.addEventListener("input", () => chooseSlice(Number(reel.value)));
for (const name of ["view", "rest"]) {
  for (const input of document.querySelectorAll(`input[name=${name}]`)) {
    input.addEventListener("change", () => {
      state[name] = input.value;
      find("rests").disabled = state.view === "mask";
      if (state.picture === null || state.stop === null) return;
      paintStage();
      paintStrip();
      paintFilm();
      listClasses();
    });
  }
}
find("search").addEventListener("input", arrange);
find("sort").addEventListener("change", arrange);
for (const option of [...find("sort").options]) {
  const key = option.value.replace("-", "");
  if (key !== "order" && !cards.some((card) => key in card.dataset)) option.remove();
}
function redraw() {
  drawCharts();
  if (state.picture?.form === "series") paintSeries();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (state.picture?.form !== "channels") return;
  paintStage();
  paintStrip();
});
let width = 0;
new ResizeObserver(([entry]) => {
  if (Math.abs(entry.contentRect.width - width) < 1) return;
  width = entry.contentRect.width;
  requestAnimationFrame(redraw);
}).observe(find("charts"));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
addEventListener("hashchange", route);
arrange();
route();
