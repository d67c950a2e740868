// The controls of each lab. They ask book/lab and draw what it answers.
import { draggable, element, pictures, plot } from "./draw.js";
import { frame, player } from "./frame.js";
import { bitsBack, flow, guidance, paths, unmask, walks } from "./later.js";
import { plane } from "./plane.js";

// Chapter 5: a digit at each t, and the sampler.
async function digit(lab, engine) {
    await engine.fetch("ch05_vdm.safetensors");
    const f = frame(lab, engine, "ch05-digit");
    const draw = pictures(f.drawing);
    const ask = () => f.ask(view.value === "sample"
        ? { view: "sample", seed: which.value, t: t.value }
        : { view: "diffuse", digit: which.value, t: t.value }, (answer) => draw(answer.pictures));
    const view = f.choice("Show", [["diffuse", "a test digit, diffused to t"], ["sample", "the sampler on its way down"]], () => {
        stop();
        ask();
    });
    const which = f.number("Which digit or seed", { min: 0, max: 446, value: 0 }, () => ask());
    const t = f.slider("Time step t", { min: 1, max: 200, value: 100 }, () => {
        stop();
        ask();
    });
    const stop = player(f, t, "Walk down to t = 1", ask, { end: () => 1, by: -1, every: 40 });
    await ask();
}

// Chapter 5: the network from nothing.
async function training(lab, engine) {
    const f = frame(lab, engine, "ch05-training");
    const seed = f.number("Seed", { min: 0, max: 1000000, value: 0 }, () => {});
    const steps = f.number("Steps", { min: 20, max: 20000, value: 1200 }, () => {});
    let [running, curve, bounds] = [false, [], []];
    const chart = element("div");
    const digits = element("div", { class: "lab-drawing" });
    f.drawing.append(chart, digits);
    const draw = pictures(digits);
    let plotted = null;

    async function measure() {
        const answer = await engine.ask("ch05-training", { do: "measure" });
        bounds.push([answer.step, answer.bound]);
        draw(answer.pictures);
        plotted.draw([curve, bounds]);
        return answer.says;
    }

    async function go() {
        let [count, done] = [5, false];
        try {
            while (running && !done) {
                const answer = await engine.ask("ch05-training", { do: "step", count });
                curve.push([answer.step, answer.loss]);
                plotted.draw([curve, bounds]);
                lab.dataset.speed = answer.steps_per_second.toFixed(1);
                lab.dataset.step = answer.step;
                lab.dataset.loss = answer.loss;
                done = answer.step >= answer.steps;
                let sentence = `${answer.says} ${answer.steps_per_second.toFixed(0)} steps per second.`;
                if (done || Math.floor(answer.step / 200) > Math.floor((answer.step - count) / 200)) {
                    sentence = `${sentence} ${await measure()}`;
                }
                f.say(sentence);
                // About five drawings a second.
                count = Math.max(1, Math.min(100, Math.round(answer.steps_per_second / 5)));
            }
        } catch (error) {
            f.fail(error);
            done = true;
        }
        running = false;
        start.textContent = done ? "Train from nothing" : "Go on";
        start.dataset.begun = done ? "" : "yes";
    }

    const start = f.button("Train from nothing", async () => {
        if (running) {
            running = false;
            return;
        }
        running = true;
        if (!start.dataset.begun) {
            [curve, bounds] = [[], []];
            chart.replaceChildren();
            plotted = plot(chart, {
                low: 0, high: steps.value, floor: 1.5, ceiling: 4, x: "training step", y: "bits per dimension",
                names: ["training loss", "bound, validation"],
            });
            await engine.ask("ch05-training", { do: "begin", seed: seed.value, steps: steps.value }).catch(f.fail);
        }
        start.textContent = "Pause";
        await go();
    });
    f.button("Start over", () => {
        running = false;
        start.dataset.begun = "";
        start.textContent = "Train from nothing";
        f.say("The next training begins from nothing.");
    });
    f.say("Nothing is trained yet. The network starts as the exact denoiser of independent pixels.");
}

// Chapter 2: the mean and the width of q.
async function gap(lab, engine) {
    const f = frame(lab, engine, "ch02-gap");
    let [ascended, chart, bars] = [0, null, element("div")];
    const box = element("div");
    f.drawing.append(box, bars);
    const model = f.choice("Model", [["thermometers", "two thermometers"], ["meter", "power meter"]], () => {
        chart = null;
        ask();
    });
    const mean = f.slider("Mean of q", { min: -3, max: 3, step: 0.02, value: -1, show: (v) => v.toFixed(2) }, () => ask());
    const width = f.slider("Deviation of q", { min: -3, max: 1, step: 0.02, value: 0.5, show: (v) => Math.exp(v).toFixed(3) }, () => ask());

    function ask(steps = 0) {
        ascended = steps;
        return f.ask({ model: model.value, mean: mean.value, log_std: width.value, ascend: steps }, draw);
    }

    function draw(answer) {
        if (ascended) {
            mean.value = answer.mean;
            width.value = answer.log_std;
        }
        if (!chart) {
            box.replaceChildren();
            const ceiling = Math.max(1.2, 1.15 * Math.max(...answer.posterior));
            chart = plot(box, { low: -3, high: 3, floor: 0, ceiling, x: "z", y: "density", names: ["p(z|x)", "q(z)"] });
            draggable(chart, ([x, y]) => {
                mean.value = x;
                // The height of a normal density tells its deviation.
                width.value = Math.log(1 / (Math.max(0.15, y) * Math.sqrt(2 * Math.PI)));
                ask();
            });
        }
        chart.draw([answer.posterior, answer.q].map((values) => values.map((v, i) => [answer.grid[i], v])));
        levels(bars, answer);
    }

    f.button("Ascend 10 steps from here", () => ask(10));
    await ask();
}

