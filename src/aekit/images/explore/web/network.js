// The layers of a network for one example: arrays in, arrays out. The names of the functions are the kinds of layers.
const Network = (() => {
  "use strict";

  // out (m, n) = a (m, k) b (k, n), rows after each other, m and n multiples of 4: blocks of 4 x 4 keep their sums in
  // registers. products.wat does the same with four numbers at a time, several times as fast.
  function products(a, m, b, n, k, out) {
    for (let i = 0; i < m; i += 4) {
      const a0 = i * k, a1 = a0 + k, a2 = a1 + k, a3 = a2 + k;
      for (let j = 0; j < n; j += 4) {
        let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
        let s20 = 0, s21 = 0, s22 = 0, s23 = 0, s30 = 0, s31 = 0, s32 = 0, s33 = 0;
        for (let p = 0, at = j; p < k; p++, at += n) {
          const x0 = a[a0 + p], x1 = a[a1 + p], x2 = a[a2 + p], x3 = a[a3 + p];
          const y0 = b[at], y1 = b[at + 1], y2 = b[at + 2], y3 = b[at + 3];
          s00 += x0 * y0; s01 += x0 * y1; s02 += x0 * y2; s03 += x0 * y3;
          s10 += x1 * y0; s11 += x1 * y1; s12 += x1 * y2; s13 += x1 * y3;
          s20 += x2 * y0; s21 += x2 * y1; s22 += x2 * y2; s23 += x2 * y3;
          s30 += x3 * y0; s31 += x3 * y1; s32 += x3 * y2; s33 += x3 * y3;
        }
        let o = i * n + j;
        out[o] = s00; out[o + 1] = s01; out[o + 2] = s02; out[o + 3] = s03; o += n;
        out[o] = s10; out[o + 1] = s11; out[o + 2] = s12; out[o + 3] = s13; o += n;
        out[o] = s20; out[o + 1] = s21; out[o + 2] = s22; out[o + 3] = s23; o += n;
        out[o] = s30; out[o + 1] = s31; out[o + 2] = s32; out[o + 3] = s33;
      }
    }
  }

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const each = (x, f) => { const out = new Float32Array(x.length); for (let i = 0; i < x.length; i++) out[i] = f(x[i]); return out; };

  function linear(layer, x) {
    const {weight, bias} = layer, k = x.length, out = new Float32Array(bias.length);
    for (let i = 0, at = 0; i < out.length; i++, at += k) {
      let even = 0, odd = 0, p = 0;
      for (; p + 1 < k; p += 2) { even += weight[at + p] * x[p]; odd += weight[at + p + 1] * x[p + 1]; }
      out[i] = bias[i] + even + odd + (p < k ? weight[at + p] * x[p] : 0);
    }
    return out;
  }

  const kinds = {
    linear,
    residual(layer, x) {
      const out = linear(layer, each(x, (v) => v * sigmoid(v)));
      for (let i = 0; i < out.length; i++) out[i] += x[i];
      return out;
    },
    silu: (layer, x) => each(x, (v) => v * sigmoid(v)),
    relu: (layer, x) => each(x, (v) => (v > 0 ? v : 0)),
    tanh: (layer, x) => each(x, Math.tanh),
    "leaky-relu": (layer, x) => each(x, (v) => (v > 0 ? v : layer.slope * v)),
    sigmoid: (layer, x) => each(x, sigmoid),
    // The mean of a continuous Bernoulli; see aekit's likelihoods.
    "continuous-bernoulli": (layer, x) => each(x, (t) => {
      const mean = Math.abs(t) < 0.1 ? 0.5 + t / 12 - t ** 3 / 720 : -1 / Math.expm1(-t) - 1 / t;
      return Math.min(1, Math.max(0, mean));
    }),
    transpose(layer, x) {
      const [rows, columns] = layer.in, out = new Float32Array(x.length);
      for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = x[i * columns + j];
      return out;
    },
    "add-class"(layer, x, label) {
      const out = new Float32Array(x.length), start = label * x.length;
      for (let i = 0; i < x.length; i++) out[i] = x[i] + layer.weight[start + i];
      return out;
    },
    "append-class"(layer, x, label) {
      const out = new Float32Array(x.length + layer.classes);
      out.set(x);
      out[x.length + label] = 1;
      return out;
    },
    halve(layer, x) {
      const [channels, height, width] = layer.out, [, , before] = layer.in, size = layer.in[1] * before;
      const out = new Float32Array(channels * height * width);
      let o = 0;
      for (let c = 0; c < channels; c++) for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) {
        const at = c * size + 2 * i * before + 2 * j;
        out[o++] = 0.25 * (x[at] + x[at + 1] + x[at + before] + x[at + before + 1]);
      }
      return out;
    },
    // Bilinear, corners of pixels aligned, as torch's interpolate does it.
    resize(layer, x) {
      const [channels, height, width] = layer.out, [, h, w] = layer.in;
      const out = new Float32Array(channels * height * width), low = new Int32Array(width), part = new Float32Array(width);
      const place = (i, n, before) => Math.max(0, ((i + 0.5) * before) / n - 0.5);
      for (let j = 0; j < width; j++) {
        const at = place(j, width, w);
        low[j] = Math.floor(at);
        part[j] = at - low[j];
      }
      let o = 0;
      for (let c = 0; c < channels; c++) for (let i = 0; i < height; i++) {
        const at = place(i, height, h), top = Math.floor(at), dy = at - top;
        const t = (c * h + top) * w, b = (c * h + Math.min(top + 1, h - 1)) * w;
        for (let j = 0; j < width; j++) {
          const left = low[j], right = Math.min(left + 1, w - 1), dx = part[j];
          out[o++] = (1 - dy) * ((1 - dx) * x[t + left] + dx * x[t + right]) + dy * ((1 - dx) * x[b + left] + dx * x[b + right]);
        }
      }
      return out;
    },
    convolution(layer, x) {
      const [channels, h, w] = layer.in, [n, height, width] = layer.out, {seen, columns, made} = layer.product;
      const [kh, kw] = layer.kernel, [sy, sx] = layer.stride, [py, px] = layer.padding, pixels = height * width;
      // What the pixels of the output see, one row for each weight of a kernel.
      let row = 0;
      for (let c = 0; c < channels; c++) for (let a = 0; a < kh; a++) for (let b = 0; b < kw; b++, row += columns) {
        for (let i = 0, o = row; i < height; i++) {
          const y = i * sy - py + a, from = (c * h + y) * w, inside = y >= 0 && y < h;
          for (let j = 0, z = b - px; j < width; j++, z += sx) seen[o++] = inside && z >= 0 && z < w ? x[from + z] : 0;
        }
      }
      layer.product.compute();
      const out = new Float32Array(n * pixels);
      for (let c = 0, o = 0; c < n; c++) for (let p = 0, at = c * columns; p < pixels; p++) out[o++] = made[at++] + layer.bias[c];
      return out;
    },
    "transposed-convolution"(layer, x) {
      const [channels, h, w] = layer.in, [n, height, width] = layer.out, {seen, columns, made} = layer.product;
      const [kh, kw] = layer.kernel, [sy, sx] = layer.stride, [py, px] = layer.padding, pixels = h * w;
      for (let c = 0; c < channels; c++) seen.set(x.subarray(c * pixels, (c + 1) * pixels), c * columns);
      // What each pixel of the input adds to those of the output that its kernel reaches.
      layer.product.compute();
      const out = new Float32Array(n * height * width);
      for (let c = 0; c < n; c++) {
        out.fill(layer.bias[c], c * height * width, (c + 1) * height * width);
        for (let a = 0; a < kh; a++) for (let b = 0; b < kw; b++) {
          const from = ((c * kh + a) * kw + b) * columns;
          for (let i = 0; i < h; i++) {
            const y = i * sy - py + a;
            if (y < 0 || y >= height) continue;
            const to = (c * height + y) * width, at = from + i * w;
            for (let j = 0, z = b - px; j < w; j++, z += sx) if (z >= 0 && z < width) out[to + z] += made[at + j];
          }
        }
      }
      return out;
    },
  };

  // Floats of 16 bits, by a table of all of them.
  function widen(halves) {
    const table = new Float32Array(65536);
    for (let i = 0; i < 65536; i++) {
      const exponent = (i >> 10) & 31, fraction = i & 1023, sign = i & 0x8000 ? -1 : 1;
      table[i] = sign * (exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity)
        : (1 + fraction / 1024) * 2 ** (exponent - 15));
    }
    return Float32Array.from(halves, (half) => table[half]);
  }

  // Gives the layers of a model their weights, of which `buffer` holds all, and its convolutions what they multiply in:
  // memory of the compiled products where the browser has them (`compiled`, a WebAssembly.Module), else of its own.
  function load(model, buffer, compiled) {
    const weights = model.precision === "float16" ? widen(new Uint16Array(buffer)) : new Float32Array(buffer);
    const own = (place) => place && weights.subarray(place[0], place[0] + place[1]), convolutions = [];
    for (const part of ["encoder", "mean", "logvar", "decoder"])
      model[part] = model[part].map((layer) => {
        const full = {...layer, weight: own(layer.weight), bias: own(layer.bias)};
        if (layer.kind.endsWith("convolution")) convolutions.push(full);
        return full;
      });
    const up = (n, to) => Math.ceil(n / to) * to;
    const sizes = convolutions.map((layer) => {
      const [, height, width] = layer.kind === "convolution" ? layer.out : layer.in;
      const k = layer.in[0] * (layer.kind === "convolution" ? layer.kernel[0] * layer.kernel[1] : 1);
      return {m: up(layer.weight.length / k, 4), n: up(height * width, 8), k};
    });
    const most = (f) => up(Math.max(0, ...sizes.map(f)), 4);
    const seenSize = most(({n, k}) => n * k), madeSize = most(({m, n}) => m * n);
    const total = 4 * (seenSize + madeSize + sizes.reduce((sum, {m, k}) => sum + up(m * k, 4), 0));
    const memory = compiled && new WebAssembly.Memory({initial: Math.ceil(total / 65536) + 1});
    const fast = compiled && new WebAssembly.Instance(compiled, {page: {memory}}).exports.products;
    const room = compiled ? memory.buffer : new ArrayBuffer(total);
    let at = 4 * (seenSize + madeSize);
    convolutions.forEach((layer, i) => {
      const {m, n, k} = sizes[i], a = new Float32Array(room, at, m * k);
      at += 4 * up(m * k, 4);
      a.set(layer.weight);
      const seen = new Float32Array(room, 0, n * k), made = new Float32Array(room, 4 * seenSize, m * n);
      const compute = fast ? () => fast(a.byteOffset, m, seen.byteOffset, n, k, made.byteOffset)
        : () => products(a, m, seen, n, k, made);
      layer.product = {seen, columns: n, made, compute};
    });
    return model;
  }

  // The compiled products, or null in a browser that cannot compute four numbers at a time.
  function compile(bytes) {
    try { return new WebAssembly.Module(bytes); } catch { return null; }
  }

  const run = (layers, x, label) => layers.reduce((value, layer) => kinds[layer.kind](layer, value, label), x);
  const decode = (model, code, label) => run(model.decoder, code, label);
  function encode(model, image, label) {
    const features = run(model.encoder, image, label);
    return {mean: run(model.mean, features), logvar: model.logvar.length ? run(model.logvar, features) : null};
  }
  return {compile, load, encode, decode};
})();
