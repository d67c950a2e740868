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

// Square grey pictures side by side, each with its name; values from -1, paper, to 1, ink.
export function pictures(box) {
    let shown = [];
    return (wanted) => {
        if (shown.length !== wanted.length) {
            box.replaceChildren();
            shown = wanted.map(({ values }) => {
                const side = Math.round(Math.sqrt(values.length));
                const pixels = values.map((_, i) =>
                    shape("rect", { x: i % side, y: Math.floor(i / side), width: 1.02, height: 1.02, fill: "var(--fig-ink)" }));
                const svg = shape("svg", { viewBox: `0 0 ${side} ${side}`, "shape-rendering": "crispEdges", "aria-hidden": "true" },
                    shape("rect", { width: side, height: side, fill: "var(--fig-paper)" }), ...pixels);
                const name = element("span");
                box.append(element("div", { class: "lab-picture" }, svg, name));
                return { pixels, name };
            });
        }
        wanted.forEach(({ values, name }, k) => {
            shown[k].name.textContent = name;
            values.forEach((value, i) => {
                shown[k].pixels[i].setAttribute("fill-opacity", Math.min(1, Math.max(0, (value + 1) / 2)).toFixed(3));
            });
        });
    };
}

const WIDTH = 480;
const HEIGHT = 240;
const LEFT = 44;
const BOTTOM = 34;

// A plot of curves over x in [low, high] and y in [floor, ceiling], with names of the axes.
export function plot(box, { low, high, floor, ceiling, x: xName, y: yName, names = [] }) {
    const x = (value) => LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - 8);
    const y = (value) => 8 + (1 - (Math.min(ceiling, Math.max(floor, value)) - floor) / (ceiling - floor)) * (HEIGHT - 8 - BOTTOM);
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "lab-plot", "aria-hidden": "true" });
    const text = (content, attributes) => {
        const made = shape("text", { fill: "var(--fig-muted)", "font-size": "13", ...attributes });
        made.textContent = content;
        return made;
    };
    svg.append(shape("path", {
        d: `M${LEFT},8 V${HEIGHT - BOTTOM} H${WIDTH - 8}`, fill: "none", stroke: "var(--fig-muted)",
    }));
    for (const value of [low, (low + high) / 2, high]) {
        svg.append(text(+value.toFixed(2), { x: x(value), y: HEIGHT - BOTTOM + 15, "text-anchor": value === high ? "end" : "middle" }));
    }
    for (const value of [floor, ceiling]) {
        svg.append(text(+value.toFixed(2), { x: LEFT - 5, y: y(value) + (value === ceiling ? 10 : 0), "text-anchor": "end" }));
    }
    svg.append(text(xName, { x: (LEFT + WIDTH) / 2, y: HEIGHT - 3, "text-anchor": "middle" }));
    svg.append(text(yName, { x: 12, y: HEIGHT / 2 - 12, "text-anchor": "middle", transform: `rotate(-90 12 ${HEIGHT / 2 - 12})` }));
    const lines = names.map((name, i) => {
        const colour = `var(--fig-${i + 1})`;
        const line = shape("path", { fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": i % 2 ? "6 4" : "none" });
        if (name) {
            svg.append(text(name, { x: WIDTH - 12, y: 22 + 17 * i, "text-anchor": "end", fill: colour }));
        }
        svg.append(line);
        return line;
    });
    box.append(svg);
    return {
        svg,
        draw(curves) {
            curves.forEach((points, i) => {
                const path = points.map(([a, b], k) => `${k ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`);
                lines[i].setAttribute("d", path.join(""));
            });
        },
        // The point of the plot under a pointer.
        at(event) {
            const bounds = svg.getBoundingClientRect();
            const [px, py] = [(event.clientX - bounds.left) * (WIDTH / bounds.width), (event.clientY - bounds.top) * (HEIGHT / bounds.height)];
            const share = (px - LEFT) / (WIDTH - LEFT - 8);
            const up = 1 - (py - 8) / (HEIGHT - 8 - BOTTOM);
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
