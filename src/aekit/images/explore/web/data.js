// What the page was given: facts, the arrays of each model, its network, and the images on the map.
const by = (id) => document.getElementById(id);
const make = (tag, text = "", attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const facts = JSON.parse(by("facts").textContent);
const bytes = (id) => Uint8Array.from(atob(by(id).textContent.trim()), (c) => c.charCodeAt(0)).buffer;
const {channels, height, width} = facts.image, N_VALUES = channels * height * width;
const compiled = Network.compile(bytes("products"));
const models = facts.models.map((model, i) => {
  const numbers = new Float32Array(bytes(`numbers-${i}`)), arrays = {};
  for (const [name, [start, shape]] of Object.entries(model.numbers))
    arrays[name] = numbers.subarray(start, start + shape.reduce((a, b) => a * b, 1));
  return {...model, ...arrays, network: Network.load(model.network, bytes(`weights-${i}`), compiled), wrong: "", wrongEncoder: ""};
});
const N_POINTS = facts.index.length;
const codeOf = (model, i) => model.codes.slice(i * model.latent, (i + 1) * model.latent);
const className = (i) => (facts.labels === null || facts.labels[i] < 0 ? null : facts.names[facts.labels[i]]);
// Of images that are rows of one file, the file says nothing.
const nameOf = (i) => (facts.has_files ? facts.origins[i] : `${facts.what} ${facts.index[i]}`) + (className(i) === null ? "" : ` (label ${className(i)})`);
const describe = (i) => [className(i) === null ? "" : `label ${className(i)}`, `index ${facts.index[i]}`,
  facts.has_files ? facts.origins[i] : ""].filter(Boolean).join("\n");

// Shows the image of a point in an element, from the sheets.
function showThumb(element, i, side) {
  const {width: w, height: h} = facts.thumb, scale = Math.max(1, Math.floor(side / Math.max(h, w))), place = i % facts.per_sheet;
  element.style.width = `${w * scale}px`;
  element.style.height = `${h * scale}px`;
  element.style.backgroundImage = `url("${facts.sheets[Math.floor(i / facts.per_sheet)]}")`;
  element.style.backgroundSize = `${facts.columns * w * scale}px auto`;
  element.style.backgroundPosition = `-${(place % facts.columns) * w * scale}px -${Math.floor(place / facts.columns) * h * scale}px`;
}

// Paints values in [0, 1], (C, H, W), on a canvas of the image's size.
function paintImage(canvas, image) {
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height), plane = width * height;
  for (let p = 0; p < plane; p++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * p + c] = Math.round(255 * image[channels === 1 ? p : c * plane + p]);
    pixels.data[4 * p + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

const squared = (a, b) => { let sum = 0; for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2; return sum; };

// The k points whose codes are nearest to one, nearest first: [point, distance].
function nearestPoints(model, code, k) {
  const found = [];
  for (let i = 0, at = 0; i < N_POINTS; i++) {
    let sum = 0;
    for (let j = 0; j < code.length; j++) sum += (model.codes[at++] - code[j]) ** 2;
    if (found.length < k || sum < found[found.length - 1][1]) {
      found.push([i, sum]);
      found.sort((a, b) => a[1] - b[1]);
      if (found.length > k) found.pop();
    }
  }
  return found.map(([i, sum]) => [i, Math.sqrt(sum)]);
}

// Where a code belongs on the map: itself in a plane; else the mean of its nearest point and those of the nearest ten that
// are close to that one on the map, weighted by inverse distance, as aekit's t-SNE places codes that it has not optimised.
function placeOnMap(model, code) {
  if (model.map_kind === "plane") return [code[0], code[1]];
  if (model.map_kind === "line") return [code[0], 0];
  const near = nearestPoints(model, code, 10), spot = (i) => [model.map[2 * i], model.map[2 * i + 1]];
  const [x0, y0] = spot(near[0][0]), gaps = [];
  for (let i = 0; i < N_POINTS; i++) gaps.push((model.map[2 * i] - x0) ** 2 + (model.map[2 * i + 1] - y0) ** 2);
  const reach = gaps.sort((a, b) => a - b)[Math.min(10, N_POINTS - 1)];
  let x = 0, y = 0, total = 0;
  for (const [i, distance] of near) {
    const [xi, yi] = spot(i);
    if ((xi - x0) ** 2 + (yi - y0) ** 2 > reach) continue;
    const weight = 1 / Math.max(distance, 1e-12);
    x += weight * xi; y += weight * yi; total += weight;
  }
  return [x / total, y / total];
}

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

// A code drawn from a model's prior, or from the Gaussian that stands for that of an autoencoder.
function drawCode(model) {
  const L = model.latent, noise = Float32Array.from({length: L}, normal), code = new Float32Array(L);
  if (model.factor) {
    for (let i = 0; i < L; i++) {
      code[i] = model.centre[i];
      for (let j = 0; j < L; j++) code[i] += model.factor[i * L + j] * noise[j];
    }
    return code;
  }
  let k = 0, left = Math.random() - model.prior_weight[0];
  while (left > 0 && k + 1 < model.prior_weight.length) left -= model.prior_weight[++k];
  for (let i = 0; i < L; i++) code[i] = model.prior_mean[k * L + i] + model.prior_sd[k * L + i] * noise[i];
  return code;
}
