// The map: points on a canvas, with a view that can be enlarged. It knows positions and colours, and nothing of models.
class CodeMap {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.colours = colours;  // one for each point
    this.view = {x: 0, y: 0, scale: 1};
    this.points = new Float32Array(0);
    this.chosen = new Set();
    this.mark = null;
    this.line = null;  // two places
    this.loop = null;  // places of a lasso, in pixels of the canvas
    this.ring = -1;  // the point under the pointer
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // Shows other positions, (N, 2), all of them.
  place(points) {
    this.points = points;
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (let i = 0; i < points.length; i++) {
      low[i % 2] = Math.min(low[i % 2], points[i]);
      high[i % 2] = Math.max(high[i % 2], points[i]);
    }
    this.middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
    this.reach = Math.max((high[0] - low[0]) / 2, (high[1] - low[1]) / 2, 1e-9) * 1.07;
    this.view = {x: 0, y: 0, scale: 1};
    this.draw();
  }

  get size() {
    const width = this.canvas.clientWidth || 300;
    return [width, Math.round(Math.min(width, Math.max(300, innerHeight - 190)))];
  }

  get unit() {
    const [width, height] = this.size;
    return (Math.min(width, height) / 2 / this.reach) * this.view.scale;
  }

  toScreen(x, y) {
    const [width, height] = this.size, unit = this.unit;
    return [width / 2 + (x - this.middle[0] - this.view.x) * unit, height / 2 - (y - this.middle[1] - this.view.y) * unit];
  }

  toMap(left, top) {
    const [width, height] = this.size, unit = this.unit;
    return [(left - width / 2) / unit + this.middle[0] + this.view.x, (height / 2 - top) / unit + this.middle[1] + this.view.y];
  }

  zoom(factor, about) {
    const before = this.toMap(...about), scale = Math.min(200, Math.max(1, this.view.scale * factor));
    this.view.scale = scale;
    const after = this.toMap(...about);
    if (scale === 1) this.view = {x: 0, y: 0, scale};
    else { this.view.x += before[0] - after[0]; this.view.y += before[1] - after[1]; }
    this.draw();
  }

  // The point within `reach` pixels of a place on the canvas, or -1.
  at(left, top, reach) {
    let best = reach * reach, found = -1;
    for (let i = 0; 2 * i < this.points.length; i++) {
      const [x, y] = this.toScreen(this.points[2 * i], this.points[2 * i + 1]), square = (x - left) ** 2 + (y - top) ** 2;
      if (square < best) { best = square; found = i; }
    }
    return found;
  }

  // The points inside a closed line on the canvas.
  inside(loop) {
    const found = [];
    for (let i = 0; 2 * i < this.points.length; i++) {
      const [x, y] = this.toScreen(this.points[2 * i], this.points[2 * i + 1]);
      let odd = false;
      for (let a = 0, b = loop.length - 1; a < loop.length; b = a++) {
        const [xa, ya] = loop[a], [xb, yb] = loop[b];
        if ((ya > y) !== (yb > y) && x < ((xb - xa) * (y - ya)) / (yb - ya) + xa) odd = !odd;
      }
      if (odd) found.push(i);
    }
    return found;
  }

  draw() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => { this.waits = false; this.paint(); });
  }

  paint() {
    if (!this.points.length) return;
    const [width, height] = this.size, dense = devicePixelRatio || 1, {canvas} = this;
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
      canvas.style.aspectRatio = `${width} / ${height}`;
    }
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;  // where some colours of classes are hard to see
    const ink = style.getPropertyValue("--ink"), accent = style.getPropertyValue("--accent"), paper = style.getPropertyValue("--paper");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    const n = this.points.length / 2, size = Math.max(1.6, Math.min(5, 120 / Math.sqrt(n))) * Math.min(2, Math.sqrt(this.view.scale));
    const dot = (i, radius) => { const [x, y] = this.toScreen(this.points[2 * i], this.points[2 * i + 1]); pen.beginPath(); pen.arc(x, y, radius, 0, 7); };
    for (let i = 0; i < n; i++) {
      pen.globalAlpha = this.chosen.size && !this.chosen.has(i) ? 0.25 : 0.85;
      pen.fillStyle = this.colours[i];
      dot(i, size);
      pen.fill();
      if (dark) { pen.strokeStyle = "#fff8"; pen.lineWidth = 0.7; pen.stroke(); }
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = ink;
    pen.lineWidth = 1.5;
    if (this.ring >= 0) { dot(this.ring, size + 3); pen.stroke(); }
    if (this.line) {
      pen.beginPath();
      pen.moveTo(...this.toScreen(...this.line[0]));
      pen.lineTo(...this.toScreen(...this.line[1]));
      pen.stroke();
    }
    if (this.loop && this.loop.length > 1) {
      pen.setLineDash([4, 3]);
      pen.beginPath();
      this.loop.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.stroke();
      pen.setLineDash([]);
    }
    if (this.mark) {
      const [x, y] = this.toScreen(...this.mark);
      for (const [colour, wide] of [[paper, 6], [accent, 3]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = wide;
        pen.beginPath();
        pen.arc(x, y, 9, 0, 7);
        pen.stroke();
      }
    }
  }
}
