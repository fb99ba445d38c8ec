"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const SVG = find("drawing").namespaceURI;
  const COLOURS = 6; // of the style: .s0 to .s5
  const REMEMBERED = 4; // decoded pictures
  const EVEN = 7; // the most buttons in one row
  const SHARPNESS = 900; // pixels of the longer side of the stage
  const READINGS = {
    "response": "Response to what it keeps",
    "response left": "Response to what is left",
    "difference": "Difference of both responses",
  };
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // ---- elements and numbers -------------------------------------------------------------------------------------

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  const share = (value, digits = 1) => (value === null ? "–" : `${(100 * value).toFixed(digits)}%`);
  const whole = (value) => share(value, 0);
  function decimal(value) {
    if (value === null) return "–";
    const size = Math.abs(value);
    return size !== 0 && (size < 0.01 || size >= 1e6) ? value.toExponential(1) : value.toFixed(2);
  }
  const minus = (text) => text.replace("-", "−");

  // ---- pictures and masks ---------------------------------------------------------------------------------------

  async function pixels(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  }

  async function grey(address) {
    const data = await pixels(address);
    return Uint8ClampedArray.from({ length: data.length / 4 }, (_, i) => data[4 * i]);
  }

  const remembered = new Map();

  /** The content of a card, with its pictures decoded. */
  async function opened(card) {
    if (remembered.has(card)) return remembered.get(card);
    const content = JSON.parse(card.querySelector("script").textContent);
    const [height, width] = content.size;
    const [image, removed, masks, maps] = await Promise.all([
      pixels(content.image),
      content.removed === null ? null : pixels(content.removed),
      Promise.all(content.stops.map((stop) => grey(stop.mask))),
      Promise.all(content.maps.map((one) => grey(one.map))),
    ]);
    masks.push(new Uint8ClampedArray(width * height).fill(255));
    const end = { area: 1, asked: 1, response: content.whole, share: content.whole > 0 ? 1 : null, smallest: false, whole: true };
    const stops = [...content.stops, end];
    const lines = stops.filter((stop) => !stop.smallest && !stop.whole);
    lines.forEach((stop, i) => {
      stop.line = i;
      stop.colour = lines.length < 2 ? 0 : Math.round((i * (COLOURS - 1)) / (lines.length - 1));
    });
    const picture = { ...content, width, height, image, removed, masks, heats: maps, stops, lines };
    remembered.set(card, picture);
    if (remembered.size > REMEMBERED) remembered.delete(remembered.keys().next().value);
    return picture;
  }

  /** The pixels of a picture under a mask. */
  function compose(picture, mask, view, rest) {
    const { width, height, image, removed } = picture;
    const out = new ImageData(width, height);
    const data = out.data;
    for (let i = 0; i < mask.length; i++) {
      const kept = (view === "without" ? 255 - mask[i] : mask[i]) / 255;
      for (let c = 4 * i; c < 4 * i + 3; c++) {
        const back = rest === "removed" ? removed[c] : rest === "black" ? 0 : 0.4 * image[c];
        data[c] = view === "mask" ? mask[i] : kept * image[c] + (1 - kept) * back;
      }
      data[4 * i + 3] = 255;
    }
    return out;
  }

  /** The line at which a mask is one half, by marching squares, in the coordinates of its pixels. */
  function outline(mask, width, height, scale) {
    const path = new Path2D();
    const level = 127.5;
    const cross = (x, y, dx, dy) => {
      const a = mask[y * width + x];
      const b = mask[(y + dy) * width + x + dx];
      const part = (level - a) / (b - a);
      return [(x + dx * part + 0.5) * scale, (y + dy * part + 0.5) * scale];
    };
    for (let y = 0; y + 1 < height; y++) {
      for (let x = 0; x + 1 < width; x++) {
        const i = y * width + x;
        const [a, b, c, d] = [mask[i] > level, mask[i + 1] > level, mask[i + width + 1] > level, mask[i + width] > level];
        const ends = [];
        if (a !== b) ends.push(cross(x, y, 1, 0));
        if (b !== c) ends.push(cross(x + 1, y, 0, 1));
        if (d !== c) ends.push(cross(x, y + 1, 1, 0));
        if (a !== d) ends.push(cross(x, y, 0, 1));
        for (let e = 0; e + 1 < ends.length; e += 2) {
          path.moveTo(...ends[e]);
          path.lineTo(...ends[e + 1]);
        }
      }
    }
    return path;
  }

  const scratch = make("canvas");

  function show(canvas, pixels, scale) {
    scratch.width = pixels.width;
    scratch.height = pixels.height;
    scratch.getContext("2d").putImageData(pixels, 0, 0);
    canvas.width = pixels.width * scale;
    canvas.height = pixels.height * scale;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
    return context;
  }

  function stroke(context, path, thick) {
    context.lineCap = context.lineJoin = "round";
    for (const [colour, width] of [["rgba(0, 0, 0, 0.65)", 2.2 * thick], ["#fff", thick]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke(path);
    }
  }

  function paint(canvas, picture, mask, scale, thick) {
    const context = show(canvas, compose(picture, mask, state.view, state.rest), scale);
    if (state.rest === "outline" && state.view !== "mask") stroke(context, outline(mask, picture.width, picture.height, scale), thick);
  }

  // ---- the picture that is shown --------------------------------------------------------------------------------

  const state = { picture: null, stop: null, view: "kept", rest: "removed" };
  const stage = find("canvas");
  const slider = find("area");
  let running = 0; // the transition from one mask to the next

  /** Which mask a stop has, in words. */
  function title(stop) {
    if (stop.whole) return "Whole image";
    return stop.smallest ? `a* ${share(stop.area)}` : share(stop.area);
  }

  function sentence(stop) {
    const name = stop.whole ? "the whole image" : stop.smallest ? `${share(stop.area)} of the image, the smallest area` : `${share(stop.area)} of the image`;
    const part = stop.share === null || stop.whole ? "" : `, ${whole(stop.share)} of the whole image's`;
    const reading = stop.whole ? "response" : state.picture.reading;
    return `${name}; ${reading} ${minus(decimal(stop.response))}${part}`;
  }

  function paintStage(before) {
    const { picture, stop } = state;
    const scale = Math.max(1, Math.round(SHARPNESS / Math.max(picture.width, picture.height)));
    const thick = Math.max(2, (Math.max(picture.width, picture.height) * scale) / 300);
    const to = picture.masks[stop];
    const from = before === undefined ? to : picture.masks[before];
    const mixed = new Uint8ClampedArray(to.length);
    const run = ++running;
    const start = performance.now();
    const seconds = from === to || calm.matches ? 0 : 0.2;
    const turn = (now) => {
      if (run !== running) return;
      const part = seconds === 0 ? 1 : Math.min(1, Math.max(0, (now - start) / 1000 / seconds));
      for (let i = 0; i < to.length; i++) mixed[i] = from[i] + (to[i] - from[i]) * part;
      paint(stage, picture, part === 1 ? to : mixed, scale, thick);
      if (part < 1) requestAnimationFrame(turn);
    };
    turn(start);
    const views = { kept: "what the mask keeps", without: "what is left without it", mask: "the mask" };
    stage.setAttribute("aria-label", `${picture.name}, ${views[state.view]}: ${sentence(picture.stops[stop])}`);
  }

  function paintStrip() {
    state.picture.stops.forEach((_, i) => paint(find("strip").children[i].firstChild, state.picture, state.picture.masks[i], 1, 2));
  }

  function choose(index) {
    const { picture } = state;
    const before = state.stop;
    const stop = picture.stops[index];
    state.stop = index;
    slider.value = index;
    slider.setAttribute("aria-valuetext", sentence(stop));
    [...find("strip").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
    find("fact-area").textContent = share(stop.area);
    find("fact-reading").textContent = stop.whole ? "Response to the whole image" : READINGS[picture.reading] || picture.reading;
    find("fact-response").textContent = minus(decimal(stop.response));
    find("fact-share").textContent = whole(stop.share);
    const note = remark(stop);
    find("fact-note").textContent = note;
    find("fact-note").hidden = note === "";
    listClasses();
    emphasise();
    paintStage(before);
  }

  function remark(stop) {
    const { curve, layer } = state.picture;
    if (stop.smallest && curve.area === null) return `No area reaches a response of ${decimal(curve.wanted)}; this mask comes nearest.`;
    if (stop.smallest) return `a*, the smallest area found whose mask reaches a response of ${decimal(curve.wanted)}.`;
    return layer === null ? "" : `The masks are of the layer ${layer}, resized to the picture.`;
  }

  function listClasses() {
    const { picture, stop, view } = state;
    find("classes").hidden = picture.classes === null;
    if (picture.classes === null) return;
    const { whole: all, kept, without } = picture.classes;
    const isWhole = picture.stops[stop].whole;
    const top = isWhole ? all : view === "without" ? without[stop] : kept[stop];
    find("classes-title").textContent = isWhole ? "Classes of the whole image" : view === "without" ? "Classes of what is left" : "Classes of what it keeps";
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
      const name = stop.smallest ? "a*" : stop.whole ? "whole image" : share(stop.asked);
      return [name, share(stop.area, 2), minus(decimal(stop.response)), whole(stop.share)].map((text) => make("td", {}, text));
    });
    find("numbers").replaceChildren(...rows.map((cells) => make("tr", {}, ...cells)));
  }

  function fillMaps() {
    const { maps, heats, width, height, image } = state.picture;
    find("maps-section").hidden = maps.length === 0;
    const figures = maps.map((one, i) => {
      const canvas = make("canvas", { role: "img", "aria-label": `Map of ${one.name}, highest at row ${one.peak[0]}, column ${one.peak[1]}` });
      const scale = Math.max(1, Math.round(400 / Math.max(width, height)));
      const context = show(canvas, heat(heats[i], image, width, height), scale);
      const [x, y] = [(one.peak[1] + 0.5) * scale, (one.peak[0] + 0.5) * scale];
      const arm = Math.max(width, height) * scale * 0.03;
      const path = new Path2D();
      path.moveTo(x - arm, y - arm);
      path.lineTo(x + arm, y + arm);
      path.moveTo(x - arm, y + arm);
      path.lineTo(x + arm, y - arm);
      stroke(context, path, arm / 4);
      return make("figure", {}, canvas, make("figcaption", {}, one.name));
    });
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
      const light = (image[4 * i] + image[4 * i + 1] + image[4 * i + 2]) / 3;
      for (let c = 0; c < 3; c++) {
        const colour = low[c] + (high[c] - low[c]) * (place % 1);
        out.data[4 * i + c] = (1 - opacity) * light + opacity * colour;
      }
      out.data[4 * i + 3] = 255;
    }
    return out;
  }

  // ---- charts ---------------------------------------------------------------------------------------------------

  const finite = (values) => values.filter((value) => value !== null);

  /** Round numbers between two ends. */
  function ticks(low, high, count) {
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const pitch = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
    const found = [];
    for (let i = Math.ceil(low / pitch - 1e-9); i * pitch <= high + 1e-9 * pitch; i++) found.push(i * pitch);
    return found;
  }

  /** 1, 2, 5, 10, 20 and so on between two ends, or powers of ten where those are many. */
  function logTicks(low, high) {
    const wide = high / low > 200;
    const found = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
      for (const n of wide ? [1] : [1, 2, 5]) {
        const value = n * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    }
    return found;
  }

  function linear(values, zero) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [low - (zero && low === 0 ? 0 : room), high + room];
    return { at: (v) => (v - low) / (high - low), ticks: ticks(low, high, 4) };
  }

  function logarithmic(values) {
    const [low, high] = [Math.min(...values) * 0.85, Math.max(...values) * 1.18];
    const at = (v) => Math.log(v / low) / Math.log(high / low);
    return { at, ticks: logTicks(low, high) };
  }

  const short = (v) => minus(Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(0) : String(Number(v.toPrecision(3))));

  /** The frame of a chart in a figure: title, axes and grid; (x, y) map values to its pixels. */
  function frame(shell, heading, label, horizontal, xs, ys, xText) {
    const readout = make("span", { class: "readout", "aria-hidden": "true" }, horizontal);
    const svg = draw("svg", { role: "img", "aria-label": label });
    shell.append(make("figcaption", {}, make("b", {}, heading), readout), svg);
    const [width, height] = [svg.clientWidth || 360, svg.clientHeight || 208];
    const [left, right, top, bottom] = [44, 10, 8, 22];
    const x = (v) => left + xs.at(v) * (width - left - right);
    const y = (v) => height - bottom - ys.at(v) * (height - top - bottom);
    for (const v of ys.ticks) {
      svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }));
      svg.append(draw("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, short(v)));
    }
    let last = -Infinity;
    for (const v of xs.ticks) {
      if (x(v) - last < 34) continue;
      last = x(v);
      svg.append(draw("text", { x: x(v), y: height - 4, "text-anchor": "middle" }, xText(v)));
    }
    return { svg, x, y, readout, horizontal, box: { left, right: width - right, top, bottom: height - bottom } };
  }

  function path(chart, xs, values) {
    let text = "";
    let pen = "M";
    values.forEach((value, i) => {
      if (value !== null) text += `${pen}${chart.x(xs[i]).toFixed(1)},${chart.y(value).toFixed(1)}`;
      pen = value === null ? "M" : "L";
    });
    return text;
  }

  function drawCharts() {
    if (state.picture === null) return;
    const { history, reading } = state.picture;
    const drawings = [chartAreas];
    if (history !== null) {
      const losses = history.losses.map((line) => line.map((v) => (v > 0 ? v : null)));
      drawings.push((shell) => chartSteps(shell, `${reading} over the steps`, history.responses, linear, (v) => minus(decimal(v))));
      drawings.push((shell) => chartSteps(shell, "area loss over the steps", losses, logarithmic, (v) => short(v ?? 0)));
    }
    const shells = drawings.map(() => make("figure", { class: "chart" }));
    find("charts").replaceChildren(...shells); // all of them, since each takes its width from how many there are
    drawings.forEach((drawing, i) => drawing(shells[i]));
    shells.forEach((shell) => (shell.hidden = shell.childElementCount === 0));
    fillLegend();
    emphasise();
  }

  function fillLegend() {
    const { lines, stops } = state.picture;
    const swatch = (...shapes) => draw("svg", { viewBox: "0 0 20 12", "aria-hidden": "true" }, ...shapes);
    const line = (kind) => swatch(draw("line", { class: kind, x1: 0, x2: 20, y1: 6, y2: 6, "stroke-width": 3 }));
    const items = lines.map((stop) => make("li", {}, line(`s${stop.colour}`), share(stop.asked)));
    if (stops.some((stop) => stop.smallest)) items.push(make("li", {}, swatch(draw("circle", { class: "fs", cx: 10, cy: 6, r: 5 })), "a*, the smallest sufficient area; dotted: the response that suffices"));
    items.push(make("li", {}, swatch(draw("circle", { class: "fw", cx: 10, cy: 6, r: 5 })), "whole image; dashed: its response"));
    find("legend").replaceChildren(...items);
  }

  function chartAreas(shell) {
    const { stops, lines, curve, whole: full, reading } = state.picture;
    const shown = stops.filter((stop) => stop.response !== null);
    const tried = curve === null ? [] : curve.areas.map((area, i) => [area, curve.responses[i]]).filter(([, v]) => v !== null);
    const values = [...shown.map((stop) => stop.response), ...tried.map(([, v]) => v), ...finite([full, curve && curve.wanted])];
    if (values.length === 0) return;
    const xs = logarithmic([...stops.map((stop) => stop.asked), ...tried.map(([area]) => area)]);
    const label = `${reading} against area: ${shown.map((stop) => `${title(stop)} ${decimal(stop.response)}`).join(", ")}`;
    const chart = frame(shell, `${reading} against area`, label, "area", xs, linear(values, true), (v) => `${Number((100 * v).toPrecision(2))}%`);
    const { svg, x, y, box } = chart;
    const across = (v, kind) => svg.append(draw("line", { class: kind, x1: box.left, x2: box.right, y1: y(v), y2: y(v) }));
    if (full !== null) across(full, "guide");
    if (tried.length > 0) {
      const order = [...tried].sort((a, b) => a[0] - b[0]);
      svg.append(draw("path", { class: "curve", d: path(chart, order.map(([a]) => a), order.map(([, v]) => v)) }));
      for (const [area, v] of order) svg.append(draw("circle", { class: "tried", cx: x(area), cy: y(v), r: 2 }));
    }
    if (curve !== null && curve.wanted !== null) across(curve.wanted, "star");
    if (curve !== null && curve.area !== null) {
      svg.append(draw("line", { class: "star", x1: x(curve.area), x2: x(curve.area), y1: box.top, y2: box.bottom }));
      svg.append(draw("text", { class: "star-label", x: x(curve.area) + 5, y: box.bottom - 6 }, `a* ${share(curve.area)}`));
    }
    if (tried.length === 0) svg.append(draw("path", { class: "curve", d: path(chart, lines.map((s) => s.asked), lines.map((s) => s.response)) }));
    stops.forEach((stop, i) => {
      if (stop.response === null) return;
      const kind = stop.whole ? "fw" : stop.smallest ? "fs" : `f${stop.colour}`;
      const ring = draw("circle", { class: "ring", "data-stop": i, cx: x(stop.asked), cy: y(stop.response), r: 8 });
      svg.append(ring, draw("circle", { class: `point ${kind}`, cx: x(stop.asked), cy: y(stop.response), r: 5 }));
    });
    svg.addEventListener("click", (event) => choose(nearest(event, svg, stops.map((stop) => x(stop.asked)))));
  }

  function nearest(event, svg, places) {
    const at = event.clientX - svg.getBoundingClientRect().left;
    return places.reduce((best, place, i) => (Math.abs(place - at) < Math.abs(places[best] - at) ? i : best), 0);
  }

  function chartSteps(shell, heading, lines, scale, text) {
    const all = finite(lines.flat());
    if (all.length === 0) return;
    const { lines: stops } = state.picture;
    const steps = lines[0].map((_, i) => i);
    const ends = stops.map((stop, i) => `${share(stop.asked)} ${decimal(lines[i].at(-1))}`).join(", ");
    const label = `${heading}, a line for each area; at the last of ${steps.length} steps: ${ends}`;
    const xs = { at: (v) => v / Math.max(1, steps.length - 1), ticks: ticks(0, steps.length - 1, 5).filter(Number.isInteger) };
    const chart = frame(shell, heading, label, "step", xs, scale(all), String);
    const { svg, x, box, readout, horizontal } = chart;
    lines.forEach((line, i) => svg.append(draw("path", { class: `line s${stops[i].colour}`, "data-line": i, d: path(chart, steps, line) })));
    const cursor = draw("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" });
    svg.append(cursor);
    svg.addEventListener("pointermove", (event) => {
      const step = nearest(event, svg, steps.map(x));
      fill(cursor, { x1: x(step), x2: x(step), visibility: "visible" }, []);
      const chosen = state.picture.stops[state.stop].line ?? 0;
      readout.textContent = `step ${step}, ${share(stops[chosen].asked)}: ${text(lines[chosen][step])}`;
    });
    svg.addEventListener("pointerleave", () => {
      cursor.setAttribute("visibility", "hidden");
      readout.textContent = horizontal;
    });
  }

  /** Mark the chosen area in the charts. */
  function emphasise() {
    const { line } = state.picture.stops[state.stop];
    for (const one of find("charts").querySelectorAll("[data-line]")) one.classList.toggle("chosen", Number(one.dataset.line) === line);
    for (const one of find("charts").querySelectorAll("[data-stop]")) {
      one.setAttribute("visibility", Number(one.dataset.stop) === state.stop ? "visible" : "hidden");
    }
  }

  // ---- the gallery ----------------------------------------------------------------------------------------------

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
    const isDefault = single && picture.name === "picture";
    find("detail-title").textContent = picture.target;
    const facts = [isDefault ? null : picture.name, `response to the whole image ${minus(decimal(picture.whole))}`, `${picture.width} × ${picture.height} pixels`];
    find("detail-facts").textContent = finite(facts).join(" · ");
    document.title = `${picture.target}${isDefault ? "" : `, ${picture.name}`} – ${heading}`;
    find("faults").hidden = picture.faults.length === 0;
    find("faults").replaceChildren(...picture.faults.map((line) => make("p", {}, line)));
    find("removal").textContent = picture.removal;
    const hidden = picture.removed === null;
    document.querySelector("input[value=removed]").parentElement.hidden = hidden;
    if (hidden && state.rest === "removed") document.querySelector("input[value=black]").click();
    slider.max = picture.stops.length - 1;
    const frame = document.querySelector(".stage");
    frame.style.setProperty("--stops", picture.stops.length);
    frame.classList.toggle("even", picture.stops.length <= EVEN);
    state.stop = Math.min(state.stop ?? Math.floor((picture.stops.length - 1) / 2), picture.stops.length - 1);
    fillStrip();
    fillNumbers();
    fillMaps();
    drawCharts();
    paintStrip();
    choose(state.stop);
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

  // ---- events ---------------------------------------------------------------------------------------------------

  slider.addEventListener("input", () => choose(Number(slider.value)));
  for (const name of ["view", "rest"]) {
    for (const input of document.querySelectorAll(`input[name=${name}]`)) {
      input.addEventListener("change", () => {
        state[name] = input.value;
        find("rests").disabled = state.view === "mask";
        if (state.picture === null) return;
        paintStage();
        paintStrip();
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
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 1) return;
    width = entry.contentRect.width;
    requestAnimationFrame(drawCharts);
  }).observe(find("charts"));
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  addEventListener("hashchange", route);
  arrange();
  route();
})();
