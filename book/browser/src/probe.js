// Reports what a reader of the drawn page would stumble over.
((width, paper) => {
    // What a reader sees who scrolls through a chapter and opens nothing: how far it is to the first picture, and from
    // one thing that is not prose to the next, in screens. A picture, a table, or code that is taken in at a glance.
    const SCREEN = 900;
    const GLANCE = 25;
    const flow = (() => {
        const main = document.querySelector("main");
        if (paper || width < 1000 || !main || !/\/ch\d\d_[^/]*$/.test(location.pathname)) {
            return null;
        }
        const shown = (element) => element.checkVisibility({ contentVisibilityAuto: true })
            && !element.closest("details:not([open])") && element.getBoundingClientRect().height > 0;
        const place = (element) => {
            const box = element.getBoundingClientRect();
            return { from: (box.top + scrollY) / SCREEN, to: (box.bottom + scrollY) / SCREEN };
        };
        const pictures = [...main.querySelectorAll(".figure")].filter(shown).map(place);
        const short = (code) => code.textContent.trimEnd().split("\n").length <= GLANCE;
        const marks = [...main.querySelectorAll(".figure, table, pre > code")]
            .filter((mark) => shown(mark) && (mark.localName !== "code" || short(mark)))
            .map(place)
            .sort((a, b) => a.from - b.from);
        const end = place(main).to;
        let at = place(main).from;
        let stretch = { screens: 0, from: 0 };
        for (const mark of [...marks, { from: end, to: end }]) {
            if (mark.from - at > stretch.screens) {
                stretch = { screens: mark.from - at, from: at };
            }
            at = Math.max(at, mark.to);
        }
        return { first: Math.min(...pictures.map(({ to }) => to), Infinity), stretch, screens: end };
    })();

    // Solutions and folds are looked at as well.
    const closed = [];
    for (const solution of document.querySelectorAll("details:not([open])")) {
        solution.querySelector("summary").click();
        if (!solution.open) {
            closed.push(solution.textContent.trim().slice(0, 40));
        }
    }

    const name = (element) => {
        const id = element.id ? `#${element.id}` : "";
        const classes = [...element.classList].slice(0, 2).map((word) => `.${word}`).join("");
        const text = element.textContent.trim().replace(/\s+/g, " ").slice(0, 40);
        return `<${element.localName}${id}${classes}> "${text}"`;
    };
    const style = (element) => getComputedStyle(element);
    const visible = (element) => element.checkVisibility({ visibilityProperty: true });
    // A box that scrolls, or cuts, keeps what it holds inside. mdBook's own boxes around the text would scroll as well,
    // but then the whole page does.
    const page = document.querySelector("main");
    const contained = (element) => {
        for (let box = element.parentElement; box && !box.contains(page); box = box.parentElement) {
            if (style(box).overflowX !== "visible" || style(box).position === "fixed") {
                return true;
            }
        }
        return false;
    };

    const all = [...document.body.querySelectorAll("*")].filter((element) => !element.closest(".katex svg"));
    const wide = all.filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width > 0 && box.right > width + 1 && visible(element) && !contained(element);
    });
    const overflow = wide.filter((element) => !wide.some((other) => other !== element && other.contains(element)));
    if (overflow.length === 0 && document.documentElement.scrollWidth > width) {
        overflow.push(document.body);
    }

    // On paper nothing scrolls.
    const cuts = paper ? ["hidden", "clip", "auto", "scroll"] : ["hidden", "clip"];
    const cut = all.filter((element) =>
        cuts.includes(style(element).overflowX)
        && !element.closest(".katex, .menu-title")
        && !element.contains(page)
        && element.clientWidth > 1
        && element.scrollWidth > element.clientWidth + 1
        && visible(element));

    // On a desk every line of code, every table and every equation is seen whole.
    const scrolling = paper || width < 1000 ? [] : all.filter((element) =>
        ["auto", "scroll"].includes(style(element).overflowX)
        && element.closest("main")
        && element.clientWidth > 1
        && element.scrollWidth > element.clientWidth + 1
        && visible(element));

    const leftovers = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        const inside = text.parentElement.closest("code, pre, script, style, template, annotation, .dollar, textarea");
        if (!inside && /\$|\{\{|\}\}|\\[a-zA-Z]{2,}|data-slot/.test(text.data)) {
            leftovers.push(text.data.trim().replace(/\s+/g, " ").slice(0, 60));
        }
    }
    for (const formula of document.querySelectorAll(".katex")) {
        if (!formula.querySelector("math") || formula.querySelector(".katex-error")) {
            leftovers.push(formula.textContent.slice(0, 60));
        }
    }

    // Punctuation belongs to the formula before it, an opening bracket to the one behind it.
    const stranded = [];
    const line = (text, at) => {
        const range = document.createRange();
        range.setStart(text, at);
        range.setEnd(text, at + 1);
        return range.getBoundingClientRect();
    };
    for (const formula of document.querySelectorAll(".katex")) {
        const drawn = [...formula.querySelectorAll(".katex-base")];
        const { previousSibling: before, nextSibling: after } = formula;
        if (after?.nodeType === Node.TEXT_NODE && /^[.,;:!?)\]\u2019\u201d]/.test(after.data) && drawn.length > 0
            && line(after, 0).top > drawn.at(-1).getBoundingClientRect().bottom - 2) {
            stranded.push(`${formula.querySelector("math").textContent.slice(-20)}${after.data.slice(0, 20)}`);
        }
        if (before?.nodeType === Node.TEXT_NODE && /[([\u2018\u201c]$/.test(before.data) && drawn.length > 0
            && line(before, before.data.length - 1).bottom < drawn[0].getBoundingClientRect().top + 2) {
            stranded.push(`${before.data.slice(-20)}${formula.querySelector("math").textContent.slice(0, 20)}`);
        }
    }

    const images = [...document.images].filter((image) => !image.complete || image.naturalWidth === 0).map((i) => i.src);
    const drawings = [...document.querySelectorAll("svg[role=img]")];
    const undescribed = [...document.images].filter((image) => !image.hasAttribute("alt")).map(name);
    const cropped = [];
    for (const drawing of drawings) {
        const box = drawing.getBoundingClientRect();
        for (const text of visible(drawing) ? drawing.querySelectorAll("text") : []) {
            const { left, right, top, bottom, height } = text.getBoundingClientRect();
            // A line is higher than its letters.
            const slack = height / 4;
            if (left < box.left - 1 || right > box.right + 1 || top < box.top - slack || bottom > box.bottom + slack) {
                cropped.push(name(text));
            }
        }
        if (visible(drawing) && (box.width < 20 || box.height < 10)) {
            images.push(name(drawing));
        }
        if (!drawing.getAttribute("aria-label")?.trim()) {
            undescribed.push(name(drawing));
        }
    }

    const [red, green, blue] = style(document.documentElement).backgroundColor.match(/[\d.]+/g).map(Number);
    const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    return {
        bytes: performance.getEntriesByType("navigation")[0].decodedBodySize,
        dark: luminance < 128,
        flow: flow && { ...flow, first: Number.isFinite(flow.first) ? flow.first : null },
        closed,
        overflow: overflow.slice(0, 5).map(name),
        cut: cut.slice(0, 5).map(name),
        scrolling: scrolling.slice(0, 5).map(name),
        stranded: stranded.slice(0, 5).map((words) => `"${words}"`),
        leftovers: leftovers.slice(0, 5),
        images,
        cropped: cropped.slice(0, 5),
        undescribed,
        links: [...document.links].map((link) => link.href),
        ids: [...document.querySelectorAll("[id]")].map((element) => element.id),
    };
})
