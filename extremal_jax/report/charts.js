// The charts: their scales, frames and lines.

const finite = (values) => values.filter((value) => value !== null);

/** The least and the greatest of any number of values, of which a call takes only some ten thousand. */
const range = (values) => [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];

/** Round numbers between two ends. */
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const pitch = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const first = Math.ceil(low / pitch - 1e-9);
  const found = Math.min(Math.floor(high / pitch + 1e-9) - first + 1, 4 * count); // where pitches are lost in rounding, i + 1 is i
  return Array.from({ length: Math.max(found, 0) }, (_, i) => (first + i) * pitch);
}

/** 1, 2, 5, 10, 20 and so on between two ends, or powers of ten where those are many. */
function logTicks(low, high) {
  if (!(low > 0)) return [];
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

function linear(values, zero, count = 4) {
  let [low, high] = range(values);
  if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) high = low; // a constant, but for rounding
  if (zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low - (zero && low === 0 ? 0 : room), high + room];
  return { at: (v) => (v - low) / (high - low), ticks: ticks(low, high, count) };
}

function logarithmic(values) {
  const [least, most] = range(values);
  const [low, high] = [least * 0.85, most * 1.18];
  const at = (v) => Math.log(v / low) / Math.log(high / low);
  return { at, ticks: logTicks(low, high) };
}

const short = (v) => minus(Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(0) : String(Number(v.toPrecision(3))));

