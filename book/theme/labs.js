// The labs: models that run in the page. Here are only the buttons; what a lab needs is fetched when its button is pressed, from
// this site alone. What is computed and what is said of it comes from book/lab, compiled to WebAssembly; see labs/.
(() => {
    "use strict";

    // All labs of a page share one worker, and so one memory and one thread.
    let engine;

    async function begin(lab, button, says) {
        button.disabled = true;
        says.textContent = "Loading the lab.";
        try {
            if (typeof WebAssembly !== "object" || typeof Worker !== "function") {
                throw new Error("this browser has no WebAssembly or no workers");
            }
            const folder = new URL(lab.dataset.folder, document.baseURI);
            const [{ Engine }, { widgets }] = await Promise.all([
                import(new URL("engine.js", folder)),
                import(new URL("widgets.js", folder)),
            ]);
            engine ??= new Engine(folder);
            const start = performance.now();
            await engine.ready();
            lab.dataset.ready = `${Math.round(performance.now() - start)}`;
            const widget = widgets[lab.dataset.lab];
            if (!widget) {
                throw new Error("the page and the labs are of two versions; load the page again");
            }
            button.remove();
            await widget(lab, engine);
            // What was asked at the start is not counted among the answers to the reader's hand.
            lab.timings = [];
            lab.querySelector("input, button, select")?.focus({ preventScroll: true });
        } catch (error) {
            button.disabled = false;
            // A page that was opened as a file may fetch nothing.
            const file = location.protocol === "file:" ? " Labs need a server: run cargo run -p book -- serve." : "";
            says.textContent = `The lab cannot begin: ${error.message ?? error}.${file} The page is complete without it.`;
        }
    }

    for (const lab of document.querySelectorAll("section.lab")) {
        const button = lab.querySelector("button");
        const says = lab.querySelector(".lab-says");
        button.hidden = false;
        button.addEventListener("click", () => begin(lab, button, says));
    }
})();
