// Compares what the page computes with what torch computed when the page was made.
const ALLOWED = 1 / 255, ALLOWED_OF_CODES = 0.01;  // of a pixel; of a code, in standard deviations

function checkCode(model, row) {
  const L = model.latent, label = model.reference_labels && model.reference_labels[row];
  const decoded = Network.decode(model.network, model.reference_codes.slice(row * L, (row + 1) * L), label);
  const n = model.reference_pixels.length / facts.n_reference;
  let worst = 0;
  for (let j = 0; j < n; j++) {
    const place = Math.floor(((j * facts.n_reference + row) * N_VALUES) / (n * facts.n_reference));
    const difference = Math.abs(decoded[place] - model.reference_pixels[row * n + j]);
    if (!(difference <= worst)) worst = difference;  // NaN is the worst
    if (Number.isNaN(worst)) return NaN;
  }
  return worst;
}

function checkImage(model, images, row) {
  const L = model.latent, image = Float32Array.from(images.subarray(row * N_VALUES, (row + 1) * N_VALUES), (v) => v / 255);
  const {mean} = Network.encode(model.network, image, model.image_labels && model.image_labels[row]);
  let worst = 0;
  for (let j = 0; j < L; j++) {
    const difference = Math.abs(mean[j] - model.reference_image_codes[row * L + j]) / model.reference_scale[j];
    if (Number.isNaN(difference)) return NaN;
    worst = Math.max(worst, difference);
  }
  return worst;
}

const pause = () => new Promise((done) => setTimeout(done, 0));
const inSteps = (value) => (255 * value < 0.01 ? "less than 0.01" : (255 * value).toFixed(2));

// Checks all models, the first codes before it returns for the first time: `changed` is called when a model turns out wrong.
async function checkAll(changed) {
  const images = new Uint8Array(bytes("images")), n = facts.n_reference, total = models.length * n;
  const status = by("check");
  let pixels = 0, codes = 0, done = 0, started = performance.now();
  for (let row = 0; row < n; row++) {
    for (const model of models) {
      const difference = model.wrong ? 0 : checkCode(model, row);
      pixels = Math.max(pixels, difference);
      if (!(difference <= ALLOWED)) {
        model.wrong = `This browser decodes images that differ from torch by ${(255 * difference).toFixed(1)} of 255 grey levels; they are not shown.`;
        changed();
      }
      done++;
    }
    if (row >= 2 && performance.now() - started > 12) {
      status.textContent = `Comparing with torch: ${done} of ${total} codes.`;
      await pause();
      started = performance.now();
    }
    if (row === 2) changed();
  }
  for (const model of models)
    for (let row = 0; row < images.length / N_VALUES; row++) {
      const difference = checkImage(model, images, row);
      codes = Math.max(codes, difference);
      if (!(difference <= ALLOWED_OF_CODES)) model.wrongEncoder = `This browser encodes images unlike torch does, by ${difference.toFixed(2)} standard deviations; own images are not shown.`;
      await pause();
    }
  const wrong = models.filter((model) => model.wrong || model.wrongEncoder);
  document.body.dataset.pixels = pixels;
  document.body.dataset.codes = codes;
  status.textContent = wrong.length ? wrong.map((model) => `${model.name}: ${model.wrong || model.wrongEncoder}`).join(" ")
    : `Compared with torch on ${n} codes: the largest difference of a pixel is ${inSteps(pixels)} of 255 grey levels.`;
  status.classList.toggle("wrong", wrong.length > 0);
  changed();
}
