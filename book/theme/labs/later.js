// The labs of chapters 8 to 12, and chapter 7's walks.
import { draggable, element, pictures, plot } from "./draw.js";
import { frame, player } from "./frame.js";

const half = () => element("div", { class: "lab-half" });

// Arrows as strokes, the longest of this length.
function arrows(all, longest) {
    const scale = longest / Math.max(1e-9, ...all.map(([, , dx, dy]) => Math.hypot(dx, dy)));
    return all.map(([x, y, dx, dy]) => {
        const [tx, ty] = [x + dx * scale, y + dy * scale];
        const barb = (turn) => [
            tx - (scale * (dx * Math.cos(turn) - dy * Math.sin(turn))) / 3,
            ty - (scale * (dx * Math.sin(turn) + dy * Math.cos(turn))) / 3,
        ];
        return [[x, y], [tx, ty], barb(0.44), [tx, ty], barb(-0.44)];
    });
}

// Chapter 7: walks on a score field.
export async function walks(lab, engine) {
    const f = frame(lab, engine, "ch07-walks");
    const box = element("div");
    f.drawing.append(box);
    const ask = () => f.ask({
        walk: +walk.value, x: x.value, y: y.value, steps: steps.value, at: at.value, seed: seed.value,
    }, (answer) => {
        const inside = ([a, b]) => [Math.max(-3, Math.min(3, a)), Math.max(-3, Math.min(3, b))];
        const points = answer.points.map(inside);
        chart.draw([arrows(answer.arrows, 0.75), points.slice(0, answer.at + 1), [points[answer.at]]]);
    });
    const walk = f.choice("Walk", [["0", "the flow"], ["1", "ancestral sampling"], ["2", "Langevin, at gamma -1.5"]], () => ask());
    const show = (v) => v.toFixed(1);
    const x = f.slider("Start, first number", { min: -2.8, max: 2.8, step: 0.1, value: 1.5, show }, () => ask());
    const y = f.slider("Start, second number", { min: -2.8, max: 2.8, step: 0.1, value: 1.5, show }, () => ask());
    const steps = f.slider("Steps", { min: 1, max: 100, value: 40 }, (count) => {
        at.max = count;
        ask();
    });
    const at = f.slider("Seen after", { min: 0, max: 40, value: 40 }, () => ask());
    const seed = f.number("Seed", { min: 0, max: 1000000, value: 0 }, () => ask());
    player(f, at, "Step through", ask);
    const chart = plot(box, {
        low: -3, high: 3, floor: -3, ceiling: 3, x: "z, first number", y: "z, second number",
        names: ["score at this noise level", "walk", ""], styles: ["thin", "line", "dots"], size: [440, 430],
    });
    draggable(chart, ([a, b]) => {
        x.value = a;
        y.value = b;
        ask();
    });
    await ask();
}

// Chapter 8: solvers of the flow.
export async function flow(lab, engine) {
    const f = frame(lab, engine, "ch08-flow");
    const box = element("div");
    f.drawing.append(box);
    const ask = () => f.ask({ solver: +solver.value, calls: calls.value }, (answer) => {
        chart.draw([answer.exact, answer.taken, answer.arrive.map((z) => [-8, z])]);
    });
    const solver = f.choice("Solver", [["0", "DDIM"], ["1", "Heun"], ["2", "DPM-Solver-2"], ["3", "DPM-Solver++(2M)"]], () => ask());
    const calls = f.slider("Calls of the denoiser", { min: 1, max: 100, value: 10 }, () => ask());
    const chart = plot(box, {
        low: -8, high: 5, floor: -2.8, ceiling: 2.8, x: "gamma: data on the left, noise on the right", y: "z",
        names: ["the exact flow", "the solver", "ends of the exact flow"], styles: ["thin", "line", "dots"], size: [480, 320],
    });
    await ask();
}

// Chapter 9: guidance in one dimension.
export async function guidance(lab, engine) {
    const f = frame(lab, engine, "ch09-guidance");
    const box = element("div");
    f.drawing.append(box);
    const ask = () => f.ask({ w: w.value }, (answer) => chart.draw(answer.curves), { quick: true });
    const w = f.slider("Strength w", { min: 0, max: 8, step: 0.1, value: 3, show: (v) => v.toFixed(1) }, () => ask());
    const chart = plot(box, {
        low: -2.5, high: 3, floor: 0, ceiling: 2, x: "x", y: "density",
        names: ["data p(x)", "class p(x|y)", "tilted", "guided"], styles: ["thin", "thin", "line", "dashed"],
    });
    await ask();
}

