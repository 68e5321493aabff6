// What is shown: one code for each model, and where it is from. Everything else follows from these.
const SIDE = innerWidth < 500 ? 112 : models.length > 1 ? 120 : 168, N_SLIDERS = 12, N_DIRECTIONS = 8;
const state = {codes: models.map((model) => model.centre.slice()), from: {kind: "centre"}, label: 0};
const path = {ends: [null, null], at: 0, playing: 0};
const still = matchMedia("(prefers-reduced-motion: reduce)");
let mode = "jump", mapModel = 0, decodeTime = 0;

const cards = models.map((model) => {
  const card = make("div", "", {class: "card"});
  if (models.length > 1) card.append(make("h3", model.label));
  const pair = make("div", "", {class: "pair"}), parts = {};
  for (const name of ["decoded", "own", "nearest"]) {
    const figure = make("figure"), picture = name === "nearest" ? make("div", "", {class: "thumb", role: "img"}) : make("canvas", "", {class: "pixels", role: "img"});
    const caption = make("figcaption");
    figure.append(picture, caption);
    pair.append(figure);
    parts[name] = {figure, picture, caption};
  }
  const wrong = make("p", "", {class: "wrong"});
  card.append(pair, wrong);
  by("cards").append(card);
  return {...parts, pair, wrong};
});

// Small images are enlarged by whole numbers, so that their pixels are of one size.
const scaled = (canvas) => {
  const scale = SIDE / Math.max(height, width);
  canvas.style.width = `${Math.round(width * (scale > 2 ? Math.floor(scale) : scale))}px`;
  canvas.style.height = "auto";
};
const conditional = models.find((model) => model.classes.length > 0);
// The number of the shown class in a model that is told it: models may have been told different ones.
const labelOf = (model) => (model.classes.length ? model.classes.indexOf(conditional.classes[state.label]) : null);

// Shows other codes, one for each model.
function show(codes, from, label = state.label) {
  Object.assign(state, {codes, from, label});
  if (from.kind !== "path") stop();
  refresh();
}

let waiting = false;
function refresh() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(); });
}

function paint() {
  models.forEach((model, m) => paintCard(model, cards[m], state.codes[m]));
  by("about").textContent = aboutShown();
  if (conditional) by("class").value = state.label;
  sliders.forEach((slider) => slider.update());
  const model = models[mapModel];
  map.mark = model.wrong ? null : placeOnMap(model, state.codes[mapModel]);
  map.draw();
  by("along").value = path.at;
  by("along-value").textContent = Number(path.at).toFixed(2);
}

function paintCard(model, card, code) {
  const label = labelOf(model), wrong = model.wrong || (label === -1 ? `It was not told of class ${conditional.classes[state.label]}.` : "");
  card.wrong.textContent = wrong;
  card.pair.hidden = wrong !== "";
  if (wrong) return;
  const started = performance.now(), image = Network.decode(model.network, code, label);
  const took = performance.now() - started;
  decodeTime = decodeTime ? 0.9 * decodeTime + 0.1 * took : took;
  document.body.dataset.decode = decodeTime;
  paintImage(card.decoded.picture, image);
  scaled(card.decoded.picture);
  card.decoded.picture.setAttribute("aria-label", "Decoded image");
  const isPoint = state.from.kind === "point", isOther = label !== null && isPoint && model.classes[label] !== className(state.from.i);
  const kind = (isPoint && !isOther) || state.from.kind === "own" ? "reconstruction" : "decoded";
  card.decoded.caption.textContent = label === null ? kind : `${kind} as class ${model.classes[label]}`;
  const own = state.from.kind === "own";
  card.own.figure.hidden = !own;
  if (own) {
    paintImage(card.own.picture, state.from.image);
    scaled(card.own.picture);
    card.own.picture.setAttribute("aria-label", "Your own image");
    card.own.caption.textContent = `your image; mean squared error ${(squared(image, state.from.image) / N_VALUES).toPrecision(3)}`;
  }
  const [[i, distance]] = nearestPoints(model, code, 1);
  showThumb(card.nearest.picture, i, SIDE);
  card.nearest.picture.setAttribute("aria-label", `Image on the map: ${describe(i)}`);
  const isOriginal = isPoint && state.from.i === i;
  const error = !isOriginal ? `\ndistance ${distance.toPrecision(3)} in code space` : isOther ? "" : `\nmean squared error ${model.errors[i].toPrecision(3)}`;
  card.nearest.caption.style.whiteSpace = "pre-wrap";
  card.nearest.caption.textContent = `${isOriginal ? "original" : "nearest image on the map"}\n${describe(i)}${error}`;
}

