// Small charts as inline SVG. values: numbers, null where there is none; labels: text under the axis.
const SVG = "http://www.w3.org/2000/svg";
const W = 560, H = 170, LEFT = 54, RIGHT = 8, TOP = 10, BOTTOM = 24;

function part(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

// A round number at or above the largest value.
function ceiling(values) {
  const most = Math.max(...values.filter((value) => value !== null), 0);
  if (!most) return 1;
  const unit = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 2.5, 5, 10].map((step) => step * unit).find((step) => step >= most);
}

function frame(summary, top, labels, format) {
  const chart = part("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": summary });
  for (const share of [0, 0.5, 1]) {
    const y = TOP + (H - TOP - BOTTOM) * (1 - share);
    chart.append(part("line", { x1: LEFT, x2: W - RIGHT, y1: y, y2: y, class: "rule" }),
      part("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, format(top * share)));
  }
  const every = Math.ceil(labels.length / 6) || 1;
  const width = (W - LEFT - RIGHT) / (labels.length || 1);
  labels.forEach((label, i) => {
    if (i % every === 0) chart.append(part("text", { x: LEFT + (i + 0.5) * width, y: H - 7, "text-anchor": "middle" }, label));
  });
  return chart;
}

export function bars(summary, series, labels, format = String) {
  const top = ceiling(series.flat());
  const chart = frame(summary, top, labels, format);
  const step = (W - LEFT - RIGHT) / labels.length;
  const width = (step * 0.72) / series.length;
  series.forEach((values, s) => values.forEach((value, i) => {
    const height = (H - TOP - BOTTOM) * (value || 0) / top;
    const bar = part("rect", { x: LEFT + i * step + step * 0.14 + s * width, y: H - BOTTOM - height, width: Math.max(width - 1, 1), height,
      rx: Math.min(2, height / 2), class: "ab"[s] });
    bar.append(part("title", {}, `${labels[i]}: ${format(value || 0)}`));
    chart.append(bar);
  }));
  return chart;
}

export function lines(summary, series, labels, format = String) {
  const top = ceiling(series.flat());
  const chart = frame(summary, top, labels, format);
  const step = (W - LEFT - RIGHT) / labels.length;
  const x = (i) => LEFT + (i + 0.5) * step;
  const y = (value) => TOP + (H - TOP - BOTTOM) * (1 - value / top);
  series.forEach((values, s) => {
    let path = "";
    values.forEach((value, i) => {
      if (value === null) return;
      path += `${i && values[i - 1] !== null ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
      const dot = part("circle", { cx: x(i), cy: y(value), r: labels.length > 40 ? 1.5 : 3, class: "ab"[s] });
      dot.append(part("title", {}, `${labels[i]}: ${format(value)}`));
      chart.append(dot);
    });
    chart.append(part("path", { d: path || "M0 0", class: `line ${"ab"[s]}` }));
  });
  return chart;
}
