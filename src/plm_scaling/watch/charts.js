// Charts as SVG elements. Text only ever becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function make(space, tag, attributes, ...children) {
  const element = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {}))
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}
const html = (tag, attributes, ...children) => make(null, tag, attributes, ...children);
const svg = (tag, attributes, ...children) => make(SVG, tag, attributes, ...children);

// 2833956224 → "2.83B", as the command line says it.
function short(value) {
  if (value === null || value === undefined) return "–";
  for (const [suffix, factor] of [["T", 1e12], ["B", 1e9], ["M", 1e6], ["k", 1e3]])
    if (Number(value.toPrecision(3)) >= factor) return Number((value / factor).toPrecision(3)) + suffix;
  return String(Number(value.toPrecision(3)));
}
const power = value => value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");

function ticks(low, high, log) {
  if (!log) {
    const raw = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * [1, 2, 5, 10].find(k => unit * k >= raw);
    const found = [];
    for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-12); at++) found.push(Number((at * step).toPrecision(12)));
    return found;
  }
  const decades = Math.log10(high / low), factors = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const factor of factors) {
      const at = Number((factor * 10 ** e).toPrecision(3));
      if (at >= low && at <= high) found.push(at);
    }
  return found;
}

// Of values: their range with room at both ends, in the scale.
function range(values, log) {
  let low = Math.min(...values), high = Math.max(...values);
  if (log) {
    const room = low === high ? 1.5 : (high / low) ** 0.06;
    return [low / room, high * room];
  }
  const room = low === high ? 0.1 : (high - low) * 0.06;
  return [low - room, high + room];
}

// `series`: {points: [[x, y]], colour, dash, thin, dots, label} and {band: [[x, low, high]], colour};
// `marks`: {x, y, low, high, colour, shape, title}. x is on a logarithmic scale.
function chart(width, { label, xLabel, yLabel, series, marks = [] }) {
  const height = Math.round(Math.max(240, Math.min(0.6 * width, 420)));
  const room = { left: 52, right: series.some(one => one.label) ? 58 : 14, top: 26, bottom: 44 };
  const points = series.flatMap(one => one.points || one.band.flatMap(([x, low, high]) => [[x, low], [x, high]]));
  for (const mark of marks) for (const y of [mark.y, mark.low, mark.high]) if (y !== undefined) points.push([mark.x, y]);
  const xs = range(points.map(point => point[0]), true), ys = range(points.map(point => point[1]), false);
  const x = value => room.left + (width - room.left - room.right) * Math.log(value / xs[0]) / Math.log(xs[1] / xs[0]);
  const y = value => room.top + (height - room.top - room.bottom) * (ys[1] - value) / (ys[1] - ys[0]);
  const at = ([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`;
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const inner = { bottom: height - room.bottom, right: width - room.right };
  for (const value of ticks(...ys, false)) drawn.append(
    svg("path", { class: "grid", d: `M${room.left},${y(value)}H${inner.right}` }),
    svg("text", { x: room.left - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)));
  let last = -Infinity;
  for (const value of ticks(...xs, true)) {
    drawn.append(svg("path", { class: "grid", d: `M${x(value)},${room.top}V${inner.bottom}` }));
    if (x(value) - last < 42) continue;
    last = x(value);
    drawn.append(svg("text", { x: last, y: inner.bottom + 16, "text-anchor": "middle" }, short(value)));
  }
  drawn.append(
    svg("path", { class: "axis", d: `M${room.left},${room.top}V${inner.bottom}H${inner.right}` }),
    svg("text", { x: 4, y: 14 }, yLabel),
    svg("text", { x: (room.left + inner.right) / 2, y: height - 8, "text-anchor": "middle" }, xLabel));
  for (const one of series) {
    if (one.band) {
      const low = one.band.map(([a, b]) => at([a, b])), high = one.band.map(([a, , b]) => at([a, b])).reverse();
      drawn.append(svg("polygon", { class: "band", points: [...low, ...high].join(" "), style: `fill: ${one.colour}` }));
      continue;
    }
    if (one.points.length > 1 && !one.bare) drawn.append(svg("polyline", {
      class: one.thin ? "line thin" : "line", points: one.points.map(at).join(" "),
      "stroke-dasharray": one.dash, style: `stroke: ${one.colour}` }));
    if (one.dots) for (const point of one.points) drawn.append(svg("circle", {
      cx: x(point[0]), cy: y(point[1]), r: one.dots, style: `fill: ${one.colour}` }, svg("title", {}, point[2] || "")));
    if (one.label) {
      const end = one.points[one.points.length - 1];
      drawn.append(svg("text", { x: x(end[0]) + 7, y: y(end[1]) + 4, style: `fill: ${one.colour}` }, one.label));
    }
  }
  for (const mark of marks) {
    const [a, b] = [x(mark.x), y(mark.y)];
    if (mark.low !== undefined) drawn.append(svg("path", {
      d: `M${a - 4},${y(mark.low)}h8M${a},${y(mark.low)}V${y(mark.high)}M${a - 4},${y(mark.high)}h8`, class: "line", style: `stroke: ${mark.colour}` }));
    drawn.append(svg("path", { d: `M${a},${b - 6}l6,6l-6,6l-6,-6z`,
      style: `stroke: ${mark.colour}; stroke-width: 2; fill: ${mark.hollow ? "var(--page)" : mark.colour}` }, svg("title", {}, mark.title)));
  }
  return drawn;
}
