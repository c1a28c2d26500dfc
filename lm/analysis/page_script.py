"""The script of the page of the analysis: it draws each kind of view with elements, SVG and canvas.

It is our own because a text whose tokens point at each other is no chart, and Vega's bundle would be 1 MB of the page.
All text enters the page as text, never as HTML. A widget has one stop of the Tab key; arrow keys move within it.
"""

SCRIPT = r"""
"use strict";
const root = document.documentElement;
addEventListener("error", event => { root.dataset.error = event.message; });
const topics = JSON.parse(document.getElementById("topics").textContent);

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "circle", "g"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const visible = text => text === "" ? "∅" : text.replace(/\n/g, "↵\n").replace(/\t/g, "⇥");
const inLine = text => text === "" ? "∅" : text.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/^ /, "·");
function number(value) {
  if (value === null) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size < 1e-4 || size >= 1e6 ? value.toPrecision(3) : value.toLocaleString("en", {maximumSignificantDigits: 4});
}
// The error with two digits, and the value with as many decimals.
function withError(value, error) {
  if (!error || value === null) return number(value);
  const decimals = Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(error))));
  const shown = x => x.toLocaleString("en", {minimumFractionDigits: decimals, maximumFractionDigits: decimals});
  return `${shown(value)} ± ${shown(error)}`;
}

const tip = make("div", {id: "tip", role: "status"});
tip.hidden = true;
document.body.append(tip);
function say(text, box) {
  tip.textContent = text;
  tip.hidden = false;
  const left = Math.min(Math.max(4, box.left), innerWidth - tip.offsetWidth - 4);
  const below = box.bottom + 6, fits = below + tip.offsetHeight < innerHeight;
  tip.style.left = left + "px";
  tip.style.top = (fits ? below : Math.max(4, box.top - tip.offsetHeight - 6)) + "px";
}
const silent = () => { tip.hidden = true; };
addEventListener("scroll", silent, true);
addEventListener("keydown", event => { if (event.key == "Escape") silent(); });

// Elements that tell something: on hover, on a tap, and with the arrow keys, `columns` of them in a row.
function tells(holder, elements, chosen, columns = 1) {
  const at = element => elements.indexOf(element.closest("[data-tells]"));
  elements.forEach((element, i) => { element.dataset.tells = ""; element.tabIndex = i ? -1 : 0; });
  for (const type of ["pointerover", "focusin", "click"]) holder.addEventListener(type, ({target}) => {
    const i = at(target);
    if (i >= 0) chosen(i, elements[i].getBoundingClientRect());
  });
  for (const type of ["pointerleave", "focusout"]) holder.addEventListener(type, silent);
  holder.addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns}[event.key];
    const i = at(event.target), next = elements[i + step];
    if (i < 0 || !step) return;
    event.preventDefault();
    if (!next) return;
    elements[i].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// How strong the colour of a value is: 0 is the background. Below zero it is another colour, if there is such a value.
function shades(values) {
  const known = values.filter(value => value !== null);
  const low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b),
    -Infinity);
  const size = Math.max(Math.abs(low), Math.abs(high)) || 1;
  return value => {
    if (value === null) return "transparent";
    const strength = low < 0 ? Math.abs(value) / size : high > low ? (value - low) / (high - low) : 0.5;
    return `rgba(var(--${value < 0 ? "below" : "above"}), ${(0.04 + 0.56 * strength).toFixed(3)})`;
  };
}

const draw = {
  table({columns, rows}) {
    if (!rows.length) return [make("p", {}, "None.")];
    const numeric = columns.map((_, i) => rows.every(row => row[i] === null || typeof row[i] == "number"));
    const cell = (value, i) => make("td", numeric[i] ? {class: "number"} : {},
      value === null ? "–" : typeof value == "number" ? number(value) : visible(value));
    const head = columns.map((name, i) => make("th", {scope: "col", ...(numeric[i] ? {class: "number"} : {})}, name));
    return [make("div", {class: "scroll", tabindex: 0}, make("table", {}, make("thead", {}, make("tr", {}, ...head)),
      make("tbody", {}, ...rows.map(row => make("tr", {}, ...row.map(cell))))))];
  },

  bars({labels, values, errors, value_label}) {
    const known = values.filter(value => value !== null);
    const low = Math.min(0, ...known), high = Math.max(0, ...known), span = high - low || 1;
    const holder = make("div", {class: "bars", role: "list", "aria-label": value_label});
    labels.forEach((label, i) => {
      const value = values[i], error = errors[i], bar = make("div", {role: "listitem"});
      const share = x => Math.min(1, Math.max(0, (x - low) / span)) * 100;
      if (value !== null) {
        const [start, end] = [share(Math.min(0, value)), share(Math.max(0, value))];
        bar.append(make("i", {style: `left:${start}%;width:${end - start}%`, class: value < 0 ? "less" : ""}));
        if (error) bar.append(make("u", {
          style: `left:${share(value - error)}%;width:${share(value + error) - share(value - error)}%` }));
      }
      const said = withError(value, error);
      bar.setAttribute("aria-label", `${label}: ${said}`);
      holder.append(make("span", {}, inLine(label)), bar, make("span", {class: "number"}, said));
    });
    return [make("p", {class: "note"}, value_label), holder];
  },

  tokens({tokens, value_label, alternative_label}) {
    const shade = shades(tokens.map(token => token.value));
    const spans = tokens.map(({text, value}) =>
      make("span", {style: `background:${shade(value)}`}, visible(text)));
    const holder = make("div", {class: "tokens", role: "group", "aria-label": value_label}, ...spans);
    tells(holder, spans, (i, box) => {
      const {text, value, alternatives} = tokens[i];
      const lines = [inLine(text)];
      if (value !== null) lines.push(`${value_label}: ${number(value)}`);
      if (alternatives.length) lines.push(`${alternative_label}:`);
      for (const [other, size] of alternatives) lines.push(`   ${inLine(other)}  ${number(size)}`);
      say(lines.join("\n"), box);
    });
    return [holder];
  },

  grid({rows, columns, values, texts, row_label, column_label, value_label}) {
    const shade = shades(values.flat());
    const few = columns.length <= 10;
    const cells = values.map((row, r) => row.map((value, c) => make("td", {style: `background:${shade(value)}`},
      texts.length ? inLine(texts[r][c]) : few ? value === null ? "–" : String(+value.toPrecision(2)) : "")));
    const table = make("table", {class: "grid"},
      make("thead", {}, make("tr", {}, make("th", {}, `${row_label} \\ ${column_label}`),
        ...columns.map(name => make("th", {scope: "col"}, inLine(name))))),
      make("tbody", {}, ...rows.map((name, r) => make("tr", {}, make("th", {scope: "row"}, inLine(name)),
        ...cells[r]))));
    tells(table, cells.flat(), (i, box) => {
      const r = Math.floor(i / columns.length), c = i % columns.length;
      const shown = texts.length ? inLine(texts[r][c]) + "\n" : "";
      say(`${shown}${row_label} ${inLine(rows[r])}, ${column_label} ${inLine(columns[c])}\n` +
        `${value_label}: ${number(values[r][c])}`, box);
    }, columns.length);
    return [make("div", {class: "scroll"}, table)];
  },

  attention({tokens, weights, labels}) {
    if (!tokens.length || !weights.length) return [make("p", {class: "note"}, "There is no attention to show.")];
    const state = {layer: 0, head: 0, query: tokens.length - 1};
    const n_heads = Math.max(...weights.map(layer => layer.length));
    const heads = make("div", {class: "heads", role: "group", "aria-label": "heads",
      style: `grid-template-columns: max-content repeat(${n_heads}, max-content)`});
    const name = (l, h) => `head ${l}.${h}` + (labels[l]?.[h] ? `: ${labels[l][h]}` : "");
    const buttons = [];
    weights.forEach((layer, l) => {
      heads.append(make("span", {}, `layer ${l}`));
      layer.forEach((head, h) => {
        const map = make("canvas", {width: tokens.length, height: tokens.length});
        const button = make("button", {type: "button", title: name(l, h), "aria-label": name(l, h)}, map);
        button.style.gridColumn = h + 2;
        button.onclick = () => { Object.assign(state, {layer: l, head: h}); show(); };
        buttons.push([button, map, l, h]);
        heads.append(button);
      });
    });
    const said = make("p", {class: "note", "aria-live": "polite"});
    const spans = tokens.map(text => make("span", {}, visible(text)));
    const text = make("div", {class: "tokens", role: "group", "aria-label": "tokens of the text"}, ...spans);
    function show() {
      const row = weights[state.layer][state.head][state.query];
      spans.forEach((span, key) => {
        span.style.background = key < row.length ?
          `rgba(var(--above), ${(0.75 * row[key]).toFixed(3)})` : "transparent";
        span.classList.toggle("chosen", key == state.query);
      });
      for (const [button,, l, h] of buttons) button.ariaPressed = l == state.layer && h == state.head;
      const best = row.map((weight, key) => [weight, key]).sort((a, b) => b[0] - a[0]).slice(0,
        3).filter(([weight]) => weight > 0);
      const from = `From token ${state.query + 1}, ${inLine(tokens[state.query])}, it looks at `;
      const found = best.map(([weight, key]) => `${inLine(tokens[key])} (${(100 * weight).toFixed(0)}%)`);
      said.textContent = `${name(state.layer, state.head)}. ${from}${found.join(", ")}.`;
    }
    tells(text, spans, (query, box) => {
      state.query = query;
      show();
      const row = weights[state.layer][state.head][query];
      const best = row.map((weight, key) => [weight, key]).sort((a, b) => b[0] - a[0]).slice(0,
        5).filter(([weight]) => weight > 0);
      say([`${inLine(tokens[query])} looks at`, ...best.map(([weight, key]) =>
        `   ${inLine(tokens[key])}  ${(100 * weight).toFixed(0)}%`)].join("\n"), box);
    });
    function paint() {
      const colour = getComputedStyle(root).getPropertyValue("--above").split(",").map(Number);
      for (const [, map, l, h] of buttons) {
        const context = map.getContext("2d"), image = context.createImageData(tokens.length, tokens.length);
        weights[l][h].forEach((row, query) => row.forEach((weight, key) =>
          image.data.set([...colour, 255 * Math.sqrt(weight)], 4 * (query * tokens.length + key))));
        context.putImageData(image, 0, 0);
      }
    }
    paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
    show();
    // The sentence stands below the text, because its length changes, and the text must not move under the pointer.
    return [make("div", {class: "scroll"}, heads), text, said];
  },

  curves(view) {
    const holder = make("div");
    let width = 0;
    new ResizeObserver(() => requestAnimationFrame(() => {  // later, because drawing changes the height
      if (holder.clientWidth == width) return;
      width = holder.clientWidth;
      holder.replaceChildren(...lines(view, width));
    })).observe(holder);
    return [holder];
  },
};

const dashes = ["", "7 3", "2 3", "9 3 2 3"];

function ticks(low, high, log, n) {
  if (log) {
    const found = [], decades = high - low;
    const steps = decades > 6 ? [1] : decades > 2 ? [1, 3] : decades > 0.6 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4,
      5, 6, 7, 8, 9];
    const skip = Math.max(1, Math.ceil(decades / n));
    for (let e = Math.floor(low); e <= high; e += skip) for (const step of skip > 1 ? [1] : steps) {
      const place = e + Math.log10(step);
      if (place >= low - 1e-9 && place <= high + 1e-9) found.push(place);
    }
    return found;
  }
  const rough = (high - low) / n, ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(size => size * ten >= rough) * ten;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step;
    i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}
const short = value => Math.abs(value) >= 1e4 ? Intl.NumberFormat("en",
  {notation: "compact"}).format(value) : number(Number(value.toPrecision(3)));

function lines({curves, x_label, y_label, log_x, log_y, points}, width) {
  const scale = (value, log) => log ? Math.log10(value) : value;
  const drawn = curves.map((curve, c) => curve.x.map((x, i) => ({c, x, y: curve.y[i], px: scale(x, log_x),
    py: scale(curve.y[i], log_y)}))
    .map(point => point.y !== null && Number.isFinite(point.px) && Number.isFinite(point.py) ? point : null));
  const all = drawn.flat().filter(point => point);
  if (!all.length) return [make("p", {class: "note"}, "There is nothing to draw.")];
  const range = name => {
    const low = all.reduce((a, point) => Math.min(a, point[name]), Infinity);
    const high = all.reduce((a, point) => Math.max(a, point[name]), -Infinity);
    const room = high > low ? 0 : Math.abs(high) / 2 || 1;
    return [low - room, high + room];
  };
  const [x0, x1] = range("px");
  let [y0, y1] = range("py");
  const air = (y1 - y0) * 0.06;
  y1 += air;
  y0 = !log_y && y0 >= 0 && y0 < 0.4 * y1 ? 0 : y0 - air;
  const height = Math.max(220, Math.min(340, width * 0.5)), left = 58, right = 12, top = 22, bottom = 40;
  const X = value => left + (value - x0) / (x1 - x0) * (width - left - right);
  const Y = value => height - bottom - (value - y0) / (y1 - y0) * (height - top - bottom);
  const svg = make("svg", {height, viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0,
    "aria-label": `${y_label} by ${x_label}: ${curves.map(curve => curve.name).join(", ")}`});
  for (const tick of ticks(y0, y1, log_y, 5)) svg.append(
    make("line", {class: "axis", x1: left, x2: width - right, y1: Y(tick), y2: Y(tick)}),
    make("text", {x: left - 6, y: Y(tick) + 4, "text-anchor": "end"}, short(log_y ? 10 ** tick : tick)));
  let free = -Infinity;
  for (const tick of ticks(x0, x1, log_x, width > 500 ? 7 : 4)) {
    if (X(tick) < free) continue;
    free = X(tick) + 46;
    svg.append(make("text", {x: X(tick), y: height - bottom + 16, "text-anchor": "middle"}, short(log_x ?
      10 ** tick : tick)));
  }
  const log = " (logarithmic)";
  svg.append(make("text", {x: (left + width) / 2, y: height - 4, "text-anchor": "middle"}, x_label + (log_x ?
    log : "")),
    make("text", {x: 4, y: 12}, y_label + (log_y ? log : "")));
  drawn.forEach((curve, c) => {
    const colour = `var(--c${c % 8})`;
    if (points) for (const point of curve) point && svg.append(make("circle", {cx: X(point.px), cy: Y(point.py),
      r: 3, fill: colour}));
    else svg.append(make("path", {stroke: colour, "stroke-dasharray": dashes[c % 4], d: curve.map((point, i) => point ?
      `${i && curve[i - 1] ? "L" : "M"}${X(point.px).toFixed(1)} ${Y(point.py).toFixed(1)}` : "").join("")}));
    if (!points && curve.length <= 16) for (const point of curve)
      point && svg.append(make("circle", {cx: X(point.px), cy: Y(point.py), r: 3, fill: colour}));
  });
  const mark = make("circle", {r: 6, fill: "none", stroke: "var(--ink)", "stroke-width": 2, visibility: "hidden"});
  svg.append(mark);
  let chosen = -1;
  function tell(i) {
    chosen = i;
    const point = all[i], box = svg.getBoundingClientRect();
    const x = box.left + X(point.px), y = box.top + Y(point.py);
    for (const [name, value] of [["cx", X(point.px)], ["cy", Y(point.py)], ["visibility",
      "visible"]]) mark.setAttribute(name, value);
    say(`${curves[point.c].name}\n${x_label}: ${number(point.x)}\n${y_label}: ${number(point.y)}`, {left: x, top: y,
      bottom: y});
  }
  const hide = () => { mark.setAttribute("visibility", "hidden"); silent(); };
  for (const type of ["pointermove", "click"]) svg.addEventListener(type, ({clientX, clientY}) => {
    const box = svg.getBoundingClientRect(), far = point => Math.hypot(X(point.px) + box.left - clientX,
      Y(point.py) + box.top - clientY);
    let best = 0;
    for (let i = 1; i < all.length; i++) if (far(all[i]) < far(all[best])) best = i;
    tell(best);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    tell(Math.min(all.length - 1, Math.max(0, chosen + step)));
  });
  const legend = make("ul", {class: "legend"}, ...curves.map((curve, c) => make("li", {}, swatch(c, points), " " +
    curve.name)));
  return curves.length > 1 ? [legend, svg] : [svg];
}
function swatch(c, points) {
  const svg = make("svg", {viewBox: "0 0 28 10", style: "display:inline-block;width:28px;height:10px"});
  svg.append(points ? make("circle", {cx: 14, cy: 5, r: 4, fill: `var(--c${c % 8})`}) :
    make("line", {x1: 0, x2: 28, y1: 5, y2: 5, stroke: `var(--c${c % 8})`, "stroke-width": 3,
      "stroke-dasharray": dashes[c % 4]}));
  return svg;
}

for (const topic of topics) {
  const section = document.getElementById(topic.name);
  for (const note of topic.notes) section.append(make("p", {class: "note"}, note));
  for (const view of topic.views) {
    const figure = make("figure", {"data-kind": view.kind},
      make("figcaption", {}, make("h3", {}, view.title), make("p", {}, view.shows)));
    section.append(figure);
    figure.append(...draw[view.kind](view));
  }
}
root.dataset.ready = "yes";
"""
