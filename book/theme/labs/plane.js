// Chapter 3: draw a digit, and see where the encoder puts it.
import { draggable, element, pictures, plot } from "./draw.js";
import { frame } from "./frame.js";

const SIDE = 8;
const INKS = 16;

// A sheet of 64 buttons. A pointer paints; the arrow keys walk, and Enter or the space bar puts ink there, or takes it away.
function sheet(box, change) {
    const cells = [];
    const inks = new Array(SIDE * SIDE).fill(0);
    const show = (i) => {
        cells[i].style.setProperty("--ink", inks[i] / INKS);
        cells[i].setAttribute("aria-label", `Row ${Math.floor(i / SIDE) + 1}, column ${(i % SIDE) + 1}: ink ${inks[i]} of ${INKS}`);
    };
    const put = (i, ink) => {
        if (inks[i] !== ink) {
            inks[i] = ink;
            show(i);
            change(inks);
        }
    };
    const group = element("div", { class: "lab-sheet", role: "group", "aria-label": "The sheet: arrow keys move, Enter inks" });
    let painting = null;
    for (let i = 0; i < SIDE * SIDE; i += 1) {
        const cell = element("button", { type: "button", tabindex: i ? "-1" : "0" });
        // A click by keyboard has no detail; those of a pointer paint below.
        cell.addEventListener("click", (event) => event.detail === 0 && put(i, inks[i] > INKS / 2 ? 0 : INKS));
        cell.addEventListener("keydown", (event) => {
            const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
            if (!down && !right) {
                return;
            }
            event.preventDefault();
            // mdBook turns the page at an arrow key.
            event.stopPropagation();
            const row = Math.min(SIDE - 1, Math.max(0, Math.floor(i / SIDE) + down));
            const column = Math.min(SIDE - 1, Math.max(0, (i % SIDE) + right));
            cells.forEach((other, k) => { other.tabIndex = k === row * SIDE + column ? 0 : -1; });
            cells[row * SIDE + column].focus();
        });
        cells.push(cell);
        group.append(cell);
    }
    const under = (event) => cells.indexOf(document.elementFromPoint(event.clientX, event.clientY));
    group.addEventListener("pointerdown", (event) => {
        const i = under(event);
        if (i >= 0) {
            painting = inks[i] > INKS / 2 ? 0 : INKS;
            put(i, painting);
            group.setPointerCapture(event.pointerId);
        }
    });
    group.addEventListener("pointermove", (event) => {
        const i = under(event);
        if (painting !== null && i >= 0) {
            put(i, painting);
        }
    });
    group.addEventListener("lostpointercapture", () => { painting = null; });
    box.append(group);
    const set = (wanted) => wanted.forEach((ink, i) => {
        inks[i] = ink;
        show(i);
    });
    set(inks);
    return set;
}

// One and two deviations around the mean of q.
function ellipses([a, b], [da, db]) {
    const round = Array.from({ length: 49 }, (_, i) => (i / 24) * Math.PI);
    return [1, 2].map((scale) => round.map((turn) => [a + scale * da * Math.cos(turn), b + scale * db * Math.sin(turn)]));
}

export async function plane(lab, engine) {
    await engine.fetch("ch03_plane.safetensors");
    const f = frame(lab, engine, "ch03-plane");
    const [left, right, below] = [element("div", { class: "lab-half" }), element("div", { class: "lab-half" }), element("div", { class: "lab-drawing" })];
    f.drawing.append(left, right, below);
    const draw = pictures(below);
    // What was drawn, unless a test digit is looked at.
    let pixels = null;
    const ask = () => f.ask({ weight: +weight.value, z1: z1.value, z2: z2.value, ...(pixels ? { pixels } : { digit: which.value }) }, (answer) => {
        draw(answer.pictures);
        if (!pixels) {
            setSheet(answer.pixels);
        }
        if (mapped !== weight.value) {
            mapped = weight.value;
            chart.words(answer.map);
        }
        chart.draw([ellipses(answer.mean, answer.deviation), [[z1.value, z2.value]]]);
    });
    const which = f.number("Test digit", { min: 0, max: 446, value: 0 }, () => {
        pixels = null;
        ask();
    });
    const weight = f.choice("Weight of the KL in training", [["1", "1"], ["0", "1/4"], ["2", "4"]], () => ask());
    const show = (v) => v.toFixed(1);
    const z1 = f.slider("Your z, first number", { min: -4, max: 4, step: 0.1, value: 0, show }, () => ask());
    const z2 = f.slider("Your z, second number", { min: -4, max: 4, step: 0.1, value: 0, show }, () => ask());
    f.button("Clear the sheet", () => {
        pixels = new Array(SIDE * SIDE).fill(0);
        setSheet(pixels);
        ask();
    });
    let mapped = null;
    left.append(element("p", {}, "Draw a digit here, or change this one:"));
    const setSheet = sheet(left, (inks) => {
        pixels = [...inks];
        ask();
    });
    const chart = plot(right, {
        low: -4, high: 4, floor: -4, ceiling: 4, x: "z, first number", y: "z, second number", names: ["q(z|x)", "your z"],
        styles: ["line", "dots"], size: [340, 330],
    });
    draggable(chart, ([a, b]) => {
        z1.value = a;
        z2.value = b;
        ask();
    });
    await ask();
}