function aboutShown() {
  const {from} = state, of = models.length > 1 ? "codes" : "code";
  const texts = {
    centre: `Mean of the codes of ${facts.n_all.toLocaleString("en")} ${facts.what}s.`,
    random: models.length === 1 ? `A code drawn at random from ${facts.drawn_from[0]}.`
      : `Codes drawn at random: ${models.map((model, m) => `${model.label} from ${facts.drawn_from[m]}`).join("; ")}.`,
    point: () => `The ${of} of ${nameOf(from.i)}.`,
    own: `The ${of} of your own image.`,
    moved: `${of === "code" ? "A code" : "Codes"} set by hand.`,
    path: () => `${Math.round(100 * path.at)} % of the way from ${path.ends[0].name} to ${path.ends[1].name}.`,
  };
  const text = texts[from.kind];
  return typeof text === "string" ? text : text();
}

// ---- sliders of dimensions and directions

const sliders = [];

function histogram(model, j) {
  const n = facts.n_bins, counts = model.counts.subarray(j * n, (j + 1) * n), most = Math.max(...counts, 1);
  const name = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag), svg = name("svg");
  svg.setAttribute("viewBox", `0 0 ${n} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const parts = {bars: name("path"), band: name("rect"), now: name("line")};
  parts.bars.setAttribute("d", Array.from(counts, (c, i) => `M${i} 10V${(10 - (10 * c) / most).toFixed(2)}h1V10z`).join(""));
  for (const [kind, part] of Object.entries(parts)) { part.setAttribute("class", kind); svg.append(part); }
  parts.band.setAttribute("y", 0);
  parts.band.setAttribute("height", 10);
  parts.now.setAttribute("y1", 0);
  parts.now.setAttribute("y2", 10);
  parts.now.setAttribute("vector-effect", "non-scaling-stroke");
  parts.now.setAttribute("stroke-width", 2);
  return {svg, ...parts};
}

// A number next to a slider: it can be typed, and is marked where the slider ends before it.
function numberField(input, title) {
  const field = make("input", "", {type: "number", step: "any", "aria-label": `Value of ${title}`});
  field.show = (value, low, high) => {
    if (document.activeElement !== field) field.value = value.toFixed(2);
    const beyond = value < low || value > high;
    field.classList.toggle("beyond", beyond);
    field.title = beyond ? "beyond the end of the slider" : "";
  };
  return field;
}

// The dimensions of this rank in all models move together, each over its own range.
function dimensionSlider(rank) {
  const own = models.map((model) => (rank < model.latent ? model.order[rank] : -1)), m = own.findIndex((j) => j >= 0);
  const model = models[m], j = own[m], row = make("div", "", {class: "slider"}), name = make("div", "", {class: "name"});
  const low = model.low[j], high = model.high[j], title = own.map((each) => (each >= 0 ? `z${each}` : "\u2013")).join(" | ");
  const worth = own.flatMap((at, k) => (at < 0 ? [] : [models[k].kl.length ? models[k].kl[at].toPrecision(2) : models[k].variance[at].toPrecision(2)]));
  name.append(title, make("small", `${model.kl.length ? "KL" : "var"} ${worth.join(" | ")}`));
  const input = make("input", "", {type: "range", min: low, max: high, step: (high - low) / 400, "aria-label": `Dimension ${title}`});
  const box = make("div"), chart = histogram(model, j), number = numberField(input, title);
  box.append(chart.svg, input);
  row.append(name, box, number);
  const move = (value) => {
    const part = (value - low) / (high - low);
    const codes = state.codes.map((code, k) => {
      const changed = code.slice(), at = own[k];
      if (at >= 0) changed[at] = models[k].low[at] + part * (models[k].high[at] - models[k].low[at]);
      return changed;
    });
    show(codes, {kind: "moved"});
  };
  input.addEventListener("input", () => move(Number(input.value)));
  number.addEventListener("change", () => { if (number.value !== "") move(Number(number.value)); });
  sliders.push({
    row,
    update() {
      const value = state.codes[m][j], n = facts.n_bins, place = (v) => Math.min(n, Math.max(0, ((v - low) / (high - low)) * n));
      if (document.activeElement !== input || Math.abs(Number(input.value) - value) > (high - low) / 200) input.value = value;
      number.show(value, low, high);
      const sd = state.from.kind === "point" && model.sd.length ? model.sd[state.from.i * model.latent + j]
        : state.from.kind === "own" && state.from.sd[m] ? state.from.sd[m][j] : 0;
      chart.now.setAttribute("x1", place(value));
      chart.now.setAttribute("x2", place(value));
      chart.band.setAttribute("x", place(value - sd));
      chart.band.setAttribute("width", place(value + sd) - place(value - sd));
    },
  });
  return row;
}

function directionSlider(k) {
  const lead = models.findIndex((model) => model.directions.length > 0), {name, low, high} = models[lead].directions[k], row = make("div", "", {class: "slider wide"});
  const input = make("input", "", {type: "range", min: low, max: high, step: (high - low) / 400, "aria-label": `Direction ${name}`});
  const number = numberField(input, name), own = models.map((model) => model.directions.findIndex((each) => each.name === name));
  const part = (m) => models[m].vectors.subarray(own[m] * models[m].latent, (own[m] + 1) * models[m].latent);
  const along = (m) => {
    const v = part(m);
    let dot = 0, size = 0;
    for (let j = 0; j < v.length; j++) { dot += (state.codes[m][j] - models[m].centre[j]) * v[j]; size += v[j] * v[j]; }
    return dot / size;
  };
  row.append(make("div", name, {class: "name"}), input, number);
  const move = (value) => {
    const step = value - along(lead);
    show(state.codes.map((code, m) => (own[m] < 0 ? code : code.map((z, j) => z + step * part(m)[j]))), {kind: "moved"});
  };
  input.addEventListener("input", () => move(Number(input.value)));
  number.addEventListener("change", () => { if (number.value !== "") move(Number(number.value)); });
  sliders.push({row, update() { const value = along(lead); input.value = value; number.show(value, low, high); }});
  return row;
}

function fillDetails(id, rows, text) {
  by(id).hidden = rows.length === 0;
  by(id).querySelector("summary").textContent = text;
  by(id).querySelector("div").append(...rows);
}

function buildSliders() {
  const most = Math.max(...models.map((model) => model.latent)), ranks = Array.from({length: most}, (_, i) => i);
  const tells = (rank) => models.some((model) => rank < model.latent && model.informative[model.order[rank]]);
  const live = ranks.filter(tells), dead = ranks.filter((rank) => !tells(rank));
  by("sliders").append(...live.slice(0, N_SLIDERS).map(dimensionSlider));
  fillDetails("more", live.slice(N_SLIDERS).map(dimensionSlider), `${live.length - N_SLIDERS} more dimensions`);
  fillDetails("dead", dead.map(dimensionSlider), `${dead.length} ${dead.length === 1 ? "dimension" : "dimensions"} that ${dead.length === 1 ? "is" : "are"} nearly the same for all images`);
  if (!live.length) by("sliders").append(make("p", "No dimension tells images apart."));
  const orders = [...new Set(models.map((model) => (model.kl.length ? "KL divergence" : "variance")))].join(" or ");
  const band = models.some((model) => model.sd.length) ? "; the light band is one posterior standard deviation of the image shown, to either side" : "";
  by("sliders-note").textContent = `Ordered by ${orders}. Each slider spans the central 99 % of the codes (histogram above${band}).${models.length > 1 ? ` Dimensions of the same rank (${models.map((model) => model.label).join(" | ")}) move together, each over its own range; histogram and number are those of the first.` : ""}`;
  const n = Math.max(...models.map((model) => model.directions.length)), rows = Array.from({length: n}, (_, k) => directionSlider(k));
  by("directions-section").hidden = n === 0;
  by("directions").append(...rows.slice(0, N_DIRECTIONS));
  fillDetails("more-directions", rows.slice(N_DIRECTIONS), `${n - N_DIRECTIONS} more directions`);
  by("directions-note").textContent = "The difference of the mean codes with and without an attribute or class: 0 is the mean of all codes, 1 one difference further. Directions are not independent: moving along one moves the others.";
}

// ---- the map, paths and selections

const colours = Array.from({length: N_POINTS}, (_, i) => (facts.labels === null ? "#7a8794" : facts.colours[facts.labels[i]]));
const map = new CodeMap(by("map"), colours);
const pointCodes = (i) => models.map((model) => codeOf(model, i));
const pointLabel = (i) => (conditional && className(i) !== null ? Math.max(0, conditional.classes.indexOf(className(i))) : state.label);
const jump = (i) => show(pointCodes(i), {kind: "point", i}, pointLabel(i));

function chooseMap(m) {
  mapModel = m;
  const model = models[m];
  map.place(model.map);
  const kinds = {plane: "The codes themselves, z0 to the right and z1 upwards.", line: model.latent === 1 ? "Codes of one number, to the right; the height is random." : "The codes are all the same; the height is random.",
    tsne: "t-SNE of the codes. Other codes are placed by their nearest neighbours among the points.",
    pca: "The first two principal components of the codes. Other codes are placed by their nearest neighbours among the points."};
  by("map").setAttribute("aria-label", `Map of ${N_POINTS.toLocaleString("en")} codes; arrow keys go from point to point`);
  by("hint").dataset.kind = kinds[model.map_kind];
  sayMode();
  refresh();
}

function sayMode() {
  const can = {jump: models[mapModel].map_kind === "plane" ? "Click or drag to decode any place." : "Click a point to decode its code.",
    path: `Drag from one point to another for a path between them${models[mapModel].map_kind === "plane" ? "" : ", which is straight in code space, not on the map: the ring goes to the nearest points"}.`, lasso: "Draw around points to list them."};
  by("hint").textContent = `${by("hint").dataset.kind} ${can[mode]}`;
  by("map").classList.toggle("drags", mode !== "jump" || models[mapModel].map_kind === "plane");
}

function tip(i, event) {
  by("tip").hidden = i < 0;
  map.ring = i;
  map.draw();
  if (i < 0) return;
  showThumb(by("tip-image"), i, 112);
  by("tip-text").textContent = describe(i);
  const box = by("tip").getBoundingClientRect(), flip = (at, size, room) => (at + 14 + size > room ? Math.max(0, at - 14 - size) : at + 14);
  by("tip").style.left = `${flip(event.clientX, box.width, innerWidth)}px`;
  by("tip").style.top = `${flip(event.clientY, box.height, innerHeight)}px`;
}

function followPointer() {
  const canvas = by("map"), place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  let start = -1, isDown = false;
  const anywhere = (at) => show(models.map((model, m) => (m === mapModel ? Float32Array.from(map.toMap(...at)) : state.codes[m])), {kind: "moved"});
  canvas.addEventListener("pointerdown", (event) => {
    const at = place(event);
    isDown = true;
    start = map.at(...at, 14);
    if (mode === "lasso") map.loop = [at];
    if (mode === "path" && start >= 0) map.line = [map.toMap(...at), map.toMap(...at)];
    if (mode !== "jump" || models[mapModel].map_kind === "plane") canvas.setPointerCapture(event.pointerId);
    if (mode === "jump" && start < 0 && models[mapModel].map_kind === "plane") anywhere(at);
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (!isDown || mode === "path") tip(map.at(...at, 12), event);
    if (!isDown) return;
    if (mode === "jump" && models[mapModel].map_kind === "plane") { tip(-1); start = -1; anywhere(at); }
    if (mode === "path" && map.line && start >= 0) { map.line[1] = map.toMap(...at); map.draw(); }
    if (mode === "lasso") { map.loop.push(at); map.draw(); }
  });
  canvas.addEventListener("pointerup", (event) => {
    const at = place(event), end = map.at(...at, 14);
    if (!isDown) return;
    isDown = false;
    if (mode === "jump") { if (start >= 0) jump(start); }
    if (mode === "path") {
      if (start >= 0 && end >= 0 && end !== start) setPath(...[start, end].map((i) => ({codes: pointCodes(i), name: nameOf(i), label: pointLabel(i)})));
      else { map.line = null; if (start >= 0) jump(start); drawLine(); }
    }
    if (mode === "lasso") { choose(map.inside(map.loop)); map.loop = null; map.draw(); }
  });
  canvas.addEventListener("pointercancel", () => { isDown = false; map.loop = null; drawLine(); });
  canvas.addEventListener("pointerleave", () => tip(-1));
  canvas.addEventListener("wheel", (event) => { if (event.ctrlKey || event.metaKey || map.view.scale > 1) { event.preventDefault(); map.zoom(Math.exp(-event.deltaY / 300), place(event)); } }, {passive: false});
  canvas.addEventListener("keydown", (event) => {
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
    if (!way) return;
    event.preventDefault();
    const [x, y] = map.mark || [0, 0], points = models[mapModel].map;
    let best = Infinity, found = -1;
    for (let i = 0; i < N_POINTS; i++) {
      const dx = points[2 * i] - x, dy = points[2 * i + 1] - y, along = dx * way[0] + dy * way[1], aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      if (along <= 1e-9 || (state.from.kind === "point" && state.from.i === i)) continue;
      const cost = along + 2 * aside;
      if (cost < best) { best = cost; found = i; }
    }
    if (found >= 0) jump(found);
  });
}

function drawLine() {
  const ends = path.ends;
  map.line = ends[0] && ends[1] ? ends.map((end) => placeOnMap(models[mapModel], end.codes[mapModel])) : null;
  map.draw();
}

function setPath(first, second) {
  stop();
  path.ends = [first, second];
  by("path-ends").textContent = path.ends.map((end, i) => `${["Start", "End"][i]}: ${end ? end.name : "not set"}.`).join(" ");
  const ready = Boolean(first && second);
  by("play").disabled = by("along").disabled = !ready;
  drawLine();
  if (ready) along(0);
}

function along(t) {
  path.at = t;
  const [a, b] = path.ends;
  show(models.map((_, m) => a.codes[m].map((z, j) => (1 - t) * z + t * b.codes[m][j])), {kind: "path"}, t < 0.5 ? a.label : b.label);
}

function stop() {
  cancelAnimationFrame(path.playing);
  clearTimeout(path.playing);
  path.playing = 0;
  by("play").textContent = "Play";
}

function play() {
  if (path.playing) { stop(); return; }
  by("play").textContent = "Stop";
  if (still.matches) {
    const step = (k) => { along(k / 10); if (k < 10) path.playing = setTimeout(step, 600, k + 1); else stop(); };
    path.playing = setTimeout(step, 0, 0);
    return;
  }
  const started = performance.now(), turn = 2500;
  const frame = (now) => {
    const phase = (Math.max(0, now - started) / turn) % 2;
    path.playing = requestAnimationFrame(frame);
    along(phase <= 1 ? phase : 2 - phase);
  };
  path.playing = requestAnimationFrame(frame);
}

const MAX_ROWS = 300;
function choose(points) {
  map.chosen = new Set(points);
  map.draw();
  by("selection").hidden = points.length === 0;
  by("selection-title").textContent = `Selected images: ${points.length.toLocaleString("en")}`;
  const {columns, rows} = selectionTable(points), head = make("tr"), body = rows.slice(0, MAX_ROWS).map((cells) => {
    const row = make("tr");
    row.append(...cells.map((cell) => make("td", typeof cell === "number" && !Number.isInteger(cell) ? cell.toPrecision(4) : String(cell))));
    return row;
  });
  head.append(...columns.map((name) => make("th", name, {scope: "col"})));
  document.querySelector("#selection thead").replaceChildren(head);
  document.querySelector("#selection tbody").replaceChildren(...body);
  by("selection-note").textContent = rows.length > MAX_ROWS ? `The first ${MAX_ROWS} are shown; the file has all of them.` : "";
}

const stemOf = (model) => model.name.replace(/\.safetensors$/, "");

function selectionTable(points) {
  const several = models.length > 1;
  const columns = ["index", ...(facts.origins === null ? [] : ["file"]), ...(facts.labels === null ? [] : ["label"]),
    ...models.flatMap((model) => ["x", "y", "mse"].map((name) => (several ? `${name}_${stemOf(model)}` : name))),
    ...(several ? [] : Array.from({length: models[0].latent}, (_, j) => `z${j}`))];
  const rows = points.map((i) => [facts.index[i], ...(facts.origins === null ? [] : [facts.origins[i]]),
    ...(facts.labels === null ? [] : [className(i)]),
    ...models.flatMap((model) => [model.map[2 * i], model.map[2 * i + 1], model.errors[i]]), ...(several ? [] : codeOf(models[0], i))]);
  return {columns, rows};
}

function toCsv({columns, rows}) {
  const cell = (value) => (/[",\n\r]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function download(name, blob) {
  const link = make("a", "", {download: name, href: URL.createObjectURL(blob)});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const save = () => download("selected.csv", new Blob([toCsv(selectionTable([...map.chosen]))], {type: "text/csv"}));

// One file for each model, as `aekit decode` reads it.
function codeTable(m) {
  const model = models[m], label = labelOf(model);
  const columns = [...(label === null ? [] : ["label"]), ...Array.from({length: model.latent}, (_, j) => `z${j}`)];
  return {columns, rows: [[...(label === null ? [] : [model.classes[label]]), ...state.codes[m]]]};
}

function saveCode() {
  models.forEach((model, m) => download(`${stemOf(model)}-code.csv`, new Blob([toCsv(codeTable(m))], {type: "text/csv"})));
}

function saveImage() {
  models.forEach((model, m) => { if (!cards[m].pair.hidden) cards[m].decoded.picture.toBlob((blob) => download(`${stemOf(model)}-image.png`, blob)); });
}

function buildLegend() {
  if (facts.labels === null) return;
  by("legend-note").hidden = false;
  const seen = [...new Set(facts.labels)].filter((k) => k >= 0).sort((a, b) => a - b);
  by("legend").append(...seen.map((k) => {
    const button = make("button", "", {type: "button", title: "Select this class"}), dot = make("i");
    dot.style.background = facts.colours[k];
    button.append(dot, facts.names[k]);
    button.addEventListener("click", () => choose(facts.labels.flatMap((label, i) => (label === k ? [i] : []))));
    return button;
  }));
}

// ---- an image of one's own

const pad = by("pad"), ink = {image: null, strokes: document.createElement("canvas")};
const isDark = facts.background < 0.5;

function buildPad() {
  pad.width = ink.strokes.width = width;
  pad.height = ink.strokes.height = height;
  const scale = Math.max(1, Math.floor(224 / Math.max(width, height)));
  pad.style.width = `${width * scale}px`;
  pad.setAttribute("aria-label", channels === 1 ? "Draw an image here" : "Your own image");
  by("own-note").textContent = `${channels === 1 ? "Draw on the pad, choose a file, or drop one" : "Choose a file, or drop one"} on this page. It stays in your browser. A file is resized and cut at its centre to ${width} x ${height} pixels${channels === 1 ? " and turned into grey levels" : ""}; 0 to 255 become 0 to 1.${conditional ? " The model is told the class chosen above." : ""}`;
  const pen = ink.strokes.getContext("2d", {willReadFrequently: true});
  const blank = () => { pen.fillStyle = isDark ? "#000" : "#fff"; pen.fillRect(0, 0, width, height); };
  blank();
  readPad(false);
  let last = null;
  const place = (event) => { const box = pad.getBoundingClientRect(); return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height]; };
  const stroke = (from, to) => {
    pen.strokeStyle = isDark ? "#fff" : "#000";
    pen.lineWidth = Math.max(width, height) / 13;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
    readPad(true);
  };
  if (channels === 1) {
    pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); last = place(event); stroke(last, last); });
    pad.addEventListener("pointermove", (event) => { if (last) { const at = place(event); stroke(last, at); last = at; } });
    for (const kind of ["pointerup", "pointercancel"]) pad.addEventListener(kind, () => { last = null; });
  }
  by("clear").addEventListener("click", () => { blank(); readPad(false); by("file").value = ""; });
  by("invert").addEventListener("change", () => readPad(true));
  by("file").addEventListener("change", () => { if (by("file").files.length) readFile(by("file").files[0]); });
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => { if (carries(event)) { event.preventDefault(); document.body.classList.add("over"); } });
  addEventListener("dragleave", () => document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    document.body.classList.remove("over");
    if (!carries(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files.length) readFile(event.dataTransfer.files[0]);
  });
}

async function readFile(file) {
  let picture;
  try { picture = await createImageBitmap(file); } catch {
    by("own-hint").textContent = `${file.name}: is not an image that this browser can read.`;
    return;
  }
  const pen = ink.strokes.getContext("2d"), scale = Math.max(width / picture.width, height / picture.height);
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, (width - picture.width * scale) / 2, (height - picture.height * scale) / 2, picture.width * scale, picture.height * scale);
  readPad(true);
}

// Takes the image of the pad, and shows it if it is one.
function readPad(isImage) {
  const {data} = ink.strokes.getContext("2d").getImageData(0, 0, width, height), plane = width * height, image = new Float32Array(N_VALUES);
  const flip = by("invert").checked;
  for (let p = 0; p < plane; p++) {
    const rgb = [0, 1, 2].map((c) => data[4 * p + c] / 255), grey = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    for (let c = 0; c < channels; c++) { const v = channels === 1 ? grey : rgb[c]; image[c * plane + p] = flip ? 1 - v : v; }
  }
  paintImage(pad, image);
  const corners = [0, width - 1, plane - width, plane - 1], light = corners.reduce((sum, p) => sum + image[p], 0) / 4;
  by("own-hint").textContent = isImage && Math.abs(light - facts.background) > 0.5
    ? `Its corners are ${light > 0.5 ? "light" : "dark"}, those of the data ${light > 0.5 ? "dark" : "light"}: are dark and light swapped?` : "";
  ink.image = isImage ? image : null;
  if (isImage) encodeOwn();
}

function encodeOwn() {
  if (!ink.image || models.some((model) => model.wrongEncoder || model.wrong)) return;
  if (models.some((model) => labelOf(model) === -1)) { refresh(); return; }
  const found = models.map((model) => Network.encode(model.network, ink.image, labelOf(model)));
  const sd = found.map(({logvar}) => logvar && logvar.map((v) => Math.exp(v / 2)));
  show(found.map(({mean}) => mean), {kind: "own", image: ink.image, sd});
}

// ---- the start

function start() {
  by("subtitle").textContent = facts.subtitle;
  const isPrior = facts.drawn_from.every((each) => each.endsWith("prior"));
  by("random").textContent = isPrior ? "Random from the prior" : models.length > 1 ? "Random codes" : "Random code";
  by("random").title = facts.drawn_from.map((from, m) => `${models[m].label}: from ${from}`).join("; ");
  by("save-code").addEventListener("click", saveCode);
  by("save-image").addEventListener("click", saveImage);
  by("random").addEventListener("click", () => show(models.map(drawCode), {kind: "random"}));
  by("centre").addEventListener("click", () => show(models.map((model) => model.centre.slice()), {kind: "centre"}));
  if (conditional) {
    by("class-of").hidden = false;
    conditional.classes.forEach((name, k) => by("class").append(make("option", name, {value: k})));
    by("class").addEventListener("change", () => { state.label = Number(by("class").value); if (state.from.kind === "own") encodeOwn(); else refresh(); });
  }
  if (models.length > 1) {
    by("map-of").hidden = false;
    models.forEach((model, m) => by("map-model").append(make("option", model.label, {value: m})));
    by("map-model").addEventListener("change", () => { chooseMap(Number(by("map-model").value)); drawLine(); });
  }
  document.querySelectorAll("input[name=mode]").forEach((input) => input.addEventListener("change", () => { mode = input.value; sayMode(); }));
  const middle = () => map.mark ? map.toScreen(...map.mark) : map.size.map((each) => each / 2);
  by("zoom-in").addEventListener("click", () => map.zoom(1.6, middle()));
  by("zoom-out").addEventListener("click", () => map.zoom(1 / 1.6, middle()));
  by("zoom-all").addEventListener("click", () => map.zoom(1e-6, middle()));
  const shown = () => ({codes: state.codes.map((code) => code.slice()), name: {centre: "the mean code", random: "a random code", own: "your own image", moved: "a code set by hand", path: "a place on a path"}[state.from.kind] ?? nameOf(state.from.i), label: state.label});
  by("as-start").addEventListener("click", () => setPath(shown(), path.ends[1]));
  by("as-end").addEventListener("click", () => setPath(path.ends[0], shown()));
  by("along").addEventListener("input", () => { stop(); along(Number(by("along").value)); });
  by("play").addEventListener("click", play);
  by("save").addEventListener("click", save);
  by("unselect").addEventListener("click", () => choose([]));
  by("path-ends").textContent = "Drag between two points of the map (Path), or set both ends here.";
  by("footer").textContent = facts.footer;
  buildSliders();
  // The picture stays in view while sliders move, where there is room for both.
  new ResizeObserver(([{target}]) => target.classList.toggle("stays", target.offsetHeight < 0.6 * innerHeight)).observe(by("pictures"));
  buildLegend();
  buildPad();
  followPointer();
  chooseMap(0);
  checkAll(() => refresh()).then(() => { document.body.dataset.ready = "yes"; });
}

start();
// For the curious in a console, and for tests.
globalThis.aekit = {codeTable, Network, models, state, map, path, show, jump, drawCode, selectionTable, toCsv};
