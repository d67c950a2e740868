// The frame of every lab: its controls, its drawing, and what it says. Controls are native, so that keyboard and screen readers
// work.
import { element } from "./draw.js";

let unique = 0;

// How long a hand rests before the full answer takes the place of a quick one.
const REST = 120;

// Runs `then` when the browser has drawn the next frame.
function drawn(then) {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    requestAnimationFrame(() => channel.port2.postMessage(0));
}

export function frame(lab, engine, name) {
    const controls = element("div", { class: "lab-controls" });
    const drawing = element("div", { class: "lab-drawing" });
    const says = lab.querySelector(".lab-says");
    const spoken = lab.querySelector(".lab-spoken");
    lab.insertBefore(controls, says);
    lab.insertBefore(drawing, says);
    let asking = false;
    let next = null;
    let timer = 0;
    let resting = 0;

    // Seen at once; spoken when the reader pauses, so that a drag does not make a stream of speech. A quick answer is not spoken.
    function say(sentence, quick = false) {
        says.textContent = sentence;
        clearTimeout(timer);
        if (!quick) {
            timer = setTimeout(() => {
                spoken.textContent = sentence;
            }, 250);
        }
    }

    function fail(error) {
        say(`The lab stopped: ${error.message}. Change something to begin again; the page is complete without it.`);
    }

    // Asks. Where the full answer takes long, `quick` is what is asked for less while the hand moves.
    function ask(request, draw, quick = null) {
        const since = globalThis.event?.timeStamp ?? performance.now();
        clearTimeout(resting);
        if (!quick) {
            return put({ request, draw, since, quick: false });
        }
        resting = setTimeout(() => put({ request, draw, since: performance.now(), quick: false, rested: true }), REST);
        return put({ request: { ...request, ...quick }, draw, since, quick: true });
    }

    // Unless an answer is on its way; then only the last wish counts.
    async function put(wish) {
        if (asking) {
            next = wish;
            return;
        }
        asking = true;
        while (wish) {
            next = null;
            try {
                const sent = performance.now();
                const { answer, took } = await engine.timed(name, wish.request);
                const came = performance.now();
                say(answer.says, wish.quick);
                wish.draw(answer);
                const { since, rested } = wish;
                const drew = performance.now() - came;
                // How long the answer to a hand takes, and its parts. The browser test reads it.
                drawn(() => rested || (lab.timings ??= []).push({
                    total: performance.now() - since, waited: sent - since, worker: took, way: came - sent - took, drawing: drew,
                }));
            } catch (error) {
                fail(error);
            }
            wish = next;
        }
        asking = false;
    }

    function labelled(text, control, value) {
        const id = `lab-control-${unique++}`;
        control.id = id;
        controls.append(element("div", { class: "lab-control" }, element("label", { for: id }, text), control, ...(value ? [value] : [])));
        return control;
    }

    return {
        controls, drawing, say, fail, ask,
        slider(text, { min, max, step = 1, value, show = (v) => v }, change) {
            const control = element("input", { type: "range", min: `${min}`, max: `${max}`, step: `${step}`, value: `${value}` });
            const shown = element("output", { "aria-hidden": "true" });
            const update = () => {
                shown.textContent = show(+control.value);
                control.setAttribute("aria-valuetext", show(+control.value));
            };
            control.addEventListener("input", () => {
                update();
                change(+control.value);
            });
            update();
            labelled(text, control, shown);
            return {
                get value() { return +control.value; },
                set value(v) {
                    control.value = v;
                    update();
                },
                set max(most) {
                    control.max = most;
                    update();
                },
                get max() { return +control.max; },
            };
        },
        choice(text, options, change) {
            const control = element("select", {}, ...options.map(([value, label]) => element("option", { value }, label)));
            control.addEventListener("change", () => change(control.value));
            labelled(text, control);
            return { get value() { return control.value; } };
        },
        number(text, { min, max, value }, change) {
            const control = element("input", { type: "number", min: `${min}`, max: `${max}`, value: `${value}` });
            control.addEventListener("change", () => change(+control.value));
            labelled(text, control);
            return { get value() { return Math.min(max, Math.max(min, Math.round(+control.value || 0))); }, control };
        },
        button(text, press) {
            const control = element("button", { type: "button" }, text);
            control.addEventListener("click", press);
            controls.append(control);
            return control;
        },
    };
}

// A button that moves a slider step by step to its end, or at once for readers who want no motion.
export function player(f, slider, text, ask, { end = () => slider.max, by = 1, every = 60 } = {}) {
    let playing = 0;
    const stop = () => {
        clearInterval(playing);
        playing = 0;
        button.textContent = text;
    };
    const button = f.button(text, () => {
        if (playing) {
            stop();
            return;
        }
        if (still()) {
            slider.value = end();
            ask();
            return;
        }
        if (slider.value === end()) {
            slider.value = by > 0 ? 0 : slider.max;
        }
        button.textContent = "Stop";
        playing = setInterval(() => {
            slider.value = slider.value + by;
            ask();
            if (slider.value === end()) {
                stop();
            }
        }, every);
    });
    return stop;
}

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