/** The frame of a chart in a figure: title, axes and grid; (x, y) map values to its pixels. */
function frame(shell, heading, label, horizontal, xs, ys, xText, yText = short) {
  const readout = make("span", { class: "readout", "aria-hidden": "true" }, horizontal);
  const svg = draw("svg", { role: "img", "aria-label": label });
  shell.append(make("figcaption", {}, make("b", {}, heading), readout), svg);
  const [width, height] = [svg.clientWidth || 360, svg.clientHeight || 208];
  const [left, right, top, bottom] = [44, 10, 8, 22];
  const x = (v) => left + xs.at(v) * (width - left - right);
  const y = (v) => height - bottom - ys.at(v) * (height - top - bottom);
  for (const v of ys.ticks) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }));
    svg.append(draw("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, yText(v)));
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

/** Whole numbers from 0 to a last one, along a horizontal axis. */
const upTo = (last) => ({ at: (v) => v / Math.max(1, last), ticks: ticks(0, last, 5).filter(Number.isInteger) });

function drawCharts() {
  if (state.picture === null) return;
  const { history, reading, parts, stops, lines, labels, form } = state.picture;
  const drawings = stops.length === 0 ? [] : [chartAreas];
  const value = (v) => minus(decimal(v));
  const add = (heading, values, scale, text, more) => drawings.push((shell) => chartLines(shell, { heading, lines: values, scale, text, ...more }));
  if (history !== null) {
    add(`${reading} over the steps`, history.responses, linear, value);
    const channels = form === "channels";
    const size = channels ? "channels" : "area";
    if (history.shown) add(`${size} shown over the steps`, history.shown, logarithmic, channels ? short : share, { ticks: channels ? short : percent });
    const positive = history.losses?.map((line) => line.map((v) => (v > 0 ? v : null)));
    if (positive) add("area loss over the steps", positive, logarithmic, (v) => short(v ?? 0));
  }
  if (parts) {
    const choice = { horizontal: labels[0], pick: (place) => chooseSlice(closest(state.picture.slices, place)) };
    add(`part kept over ${labels[0]}`, lines.map((stop) => parts[stop.place]), (v) => linear(v, true), share, { ticks: percent, ...choice });
  }
  const shells = drawings.map(() => make("figure", { class: "chart" }));
  find("charts").replaceChildren(...shells); // all of them, since each takes its width from how many there are
  drawings.forEach((drawing, i) => drawing(shells[i]));
  shells.forEach((shell) => (shell.hidden = shell.childElementCount === 0));
  find("charts-section").hidden = shells.length === 0;
  fillLegend();
  emphasise();
}

function fillLegend() {
  const { lines, stops, all } = state.picture;
  const swatch = (...shapes) => draw("svg", { viewBox: "0 0 20 12", "aria-hidden": "true" }, ...shapes);
  const line = (kind) => swatch(draw("line", { class: kind, x1: 0, x2: 20, y1: 6, y2: 6, "stroke-width": 3 }));
  const dot = (kind) => swatch(draw("circle", { class: kind, cx: 10, cy: 6, r: 5 }));
  const items = lines.map((one) => make("li", {}, line(`s${one.colour}`), one.label));
  if (stops.some((stop) => stop.smallest)) items.push(make("li", {}, dot("fs"), "a*, the smallest sufficient area; dotted: the response that suffices"));
  if (stops.length > 0) items.push(make("li", {}, dot("fw"), `${all}; dashed: the response to it`));
  find("legend").replaceChildren(...items);
}

function chartAreas(shell) {
  const { stops, lines, curve, whole: full, reading, form } = state.picture;
  const shown = stops.filter((stop) => stop.response !== null);
  const tried = curve === null ? [] : curve.areas.map((area, i) => [area, curve.responses[i]]).filter(([, v]) => v !== null);
  const values = [...shown.map((stop) => stop.response), ...tried.map(([, v]) => v), ...finite([full, curve && curve.wanted])];
  if (values.length === 0) return;
  const xs = logarithmic([...stops.map((stop) => stop.asked), ...tried.map(([area]) => area)]);
  const size = form === "channels" ? "channels" : "area";
  const label = `${reading} against ${size}: ${shown.map((stop) => `${title(stop)} ${decimal(stop.response)}`).join(", ")}`;
  const chart = frame(shell, `${reading} against ${size}`, label, size, xs, linear(values, true), form === "channels" ? short : percent);
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

const percent = (v) => `${Number((100 * v).toPrecision(2))}%`;
const closest = (places, at) => places.reduce((best, place, i) => (Math.abs(place - at) < Math.abs(places[best] - at) ? i : best), 0);
const nearest = (event, svg, places) => closest(places, event.clientX - svg.getBoundingClientRect().left);

/** A line under the pointer, and what a chart says there. */
function follow({ svg, box, readout, horizontal }, places, text) {
  const cursor = draw("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" });
  svg.append(cursor);
  svg.addEventListener("pointermove", (event) => {
    const place = nearest(event, svg, places);
    fill(cursor, { x1: places[place], x2: places[place], visibility: "visible" }, []);
    readout.textContent = text(place);
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = horizontal;
  });
}

function chartLines(shell, { heading, lines: values, scale, text, horizontal = "step", ticks: yText = short, pick }) {
  const all = finite(values.flat());
  if (all.length === 0) return;
  const { lines, stops } = state.picture;
  const steps = values[0].map((_, i) => i);
  const ends = lines.map((one, i) => `${one.label} ${text(values[i].at(-1))}`).join(", ");
  const label = `${heading}, ${lines.length === 1 ? "a line" : "a line each"}; at the last of ${steps.length}: ${ends}`;
  const chart = frame(shell, heading, label, horizontal, upTo(steps.length - 1), scale(all), String, yText);
  const { svg, x } = chart;
  values.forEach((line, i) => svg.append(draw("path", { class: `line s${lines[i].colour}`, "data-line": i, d: path(chart, steps, line) })));
  follow(chart, steps.map(x), (step) => {
    const chosen = stops.length === 0 ? 0 : (stops[state.stop].line ?? 0);
    return `${horizontal} ${step}, ${lines[chosen].label}: ${text(values[chosen][step])}`;
  });
  if (pick) svg.addEventListener("click", (event) => pick(nearest(event, svg, steps.map(x))));
}

/** Mark the chosen area in the charts. */
function emphasise() {
  const line = state.picture.stops[state.stop]?.line;
  for (const one of find("charts").querySelectorAll("[data-line]")) one.classList.toggle("chosen", Number(one.dataset.line) === line);
  for (const one of find("charts").querySelectorAll("[data-stop]")) {
    one.setAttribute("visibility", Number(one.dataset.stop) === state.stop ? "visible" : "hidden");
  }
}
