// Elements, numbers and pictures: decoding them, and drawing them under masks.

const find = (id) => document.getElementById(id);
const SVG = find("drawing").namespaceURI;
const COLOURS = 6; // of the style: .s0 to .s5
const REMEMBERED = 4; // decoded pictures

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
const counted = (channels) => `${channels} channel${channels === 1 ? "" : "s"}`;
const minus = (text) => text.replace("-", "−");

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
  const [image, removed, masks, heats] = await Promise.all([
    content.image && pixels(content.image),
    content.removed && pixels(content.removed),
    Promise.all(content.stops.map((stop) => stop.mask && grey(stop.mask))),
    Promise.all(content.maps.map((one) => grey(one.map))),
  ]);
  masks.push(new Uint8ClampedArray(width * height * content.slices.length).fill(255));
  const all = content.channels ?? 1;
  const end = { area: all, asked: all, response: content.whole, share: content.whole > 0 ? 1 : null, smallest: false, whole: true };
  const stops = content.stops.length === 0 ? [] : [...content.stops, end];
  stops.forEach((stop, i) => (stop.place = i));
  const lines = stops.length === 0 ? content.found : stops.filter((stop) => !stop.smallest && !stop.whole);
  lines.forEach((one, i) => {
    one.line = i;
    one.label = one.title ?? (content.channels ? counted(one.asked) : share(one.asked));
    one.colour = lines.length < 2 ? 0 : Math.round((i * (COLOURS - 1)) / (lines.length - 1));
  });
  const picture = { ...content, original: content.image, width, height, image, removed, masks, heats, stops, lines };
  remembered.set(card, picture);
  if (remembered.size > REMEMBERED) remembered.delete(remembered.keys().next().value);
  return picture;
}

/** One slice of values for each pixel, such as a mask; an image has a single slice. */
function plane({ width, height }, values, slice, depth = 1) {
  const length = width * height * depth;
  return values.subarray(slice * length, (slice + 1) * length);
}

/** The pixels of a slice under a mask of it. */
function compose(picture, mask, view, rest, slice = 0) {
  const image = picture.image && plane(picture, picture.image, slice, 4);
  const removed = picture.removed && plane(picture, picture.removed, slice, 4);
  const out = new ImageData(picture.width, picture.height);
  const data = out.data;
  for (let i = 0; i < mask.length; i++) {
    const kept = (view === "without" ? 255 - mask[i] : mask[i]) / 255;
    for (let c = 4 * i; c < 4 * i + 3; c++) {
      if (view === "mask") {
        data[c] = mask[i];
        continue;
      }
      const back = rest === "removed" ? removed[c] : rest === "black" ? 0 : 0.4 * image[c];
      data[c] = kept * image[c] + (1 - kept) * back;
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

function paint(canvas, picture, mask, scale, thick, slice) {
  const context = show(canvas, compose(picture, mask, state.view, state.rest, slice), scale);
  if (state.rest === "outline" && state.view !== "mask") stroke(context, outline(mask, picture.width, picture.height, scale), thick);
}
