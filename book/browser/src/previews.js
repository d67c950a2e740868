// Points at a reference to each equation: its preview must open, show the equation, and stay in the window.
((width) => {
    const faults = [];
    const references = new Map([...document.querySelectorAll("a.eqref")].map((link) => [link.dataset.eq, link]));
    for (const link of references.values()) {
        link.dispatchEvent(new MouseEvent("mouseenter"));
        const preview = document.querySelector(".preview");
        const box = preview?.getBoundingClientRect();
        if (!preview?.querySelector(".katex") || box.height < 10) {
            faults.push(`the reference ${link.textContent} shows no preview; look at theme/pages.js`);
        } else if (box.left < 0 || box.right > width + 1) {
            faults.push(`the preview of ${link.textContent} reaches beyond the window; look at theme/pages.js`);
        }
        link.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
        if (document.querySelector(".preview")) {
            faults.push(`the preview of ${link.textContent} stays open after Escape; look at theme/pages.js`);
            break;
        }
    }
    return faults;
})
