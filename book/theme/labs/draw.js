// What labs draw: pictures of pixels, curves and bars, in the colours of the figures.
const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (key in made && typeof value !== "string") {
            made[key] = value;
        } else {
            made.setAttribute(key, value);
        }
    }
    made.append(...children);
    return made;
}

export function shape(name, attributes = {}, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) {
        made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
}

// The theme's colours, by the names of the figures' palette.
function colours(...names) {
    const style = getComputedStyle(document.documentElement);
    return names.map((name) => style.getPropertyValue(`--fig-${name}`).trim());
}

// One picture: a canvas with a pixel for each value, which the browser enlarges. An element for each pixel would cost a drag most of
// its time.
function paint(canvas, values) {
    const [paper, ink, missing] = colours("paper", "ink", "1");
    const brush = canvas.getContext("2d");
    brush.globalAlpha = 1;
    brush.fillStyle = paper;
    brush.fillRect(0, 0, canvas.width, canvas.height);
    values.forEach((value, i) => {
        brush.fillStyle = value === null ? missing : ink;
        brush.globalAlpha = value === null ? 0.35 : Math.min(1, Math.max(0, (value + 1) / 2));
        brush.fillRect(i % canvas.width, Math.floor(i / canvas.width), 1, 1);
    });
}

// Square grey pictures side by side, each with its name; values from -1, paper, to 1, ink, or null for a pixel that is not there.
export function pictures(box) {
    let shown = [];
    // Another theme has other colours.
    new MutationObserver(() => shown.forEach(({ canvas, values }) => paint(canvas, values)))
        .observe(document.documentElement, { attributeFilter: ["class"] });
    return (wanted) => {
        if (shown.length !== wanted.length) {
            box.replaceChildren();
            shown = wanted.map(({ values }) => {
                const side = Math.round(Math.sqrt(values.length));
                const canvas = element("canvas", { width: side, height: side, "aria-hidden": "true" });
                const name = element("span");
                box.append(element("div", { class: "lab-picture" }, canvas, name));
                return { canvas, name, values };
            });
        }
        wanted.forEach(({ values, name }, k) => {
            const picture = shown[k];
            if (picture.name.textContent !== name) {
                picture.name.textContent = name;
            }
            picture.values = values;
            paint(picture.canvas, values);
        });
    };
}

const LEFT = 44;
const BOTTOM = 34;

// How curves of a plot look; a plot may give each its own.
const STYLES = {
    line: { fill: "none", "stroke-width": 2 },
    dashed: { fill: "none", "stroke-width": 2, "stroke-dasharray": "6 4" },
    thin: { fill: "none", "stroke-width": 1.2, opacity: 0.7 },
    dots: { fill: "none", "stroke-width": 7, "stroke-linecap": "round" },
    area: { "stroke-width": 1, "fill-opacity": 0.25 },
};

// A plot of curves over x in [low, high] and y in [floor, ceiling], with names of the axes and of the curves, which stand at the right
// end or at the left. Where there is less room than its size, it is drawn smaller, and its letters are not.
export function plot(box, {
    low, high, floor, ceiling, x: xName, y: yName, names = [], styles = [], legend = "right", size: [widest, highest] = [480, 240],
}) {
    const width = Math.min(widest, Math.max(280, box.clientWidth));
    const height = Math.min(highest, width);
    const x = (value) => LEFT + ((value - low) / (high - low)) * (width - LEFT - 8);
    const y = (value) => 8 + (1 - (Math.min(ceiling, Math.max(floor, value)) - floor) / (ceiling - floor)) * (height - 8 - BOTTOM);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, class: "lab-plot", "aria-hidden": "true", style: `max-inline-size:${width / 14}em` });
    const text = (content, attributes) => {
        const made = shape("text", { fill: "var(--fig-muted)", "font-size": "13", ...attributes });
        made.textContent = content;
        return made;
    };
    svg.append(shape("path", {
        d: `M${LEFT},8 V${height - BOTTOM} H${width - 8}`, fill: "none", stroke: "var(--fig-muted)",
    }));
    for (const value of [low, (low + high) / 2, high]) {
        svg.append(text(+value.toFixed(2), { x: x(value), y: height - BOTTOM + 15, "text-anchor": value === high ? "end" : "middle" }));
    }
    for (const value of [floor, ceiling]) {
        svg.append(text(+value.toFixed(2), { x: LEFT - 5, y: y(value) + (value === ceiling ? 10 : 0), "text-anchor": "end" }));
    }
    svg.append(text(xName, { x: (width < widest ? 0 : LEFT / 2) + width / 2, y: height - 3, "text-anchor": "middle" }));
    const middle = (height - BOTTOM) / 2;
    svg.append(text(yName, { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }));
    const behind = shape("g");
    svg.append(behind);
    let named = 0;
    const lines = names.map((name, i) => {
        const style = styles[i] ?? (i % 2 ? "dashed" : "line");
        const colour = `var(--fig-${i + 1})`;
        const line = shape("path", { stroke: colour, ...(style === "area" ? { fill: colour } : {}), ...STYLES[style] });
        if (name) {
            const place = legend === "left" ? { x: LEFT + 10, "text-anchor": "start" } : { x: width - 12, "text-anchor": "end" };
            svg.append(text(name, { ...place, y: 22 + 17 * named, fill: colour }));
            named += 1;
        }
        svg.append(line);
        return line;
    });
    const piece = (points) => points.map(([a, b], k) => `${k ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`).join("");
    const dots = (points) => points.map(([a, b]) => `M${x(a).toFixed(1)},${y(b).toFixed(1)}h0`).join("");
    box.append(svg);
    return {
        svg,
        // Each curve is a list of points, or of pieces that are lists of points.
        draw(curves) {
            curves.forEach((points, i) => {
                const path = styles[i] === "dots" ? dots(points)
                    : Array.isArray(points[0]?.[0]) ? points.map(piece).join("") : piece(points);
                lines[i].setAttribute("d", path);
            });
        },
        // Small words behind the curves, each at its place.
        words(all) {
            behind.replaceChildren(...all.map(([a, b, word]) =>
                text(word, { x: x(a), y: y(b) + 4, "text-anchor": "middle", "font-size": "11" })));
        },
        // The point of the plot under a pointer.
        at(event) {
            const bounds = svg.getBoundingClientRect();
            const [px, py] = [(event.clientX - bounds.left) * (width / bounds.width), (event.clientY - bounds.top) * (height / bounds.height)];
            const share = (px - LEFT) / (width - LEFT - 8);
            const up = 1 - (py - 8) / (height - 8 - BOTTOM);
            return [low + share * (high - low), floor + up * (ceiling - floor)];
        },
    };
}

// Calls `move([x, y])` while a pointer is held down on a plot.
export function draggable(plotted, move) {
    plotted.svg.classList.add("lab-drag");
    plotted.svg.addEventListener("pointerdown", (event) => {
        plotted.svg.setPointerCapture(event.pointerId);
        move(plotted.at(event));
    });
    plotted.svg.addEventListener("pointermove", (event) => {
        if (plotted.svg.hasPointerCapture(event.pointerId)) {
            move(plotted.at(event));
        }
    });
}
