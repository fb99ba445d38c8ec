// What is explained, in its form: an image, slices of a clip or volume, lines of a series, or the channels of a layer.

/** The words of a form; `all` is the place of the slider where no mask is. */
function words({ form, noun, layer }) {
  if (form !== "channels") {
    return { all: `whole ${noun}`, size: "Area", slider: "Area of the mask", kept: "What the mask keeps", without: "What is left without it", whole: `Of the whole ${noun}'s` };
  }
  return { all: "all channels", size: `Channels of ${layer}`, slider: "Number of channels", kept: "The channels kept", without: "The others", whole: "Of the response to all" };
}

/** The size of a stop in words: the share of the image, or the number of channels. */
const amount = (stop) => (state.picture.form === "channels" ? counted(stop.asked) : share(stop.area));

function setForm(picture) {
  const { form, labels, upright } = picture;
  const said = words(picture);
  picture.all = said.all;
  const texts = { "area-label": said.slider, "fact-size": said.size, "fact-whole": said.whole, "view-kept": said.kept, "view-without": said.without };
  for (const [id, text] of Object.entries({ ...texts, "numbers-whole": said.whole })) find(id).textContent = text;
  find("numbers-asked").textContent = `${said.size} asked`;
  find("numbers-reached").textContent = `${said.size} reached`;
  find("columns").hidden = find("numbers-section").hidden = picture.stops.length === 0;
  find("plots").hidden = form !== "series";
  stage.hidden = form === "series";
  find("film").hidden = form !== "slices";
  find("rests").hidden = ["series", "channels"].includes(form);
  const only = document.querySelector("input[value=mask]");
  only.parentElement.hidden = form === "channels";
  if (form === "channels" && only.checked) document.querySelector("input[value=kept]").click();
  find("directions").hidden = form !== "image" || labels.length < 2;
  if (labels.length === 2) find("directions").textContent = `${labels[1]} to the right, ${labels[0]} ${upright ? "upwards" : "downwards"}`;
  find("charts-title").textContent = picture.stops.length === 0 ? "The run" : "Response and run";
}

// Slices

const reel = find("slice");

function fillFilm() {
  const { slices, parts, stops, labels } = state.picture;
  const kept = slices.map((place) => (parts[state.stop] ?? [])[place] ?? 0);
  state.slice = kept.indexOf(Math.max(...kept));
  reel.max = slices.length - 1;
  const frames = slices.map((place, i) => {
    const shell = make("div", {}, make("canvas"), String(place));
    shell.addEventListener("click", () => chooseSlice(i));
    return shell;
  });
  find("frames").replaceChildren(...frames);
  find("slice-label").textContent = `${labels[0]}${slices.length < state.picture.count ? `, ${slices.length} of ${state.picture.count}` : ""}`;
}

function paintFilm() {
  const { picture, stop, slice } = state;
  if (picture.form !== "slices") return;
  [...find("frames").children].forEach((shell, i) => {
    paint(shell.firstChild, picture, plane(picture, picture.masks[stop], i), 1, 2, i);
    shell.classList.toggle("chosen", i === slice);
  });
  const part = picture.parts[stop]?.[picture.slices[slice]];
  reel.value = slice;
  reel.setAttribute("aria-valuetext", `${place()}${part === undefined ? "" : `, of which the mask keeps ${share(part)}`}`);
}

/** Which slice is shown, in words. */
const place = () => `${state.picture.labels[0]} ${state.picture.slices[state.slice]}`;

function chooseSlice(index) {
  state.slice = index;
  paintStage();
  paintStrip();
  paintFilm();
  fillMaps();
}

// Series

function paintSeries() {
  const { picture, stop, view } = state;
  const { values, without, features, times, width, labels } = picture;
  const shells = features.map(() => make("figure", { class: "chart low" }));
  find("plots").replaceChildren(...shells);
  if (features.length < picture.count) find("plots").append(make("p", { class: "note" }, `${features.length} of ${picture.count} features, those of which the masks keep most.`));
  const steps = Array.from({ length: width }, (_, i) => i);
  features.forEach((feature, row) => {
    const mask = Array.from(picture.masks[stop].subarray(row * width, (row + 1) * width), (v) => (view === "without" ? 255 - v : v) / 255);
    const line = values[row];
    const mixed = (v, i) => (v === null || without[row][i] === null ? null : mask[i] * v + (1 - mask[i]) * without[row][i]);
    const seen = without === null || view === "mask" ? null : line.map(mixed);
    const all = finite([...line, ...(seen ?? [])]);
    const xs = times === null ? steps : times[row];
    const top = steps.reduce((best, i) => (mask[i] > mask[best] ? i : best), 0);
    const part = mask.reduce((sum, v) => sum + v, 0) / width;
    const label = `feature ${feature} over ${labels[0]}: ${share(part)} of it is shown, most at ${labels[0]} ${xs[top]}`;
    const chart = frame(shells[row], `feature ${feature}`, label, labels[0], upTo(xs.at(-1)), linear(all.length === 0 ? [0] : all, false, 2), String);
    const { svg, x, box } = chart;
    const high = steps.map((i) => `L${x(xs[i]).toFixed(1)},${(box.bottom - mask[i] * (box.bottom - box.top)).toFixed(1)}`);
    svg.append(draw("path", { class: "shade", d: `M${x(xs[0])},${box.bottom}${high.join("")}L${x(xs.at(-1))},${box.bottom}Z` }));
    svg.append(draw("path", { class: seen === null ? "seen" : "curve", d: path(chart, xs, line) }));
    if (seen !== null) svg.append(draw("path", { class: "seen", d: path(chart, xs, seen) }));
    follow(chart, xs.map(x), (i) => `${labels[0]} ${xs[i]}: ${minus(decimal(line[i]))}, mask ${mask[i].toFixed(2)}`);
  });
}

// Channels

function paintChannels(canvas, stop, edge) {
  const { channels } = state.picture;
  const columns = Math.ceil(Math.sqrt(1.5 * channels));
  const cell = Math.max(2, Math.floor(edge / columns));
  const gap = cell < 5 ? 0 : Math.max(1, Math.round(cell / 10));
  const kept = new Set(stop.whole ? Array(channels).keys() : stop.channels);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  canvas.width = columns * cell;
  canvas.height = Math.ceil(channels / columns) * cell;
  const context = canvas.getContext("2d");
  context.fillStyle = colour("--paper");
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < channels; i++) {
    context.fillStyle = colour(kept.has(i) === (state.view !== "without") ? "--accent" : "--line");
    context.fillRect((i % columns) * cell, Math.floor(i / columns) * cell, cell - gap, cell - gap);
  }
}

// Pictures that were found

function fillFound() {
  const { form, found, original, name, layer } = state.picture;
  find("found-section").hidden = !["channels", "inversions"].includes(form);
  if (find("found-section").hidden) return;
  const drawn = (title, address, ...detail) => make("figure", {}, make("img", { alt: `${title}, of ${name}`, src: address }), make("figcaption", {}, title, ...detail));
  const figures = found.map(({ title, pictures, cosine }) => {
    const address = pictures[Math.min(state.stop ?? 0, pictures.length - 1)];
    return drawn(title, address, ...(cosine === null ? [] : [make("span", { class: "note" }, ` cosine ${minus(cosine.toFixed(2))}`)]));
  });
  find("found-title").textContent = found.length === 0 ? "The picture" : `The picture, and what ${layer ?? "the layer"} sees in it`;
  find("found").replaceChildren(drawn("original", original), ...figures);
}