// ELBO and KL on top of each other, which together always end at log p(x).
function levels(box, { elbo, kl, log_prob }) {
    const floor = Math.min(log_prob - 4, elbo - 0.5);
    const share = (value) => `${(100 * Math.max(0, value) / (log_prob - floor)).toFixed(1)}%`;
    box.className = "lab-bars";
    box.replaceChildren(
        element("div", { class: "lab-bar", style: `width:${share(elbo - floor)};background:var(--fig-1)` }),
        element("div", { class: "lab-bar", style: `width:${share(kl)};background:var(--fig-2)` }),
        element("p", {}, `ELBO ${elbo.toFixed(3)} (first part) and KL ${kl.toFixed(3)} (second) end at log p(x) = ${log_prob.toFixed(3)} nats; the bar begins at ${floor.toFixed(1)}.`),
    );
}

// Chapter 1: naive Monte Carlo.
async function monteCarlo(lab, engine) {
    const f = frame(lab, engine, "ch01-monte-carlo");
    const bars = element("div", { class: "lab-columns", "aria-hidden": "true" });
    const ask = () => f.ask({ dimensions: d.value, draws: Math.round(10 ** draws.value), seed: seed.value }, (answer) => {
        bars.replaceChildren(...answer.shares.map((share) => element("div", { style: `height:${Math.max(0.5, share)}%` })));
    });
    const d = f.slider("Dimensions", { min: 1, max: 64, value: 4 }, () => ask());
    const draws = f.slider("Draws", { min: 0, max: 4, step: 0.1, value: 2, show: (v) => `${Math.round(10 ** v)}` }, () => ask());
    const seed = f.number("Seed", { min: 0, max: 1000000, value: 0 }, () => ask());
    f.drawing.append(bars, element("p", {}, "Each column is the share of one draw in the sum, in per cent, the largest first; at most forty are shown."));
    await ask();
}

// Chapter 3: one latent of a digit.
async function latents(lab, engine) {
    await engine.fetch("ch03_vae.safetensors");
    const f = frame(lab, engine, "ch03-latents");
    const draw = pictures(f.drawing);
    const ask = () => f.ask({ digit: which.value, latent: latent.value, to: to.value, draw: seed.value }, (answer) => draw(answer.pictures));
    const which = f.number("Test digit", { min: 0, max: 446, value: 0 }, () => ask());
    const latent = f.slider("Which latent", { min: 1, max: 16, value: 1 }, () => ask());
    const to = f.slider("Move it by", { min: -4, max: 4, step: 0.1, value: 0, show: (v) => v.toFixed(1) }, () => ask());
    const seed = f.number("Seed of z, or 0 for the mean of q", { min: 0, max: 1000000, value: 0 }, () => ask());
    await ask();
}

// Chapter 4: hold upper levels, draw lower ones anew.
async function levels4(lab, engine) {
    await engine.fetch("ch04_hvae.safetensors");
    const f = frame(lab, engine, "ch04-levels");
    const draw = pictures(f.drawing);
    let [upper, lower] = [0, 0];
    const ask = () => f.ask({ hold: +hold.value, upper, lower }, (answer) => draw(answer.pictures));
    const hold = f.choice("Hold", [["3", "z_3 alone"], ["2", "z_3 and z_2"], ["1", "all levels"], ["4", "nothing"]], () => ask());
    f.button("Draw the lower levels anew", () => {
        lower += 1;
        ask();
    });
    f.button("Draw the held levels anew", () => {
        upper += 1;
        ask();
    });
    await ask();
}