// Chapter 10: bits back, move by move.
export async function bitsBack(lab, engine) {
    const f = frame(lab, engine, "ch10-stack");
    const [box, message] = [element("div"), element("p", { class: "lab-message" })];
    f.drawing.append(box, message);
    const ask = () => f.ask({ move: at.value, half: +encoder.value, others: +others.value, seed: seed.value }, (answer) => {
        const done = Math.floor(at.value / 3);
        message.replaceChildren("The message: ", element("strong", {}, answer.message.slice(0, done)), answer.message.slice(done));
        chart.draw([answer.lengths, answer.promised, [answer.lengths[at.value]]]);
    });
    const at = f.slider("Moves made", { min: 0, max: 120, value: 0 }, () => ask());
    const encoder = f.choice("q(z|x)", [["0", "the posterior"], ["1", "one half each"]], () => ask());
    const others = f.choice("On the stack at first", [["1", "64 bits of another message"], ["0", "nothing"]], () => ask());
    const seed = f.number("Seed of the message", { min: 0, max: 1000000, value: 0 }, () => ask());
    player(f, at, "Code the message", ask);
    const chart = plot(box, {
        low: 0, high: 120, floor: -10, ceiling: 90, x: "moves: pop z, push x, push z", y: "bits, against at first",
        names: ["the stack", "-ELBO", "now"], styles: ["line", "dashed", "dots"], legend: "left",
    });
    await ask();
}

// Chapter 11: pairs, and the flows that come of them.
export async function paths(lab, engine) {
    await engine.fetch("ch11_flow_matching.safetensors");
    const f = frame(lab, engine, "ch11-paths");
    const [left, right] = [half(), half()];
    f.drawing.append(left, right);
    const ask = () => f.ask({ pairs: +pairs.value, steps: steps.value, seed: seed.value }, (answer) => {
        lines.draw([answer.lines, answer.lines.map(([, x]) => x)]);
        ways.draw([answer.flow, answer.taken, answer.taken.map((way) => way[way.length - 1])]);
    });
    const pairs = f.choice("Pairs", [["0", "at random"], ["1", "nearest, by optimal transport"], ["2", "reflow: ends of the first flow"]], () => ask());
    const steps = f.slider("Steps of Euler", { min: 1, max: 40, value: 2 }, () => ask());
    const seed = f.number("Seed", { min: 0, max: 1000000, value: 0 }, () => ask());
    const square = { low: -3, high: 3, floor: -3, ceiling: 3, x: "", y: "", size: [340, 330] };
    const lines = plot(left, { ...square, names: ["from noise to data", "data"], styles: ["thin", "dots"] });
    const ways = plot(right, { ...square, names: ["their flow", "Euler", "where Euler ends"], styles: ["thin", "thin", "dots"] });
    await ask();
}

// Chapter 12: a digit is unmasked.
export async function unmask(lab, engine) {
    await engine.fetch("ch12_masks.safetensors");
    const f = frame(lab, engine, "ch12-unmask");
    const box = element("div", { class: "lab-drawing" });
    f.drawing.append(box, element("p", {}, "A coloured square is a pixel that is still masked."));
    const draw = pictures(box);
    const ask = () => f.ask({ steps: 2 ** power.value, order: +order.value, seed: seed.value, at: at.value }, (answer) => draw(answer.pictures));
    const power = f.slider("Steps", { min: 0, max: 6, value: 3, show: (v) => `${2 ** v}` }, (value) => {
        at.max = 2 ** value;
        ask();
    });
    const order = f.choice("Which pixels next", [["0", "by chance, equally many"], ["1", "by chance, few at first"], ["2", "from the top"]], () => ask());
    const at = f.slider("Seen after", { min: 0, max: 8, value: 4 }, () => ask());
    const seed = f.number("Seed", { min: 0, max: 1000000, value: 0 }, () => ask());
    player(f, at, "Unmask", ask, { every: 120 });
    await ask();
}
