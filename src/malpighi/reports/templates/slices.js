// Slice browser: a canvas, a slider, keys. Masks come as grey values (codes) and are coloured here.
for (const view of document.querySelectorAll('[data-view="slices"]')) {
  const data = JSON.parse(view.querySelector("script").textContent);
  const both = "2" in data.names, masked = Object.keys(data.names).length > 0;
  const modes = both ? ["difference", "truth", "prediction", "off"] : masked ? ["on", "off"] : [];
  const state = { plane: 0, at: data.planes.map(p => p.first), mode: 0, opacity: 0.6 };
  const make = (tag, values = {}, ...inner) => {
    const element = Object.assign(document.createElement(tag), values);
    element.append(...inner);
    return element;
  };
  const canvas = make("canvas", { tabIndex: 0, role: "img" });
  const slider = make("input", { type: "range", min: 0, step: 1 });
  slider.setAttribute("aria-label", "slice");
  const opacity = make("input", { type: "range", min: 0, max: 1, step: 0.05, value: state.opacity });
  const place = make("output");
  const choice = (labels, chosen) => {
    const buttons = labels.map((text, i) => make("button", { type: "button", textContent: text, onclick: () => chosen(i) }));
    return [make("span", { className: "choice" }, ...buttons), i => buttons.forEach((b, k) => b.setAttribute("aria-pressed", k === i))];
  };
  const [axes, markAxis] = choice(data.planes.map(p => p.axis), i => { state.plane = i; show(); });
  const [masks, markMode] = choice(modes, i => { state.mode = i; show(); });
  const bar = make("div", { className: "bar" }, make("label", {}, "across ", axes), slider, place);
  const second = make("div", { className: "bar" });
  if (masked) second.append(make("label", {}, "mask ", masks), make("label", {}, "opacity ", opacity));
  const legend = make("div", { className: "key" });
  for (const [code, name] of Object.entries(data.names)) {
    const swatch = make("i", { className: "swatch" });
    swatch.style.background = `rgb(${data.colors[code]})`;
    legend.append(make("span", {}, swatch, name));
  }
  view.append(make("div", { className: "stage" }, canvas), bar, second, legend);

  const pictures = new Map();
  const load = source => {
    if (!source) return null;
    if (!pictures.has(source)) {
      const image = new Image();
      image.src = source;
      pictures.set(source, image.decode().then(() => image));
    }
    return pictures.get(source);
  };
  const colored = image => {  // codes → colours, as the mode asks
    const layer = make("canvas", { width: image.width, height: image.height });
    const pen = layer.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, layer.width, layer.height), mode = modes[state.mode];
    for (let i = 0; i < pixels.data.length; i += 4) {
      let code = pixels.data[i];
      if (mode === "truth") code = code === 3 ? 0 : code === 2 ? 1 : code;
      if (mode === "prediction") code = code === 2 || code === 4 ? 0 : code === 3 ? 1 : code;
      const color = data.colors[code];
      if (color) pixels.data.set([...color, code === 4 ? 110 : 255], i);
      else pixels.data[i + 3] = 0;
    }
    pen.putImageData(pixels, 0, 0);
    return layer;
  };
  let turn = 0;
  async function show() {
    const plane = data.planes[state.plane], at = state.at[state.plane], mine = ++turn;
    slider.max = plane.images.length - 1;
    slider.value = at;
    markAxis(state.plane);
    markMode(state.mode);
    place.textContent = `${plane.axis} ${+plane.at[at].toPrecision(4)} ${data.unit}, ${at + 1} of ${plane.images.length}`;
    canvas.setAttribute("aria-label", `${data.title} ${place.textContent}`);
    const image = await load("data:image/webp;base64," + plane.images[at]);
    const mask = masked && modes[state.mode] !== "off" && plane.masks[at] ? await load("data:image/png;base64," + plane.masks[at]) : null;
    if (mine !== turn) return;  // a later slice was asked for meanwhile
    const grow = Math.max(1, Math.min(4, Math.ceil(900 / Math.max(image.width, image.height))));
    canvas.width = image.width * grow;
    canvas.height = Math.max(1, Math.round(canvas.width * plane.height / plane.width));  // true proportions, thick slices too
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    if (mask) {
      pen.globalAlpha = state.opacity;
      pen.imageSmoothingEnabled = false;
      pen.drawImage(colored(mask), 0, 0, canvas.width, canvas.height);
    }
  }
  const move = step => {
    const last = data.planes[state.plane].images.length - 1;
    state.at[state.plane] = Math.max(0, Math.min(last, state.at[state.plane] + step));
    show();
  };
  slider.oninput = () => { state.at[state.plane] = +slider.value; show(); };
  opacity.oninput = () => { state.opacity = +opacity.value; show(); };
  canvas.onwheel = event => { if (document.activeElement === canvas) { event.preventDefault(); move(Math.sign(event.deltaY)); } };
  canvas.onclick = () => canvas.focus();
  view.onkeydown = event => {
    const axis = data.planes.findIndex(p => p.axis === event.key);
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1e6, End: 1e6 };
    if (event.target === opacity || event.ctrlKey || event.metaKey || event.altKey) return;
    if (axis >= 0) { state.plane = axis; show(); }
    else if (event.key === "m" && masked) { state.mode = (state.mode + 1) % modes.length; show(); }
    else if (event.key in steps) { event.preventDefault(); move(steps[event.key]); }
  };
  show();
}
