// The worker: hands requests to the module, and what the module says on the way back to the page.
import init, { answer, break_for_a_test, give, give_digits, run } from "./book_lab.js";

let current = 0;

// Called from the module (book/lab/src/page.rs).
self.labHears = (message) => self.postMessage({ id: current, hears: JSON.parse(message) });

// The digits come beside the module.
async function digits() {
    const response = await fetch(new URL("./digits.bin", import.meta.url));
    if (!response.ok) {
        throw new Error(`the digits cannot be loaded (${response.status})`);
    }
    return new Uint8Array(await response.arrayBuffer());
}

const ready = Promise.all([init({ module_or_path: new URL("./book_lab_bg.wasm", import.meta.url) }), digits()])
    .then(([module, contents]) => {
        give_digits(contents);
        return module;
    });

// Where not even 64 MiB more are to be had, memory was what was missing.
async function isFull() {
    try {
        (await ready).memory.grow(1024);
        return false;
    } catch (error) {
        return error instanceof RangeError;
    }
}

self.addEventListener("message", async ({ data }) => {
    try {
        await ready;
        current = data.id;
        let result = null;
        const start = performance.now();
        if (data.what === "answer") {
            result = JSON.parse(answer(data.lab, JSON.stringify(data.request)));
        } else if (data.what === "run") {
            result = JSON.parse(run(data.program, data.seed, data.steps));
        } else if (data.what === "give") {
            give(data.file, data.contents);
        } else if (data.what === "break") {
            break_for_a_test(data.how);
        }
        self.postMessage(result?.error ? { id: data.id, failed: result.error } : { id: data.id, result, took: performance.now() - start });
    } catch (error) {
        // A trap: the memory of the module can no longer be trusted, and the page starts a new worker.
        self.postMessage({ id: data.id, trapped: (await isFull()) ? "the page ran out of memory" : String(error?.message ?? error) });
    }
});
