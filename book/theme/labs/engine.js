// The page's side of the worker.
export class Engine {
    #folder;
    #worker = null;
    #waiting = new Map();
    #next = 1;
    #panic = "";
    #files = new Map();

    constructor(folder) {
        this.#folder = folder;
    }

    // Starts the worker, unless it runs.
    #start() {
        if (this.#worker) {
            return;
        }
        this.#worker = new Worker(new URL("worker.js", this.#folder), { type: "module" });
        this.#worker.addEventListener("message", ({ data }) => this.#hear(data));
        this.#worker.addEventListener("error", (event) => {
            this.#end(event.message || "the worker cannot be loaded");
        });
        // A new worker has none of the files of the one before.
        for (const [file, contents] of this.#files) {
            this.#send({ what: "give", file, contents }).catch(() => {});
        }
    }

    #send(message, hear) {
        return new Promise((resolve, reject) => {
            const id = this.#next++;
            this.#waiting.set(id, { resolve, reject, hear });
            this.#worker.postMessage({ id, ...message });
        });
    }

    #hear({ id, hears, result, failed, trapped, took }) {
        const waiting = this.#waiting.get(id);
        if (hears) {
            this.#panic = hears.panic ?? this.#panic;
            waiting?.hear?.(hears);
        } else if (trapped !== undefined) {
            const why = /could not allocate|out of memory/i.test(trapped) ? "the page ran out of memory" : this.#panic || trapped;
            this.#end(why);
        } else {
            this.#waiting.delete(id);
            if (failed === undefined) {
                waiting?.resolve({ answer: result, took });
            } else {
                waiting?.reject(new Error(failed));
            }
        }
    }

    // Ends the worker; whoever waits for it is told why.
    #end(why) {
        this.#worker?.terminate();
        this.#worker = null;
        this.#panic = "";
        const waiting = [...this.#waiting.values()];
        this.#waiting.clear();
        for (const { reject } of waiting) {
            reject(new Error(why));
        }
    }

    // Waits until the module is there.
    async ready() {
        this.#start();
        await this.#send({ what: "none" });
    }

    // Fetches a file for the labs, once.
    async fetch(file) {
        if (this.#files.has(file)) {
            return;
        }
        const response = await fetch(new URL(file, this.#folder));
        if (!response.ok) {
            throw new Error(`${file} cannot be loaded (${response.status})`);
        }
        const contents = new Uint8Array(await response.arrayBuffer());
        this.#files.set(file, contents);
        this.#start();
        await this.#send({ what: "give", file, contents });
    }

    // A lab's answer, and the milliseconds that the worker took for it.
    timed(lab, request) {
        this.#start();
        return this.#send({ what: "answer", lab, request });
    }

    // A lab's answer.
    async ask(lab, request) {
        return (await this.timed(lab, request)).answer;
    }

    // Runs a chapter's program; `hear` gets what it prints and draws.
    async run(program, seed, steps, hear) {
        this.#start();
        return (await this.#send({ what: "run", program, seed, steps }, hear)).answer;
    }

    // Ends whatever is computed.
    cancel() {
        this.#end("cancelled");
    }
}
