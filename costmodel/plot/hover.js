function hover(id, data) {
  const figure = document.getElementById(id), svg = figure.querySelector("svg");
  const box = figure.querySelector(".reading");
  const [left, top, right, bottom] = figure.dataset.frame.split(",").map(Number);
  const make = (kind, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    made.setAttribute("visibility", "hidden");
    return svg.appendChild(made);
  };
  const line = make("line", { class: "pointer", y1: top, y2: bottom });
  const dots = data.readings.map(r => make("circle", { r: 3.5, style: `fill: ${r.color}` }));
  const share = (axis, value) => axis.log
    ? Math.log(value / axis.low) / Math.log(axis.high / axis.low) : (value - axis.low) / (axis.high - axis.low);
  const at = (axis, part) => {
    const value = axis.log ? axis.low * Math.pow(axis.high / axis.low, part) : axis.low + part * (axis.high - axis.low);
    return axis.whole ? Math.min(Math.floor(axis.high), Math.max(1, Math.ceil(axis.low), Math.round(value))) : value;
  };
  const digits = (value, count) => value.toLocaleString("en", { maximumSignificantDigits: count });
  const scaled = (value, unit, steps) => {
    const [size, prefix] = steps.find(([size]) => Math.abs(value) >= size) || steps[steps.length - 1];
    return `${digits(value / size, 4)} ${prefix}${unit}`;
  };
  const decimal = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
  const shown = {
    rate: value => digits(value, value >= 1e4 ? 6 : 4),
    time: value => value >= 1 ? `${digits(value, 4)} s` : value >= 1e-5 ? `${digits(1e3 * value, 4)} ms`
      : `${digits(1e6 * value, 4)} us`,
    bytes: value => scaled(value, "B", decimal),
    flops: value => scaled(value, "FLOP/s", decimal),
  };
  const two = data.unknowns.length === 2;
  let place = null;
  const add = (parent, kind, text, color) => {
    const made = parent.appendChild(document.createElement(kind));
    made.textContent = text;
    if (color) made.style.color = color;
  };
  const number = value => Number.isInteger(value) ? value.toLocaleString("en") : digits(value, 3);
  const named = (unknown, value) => unknown === "FLOP a byte" ? `${number(value)} ${unknown}` : `${unknown} ${number(value)}`;
  function show(x, y) {
    place = [x, y];
    const where = two ? [x, y] : [x];
    const px = left + share(data.x, x) * (right - left);
    line.setAttribute("x1", px); line.setAttribute("x2", px); line.setAttribute("visibility", "visible");
    box.replaceChildren();
    add(box, "b", data.unknowns.map((unknown, i) => named(unknown, where[i])).join(", "));
    data.readings.forEach((reading, i) => {
      const values = reading.values.map(([what, form, unit]) => [what, form(...where), unit]);
      const of = what => (values.find(value => value[0] === what) || [])[1];
      const words = values.filter(value => value[0] !== "compute" && value[0] !== "memory")
        .map(([what, value, unit]) => what.endsWith("/s") ? `${shown[unit](value)} ${what}` : `${what} ${shown[unit](value)}`);
      if (of("compute") !== undefined) words.push(of("compute") >= of("memory") ? "compute-bound" : "memory-bound");
      const over = (reading.fits !== null && x > reading.fits) || (reading.capacity !== null && of("held") > reading.capacity);
      if (over) words.push("does not fit");
      add(box, "div", (reading.name ? `${reading.name}: ` : "") + words.join(", "), reading.name ? reading.color : "");
      if (reading.plotted === null) return;
      const part = share(data.y, values[reading.plotted][1] * reading.factor);
      dots[i].setAttribute("cx", px); dots[i].setAttribute("cy", bottom - part * (bottom - top));
      dots[i].setAttribute("visibility", part >= 0 && part <= 1 ? "visible" : "hidden");
    });
    if (two) {
      dots[0].setAttribute("cx", px); dots[0].setAttribute("cy", bottom - share(data.y, y) * (bottom - top));
      dots[0].setAttribute("visibility", "visible");
    }
    box.hidden = false;
    const size = svg.getBoundingClientRect(), scale = size.width / svg.viewBox.baseVal.width;
    const beside = px * scale + 14, wide = box.offsetWidth;
    box.style.left = `${Math.max(0, beside + wide > size.width ? px * scale - wide - 14 : beside)}px`;
    box.style.top = `${(top + 8) * scale}px`;
  }
  function hide() {
    box.hidden = true; place = null;
    for (const made of [line, ...dots]) made.setAttribute("visibility", "hidden");
  }
  svg.addEventListener("pointermove", event => {
    const size = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / size.width;
    const x = (event.clientX - size.left) * scale, y = (event.clientY - size.top) * scale;
    if (x < left || x > right || y < top || y > bottom) return hide();
    show(at(data.x, (x - left) / (right - left)), at(data.y, (bottom - y) / (bottom - top)));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", event => {
    const step = { ArrowRight: 0.01, ArrowLeft: -0.01 }[event.key];
    if (event.key === "Escape") return hide();
    if (!step) return;
    event.preventDefault();
    const [x, y] = place || [at(data.x, 0.5), at(data.y, 0.5)];
    let next = at(data.x, Math.min(1, Math.max(0, share(data.x, x) + step)));
    if (next === x && data.x.whole) next = Math.min(data.x.high, Math.max(Math.max(1, data.x.low), x + Math.sign(step)));
    show(next, y);
  });
}