// Chapter 6: bend gamma(t).
async function schedule(lab, engine) {
    await engine.fetch("ch05_vdm.safetensors");
    const f = frame(lab, engine, "ch06-schedule");
    const [gamma, loss, areas] = [element("div"), element("div"), element("div")];
    f.drawing.append(gamma, loss, areas);
    const first = plot(gamma, { low: 0, high: 1, floor: -8, ceiling: 5, x: "time t", y: "gamma(t)", names: [""] });
    const second = plot(loss, { low: 0, high: 1, floor: 0, ceiling: 8, x: "time t", y: "loss at t (bits/dim)", names: [""] });
    const third = plot(areas, {
        low: -5, high: 8, floor: 0, ceiling: 0.6, x: "log SNR: noise on the left, data on the right", y: "loss per unit of it",
        names: ["the error: its area is the loss", "T steps: the same with T latents"], styles: ["line", "area"],
    });
    const show = (v) => v.toFixed(1);
    const ends = { min: -8, max: 5, step: 0.1, show };
    const handles = [["quarter", "gamma at t = 1/4", -4.8], ["half", "gamma at t = 1/2", -1.5], ["three_quarters", "gamma at t = 3/4", 1.8]]
        .map(([key, label, value]) => [key, f.slider(label, { ...ends, value }, () => ask())]);
    const count = f.slider("Latents T", { min: 2, max: 1000, value: 50 }, () => ask());
    const ask = () => f.ask({ ...Object.fromEntries(handles.map(([key, { value }]) => [key, value])), latents: count.value }, (answer) => {
        first.draw([answer.gamma.map((v, i) => [answer.grid[i], v])]);
        second.draw([answer.loss.map((v, i) => [answer.grid[i], v])]);
        third.draw([answer.area, answer.steps]);
    });
    draggable(first, ([t, level]) => {
        const nearest = handles[Math.min(2, Math.max(0, Math.round(4 * t) - 1))][1];
        nearest.value = Math.min(5, Math.max(-8, level));
        ask();
    });
    await ask();
}

// Chapter 7: one estimate in four readings.
async function readings(lab, engine) {
    await engine.fetch("ch05_vdm.safetensors");
    const f = frame(lab, engine, "ch07-readings");
    const draw = pictures(f.drawing);
    const ask = () => f.ask({ digit: which.value, gamma: gamma.value }, (answer) => draw(answer.pictures));
    const which = f.number("Test digit", { min: 0, max: 446, value: 0 }, () => ask());
    const gamma = f.slider("gamma, minus the log SNR", { min: -8, max: 5, step: 0.1, value: 0, show: (v) => v.toFixed(1) }, () => ask());
    await ask();
}

// "Run this chapter".
function program(name, steps) {
    return async (lab, engine) => {
        const f = frame(lab, engine, name);
        const seed = f.number("Seed", { min: 0, max: 1000000, value: 0 }, () => {});
        const count = steps ? f.number("Steps of training", { min: 20, max: 20000, value: steps }, () => {}) : null;
        const work = element("progress", { max: "1", value: "0", "aria-label": "How far the current work is" });
        const report = element("pre", { class: "lab-report", tabindex: "0", "aria-label": "The report" });
        const figures = element("div", { class: "lab-figures" });
        work.hidden = true;
        f.drawing.append(work, report, figures);
        let running = false;
        const hear = ({ line, figure, svg, work: what, done, total, detail }) => {
            if (line !== undefined) {
                report.textContent += `${line}\n`;
            } else if (figure) {
                // An image runs no script and needs no ids of its own.
                const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
                figures.append(element("img", { src: address, alt: `The figure ${figure} of this run; the page describes the book's own` }));
            } else if (what && done !== undefined) {
                work.max = total || 1;
                work.value = total ? done : 0;
                says(`${what}: ${done}${total ? ` of ${total}` : ""}`);
            } else if (what && detail) {
                says(`${what}: ${work.value} of ${work.max}, ${detail}`);
            }
        };
        let last = 0;
        function says(sentence) {
            if (performance.now() - last > 400) {
                last = performance.now();
                f.say(`Running. ${sentence}.`);
            }
        }
        const start = f.button("Run", async () => {
            if (running) {
                engine.cancel();
                return;
            }
            running = true;
            start.textContent = "Cancel";
            work.hidden = false;
            report.textContent = "";
            figures.replaceChildren();
            f.say("Running.");
            try {
                const plain = seed.value === 0 && (!count || count.value === steps);
                const answer = await engine.run(name, plain ? -1 : seed.value, plain || !count ? -1 : count.value, hear);
                f.say(answer.says);
            } catch (error) {
                f.say(error.message === "cancelled" ? "Cancelled." : `The run stopped: ${error.message}.`);
            }
            running = false;
            work.hidden = true;
            start.textContent = "Run";
        });
        f.say(`This runs the program ${name} here, in your browser; nothing is sent anywhere.`);
    };
}

export const widgets = {
    "ch01-monte-carlo": monteCarlo,
    "ch02-gap": gap,
    "ch03-latents": latents,
    "ch04-levels": levels4,
    "ch05-digit": digit,
    "ch05-training": training,
    "ch06-schedule": schedule,
    "ch03-plane": plane,
    "ch07-readings": readings,
    "ch07-walks": walks,
    "ch08-flow": flow,
    "ch09-guidance": guidance,
    "ch10-stack": bitsBack,
    "ch11-paths": paths,
    "ch12-unmask": unmask,
    "run-ch01_latent_variables": program("ch01_latent_variables", 0),
    "run-ch02_elbo": program("ch02_elbo", 0),
    "run-ch03_vae": program("ch03_vae", 2400),
    "run-ch04_hvae": program("ch04_hvae", 2400),
    "run-ch05_vdm": program("ch05_vdm", 1200),
    "run-ch06_learned_snr": program("ch06_learned_snr", 900),
    "run-ch07_three_parameterizations": program("ch07_three_parameterizations", 400),
};
