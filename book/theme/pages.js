// Previews of referenced equations and of what checks a claim, and keyboard access to what mdBook and long formulas leave out of its
// reach. Nothing is fetched.
(() => {
    "use strict";

    // Boxes that scroll can be reached with the keyboard; the others stay out of its way.
    const boxes = [
        [".equation-body", "Equation"],
        [".figure-body", "Figure"],
        ["pre > code", "Code"],
        [".table-wrapper", "Table"],
        [".map-body", "Map"],
    ];

    // What is folded is measured when it opens: to measure it now would lay it out for nobody.
    const folded = (element) => element.closest("details:not([open])") !== null;

    function markScrolling() {
        for (const [selector, name] of boxes) {
            for (const box of document.querySelectorAll(selector)) {
                if (folded(box)) {
                    continue;
                }
                if (box.scrollWidth > box.clientWidth + 1) {
                    box.tabIndex = 0;
                    box.setAttribute("role", "region");
                    box.setAttribute("aria-label", `${name}, scrolls sideways`);
                } else if (box.getAttribute("role") === "region") {
                    box.removeAttribute("tabindex");
                    box.removeAttribute("role");
                    box.removeAttribute("aria-label");
                }
            }
        }
    }

    // The stylesheet shrinks an equation that is wider than the paper.
    function measureForPaper() {
        for (const formula of document.querySelectorAll(".equation-body .katex-html")) {
            if (folded(formula)) {
                continue;
            }
            const range = document.createRange();
            range.selectNodeContents(formula);
            const ems = range.getBoundingClientRect().width / parseFloat(getComputedStyle(formula).fontSize);
            formula.closest(".equation-body").style.setProperty("--ems", Math.max(1, ems).toFixed(2));
        }
    }

    function measure() {
        markScrolling();
        measureForPaper();
    }

    // mdBook's script goes to the top of the page smoothly, which no stylesheet can change.
    document.querySelector(".menu-title")?.addEventListener("click", (event) => {
        if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
            event.stopImmediatePropagation();
            document.scrollingElement.scrollTop = 0;
        }
    }, { capture: true });

    let waiting = 0;
    window.addEventListener("resize", () => {
        cancelAnimationFrame(waiting);
        waiting = requestAnimationFrame(measure);
    });
    measure();
    document.fonts?.ready.then(measure);

    // mdBook's sidebar switch is a label; say that it is a button, and let the keyboard press it.
    const toggle = document.getElementById("mdbook-sidebar-toggle");
    if (toggle) {
        toggle.setAttribute("role", "button");
        toggle.tabIndex = 0;
        toggle.addEventListener("keydown", (event) => {
            if (event.key === "Enter" || event.key === " ") {
                event.preventDefault();
                toggle.click();
            }
        });
    }

    const folds = "details.solution, details.fold";
    for (const fold of document.querySelectorAll(folds)) {
        fold.addEventListener("toggle", measure);
    }

    // A link into a fold opens it.
    function openTarget() {
        const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
        for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) {
            fold.open = true;
        }
        target?.scrollIntoView();
    }
    if (location.hash.length > 1) {
        openTarget();
    }
    window.addEventListener("hashchange", openTarget);

    // Solutions and folds are printed open.
    let opened = [];
    window.addEventListener("beforeprint", () => {
        opened = [...document.querySelectorAll(folds)].filter((fold) => !fold.open);
        opened.forEach((fold) => { fold.open = true; });
        measureForPaper();
    });
    window.addEventListener("afterprint", () => {
        opened.forEach((fold) => { fold.open = false; });
    });

    // A reference shows its equation, and the mark of a claim what checks it, while pointed at or with the focus.
    let preview = null;
    let shown = null;
    let closing = 0;

    function filled(link) {
        const element = document.createElement("div");
        element.className = "preview";
        if (link.dataset.says) {
            element.classList.add("words");
            element.textContent = link.dataset.says;
        } else {
            element.innerHTML = equationOf(link.dataset.eq) ?? "";
        }
        return element.hasChildNodes() ? element : null;
    }

    function equationOf(label) {
        const here = document.querySelector(`#eq-${label} .equation-body`);
        const elsewhere = document.querySelector(`template[data-preview="${label}"]`);
        return here ? here.innerHTML : elsewhere?.innerHTML;
    }

    function close() {
        clearTimeout(closing);
        preview?.remove();
        preview = null;
    }

    function closeSoon() {
        clearTimeout(closing);
        closing = setTimeout(close, 150);
    }

    function open(link) {
        clearTimeout(closing);
        if (preview && shown === link) {
            return;
        }
        close();
        preview = filled(link);
        if (!preview) {
            return;
        }
        shown = link;
        preview.id = "preview";
        preview.setAttribute("role", "tooltip");
        preview.addEventListener("mouseenter", () => clearTimeout(closing));
        preview.addEventListener("mouseleave", closeSoon);
        document.body.append(preview);
        if (!link.dataset.says) {
            link.setAttribute("aria-describedby", preview.id);
        }

        const at = link.getBoundingClientRect();
        const box = preview.getBoundingClientRect();
        const margin = 12;
        const right = document.documentElement.clientWidth - box.width - margin;
        const below = at.bottom + 6;
        const fits = below + box.height < window.innerHeight;
        preview.style.left = `${window.scrollX + Math.max(margin, Math.min(at.left, right))}px`;
        preview.style.top = `${window.scrollY + (fits ? below : at.top - box.height - 6)}px`;
    }

    // The preview takes the place of the browser's own; aria-label says the same.
    for (const mark of document.querySelectorAll("a.claim")) {
        mark.dataset.says = mark.title;
        mark.removeAttribute("title");
    }
    for (const link of document.querySelectorAll("a.eqref, a.claim")) {
        link.addEventListener("mouseenter", () => open(link));
        link.addEventListener("focus", () => open(link));
        link.addEventListener("mouseleave", closeSoon);
        link.addEventListener("blur", close);
    }
    document.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            close();
        }
    });
})();
