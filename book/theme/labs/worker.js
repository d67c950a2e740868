// The worker: hands requests to the module, and what the module says on the way back to the page.
import init, { answer, give, run } from "./book_lab.js";

let current = 0;

// Called from the module (book/lab/src/page.rs).
self.labHears = (message) => self.postMessage({ id: current, hears: JSON.parse(message) });

const ready = init({ module_or_path: new URL("./book_lab_bg.wasm", import.meta.url) });

self.addEventListener("message", async ({ data }) => {
    try {
        await ready;
        current = data.id;
        let result = null;
        if (data.what === "answer") {
            result = JSON.parse(answer(data.lab, JSON.stringify(data.request)));
        } else if (data.what === "run") {
            result = JSON.parse(run(data.program, data.seed, data.steps));
        } else if (data.what === "give") {
            give(data.file, data.contents);
        }
        self.postMessage(result?.error ? { id: data.id, failed: result.error } : { id: data.id, result });
    } catch (error) {
        // A trap: the memory of the module can no longer be trusted, and the page starts a new worker.
        self.postMessage({ id: data.id, trapped: String(error?.message ?? error) });
    }
});
